"""Value from one half of the shots, gradient from the other."""

import math

import pytest
import torch
from estimator_cases import gradients, model_and_upstream
from injected_samplers import AggregatedSampler, LawSampler, PerfectSampler

from classical import ExactSampler, Samples, all_configurations
from hybrid_attention.estimators import covariance_gradient
from hybrid_attention.halves import deal_halves


@pytest.mark.parametrize("sampler", [PerfectSampler(), AggregatedSampler()], ids=["rows", "aggregated"])
@pytest.mark.parametrize("shots", [4, 9, 50])
def test_halves_are_all_the_shots_dealt_once(sampler, shots):
    model, _ = model_and_upstream(2, 3, 3, dtype=torch.float32)
    samples = sampler.sample(model, shots=shots, seed=1)
    first, second = deal_halves(samples, 1)
    assert (first.shots, second.shots) == (shots // 2, shots - shots // 2)
    together = first.frequencies() * first.shots + second.frequencies() * second.shots
    torch.testing.assert_close(together, samples.frequencies() * shots, rtol=0, atol=1e-4)
    assert first.weights.dtype == torch.float32


def test_every_shot_is_as_likely_to_be_in_either_half():
    # twelve different configurations in a fixed order, as a device that counts would report them
    shots, models = 12, 4000
    spins = all_configurations(4)[:shots].expand(1, models, -1, -1).contiguous()
    samples = Samples(spins, torch.full((1, models, shots), 1 / shots, dtype=torch.float64), shots)
    first, _ = deal_halves(samples, 0)
    share = (first.frequencies()[0, :, :shots] * 6).mean(0)
    assert bool(((share - 0.5).abs() < 5 * 0.5 / math.sqrt(models)).all())
    pair = (first.frequencies()[0, :, 0] * first.frequencies()[0, :, 1] * 36).mean()
    expected = (6 * 5) / (12 * 11)
    assert abs(float(pair) - expected) < 5 * math.sqrt(expected * (1 - expected) / models)


def test_halves_belong_to_the_models_own_seed():
    model, _ = model_and_upstream(2, 3, 3)
    seeds = torch.arange(6).reshape(2, 3)
    samples = ExactSampler().sample(model, shots=20, seed=seeds)
    whole = deal_halves(samples, seeds)[0].spins
    alone = deal_halves(Samples(samples.spins[1:, 2:], samples.weights[1:, 2:], 20), seeds[1:, 2:])[0].spins
    assert torch.equal(whole[1:, 2:], alone)


def test_value_and_gradient_come_from_different_halves():
    model, upstream = model_and_upstream(2, 3, 3)
    value, by_h, by_J = gradients(model, upstream, sampler=PerfectSampler(), shots=21, seed=4, independent_halves=True)
    first, second = deal_halves(ExactSampler().sample(model, shots=21, seed=4), 4)
    torch.testing.assert_close(value, first.mean(), rtol=1e-12, atol=1e-13)
    for x, y in zip((by_h, by_J), covariance_gradient(second, upstream), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-13)


def test_a_whole_law_has_no_halves():
    model, upstream = model_and_upstream(2, 3, 3)
    found = gradients(model, upstream, sampler=LawSampler(), independent_halves=True)
    for x, y in zip(found, gradients(model, upstream, sampler=ExactSampler()), strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=1e-12)


def test_weights_that_count_nothing_cannot_be_dealt():
    samples = Samples(torch.ones(1, 1, 2, 2, dtype=torch.int8), torch.tensor([[[0.3, 0.7]]]), 8)
    with pytest.raises(ValueError, match=r"weights are not counts of 8 shots.*independent_halves=False"):
        deal_halves(samples, 0)
