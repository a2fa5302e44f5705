"""Mean field and TAP: their equations, their accuracy, their gradients, and what they say when they fail."""

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from classical import ConvergenceWarning, ExactSampler, IsingModel, MeanFieldSampler
from classical.ising import symmetric
from classical.sampler import ExactMoments, KnownLaw, Sampler
from tests.classical.enumeration import random_model, table
from tests.contract.mean_field import mean_field, mean_field_fields

METHODS = ["naive", "tap"]
SAMPLERS = {method: MeanFieldSampler(method=method) for method in METHODS}
every_method = pytest.mark.parametrize("method", METHODS)


def fields_by_scipy(model: IsingModel, method: str) -> torch.Tensor:
    h, J = model.fields.double().numpy(), model.couplings.double().numpy()
    out = np.empty_like(h)
    for g, m in np.ndindex(model.groups, model.models):
        out[g, m] = mean_field_fields(h[g, m], J[g], method)
    return torch.from_numpy(out)


@every_method
@pytest.mark.parametrize("spins", [1, 2, 5, 9])
def test_means_and_probabilities_are_those_of_a_root_finder(method: str, spins: int) -> None:
    # the residual of 1e-10 in units of at most 20 is divided by the smallest eigenvalue, not below 0.1 here
    model = random_model(spins, coupling=0.3)
    theta = fields_by_scipy(model, method)
    sampler = SAMPLERS[method]
    torch.testing.assert_close(sampler.mean(model), torch.tanh(theta), rtol=0, atol=2e-8)
    torch.testing.assert_close(sampler.up_probability(model), 1 / (1 + torch.exp(-2 * theta)), rtol=1e-7, atol=0)
    torch.testing.assert_close(sampler.probabilities(model), mean_field(method)(model), rtol=1e-6, atol=0)


@every_method
def test_float32_means_are_those_of_float64(method: str) -> None:
    # 16 roundings of 1.2e-7 in units of about 5
    model = random_model(8, coupling=0.3, dtype=torch.float32)
    actual = SAMPLERS[method].mean(model)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual.double(), torch.tanh(fields_by_scipy(model, method)), rtol=0, atol=1e-4)


@every_method
def test_small_probabilities_keep_their_digits(method: str) -> None:
    h = torch.tensor([[[-200.0, -30.0, 0.5]]], dtype=torch.float64)
    J = torch.tensor([[[0, 1.0, -0.5], [0, 0, 0.3], [0, 0, 0]]], dtype=torch.float64)
    theta = fields_by_scipy(IsingModel(h, J), method)
    actual = SAMPLERS[method].up_probability(IsingModel(h, J))
    assert 0 < actual[0, 0, 0].item() < 1e-150
    torch.testing.assert_close(actual, torch.exp(2 * theta) / (1 + torch.exp(2 * theta)), rtol=1e-6, atol=0)


@every_method
def test_without_couplings_it_is_exact(method: str) -> None:
    h = torch.linspace(-30, 30, 60, dtype=torch.float64).view(2, 5, 6)
    model = IsingModel(h, torch.zeros(2, 6, 6, dtype=torch.float64))
    sampler = SAMPLERS[method]
    torch.testing.assert_close(sampler.up_probability(model), torch.sigmoid(2 * h), rtol=1e-12, atol=0)
    torch.testing.assert_close(sampler.log_partition(model), table(model, "log_partition"), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("method", "order"), [("naive", 2), ("tap", 3)])
def test_errors_vanish_with_the_power_of_the_coupling_that_theory_says(method: str, order: int) -> None:
    """Plefka's expansion: naive mean field leaves out J² in log Z and ⟨s⟩, TAP J³; halving J tells which."""
    model = random_model(6, coupling=1.0)
    errors = []
    for scale in (0.04, 0.02):
        weak = model.scaled(1.0, scale)
        mean = SAMPLERS[method].mean(weak) - table(weak, "mean")
        log_z = SAMPLERS[method].log_partition(weak) - table(weak, "log_partition")
        errors.append((float(mean.norm()), float(log_z.norm())))
    for coarse, fine in zip(*errors, strict=True):
        assert np.log2(coarse / fine) == pytest.approx(order, abs=0.35)  # the next power adds some J ≈ 0.04 times n


@pytest.mark.parametrize("coupling", [0.2, 0.7, 2.0])
def test_the_naive_bound_is_a_bound_even_unconverged(coupling: float) -> None:
    model = random_model(8, models=20, coupling=coupling)
    exact = table(model, "log_partition")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for iterations in (1, 1000):
            bound = MeanFieldSampler(max_iterations=iterations).log_partition(model)
            assert bool((bound <= exact + 1e-12).all())


