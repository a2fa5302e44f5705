"""Estimators that read samples: exact on whole laws, unbiased shot by shot, and the variance that one of them saves."""

import itertools
import math

import pytest
import torch
from estimator_cases import READ_SAMPLES, gradients, model_and_upstream
from injected_samplers import AggregatedSampler, LawSampler, PerfectSampler

from benchmarks.estimators import copies, draws, flat, random_models, ratio, spread
from classical import ExactSampler, IsingModel, Samples, all_configurations
from hybrid_attention import boltzmann_probability
from hybrid_attention.estimators import ESTIMATORS, callen_gradient, conditional_up, covariance_gradient, exact_gradient


@pytest.mark.parametrize("estimator", READ_SAMPLES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("groups", "models", "spins"), [(1, 1, 1), (2, 3, 4), (3, 1, 5)])
def test_on_a_whole_law_every_estimator_is_exact(estimator, dtype, groups, models, spins):
    model, upstream = model_and_upstream(groups, models, spins, dtype=dtype)
    exact = gradients(model, upstream, sampler=ExactSampler())
    found = gradients(model, upstream, sampler=LawSampler(), estimator=estimator)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for x, y in zip(found, exact, strict=True):
        assert x.dtype == dtype
        torch.testing.assert_close(x, y, rtol=0, atol=tolerance)


@pytest.mark.parametrize("estimator", ["covariance", "callen"])
def test_golden_gradients(golden, estimator):
    for case in golden["cases"]:
        h = torch.tensor(case["fields"], dtype=torch.float64)[None, None]
        J = torch.tensor(case["couplings"], dtype=torch.float64)[None]
        w = torch.tensor(case["loss_weights"], dtype=torch.float64)
        value, by_h, by_J = gradients(IsingModel(h, J), w, sampler=LawSampler(), estimator=estimator)
        for got, name in ((value[0, 0], "mean"), (by_h[0, 0], "grad_fields"), (by_J[0], "grad_couplings")):
            torch.testing.assert_close(got, torch.tensor(case[name], dtype=torch.float64), rtol=0, atol=1e-8)


def callen_written_out(samples, model, upstream, bessel):
    """Forms A and B of the module's docstring, averaged, one number at a time; (by fields, by couplings)."""
    groups, models, _, spins = samples.spins.shape
    full = model.couplings + model.couplings.transpose(1, 2)
    by_h, by_J = torch.zeros_like(model.fields), torch.zeros_like(model.couplings)
    for a, m in itertools.product(range(groups), range(models)):
        s, w, g = samples.spins[a, m].double(), samples.weights[a, m], upstream[a, m]
        t = torch.tanh(model.fields[a, m] + s @ full[a])

        def mean(x, w=w):
            return (w * x).sum()

        def cov(x, y, mean=mean):
            return bessel * mean((x - mean(x)) * (y - mean(y)))

        f_t = t @ g
        without = [s @ g - g[j] * s[:, j] for j in range(spins)]
        rest = 1 - t**2

        def x_form(j, k, s=s, t=t, g=g, without=without, rest=rest, mean=mean, cov=cov):
            return cov(without[j], t[:, j] * s[:, k]) + g[j] * (
                mean(rest[:, j] * s[:, k]) + cov(t[:, j], t[:, j] * s[:, k])
            )

        for j in range(spins):
            form_a = cov(f_t, s[:, j]) + g[j] * mean(rest[:, j])
            form_b = cov(without[j], t[:, j]) + g[j] * (mean(rest[:, j]) + cov(t[:, j], t[:, j]))
            by_h[a, m, j] = (form_a + form_b) / 2
            for k in range(j + 1, spins):
                form_a = cov(f_t, s[:, j] * s[:, k])
                form_a += g[j] * mean(rest[:, j] * s[:, k]) + g[k] * mean(rest[:, k] * s[:, j])
                by_J[a, j, k] += (form_a + (x_form(j, k) + x_form(k, j)) / 2) / 2
    return by_h, by_J


@pytest.mark.parametrize("counted", [True, False], ids=["counted shots", "probability weights"])
def test_callen_equals_its_formulas_written_out(counted):
    model, upstream = model_and_upstream(2, 3, 4, seed=3)
    generator = torch.Generator().manual_seed(3)
    rows, shots = 6, 17
    spins = (2 * torch.randint(2, (2, 3, rows, 4), generator=generator) - 1).to(torch.int8)
    weights = torch.rand(2, 3, rows, generator=generator, dtype=torch.float64)
    weights[..., -1] = 0  # padding
    samples = Samples(spins, weights / weights.sum(-1, keepdim=True), shots if counted else None)
    found = callen_gradient(samples, model, upstream)
    expected = callen_written_out(samples, model, upstream, shots / (shots - 1) if counted else 1.0)
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-14)


def every_outcome(model, shots):
    """Every possible outcome of some shots of one model, each a group of its own, and its probability."""
    configurations = all_configurations(model.spins)
    outcomes = torch.tensor(list(itertools.product(range(2**model.spins), repeat=shots)))
    law = torch.softmax(model.log_weight(configurations[None, None]), -1)[0, 0]
    weights = torch.full((len(outcomes), 1, shots), 1 / shots, dtype=torch.float64)
    return Samples(configurations[outcomes].unsqueeze(1), weights, shots), law[outcomes].prod(-1)


