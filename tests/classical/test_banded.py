"""Banded models: enumeration where that is possible, chains in closed form where it is not."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from classical import BandedSampler, ExactSampler, IsingModel
from classical.sampler import ExactMoments, Sampler
from tests.classical.enumeration import law, laws, mean_gradient, random_model, table
from tests.statistics import chi_squared_p

EXACT = ExactSampler()


def banded(spins: int, width: int, *args: int, **kwargs: Any) -> IsingModel:
    """Random models without couplings beyond the band."""
    model = random_model(spins, *args, **kwargs)
    return IsingModel(model.fields, model.couplings.triu(1) - model.couplings.triu(width + 1))


def within(values: torch.Tensor, width: int) -> torch.Tensor:
    """The band of a matrix."""
    return values.triu(1) - values.triu(width + 1)


def chain_by_matrices(h: np.ndarray, J: np.ndarray) -> tuple[float, np.ndarray]:
    """log Z and means of an open chain by products of 2×2 matrices from either end.

    Args:
        h: (spins,).
        J: (spins − 1,), coupling of each spin to the next.
    """
    s = np.array([1.0, -1.0])
    left, right = [np.ones(2)], [np.ones(2)]
    log_z = 0.0
    for k in range(len(J)):
        v = (left[-1] * np.exp(h[k] * s)) @ np.exp(J[k] * np.outer(s, s))
        log_z += math.log(v.sum())
        left.append(v / v.sum())
    for k in range(len(J), 0, -1):
        v = np.exp(J[k - 1] * np.outer(s, s)) @ (np.exp(h[k] * s) * right[-1])
        right.append(v / v.sum())
    log_z += math.log(left[-1] @ np.exp(h[-1] * s))
    weight = np.array(left) * np.array(right[::-1]) * np.exp(np.outer(h, s))
    return log_z, weight @ s / weight.sum(-1)


# Against enumeration


@pytest.mark.parametrize(("spins", "width"), [(1, 1), (1, 5), (2, 1), (3, 1), (3, 2), (6, 2), (7, 6), (10, 4)])
def test_moments_are_enumerations(spins: int, width: int) -> None:
    model, sampler = banded(spins, width), BandedSampler(width)
    torch.testing.assert_close(sampler.mean(model), table(model, "mean"), rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(sampler.up_probability(model), table(model, "up"), rtol=1e-11, atol=0)
    torch.testing.assert_close(sampler.log_partition(model), table(model, "log_partition"), rtol=1e-12, atol=0)


@pytest.mark.parametrize("width", [1, 3, 5])
def test_sixteen_spins_with_their_gradients(width: int) -> None:
    """Against enumeration in extended precision and, for the gradients of all models, the exact sampler."""
    model, sampler = banded(16, width), BandedSampler(width)
    one = law(model.fields[1, 2], model.couplings[1])
    mean, log_z = sampler.mean(model)[1, 2], sampler.log_partition(model)[1, 2]
    torch.testing.assert_close(mean, torch.from_numpy(one.mean.astype(float)), rtol=0, atol=1e-9)
    assert log_z.item() == pytest.approx(float(one.log_partition), abs=1e-9)
    h, J = model.fields.requires_grad_(), model.couplings.requires_grad_()
    w = torch.randn(h.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for read in ("mean", "log_partition"):
        results = []
        for each in (sampler, EXACT):
            value = getattr(each, read)(IsingModel(h, J))
            fields, couplings = torch.autograd.grad((value * (w if value.ndim == 3 else w[..., 0])).sum(), (h, J))
            results.append((value.detach(), fields, within(couplings, width)))
        for actual, expected in zip(*results, strict=True):
            torch.testing.assert_close(actual, expected, rtol=0, atol=1e-9)


def test_gradients_are_covariances() -> None:
    """∂L/∂h_j = Cov(f, s_j), ∂L/∂J_jk = Cov(f, s_j s_k) with f = Σ_i w_i s_i, by enumeration."""
    model = banded(7, 3)
    h, J = model.fields.requires_grad_(), model.couplings.requires_grad_()
    w = torch.randn(h.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    fields, couplings = torch.autograd.grad((BandedSampler(3).mean(IsingModel(h, J)) * w).sum(), (h, J))
    for g, group in enumerate(laws(model)):
        parts = [mean_gradient(one, w[g, m].numpy()) for m, one in enumerate(group)]
        expected = torch.from_numpy(np.array([part[0] for part in parts]).astype(float))
        torch.testing.assert_close(fields[g], expected, rtol=1e-10, atol=1e-12)
        expected = torch.from_numpy(sum(part[1] for part in parts).astype(float))
        torch.testing.assert_close(couplings[g], within(expected, 3), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("moment", ["mean", "log_partition", "up_probability"])
@pytest.mark.parametrize(("spins", "width"), [(1, 1), (4, 2)])
def test_first_and_second_derivatives(moment: str, spins: int, width: int) -> None:
    model, sampler = banded(spins, width, 2, 2), BandedSampler(width)
    visible = torch.ones(2, 2, spins, dtype=torch.bool)
    visible[0, 1, spins // 2] = visible[1, 0, 0] = False

    def read(h: torch.Tensor, J: torch.Tensor) -> torch.Tensor:
        one = IsingModel(h, within(J, width))
        return sampler.up_probability(one, visible) if moment == "up_probability" else getattr(sampler, moment)(one)

    inputs = (model.fields.requires_grad_(), model.couplings.requires_grad_())
    assert torch.autograd.gradcheck(read, inputs)
    assert torch.autograd.gradgradcheck(read, inputs)
    h, J = (x.detach() for x in inputs)
    assert torch.autograd.gradgradcheck(lambda x: read(x, J), inputs[:1])  # where one of them is a constant
    assert torch.autograd.gradgradcheck(lambda x: read(h, x), inputs[1:])


def test_value_and_log_partition_share_a_gradient() -> None:
    """Both at once through one graph, as a loss with a free energy in it would take them."""
    model, sampler = banded(6, 2), BandedSampler(2)
    h, J = model.fields.requires_grad_(), model.couplings.requires_grad_()
    gradients = []
    for each in (sampler, EXACT):
        one = IsingModel(h, J)
        loss = each.mean(one).square().sum() - 0.3 * each.log_partition(one).sum()
        fields, couplings = torch.autograd.grad(loss, (h, J))
        gradients.append((fields, within(couplings, 2)))
    for actual, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


# Long chains and strong fields


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_a_chain_of_512_spins_by_two_by_two_matrices(scale: float) -> None:
    """Also in a wider band, of which the chain fills the first diagonal, and with fields up to 30."""
    rng = np.random.default_rng(1)
    h, J = scale * rng.uniform(-1, 1, 512), scale * rng.uniform(-1, 1, 511)
    log_z, mean = chain_by_matrices(h, J)
    couplings = torch.diag(torch.from_numpy(J), 1)[None]
    model = IsingModel(torch.from_numpy(h)[None, None], couplings)
    for width in (1, 4):
        sampler = BandedSampler(width)
        # 512 terms of up to 60, each rounded at 1e-16, on a log Z of some 500 to 15000
        torch.testing.assert_close(sampler.mean(model)[0, 0], torch.from_numpy(mean), rtol=0, atol=1e-10)
        assert sampler.log_partition(model).item() == pytest.approx(log_z, rel=1e-12)


def test_512_spins_in_a_wide_band_have_gradients() -> None:
    """Linear response over a step, far from either end: ∂⟨s⟩/∂h is what a finite difference says."""
    model, sampler = banded(512, 4, 1, 1, coupling=0.4), BandedSampler(4)
    h = model.fields.clone().requires_grad_()
    sampler.mean(IsingModel(h, model.couplings))[0, 0, 250].backward()
    for j in (247, 250, 255):
        step = torch.zeros_like(model.fields)
        step[0, 0, j] = 1e-5
        up, down = (sampler.mean(IsingModel(model.fields + x, model.couplings))[0, 0, 250] for x in (step, -step))
        assert h.grad[0, 0, j].item() == pytest.approx(float(up - down) / 2e-5, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_strong_fields_and_small_probabilities_keep_their_digits(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    h = (60 * torch.rand(1, 4, 8, generator=generator) - 30).to(dtype)
    model = IsingModel(h, within(3 * torch.randn(1, 8, 8, generator=generator), 3).to(dtype))
    actual, expected = BandedSampler(3).up_probability(model), table(model, "up")
    assert actual.dtype == dtype
    assert float(expected.min()) < 1e-15
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    torch.testing.assert_close(actual.double(), expected, rtol=tolerance, atol=1e-37)


# Hidden spins


@pytest.mark.parametrize("extreme", [0.5, 1e30])
def test_hidden_spins_are_absent(extreme: float) -> None:
    model, width = banded(7, 3, 3, 6), 3
    visible = torch.rand(3, 6, 7, generator=torch.Generator().manual_seed(1)) > 0.4
    visible[0, 0], visible[0, 1] = False, True
    wild = IsingModel(torch.where(visible, model.fields, torch.tensor(extreme).double()), model.couplings)
    h, J = wild.fields.requires_grad_(), wild.couplings.requires_grad_()
    results = []
    for each in (BandedSampler(width), EXACT):
        up = each.up_probability(IsingModel(h, J), visible)
        fields, couplings = torch.autograd.grad(up.square().sum(), (h, J))
        results.append((up.detach(), fields, within(couplings, width)))
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)
    assert not bool(results[0][0][~visible].any())
    for g, m in np.ndindex(3, 6):
        keep = visible[g, m].nonzero().squeeze(-1)
        if len(keep):
            one = law(model.fields[g, m, keep], model.couplings[g][keep][:, keep])
            expected = torch.from_numpy(one.up.astype(float))
            torch.testing.assert_close(results[0][0][g, m, keep], expected, rtol=1e-10, atol=0)


def test_one_mask_for_all_groups_and_no_other_shape() -> None:
    model, sampler = banded(4, 2, 2, 4), BandedSampler(2)
    causal = torch.ones(4, 4, dtype=torch.bool).tril()[None]
    both = sampler.up_probability(model, causal.expand(2, -1, -1))
    assert torch.equal(sampler.up_probability(model, causal), both)
    for wrong in (torch.ones(2, 4, 4), torch.ones(4, 4, dtype=torch.bool)):
        with pytest.raises(ValueError, match=r"visible is torch.* give torch.bool .*= \(2, 4, 4\)"):
            sampler.up_probability(model, wrong)


# Symmetries


@settings(max_examples=20)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 10**6), st.sampled_from([0.2, 1.0, 4.0]))
def test_reversing_the_chain_reverses_its_means(spins: int, width: int, seed: int, strength: float) -> None:
    width = min(width, max(1, spins - 1))
    model, sampler = banded(spins, width, seed=seed, coupling=strength), BandedSampler(width)
    backwards = IsingModel(model.fields.flip(-1), model.couplings.flip(-1, -2).transpose(1, 2))
    torch.testing.assert_close(sampler.mean(backwards), sampler.mean(model).flip(-1), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(sampler.log_partition(backwards), sampler.log_partition(model), rtol=1e-11, atol=0)


@settings(max_examples=20)
@given(st.integers(2, 40), st.integers(0, 10**6))
def test_flipping_every_field_flips_every_mean(spins: int, seed: int) -> None:
    model, sampler = banded(spins, 1, seed=seed), BandedSampler(1)
    flipped = IsingModel(-model.fields, model.couplings)
    torch.testing.assert_close(sampler.mean(flipped), -sampler.mean(model), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(sampler.log_partition(flipped), sampler.log_partition(model), rtol=1e-11, atol=0)


# Memory


def test_chunks_change_nothing() -> None:
    model, visible = banded(9, 2, 3, 20), torch.rand(3, 20, 9) > 0.3
    h, J = model.fields.requires_grad_(), model.couplings.requires_grad_()
    results = []
    for limit in (2**12, 2**13, 2**30):
        sampler = BandedSampler(2, memory_limit=limit)
        up = sampler.up_probability(IsingModel(h, J), visible)
        fields, couplings = torch.autograd.grad(up.square().sum(), (h, J))
        samples = sampler.sample(model, shots=5, seed=3).spins
        results.append((up.detach(), fields, couplings, sampler.log_partition(model).detach(), samples))
    for other in results[:-1]:
        for actual, expected in zip(other, results[-1], strict=True):
            torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-14)


def test_no_models_give_no_moments() -> None:
    for shape in ((2, 0), (0, 2)):
        empty = IsingModel(torch.zeros(*shape, 4), torch.zeros(shape[0], 4, 4))
        assert BandedSampler(2).mean(empty).shape == (*shape, 4)
        assert BandedSampler(2).log_partition(empty).shape == shape
        assert BandedSampler(2).sample(empty, shots=3).spins.shape == (*shape, 3, 4)


# Samples


@pytest.mark.parametrize(("spins", "width"), [(1, 1), (5, 1), (6, 2), (6, 5)])
def test_samples_follow_the_law(spins: int, width: int) -> None:
    model = banded(spins, width, 2, 2)
    samples = BandedSampler(width).sample(model, shots=20_000, seed=spins)
    assert chi_squared_p(samples, table(model, "probabilities")) > 1e-4
    assert chi_squared_p(samples, table(model.scaled(1.0, 0.8), "probabilities")) < 1e-4 or spins == 1


def test_long_samples_have_the_chains_means_and_neighbours() -> None:
    """Σ_i of what is sampled, at 200 spins, within five standard errors of matrix products."""
    model, shots = banded(200, 1, 1, 1, coupling=0.5), 4000
    h, J = model.fields[0, 0].numpy(), torch.diagonal(model.couplings[0], 1).numpy()
    samples = BandedSampler(1).sample(model, shots=shots, seed=5)
    _, mean = chain_by_matrices(h, J)
    error = np.sqrt((1 - mean**2) / shots)
    assert float(np.abs((samples.mean()[0, 0].double().numpy() - mean) / error).max()) < 5
    for k in (0, 100, 198):  # ⟨s_k s_{k+1}⟩ = ∂ log Z / ∂J_k
        e = 1e-5 * np.eye(199)[k]
        pair = (chain_by_matrices(h, J + e)[0] - chain_by_matrices(h, J - e)[0]) / 2e-5
        found = (samples.spins[0, 0, :, k] * samples.spins[0, 0, :, k + 1]).double().mean().item()
        assert abs(found - pair) < 5 * math.sqrt((1 - pair**2) / shots)


# Errors


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "width is 0; give an integer of at least 1"),
        ({"width": -2}, "width is -2"),
        ({"width": 1.5}, "width is 1.5; give an integer"),
        ({"width": True}, "width is True; give an integer"),
        ({"width": 30}, "width is 30, but at most 20 fits; reorder"),
        ({"width": 2, "memory_limit": 0}, "memory_limit is 0; give a positive number"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BandedSampler(**settings)


@pytest.mark.parametrize("read", ["mean", "up_probability", "log_partition", "sample"])
def test_models_that_do_not_fit_are_refused(read: str) -> None:
    sampler = BandedSampler(2)

    def ask(model: IsingModel) -> object:
        return getattr(sampler, read)(model)

    with pytest.raises(ValueError, match=r"width is 2, but a model of 2 spins .* a width of at most 1"):
        ask(random_model(2))
    model = banded(5, 2)
    model.couplings[1, 0, 3] = 0.25
    with pytest.raises(ValueError, match=r"couplings\[1, 0, 3\] is 0.25, but spins 0 and 3 are 3 apart.*at least 3"):
        ask(model)
    sampler = BandedSampler(2, memory_limit=2**12)
    with pytest.raises(ValueError, match=r"memory_limit is 4096, but 500 spins with a band of width 2 take \d+ bytes"):
        ask(banded(500, 2))


def test_the_widest_band_can_be_made() -> None:
    widest = BandedSampler(1).max_width
    assert 10 <= widest <= 20
    BandedSampler(widest)
    with pytest.raises(ValueError, match=f"width is {widest + 1}"):
        BandedSampler(widest + 1)


def test_it_keeps_the_contracts() -> None:
    assert isinstance(BandedSampler(1), Sampler)
    assert isinstance(BandedSampler(1), ExactMoments)