def test_the_naive_bound_is_log_z_minus_the_divergence_of_the_law() -> None:
    """log Z − F = KL(Q ‖ P), summed over configurations."""
    model = random_model(6, coupling=0.5)
    q, p = SAMPLERS["naive"].probabilities(model), table(model, "probabilities")
    divergence = (q * (q / p).log()).sum(-1)
    expected = table(model, "log_partition") - divergence
    torch.testing.assert_close(SAMPLERS["naive"].log_partition(model), expected, rtol=1e-12, atol=1e-12)


@every_method
@pytest.mark.parametrize("coupling", [1.0, 2.0])
def test_strong_random_couplings_converge(method: str, coupling: float) -> None:
    """Where plain damped iteration cycles: TAP at σ = 2 leaves nine models of ten with half of the old fields kept."""
    model = random_model(12, groups=60, models=2, coupling=coupling / 12**0.5, seed=3)
    found = SAMPLERS[method].sample(model, shots=1).diagnostics
    assert float(found["converged"].double().mean()) >= 0.98
    theta = torch.atanh(SAMPLERS[method].mean(model))
    m, J = torch.tanh(theta), symmetric(model.couplings)
    felt = model.fields + m @ J - (m * ((1 - m**2) @ J**2) if method == "tap" else 0)
    gap = (felt.tanh() - m).abs().amax(-1)
    assert float(gap[found["converged"]].max()) < 1e-8
    if method == "tap" and coupling == 2.0:
        with pytest.warns(ConvergenceWarning):
            plain = MeanFieldSampler(method=method, damping=0.5).sample(model, shots=1).diagnostics
        assert float(plain["converged"].double().mean()) < 0.6


def test_weak_fields_on_strong_couplings_leave_the_saddle_at_zero() -> None:
    """At m ≈ 0 the residual is tiny, yet the solution is an ordered one: m = tanh(h + 3 · 0.8 m)."""
    model = IsingModel(
        torch.full((1, 1, 4), 1e-6, dtype=torch.float64), torch.full((1, 4, 4), 0.8, dtype=torch.float64).triu(1)
    )
    m = 1.0
    for _ in range(200):
        m = np.tanh(1e-6 + 3 * 0.8 * m)
    torch.testing.assert_close(
        SAMPLERS["naive"].mean(model), torch.full((1, 1, 4), m, dtype=torch.float64), rtol=0, atol=1e-8
    )


# Gradients


@every_method
@pytest.mark.parametrize("moment", ["mean", "up_probability", "log_partition", "probabilities"])
def test_first_and_second_derivatives(method: str, moment: str) -> None:
    # finite differences by 1e-6 magnify what the residual leaves, so that has to be at rounding
    sampler, model = MeanFieldSampler(method=method, tolerance=1e-15), random_model(3, 2, 2, coupling=0.5)
    visible = torch.ones(2, 2, 3, dtype=torch.bool)
    visible[0, 1, 1] = visible[1, 0, 0] = False

    def read(h: torch.Tensor, J: torch.Tensor) -> torch.Tensor:
        one = IsingModel(h, J.triu(1))
        return sampler.up_probability(one, visible) if moment == "up_probability" else getattr(sampler, moment)(one)

    inputs = (model.fields.requires_grad_(), model.couplings.requires_grad_())
    assert torch.autograd.gradcheck(read, inputs)
    assert torch.autograd.gradgradcheck(read, inputs)


@every_method
def test_gradients_are_differences_of_a_root_finders_means(method: str) -> None:
    model, step = random_model(4, 1, 1, coupling=0.4), 1e-5
    h, J = model.fields.clone().requires_grad_(), model.couplings.clone().requires_grad_()
    w = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    fields, couplings = torch.autograd.grad((SAMPLERS[method].mean(IsingModel(h, J)) * w).sum(), (h, J))

    def loss(h: torch.Tensor, J: torch.Tensor) -> float:
        return float((torch.tanh(fields_by_scipy(IsingModel(h, J), method)) * w).sum())

    for i in range(4):
        e = step * torch.eye(4, dtype=torch.float64)[i]
        difference = loss(model.fields + e, model.couplings) - loss(model.fields - e, model.couplings)
        assert fields[0, 0, i].item() == pytest.approx(difference / (2 * step), abs=1e-6)
    for i, k in itertools.combinations(range(4), 2):
        e = torch.zeros(1, 4, 4, dtype=torch.float64)
        e[0, i, k] = step
        difference = loss(model.fields, model.couplings + e) - loss(model.fields, model.couplings - e)
        assert couplings[0, i, k].item() == pytest.approx(difference / (2 * step), abs=1e-6)
    assert not bool(couplings.tril().any())


