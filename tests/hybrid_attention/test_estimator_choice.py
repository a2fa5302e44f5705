"""Estimators by name: those that need no samples, attention with each, and what is refused."""

import pytest
import torch
from estimator_cases import READ_SAMPLES, AnnealedSampler, gradients, model_and_upstream
from injected_samplers import LawSampler, PerfectSampler

from classical import ExactSampler, IsingModel
from hybrid_attention import BoltzmannAttention, boltzmann_mean
from hybrid_attention.estimators import ESTIMATORS


@pytest.mark.parametrize("estimator", [*READ_SAMPLES, "adjoint"])
@pytest.mark.parametrize("shape", [(0, 3, 2), (2, 0, 2)])
def test_empty_batches(estimator, shape):
    model = IsingModel(torch.zeros(shape), torch.zeros(shape[0], 2, 2))
    halves = estimator != "adjoint"
    sampler = AnnealedSampler() if estimator == "adjoint" else PerfectSampler()
    found = gradients(model, torch.zeros(shape), sampler=sampler, estimator=estimator, independent_halves=halves)
    assert [tuple(x.shape) for x in found] == [shape, shape, (shape[0], 2, 2)]


def test_adjoint_is_the_gradient_of_the_annealed_law():
    model, upstream = model_and_upstream(2, 3, 3)
    sampler = AnnealedSampler()
    value, by_h, by_J = gradients(model, upstream, sampler=sampler, estimator="adjoint")
    assert not sampler.calls
    torch.testing.assert_close(value, sampler.mean(model), rtol=1e-12, atol=1e-14)
    step = 1e-6
    for x, slope, name in ((model.fields, by_h, "h"), (model.couplings, by_J, "J")):
        for index in [(0, 1, 2), (1, 0, 1)] if name == "h" else [(0, 0, 2), (1, 1, 2)]:
            loss = []
            for sign in (1, -1):
                moved = x.clone()
                moved[index] += sign * step
                other = IsingModel(moved, model.couplings) if name == "h" else IsingModel(model.fields, moved)
                loss.append((sampler.mean(other) * upstream).sum())
            assert float(slope[index]) == pytest.approx(float(loss[0] - loss[1]) / (2 * step), abs=1e-8)
    exact = gradients(model, upstream, sampler=ExactSampler())[1]
    assert (by_h - exact).abs().max() > 0.01  # an anneal's law is another one


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_closed_forms_need_no_estimator(estimator, halves):
    model, upstream = model_and_upstream(2, 3, 4)
    found = gradients(model, upstream, sampler=ExactSampler(), estimator=estimator, independent_halves=halves, shots=2)
    for x, y in zip(found, gradients(model, upstream, sampler=ExactSampler()), strict=True):
        assert torch.equal(x, y)


def test_exact_takes_values_from_samples_and_gradients_from_the_law():
    model, upstream = model_and_upstream(2, 3, 4)
    found = gradients(model, upstream, sampler=PerfectSampler(), shots=10, estimator="exact")
    exact = gradients(model, upstream, sampler=ExactSampler())
    assert (found[0] - exact[0]).abs().max() > 0.01
    for x, y in zip(found[1:], exact[1:], strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-14)


# --- attention ------------------------------------------------------------------------------------------------------


def attention(estimator, sampler=None, **options):
    made = BoltzmannAttention(
        6, 2, 5, sampler=sampler or LawSampler(), estimator=estimator, **{"couplings": "position", **options}
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return made


@pytest.mark.parametrize("couplings", ["position", "content"])
@pytest.mark.parametrize("estimator", ["callen", "exact"])
def test_attention_with_any_estimator_has_the_exact_slopes_on_whole_laws(estimator, couplings):
    x = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(1))
    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[1, 4] = True
    slopes = []
    for made in (
        attention(estimator, couplings=couplings),
        attention("covariance", ExactSampler(), couplings=couplings),
    ):
        output, _ = made(x, is_causal=True, key_padding_mask=padding)
        output[:, :, 0].sum().backward()
        slopes.append([output.detach(), *(p.grad for p in made.parameters() if p.grad is not None)])
    for found, exact in zip(*slopes, strict=True):
        torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-5)


def test_attention_trains_through_an_annealed_law_under_a_mask():
    made = attention("adjoint", AnnealedSampler())
    x = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(1))
    output, weights = made(x, is_causal=True)
    assert not weights.triu(1).any()
    output.square().sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in made.parameters() if p.grad is not None)
    assert not made.sampler.calls


def test_attention_says_which_estimator_it_has():
    assert "estimator='callen'" in repr(attention("callen"))


# --- bad input ------------------------------------------------------------------------------------------------------


class WithoutDerivatives(PerfectSampler):
    """Knows its mean as a number only."""

    def mean(self, model):
        return torch.zeros_like(model.fields).detach()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimator": "nope"}, "estimator is 'nope'; use one of covariance, callen, exact, adjoint"),
        ({"estimator": "adjoint"}, "PerfectSampler has no differentiable mean.*StatevectorSampler.*'callen'"),
        ({"independent_halves": True, "shots": 3}, "shots is 3; give an integer of at least 4"),
        ({"estimator": "callen", "shots": 1}, "shots is 1; give an integer of at least 2"),
        ({"estimator": "exact", "spins": 30}, "works with at most 25 spins, not 30; use estimator='callen'"),
    ],
)
def test_bad_requests_are_refused_before_sampling(options, message):
    options = dict(options)
    spins, sampler = options.pop("spins", 3), PerfectSampler()
    with pytest.raises(ValueError, match=message):
        boltzmann_mean(torch.zeros(1, 1, spins), torch.zeros(1, spins, spins), sampler=sampler, **options)
    with pytest.raises(ValueError, match=message):
        BoltzmannAttention(6, 2, spins, sampler=sampler, **options)
    assert not sampler.calls


def test_a_mean_without_derivatives_is_no_adjoint():
    h, J = torch.zeros(1, 1, 2, requires_grad=True), torch.zeros(1, 2, 2)
    with pytest.raises(ValueError, match=r"WithoutDerivatives\.mean returns no derivatives"):
        boltzmann_mean(h, J, sampler=WithoutDerivatives(), estimator="adjoint")
