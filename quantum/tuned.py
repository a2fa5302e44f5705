"""The two factors with which an anneal comes closest to the Boltzmann law over a set of models."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from classical.ising import IsingModel
from quantum.distribution import ModelDistribution, single_models
from quantum.evolution import AngleTensors, angle_tensors
from quantum.minimize import minimize_kl
from quantum.response import response
from quantum.schedule import AnnealSchedule

TUNING = ModelDistribution(field_scale=1.0, coupling_scale=1.0, spins=8)
"""What the calibration "tuned" minimizes over where nothing else is said."""

_MODELS, _ITERATIONS = 96, 30
_SMALLEST_RESPONSE, _LARGEST_FACTOR = 0.05, 8.0


class Factors(NamedTuple):
    """What a model's fields and couplings are multiplied by before they enter the circuit."""

    field_factor: float
    coupling_factor: float


def tune_factors(
    schedule: AnnealSchedule,
    steps: int | None = None,
    distribution: ModelDistribution | Sequence[IsingModel] = TUNING,
    *,
    models: int = _MODELS,
    seed: int = 0,
) -> Factors:
    """Minimize the mean KL(exact ‖ anneal) over the two factors.

    f_h, f_J = argmin mean KL(P_{h,J} ‖ anneal fed f_h h and f_J J)

    Args:
        schedule: the anneal.
        steps: Trotter steps K; may be left out for a schedule given by angles.
        distribution: random models, or models of one's own, as those of a training run.
        models: how many random models, or how many to pick of those that are given.
        seed: fixes which.

    Returns:
        (field_factor, coupling_factor), dimensionless.

    Raises:
        ValueError: steps that the schedule refuses, or a distribution without models.
    """
    angles = angle_tensors(schedule.angles(steps), torch.float64)
    random = isinstance(distribution, ModelDistribution)
    batches = distribution.draw(models, seed) if random else single_models(distribution, models, seed)  # type: ignore[union-attr, arg-type]
    start = torch.tensor(_start(schedule, steps), dtype=torch.float64)

    def fed(two: Tensor) -> AngleTensors:
        return AngleTensors(angles.field * two[0], angles.coupling * two[1], angles.mixer)

    field_factor, coupling_factor = minimize_kl(batches, start, fed, iterations=_ITERATIONS).tolist()
    return Factors(field_factor, coupling_factor)


@lru_cache(maxsize=64)
def tuned_factors(schedule: AnnealSchedule, steps: int | None) -> Factors:
    """The factors for the default distribution and seed, kept for the next who asks.

    Args:
        schedule: the anneal.
        steps: as for `tune_factors`.
    """
    return tune_factors(schedule, steps)


def _start(schedule: AnnealSchedule, steps: int | None) -> list[float]:
    """The inverse responses, held within reason where a response is nearly zero."""

    def inverse(beta: float) -> float:
        bounded = beta if abs(beta) > _SMALLEST_RESPONSE else _SMALLEST_RESPONSE if beta >= 0 else -_SMALLEST_RESPONSE
        return max(-_LARGEST_FACTOR, min(_LARGEST_FACTOR, 1.0 / bounded))

    return [inverse(beta) for beta in response(schedule, steps)]
