"""Perfect samples: their law, and what their randomness depends on."""

import math

import pytest
import torch

from classical import ExactSampler, IsingModel, Samples, all_configurations
from tests.classical.enumeration import random_model, table
from tests.statistics import chi_squared_p

EXACT = ExactSampler()
SHOTS = 20_000


@pytest.mark.parametrize("spins", range(1, 7))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_joint_configurations_follow_the_law(spins: int, dtype: torch.dtype) -> None:
    model = random_model(spins, groups=2, models=2, dtype=dtype)
    samples = EXACT.sample(model, shots=SHOTS, seed=spins)
    assert chi_squared_p(samples, table(model, "probabilities")) > 1e-4


@pytest.mark.parametrize("spins", [3, 9])
def test_moments_lie_within_five_standard_errors(spins: int) -> None:
    model = random_model(spins)
    samples = EXACT.sample(model, shots=SHOTS, seed=1)
    mean = table(model, "mean")
    error = ((1 - mean**2) / SHOTS).sqrt()
    assert bool(((samples.mean() - mean).abs() < 5 * error).all())
    second = table(model, "second")
    error = ((1 - second**2).clamp(min=0) / SHOTS).sqrt() + 1e-9
    assert bool(((samples.second_moment() - second).abs() < 5 * error).all())


def _biased(samples: Samples, probabilities: torch.Tensor, distance: float) -> Samples:
    """The same samples with part of them replaced, at a total variation of `distance` from their law."""
    likeliest = probabilities[0, 0].argmax()
    share = distance / (1 - probabilities[0, 0, likeliest].item())
    spins = samples.spins.clone()
    spins[:, :, : round(share * samples.spins.shape[2])] = all_configurations(samples.spins.shape[-1])[likeliest]
    return Samples(spins, samples.weights, samples.shots)


@pytest.mark.parametrize("spins", [1, 3, 6])
def test_the_verdict_rejects_a_sampler_five_percent_off(spins: int) -> None:
    model = random_model(spins, groups=1, models=1)
    probabilities = table(model, "probabilities")
    samples = EXACT.sample(model, shots=SHOTS, seed=2)
    assert chi_squared_p(samples, probabilities) > 1e-4
    assert chi_squared_p(_biased(samples, probabilities, 0.05), probabilities) < 1e-6


def test_the_verdict_rejects_flips_and_a_wrong_order_of_spins() -> None:
    model = random_model(4, groups=1, models=1)
    probabilities = table(model, "probabilities")
    samples = EXACT.sample(model, shots=SHOTS, seed=2)
    for wrong in (-samples.spins, samples.spins.flip(-1), samples.spins[..., [2, 3, 0, 1]]):
        assert chi_squared_p(Samples(wrong, samples.weights, SHOTS), probabilities) < 1e-6


def test_p_values_of_perfect_samples_are_spread_out() -> None:
    """A sampler too even to be random would pass every single test with p near 1."""
    model = random_model(3, groups=1, models=1)
    probabilities = table(model, "probabilities")
    values = [chi_squared_p(EXACT.sample(model, shots=2000, seed=seed), probabilities) for seed in range(100)]
    below = sum(value < 0.5 for value in values)
    assert abs(below - 50) < 5 * math.sqrt(100) / 2
    assert min(values) > 1e-5


def test_successive_shots_are_independent() -> None:
    model = random_model(2, groups=1, models=1)
    index = (EXACT.sample(model, shots=SHOTS, seed=5).spins[0, 0] < 0).long() @ torch.tensor([1, 2])
    p = table(model, "probabilities")[0, 0]
    pairs = torch.bincount(index[:-1:2] * 4 + index[1::2], minlength=16).double()
    expected = (p.unsqueeze(1) * p).flatten() * pairs.sum()
    statistic = ((pairs - expected) ** 2 / expected).sum().item()
    assert statistic < 15 + 5 * math.sqrt(30)


def test_the_same_seed_gives_the_same_samples_and_another_does_not() -> None:
    model = random_model(6)
    first, again = EXACT.sample(model, shots=64, seed=7), EXACT.sample(model, shots=64, seed=7)
    assert torch.equal(first.spins, again.spins)
    assert not torch.equal(first.spins, EXACT.sample(model, shots=64, seed=8).spins)


def test_equal_models_of_a_batch_draw_differently() -> None:
    model = IsingModel(torch.zeros(2, 2, 8), torch.zeros(2, 8, 8))
    spins = EXACT.sample(model, shots=32, seed=0).spins.flatten(0, 1)
    assert all(not torch.equal(spins[i], spins[j]) for i in range(4) for j in range(i))


def test_a_models_samples_belong_to_its_seed_not_to_its_batch() -> None:
    model = random_model(7, groups=3, models=4, dtype=torch.float32)
    seeds = torch.arange(12).view(3, 4) * 1009
    whole = EXACT.sample(model, shots=64, seed=seeds).spins
    for g in range(3):
        for m in range(4):
            alone = IsingModel(model.fields[g : g + 1, m : m + 1], model.couplings[g : g + 1])
            drawn = EXACT.sample(alone, shots=64, seed=seeds[g : g + 1, m : m + 1]).spins
            assert torch.equal(drawn[0, 0], whole[g, m])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_samples_look_like(dtype: torch.dtype) -> None:
    model = random_model(5, groups=2, models=3, dtype=dtype)
    model = IsingModel(model.fields.requires_grad_(), model.couplings.requires_grad_())
    samples = EXACT.sample(model, shots=10)
    assert samples.spins.shape == (2, 3, 10, 5)
    assert samples.spins.dtype == torch.int8
    assert set(samples.spins.unique().tolist()) == {-1, 1}
    assert samples.weights.dtype == dtype
    torch.testing.assert_close(samples.weights, torch.full((2, 3, 10), 0.1, dtype=dtype))
    assert samples.shots == 10
    assert not samples.weights.requires_grad


@pytest.mark.parametrize("shots", [0, -1, 1.5, True])
def test_shots_are_at_least_one(shots: object) -> None:
    with pytest.raises(ValueError, match=r"shots is .*; give an integer of at least 1"):
        EXACT.sample(random_model(2), shots=shots)  # type: ignore[arg-type]