def test_the_bound_generates_means_and_their_products() -> None:
    model = random_model(5, coupling=0.25)
    h, J = model.fields.requires_grad_(), model.couplings.requires_grad_()
    fields, couplings = torch.autograd.grad(SAMPLERS["naive"].log_partition(IsingModel(h, J)).sum(), (h, J))
    m = torch.tanh(fields_by_scipy(model.detach(), "naive"))
    torch.testing.assert_close(fields, m, rtol=0, atol=1e-7)
    torch.testing.assert_close(couplings, (m.transpose(1, 2) @ m).triu(1), rtol=0, atol=1e-7)


def test_a_critical_point_has_no_gradient() -> None:
    h = torch.zeros(1, 1, 2, dtype=torch.float64, requires_grad=True)
    J = torch.tensor([[[0.0, 1.0], [0.0, 0.0]]], dtype=torch.float64)
    mean = SAMPLERS["naive"].mean(IsingModel(h, J))
    with pytest.raises(ValueError, match=r"critical point.*change either"):
        mean.sum().backward()


# Symmetries, masks and batches

SEEDS = st.integers(0, 10**6)


@settings(max_examples=20)
@given(st.integers(1, 7), SEEDS, st.sampled_from(METHODS))
def test_flipping_every_field_flips_every_mean(spins: int, seed: int, method: str) -> None:
    model = random_model(spins, seed=seed, coupling=0.8 / spins**0.5)
    flipped = IsingModel(-model.fields, model.couplings)
    torch.testing.assert_close(SAMPLERS[method].mean(flipped), -SAMPLERS[method].mean(model), rtol=0, atol=1e-12)


@settings(max_examples=20)
@given(st.integers(2, 7), SEEDS, st.sampled_from(METHODS))
def test_renumbering_spins_renumbers_their_means(spins: int, seed: int, method: str) -> None:
    model = random_model(spins, seed=seed, coupling=0.5 / spins**0.5)
    order = torch.randperm(spins, generator=torch.Generator().manual_seed(seed))
    renamed = IsingModel(model.fields[..., order], symmetric(model.couplings)[:, order][..., order].triu(1))
    mean = SAMPLERS[method].mean(model)[..., order]
    torch.testing.assert_close(SAMPLERS[method].mean(renamed), mean, rtol=0, atol=1e-6)
    log_z = SAMPLERS[method].log_partition(model)
    torch.testing.assert_close(SAMPLERS[method].log_partition(renamed), log_z, rtol=0, atol=1e-9)


@every_method
@pytest.mark.parametrize("extreme", [0.5, 1e30])
def test_hidden_spins_are_absent(method: str, extreme: float) -> None:
    model = random_model(6, groups=2, models=5, coupling=0.25)
    visible = torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(1)) > 0.4
    visible[0, 0], visible[0, 1] = False, True
    wild = IsingModel(torch.where(visible, model.fields, torch.tensor(extreme).double()), model.couplings)
    h, J = wild.fields.requires_grad_(), wild.couplings.requires_grad_()
    actual = SAMPLERS[method].up_probability(IsingModel(h, J), visible)
    fields, couplings = torch.autograd.grad(actual.sum(), (h, J))
    assert not bool(actual[~visible].any())
    assert not bool(fields[~visible].any())
    assert bool(torch.isfinite(couplings).all())
    for g, m in np.ndindex(2, 5):
        keep = visible[g, m].nonzero().squeeze(-1)
        if len(keep):
            one = IsingModel(model.fields[g, m, keep][None, None], model.couplings[g][keep][:, keep][None])
            expected = torch.sigmoid(2 * fields_by_scipy(one.detach(), method))[0, 0]
            torch.testing.assert_close(actual[g, m, keep], expected, rtol=1e-6, atol=0)


def test_one_mask_for_all_groups_and_no_other_shape() -> None:
    model = random_model(4, groups=2, models=4, coupling=0.3)
    causal = torch.ones(4, 4, dtype=torch.bool).tril()[None]
    both = SAMPLERS["tap"].up_probability(model, causal.expand(2, -1, -1))
    assert torch.equal(SAMPLERS["tap"].up_probability(model, causal), both)
    for wrong in (torch.ones(2, 4, 4), torch.ones(4, 4, dtype=torch.bool)):
        with pytest.raises(ValueError, match=r"visible is torch.* give torch.bool .*= \(2, 4, 4\)"):
            SAMPLERS["tap"].up_probability(model, wrong)