@pytest.mark.parametrize(("spins", "shots"), [(1, 3), (2, 2), (2, 4), (3, 2), (3, 3)])
@pytest.mark.parametrize("estimator", ["covariance", "callen"])
def test_the_expected_estimate_is_the_exact_gradient(estimator, spins, shots):
    # the expectation itself, over every possible outcome of the shots: Bessel's factor has to be where it belongs
    model, upstream = model_and_upstream(1, 1, spins, seed=spins)
    samples, chance = every_outcome(model, shots)
    many, rule = copies(model, len(chance)), ESTIMATORS[estimator]
    found = chance @ flat(rule.gradient(samples, many, upstream.expand(len(chance), -1, -1)))
    torch.testing.assert_close(found, flat(exact_gradient(samples, model, upstream))[0], rtol=1e-10, atol=1e-13)
    value = chance @ rule.value(samples, many).squeeze(1)
    torch.testing.assert_close(value, ExactSampler().up_probability(model)[0, 0], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("estimator", ["covariance", "callen"])
def test_the_bias_of_a_quadratic_loss_and_its_removal(estimator, halves):
    # L = ½|m − y|², again over every outcome: one set of samples shrinks m by 2/R (plain estimator), two independent
    # halves are off by nothing
    model, target = model_and_upstream(1, 1, 2, seed=5)
    samples, chance = every_outcome(model, 4)
    first = second = samples
    if halves:  # any way of dealing will do, as all outcomes are there
        first, second = (
            Samples(samples.spins[:, :, rows], torch.full_like(samples.weights[..., rows], 0.5), 2)
            for rows in (slice(2), slice(2, None))
        )
    many, rule = copies(model, len(chance)), ESTIMATORS[estimator]
    upstream = 2 * rule.value(first, many) - 1 - target
    expected = chance @ flat(rule.gradient(second, many, upstream))
    mean = ExactSampler().mean(model)
    exact, shrunk = (flat(exact_gradient(samples, model, share * mean - target))[0] for share in (1.0, 1 - 2 / 4))
    if halves:
        torch.testing.assert_close(expected, exact, rtol=1e-10, atol=1e-13)
        return
    assert (expected - exact).abs().max() > 1e-3
    if estimator == "covariance":
        torch.testing.assert_close(expected, shrunk, rtol=1e-10, atol=1e-13)
    else:
        assert (expected - exact).norm() < (shrunk - exact).norm()


def test_callen_lowers_the_variance_and_stays_unbiased():
    # 8 spins, 256 shots, σ = 1
    plain, callen = (spread(name, sigma=1.0, models=16, repeats=100) for name in ("covariance", "callen"))
    for part in ("mean", "h", "J"):
        saved = ratio(plain.variance[part], callen.variance[part])
        assert saved.mean - saved.error > 2.5
    for found in (plain, callen):
        # 16 · 44 pulls; Student's t with 99 degrees of freedom passes 5.5 less than once in a million
        assert found.worst_pull < 5.5


@pytest.mark.parametrize("estimator", ["covariance", "callen"])
def test_aggregated_rows_equal_expanded_rows(estimator):
    model, upstream = model_and_upstream(2, 3, 4)
    expanded, aggregated = (
        gradients(model, upstream, sampler=sampler, shots=50, seed=3, estimator=estimator)
        for sampler in (PerfectSampler(), AggregatedSampler())
    )
    for x, y in zip(expanded, aggregated, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-13)


def test_pieces_equal_the_whole(monkeypatch):
    model, upstream = model_and_upstream(2, 7, 4)
    samples = ExactSampler().sample(model, shots=20, seed=0)

    def everything():
        return (
            *callen_gradient(samples, model, upstream),
            *covariance_gradient(samples, upstream),
            conditional_up(samples, model),
        )

    whole = everything()
    for name in ("_ELEMENTS_AT_ONCE", "_CALLEN_ELEMENTS_AT_ONCE"):
        monkeypatch.setattr(f"hybrid_attention.estimators.{name}", 2 * 20 * 4 * 3)
    for x, y in zip(everything(), whole, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("estimator", READ_SAMPLES)
def test_one_call_of_the_sampler_and_none_in_backward(estimator, halves):
    model, upstream = model_and_upstream(2, 3, 4)
    sampler = PerfectSampler()
    gradients(model, upstream, sampler=sampler, shots=10, estimator=estimator, independent_halves=halves)
    assert len(sampler.calls) == 1
    assert sampler.calls[0][1] == 10


def test_callen_keeps_the_digits_of_small_probabilities():
    h = torch.tensor([[[-9.0, -12.0]]])
    J = torch.zeros(1, 2, 2)
    options = {"sampler": PerfectSampler(), "shots": 10, "estimator": "callen"}
    exact = torch.sigmoid(2 * h.double())
    found = boltzmann_probability(h, J, **options)
    torch.testing.assert_close(found, exact.float(), rtol=1e-5, atol=0)
    h.requires_grad_()
    (slope,) = torch.autograd.grad(boltzmann_probability(h, J, **options).sum(), h)
    torch.testing.assert_close(slope, (2 * exact * (1 - exact)).float(), rtol=1e-4, atol=0)


def test_random_models_of_the_benchmark_are_what_they_say():
    model, upstream = random_models(2000, sigma=0.5, seed=0)
    assert upstream.shape == (2000, 1, 8)
    assert float(model.fields.std()) == pytest.approx(1, abs=5 / math.sqrt(2 * 16000))
    pairs = model.couplings[:, *torch.triu_indices(8, 8, 1)]
    assert float(pairs.std()) == pytest.approx(0.5 / math.sqrt(8), rel=5 / math.sqrt(2 * 56000))
    drawn = draws(IsingModel(model.fields[:3], model.couplings[:3]), 5, 7, 0)
    assert drawn.spins.shape == (15, 1, 7, 8)
