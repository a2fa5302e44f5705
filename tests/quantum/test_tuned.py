"""The calibration "tuned": a minimum of the mean KL, for the models that are meant."""

from __future__ import annotations

import pytest
import torch

from classical.distance import kl_divergence
from quantum import AerSampler, AnnealSchedule, ModelDistribution, calibrate, tune_factors
from quantum.evolution import AngleTensors, angle_tensors
from quantum.minimize import kl_of_angles
from quantum.tuned import TUNING, tuned_factors

LINEAR = AnnealSchedule.linear(6.0)
SMALL = ModelDistribution(1.0, 1.0, 5)


def mean_kl(schedule: AnnealSchedule, steps: int, distribution: ModelDistribution, seed: int, *factors: float) -> float:
    a, b, theta = angle_tensors(schedule.angles(steps), torch.float64)
    angles = AngleTensors(a * factors[0], b * factors[1], theta)
    return float(kl_of_angles(distribution.draw(96, seed), angles).mean())


@pytest.mark.parametrize("duration", [2.0, 6.0])
def test_it_is_the_minimum(duration: float) -> None:
    schedule = AnnealSchedule.linear(duration)
    found = tune_factors(schedule, 12, SMALL)
    at = mean_kl(schedule, 12, SMALL, 0, *found)
    for change in ((1.02, 1.0), (0.98, 1.0), (1.0, 1.02), (1.0, 0.98)):
        moved = (found[0] * change[0], found[1] * change[1])
        assert mean_kl(schedule, 12, SMALL, 0, *moved) > at


def test_it_beats_two_beta_on_other_models() -> None:
    tuned, two_beta = calibrate(LINEAR, 12, "tuned"), calibrate(LINEAR, 12, "two-beta")
    assert mean_kl(LINEAR, 12, TUNING, 3, *tuned) < 0.95 * mean_kl(LINEAR, 12, TUNING, 3, *two_beta)


def test_samplers_take_it_by_name() -> None:
    sampler = AerSampler(LINEAR, 12, "tuned")
    assert sampler.calibration == "tuned"
    assert sampler.factors == tune_factors(LINEAR, 12)
    model = SMALL.draw(4, seed=0)[0]
    assert float(kl_divergence(model, sampler.probabilities(model)).mean()) < 0.2


def test_it_is_kept() -> None:
    assert tuned_factors(LINEAR, 12) is tuned_factors(AnnealSchedule.linear(6.0), 12)


def test_the_factors_follow_the_models() -> None:
    # weak models answer linearly: their factors are the inverse responses
    weak = tune_factors(LINEAR, 12, ModelDistribution(0.02, 0.02, 3))
    two_beta = calibrate(LINEAR, 12, "two-beta")
    assert weak == pytest.approx(two_beta, rel=2e-3)
    assert tune_factors(LINEAR, 12, SMALL) != pytest.approx(two_beta, rel=2e-2)


def test_models_of_ones_own() -> None:
    given = SMALL.draw(40, seed=8)
    found = tune_factors(LINEAR, 12, given, models=40)
    a, b, theta = angle_tensors(LINEAR.angles(12), torch.float64)

    def mean(f: float, g: float) -> float:
        return float(kl_of_angles(given, AngleTensors(a * f, b * g, theta)).mean())

    assert mean(*found) < min(mean(found[0] * 1.03, found[1]), mean(found[0], found[1] * 0.97))
    with pytest.raises(ValueError, match="distribution is empty; give at least one model"):
        tune_factors(LINEAR, 12, [])


def test_a_response_of_zero_is_no_obstacle() -> None:
    # two-beta would divide by zero here
    schedule = AnnealSchedule.from_angles(field=[0.5], coupling=[0.5], mixer=[torch.pi / 4])
    factors = tune_factors(schedule, distribution=SMALL)
    assert all(-50 < factor < 50 for factor in factors)


def test_steps_are_checked() -> None:
    with pytest.raises(ValueError, match="steps is None; a linear schedule needs"):
        tune_factors(LINEAR)
