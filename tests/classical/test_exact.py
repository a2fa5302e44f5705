"""Moments, log-partition function and gradients of ordinary models."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from classical import ExactSampler, IsingModel
from classical.sampler import ExactMoments, Sampler
from tests.classical.enumeration import law, laws, mean_gradient, random_model, table

EXACT = ExactSampler()


def _golden_model(case: dict[str, Any]) -> IsingModel:
    fields = torch.tensor(case["fields"], dtype=torch.float64)[None, None].requires_grad_()
    return IsingModel(fields, torch.tensor(case["couplings"], dtype=torch.float64)[None].requires_grad_())


def test_golden_moments(golden: dict[str, Any]) -> None:
    for case in golden["cases"]:
        model = _golden_model(case).detach()
        for actual, name in (
            (EXACT.mean(model)[0, 0], "mean"),
            (EXACT.second_moment(model)[0, 0], "second_moment"),
            (EXACT.log_partition(model)[0, 0], "log_partition"),
        ):
            expected = torch.tensor(case[name], dtype=torch.float64)
            torch.testing.assert_close(actual, expected, rtol=0, atol=1e-8)


def test_golden_gradients(golden: dict[str, Any]) -> None:
    for case in golden["cases"]:
        model = _golden_model(case)
        loss = (EXACT.mean(model)[0, 0] * torch.tensor(case["loss_weights"], dtype=torch.float64)).sum()
        fields, couplings = torch.autograd.grad(loss, (model.fields, model.couplings))
        expected = torch.tensor(case["grad_fields"], dtype=torch.float64)
        torch.testing.assert_close(fields[0, 0], expected, rtol=0, atol=1e-8)
        expected = torch.tensor(case["grad_couplings"], dtype=torch.float64)
        torch.testing.assert_close(couplings[0], expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("spins", range(1, 13))
def test_moments_are_enumerations(spins: int) -> None:
    model = random_model(spins, groups=2, models=2)
    torch.testing.assert_close(EXACT.mean(model), table(model, "mean"), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(EXACT.up_probability(model), table(model, "up"), rtol=1e-10, atol=0)
    torch.testing.assert_close(EXACT.second_moment(model), table(model, "second"), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(EXACT.log_partition(model), table(model, "log_partition"), rtol=1e-10, atol=0)


@pytest.mark.parametrize("spins", [1, 2, 5, 8])
def test_float32_moments_are_enumerations(spins: int) -> None:
    model = random_model(spins, dtype=torch.float32)
    for actual, name in (
        (EXACT.mean(model), "mean"),
        (EXACT.second_moment(model), "second"),
        (EXACT.log_partition(model), "log_partition"),
    ):
        assert actual.dtype == torch.float32
        torch.testing.assert_close(actual.double(), table(model, name), rtol=5e-6, atol=5e-6)


def test_twenty_spins_in_float32_agree_with_float64() -> None:
    model = random_model(20, groups=1, models=8, coupling=20**-0.5, dtype=torch.float32)
    double = IsingModel(model.fields.double(), model.couplings.double())
    torch.testing.assert_close(EXACT.mean(model).double(), EXACT.mean(double), rtol=0, atol=2e-5)


@pytest.mark.parametrize("spins", [1, 2, 3, 6, 7])
def test_gradients_are_covariances(spins: int) -> None:
    """∂L/∂h_j = Cov(f, s_j), ∂L/∂J_jk = Cov(f, s_j s_k) with f = Σ_i w_i s_i"""
    model = random_model(spins)
    h, J = model.fields.requires_grad_(), model.couplings.requires_grad_()
    w = torch.randn(h.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    fields, couplings = torch.autograd.grad((EXACT.mean(IsingModel(h, J)) * w).sum(), (h, J))
    for g, group in enumerate(laws(model)):
        parts = [mean_gradient(one, w[g, m].numpy()) for m, one in enumerate(group)]
        expected = np.array([part[0] for part in parts]).astype(float)
        torch.testing.assert_close(fields[g], torch.from_numpy(expected), rtol=1e-9, atol=1e-11)
        expected = sum(part[1] for part in parts).astype(float)
        torch.testing.assert_close(couplings[g], torch.from_numpy(expected), rtol=1e-9, atol=1e-11)


def test_log_partition_generates_the_moments() -> None:
    model = random_model(7)
    h, J = model.fields.requires_grad_(), model.couplings.requires_grad_()
    fields, couplings = torch.autograd.grad(EXACT.log_partition(IsingModel(h, J)).sum(), (h, J))
    torch.testing.assert_close(fields, EXACT.mean(model.detach()), rtol=1e-10, atol=1e-12)
    second = EXACT.second_moment(model.detach()).sum(1).triu(1)
    torch.testing.assert_close(couplings, second, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("spins", [1, 4, 5])
@pytest.mark.parametrize("moment", ["mean", "second_moment", "log_partition", "up_probability"])
def test_first_and_second_derivatives(moment: str, spins: int) -> None:
    model = random_model(spins, groups=2, models=2)
    visible = None
    if moment == "up_probability":
        visible = torch.ones(2, 2, spins, dtype=torch.bool)
        visible[0, 1, spins // 2] = visible[1, 0, 0] = False

    def read(h: torch.Tensor, J: torch.Tensor) -> torch.Tensor:
        one = IsingModel(h, J.triu(1))
        return EXACT.up_probability(one, visible) if visible is not None else getattr(EXACT, moment)(one)

    inputs = (model.fields.requires_grad_(), model.couplings.requires_grad_())
    assert torch.autograd.gradcheck(read, inputs)
    assert torch.autograd.gradgradcheck(read, inputs)


def test_no_gradient_reaches_the_diagonal_or_below() -> None:
    model = random_model(5)
    J = model.couplings.requires_grad_()
    (gradient,) = torch.autograd.grad(EXACT.mean(IsingModel(model.fields, J)).sum(), J)
    assert not bool(gradient.tril().any())


def test_without_couplings_it_is_a_sigmoid_of_twice_the_field() -> None:
    h = torch.linspace(-30, 30, 60, dtype=torch.float64).view(2, 5, 6)
    model = IsingModel(h, torch.zeros(2, 6, 6, dtype=torch.float64))
    torch.testing.assert_close(EXACT.up_probability(model), torch.sigmoid(2 * h), rtol=1e-12, atol=0)


def test_two_spins_by_hand() -> None:
    h, k, J = 0.3, -0.8, 0.5
    up_up, down_up, up_down, down_down = np.exp([h + k + J, -h + k - J, h - k - J, -h - k + J])
    z = up_up + down_up + up_down + down_down
    model = IsingModel(torch.tensor([[[h, k]]]).double(), torch.tensor([[[0, J], [0, 0]]]).double())
    expected = torch.tensor([[[(up_up + up_down) / z, (up_up + down_up) / z]]])
    torch.testing.assert_close(EXACT.up_probability(model), expected, rtol=1e-6, atol=0)
    assert EXACT.second_moment(model)[0, 0, 0, 1].item() == pytest.approx(
        (up_up + down_down - up_down - down_up) / z, rel=1e-6
    )


SEEDS = st.integers(0, 10**6)


@settings(max_examples=25)
@given(st.integers(1, 8), SEEDS, st.sampled_from([0.2, 1.0, 4.0]))
def test_flipping_every_field_flips_every_mean(spins: int, seed: int, strength: float) -> None:
    model = random_model(spins, seed=seed, field=2 * strength, coupling=strength)
    flipped = IsingModel(-model.fields, model.couplings)
    torch.testing.assert_close(EXACT.mean(flipped), -EXACT.mean(model), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(EXACT.second_moment(flipped), EXACT.second_moment(model), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(EXACT.log_partition(flipped), EXACT.log_partition(model), rtol=1e-10, atol=1e-12)


@settings(max_examples=25)
@given(st.integers(2, 8), SEEDS)
def test_renaming_spins_renames_the_moments(spins: int, seed: int) -> None:
    model = random_model(spins, seed=seed)
    order = torch.randperm(spins, generator=torch.Generator().manual_seed(seed))
    full = model.couplings + model.couplings.transpose(1, 2)
    renamed = IsingModel(model.fields[..., order], full[:, order][:, :, order].triu(1))
    torch.testing.assert_close(EXACT.mean(renamed), EXACT.mean(model)[..., order], rtol=1e-9, atol=1e-12)
    second = EXACT.second_moment(model)[..., order, :][..., order]
    torch.testing.assert_close(EXACT.second_moment(renamed), second, rtol=1e-9, atol=1e-12)


def test_models_do_not_depend_on_their_company() -> None:
    model = random_model(7, groups=3, models=4)
    for read in (EXACT.mean, EXACT.second_moment, EXACT.log_partition):
        whole = read(model)
        for g in range(3):
            for m in range(4):
                alone = IsingModel(model.fields[g : g + 1, m : m + 1], model.couplings[g : g + 1])
                torch.testing.assert_close(read(alone)[0, 0], whole[g, m], rtol=1e-12, atol=1e-13)


def test_gradients_stay_within_their_group() -> None:
    model = random_model(5, groups=3, models=4)
    h, J = model.fields.requires_grad_(), model.couplings.requires_grad_()
    fields, couplings = torch.autograd.grad(EXACT.mean(IsingModel(h, J))[1, 2].sum(), (h, J))
    assert bool(couplings[1].any())
    assert not bool(couplings[[0, 2]].any())
    fields[1, 2] = 0
    assert not bool(fields.any())


def test_no_models_give_no_moments() -> None:
    empty = IsingModel(torch.zeros(2, 0, 4), torch.zeros(2, 4, 4))
    assert EXACT.mean(empty).shape == (2, 0, 4)
    assert EXACT.second_moment(empty).shape == (2, 0, 4, 4)
    assert EXACT.sample(empty, shots=3).spins.shape == (2, 0, 3, 4)
    none = IsingModel(torch.zeros(0, 2, 4), torch.zeros(0, 4, 4))
    assert EXACT.mean(none).shape == (0, 2, 4)
    assert EXACT.sample(none, shots=3).spins.shape == (0, 2, 3, 4)


def test_it_keeps_both_contracts() -> None:
    assert isinstance(EXACT, Sampler)
    assert isinstance(EXACT, ExactMoments)


# Hidden spins


def _without_hidden(model: IsingModel, visible: torch.Tensor) -> torch.Tensor:
    """P(s_j = +1) of the models with their hidden spins removed, 0 for those."""
    expected = torch.zeros_like(model.fields, dtype=torch.float64)
    for g in range(model.groups):
        for m in range(model.models):
            keep = visible[g, m].nonzero().squeeze(-1)
            if len(keep):
                one = law(model.fields[g, m, keep], model.couplings[g][keep][:, keep])
                expected[g, m, keep] = torch.from_numpy(one.up.astype(float))
    return expected


@pytest.mark.parametrize("spins", [1, 2, 5, 8])
def test_hidden_spins_are_absent(spins: int) -> None:
    model = random_model(spins, groups=3, models=6, coupling=1.5)
    visible = torch.rand(3, 6, spins, generator=torch.Generator().manual_seed(spins)) > 0.4
    visible[0, 0] = False
    visible[0, 1] = True
    actual = EXACT.up_probability(model, visible)
    torch.testing.assert_close(actual, _without_hidden(model, visible), rtol=1e-10, atol=0)
    assert not bool(actual[~visible].any())


def test_one_mask_for_all_groups() -> None:
    model = random_model(6, groups=3, models=6)
    causal = torch.ones(6, 6, dtype=torch.bool).tril()[None]
    expected = EXACT.up_probability(model, causal.expand(3, -1, -1))
    torch.testing.assert_close(EXACT.up_probability(model, causal), expected, rtol=0, atol=0)
    torch.testing.assert_close(expected, _without_hidden(model, causal.expand(3, -1, -1)), rtol=1e-10, atol=0)


@pytest.mark.parametrize("extreme", [1e30, -1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_a_hidden_spins_field_is_does_not_matter(extreme: float, dtype: torch.dtype) -> None:
    model = random_model(6, models=4, dtype=dtype)
    visible = torch.ones(1, 4, 6, dtype=torch.bool)
    visible[:, :, [1, 4]] = False
    wild = IsingModel(torch.where(visible, model.fields, torch.tensor(extreme, dtype=dtype)), model.couplings)
    assert torch.equal(EXACT.up_probability(wild, visible), EXACT.up_probability(model, visible))
    h, J = wild.fields.requires_grad_(), wild.couplings.requires_grad_()
    fields, couplings = torch.autograd.grad(EXACT.up_probability(IsingModel(h, J), visible).sum(), (h, J))
    assert not bool(fields[:, :, [1, 4]].any())
    rounding = 20 * torch.finfo(dtype).eps  # pinning adds what C takes away, each rounded
    assert couplings[:, [1, 4]].abs().max().item() < rounding
    assert couplings[:, :, [1, 4]].abs().max().item() < rounding
    assert bool(torch.isfinite(fields).all() & torch.isfinite(couplings).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_hidden_spins_at_odds_with_each_other_do_not_drown_the_rest(dtype: torch.dtype) -> None:
    """Pinned at −1 together, the hidden pair makes every permitted C tiny, however weak the fields are."""
    h = torch.tensor([0.3, 0.0, 0.0, -0.8], dtype=dtype)
    J = torch.zeros(4, 4, dtype=dtype)
    J[1, 2], J[0, 3] = -400.0, 0.5
    visible = torch.tensor([[[True, False, False, True]]])
    model = IsingModel(h[None, None], J[None])
    actual, expected = EXACT.up_probability(model, visible).double(), _without_hidden(model, visible)
    torch.testing.assert_close(actual, expected, rtol=1e-10 if dtype == torch.float64 else 1e-6, atol=0)


@pytest.mark.parametrize(
    "visible", [torch.ones(2, 3, 4), torch.ones(3, 4, dtype=torch.bool), torch.ones(2, 1, 4, dtype=torch.bool)]
)
def test_a_mask_has_a_truth_for_every_spin(visible: torch.Tensor) -> None:
    model = random_model(4, groups=2, models=3)
    for read in (EXACT.up_probability, EXACT.arithmetic):
        with pytest.raises(ValueError, match=r"visible is torch.* give torch.bool .*= \(2, 3, 4\)"):
            read(model, visible)