@every_method
def test_means_do_not_depend_on_their_company(method: str) -> None:
    """Slow and fast models together: each stops where it would stop alone, to the rounding of a matrix product."""
    model = random_model(8, groups=3, models=40, coupling=0.5)
    whole = SAMPLERS[method].mean(model)
    for g, m in ((0, 0), (1, 17), (2, 39)):
        alone = IsingModel(model.fields[g : g + 1, m : m + 1], model.couplings[g : g + 1])
        torch.testing.assert_close(SAMPLERS[method].mean(alone)[0, 0], whole[g, m], rtol=0, atol=1e-11)


@every_method
def test_five_hundred_spins_and_no_models_at_all(method: str) -> None:
    model = random_model(500, 1, 2, coupling=0.4 / 500**0.5)
    h = model.fields.requires_grad_()
    mean = SAMPLERS[method].mean(IsingModel(h, model.couplings))
    (gradient,) = torch.autograd.grad(mean.sum(), h)
    assert bool(torch.isfinite(gradient).all())
    m, J = mean.detach(), symmetric(model.couplings)
    felt = model.fields + m @ J - (m * ((1 - m**2) @ J**2) if method == "tap" else 0)
    torch.testing.assert_close(torch.tanh(felt), m, rtol=0, atol=1e-7)
    assert SAMPLERS[method].sample(model, shots=3).spins.shape == (1, 2, 3, 500)
    empty = IsingModel(torch.zeros(2, 0, 4), torch.zeros(2, 4, 4))
    assert SAMPLERS[method].mean(empty).shape == (2, 0, 4)
    assert SAMPLERS[method].sample(empty, shots=3).spins.shape == (2, 0, 3, 4)


def test_tap_is_nearer_than_naive_where_couplings_are_weak() -> None:
    model = random_model(10, groups=50, models=1, coupling=0.5 / 10**0.5)
    exact = ExactSampler().mean(model)
    naive, tap = (float((SAMPLERS[x].mean(model) - exact).norm()) for x in METHODS)
    assert tap < naive / 3


# What it says


def test_it_warns_with_the_share_and_the_residual() -> None:
    model = random_model(6, groups=2, models=5, coupling=1.0)
    sampler = MeanFieldSampler(method="tap", max_iterations=1)
    with pytest.warns(
        ConvergenceWarning, match=r"of 10 models \(\d+\.\d%\) did not converge.*residual is \d"
    ) as caught:
        samples = sampler.sample(model, shots=5)
    assert caught[0].filename == __file__
    with pytest.warns(ConvergenceWarning) as caught:
        sampler.mean(model)
    assert caught[0].filename == __file__
    found = samples.diagnostics
    assert found["method"] == "tap"
    for name in ("residual", "iterations", "converged"):
        assert found[name].shape == (2, 5)
    assert torch.equal(found["converged"], found["residual"] <= 1e-10)
    assert not bool(found["converged"].all())
    assert int(found["iterations"].max()) == 1


def test_it_does_not_warn_when_all_is_well() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = SAMPLERS["naive"].sample(random_model(6, coupling=0.2), shots=5).diagnostics
    assert bool(found["converged"].all())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "bethe"}, "method is 'bethe'; use one of naive, tap"),
        ({"damping": 1.0}, "damping is 1.0; give a number from 0"),
        ({"damping": -0.1}, "damping is -0.1"),
        ({"damping": float("nan")}, "damping is nan"),
        ({"tolerance": 0.0}, "tolerance is 0.0; give a positive number"),
        ({"tolerance": "small"}, "tolerance is 'small'"),
        ({"max_iterations": 0}, "max_iterations is 0; give an integer of at least 1"),
        ({"max_iterations": 2.5}, "max_iterations is 2.5"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MeanFieldSampler(**settings)


def test_a_table_of_many_spins_is_refused() -> None:
    with pytest.raises(ValueError, match=r"spins is 25.*at most 24.*use up_probability"):
        SAMPLERS["naive"].probabilities(random_model(25, 1, 1, coupling=0.1))


def test_it_keeps_the_contracts() -> None:
    for contract in (Sampler, ExactMoments, KnownLaw):
        assert isinstance(SAMPLERS["naive"], contract)
