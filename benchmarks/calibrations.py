"""How far a linear anneal is from the Boltzmann law, by duration and calibration.

python -m benchmarks.calibrations
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.timing import one_thread
from classical import IsingModel
from quantum import AnnealSchedule, ModelDistribution, response
from quantum.evolution import AngleTensors, angle_tensors
from quantum.minimize import kl_of_angles, minimize_kl

SPINS = 8
STEPS = {2.0: 32, 4.0: 32, 6.0: 48, 10.0: 80, 100.0: 400}
"""Trotter steps by duration; `main` prints what twice as many change."""
COUPLING_SCALES = (0.5, 1.0)


class Cell(NamedTuple):
    """One calibration at one duration and σ.

    Args:
        name: of the calibration.
        field_factor: multiplies h.
        coupling_factor: multiplies J.
        kl: mean KL(exact ‖ anneal), nats.
        error: its standard error.
    """

    name: str
    field_factor: float
    coupling_factor: float
    kl: float
    error: float


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Mean and its standard error."""
    return float(values.mean()), float(values.std()) / len(values) ** 0.5


def fitted(batches: Sequence[IsingModel], angles: AngleTensors, start: Sequence[float]) -> list[float]:
    """Factors with the least mean KL: one for both where `start` has one, or one for each."""

    def fed(factors: Tensor) -> AngleTensors:
        return AngleTensors(angles.field * factors[0], angles.coupling * factors[-1], angles.mixer)

    return minimize_kl(batches, torch.tensor(start, dtype=torch.float64), fed, iterations=25).tolist()


def measure(duration: float, steps: int, coupling_scale: float, models: int, seed: int = 0) -> list[Cell]:
    """All calibrations of one linear anneal, on the same models; those that are fitted are fitted on others.

    Args:
        duration: T.
        steps: K.
        coupling_scale: σ.
        models: how many to measure on; half as many are fitted to.
        seed: fixes them.
    """
    distribution = ModelDistribution(1.0, coupling_scale, SPINS)
    batches, to_fit = distribution.draw(models, 2 * seed), distribution.draw(models // 2, 2 * seed + 1)
    schedule = AnnealSchedule.linear(duration)
    angles, beta = angle_tensors(schedule.angles(steps), torch.float64), response(schedule, steps)
    two = [1 / beta.beta_h, 1 / beta.beta_J]
    factors = {
        "one-beta": two[1:] * 2,
        "β_h for both": two[:1] * 2,
        "best single": fitted(to_fit, angles, two[:1]) * 2,
        "two-beta": two,
        "tuned": fitted(to_fit, angles, two),
    }
    cells = []
    for name, (f, g) in factors.items():
        found = kl_of_angles(batches, AngleTensors(angles.field * f, angles.coupling * g, angles.mixer))
        cells.append(Cell(name, f, g, *mean_and_error(found)))
    return cells


def step_error(duration: float, steps: int, coupling_scale: float, models: int = 64) -> float:
    """Change of the mean KL of the two-beta anneal when its steps are doubled."""
    batches = ModelDistribution(1.0, coupling_scale, SPINS).draw(models, 0)
    means = []
    for count in (steps, 2 * steps):
        schedule = AnnealSchedule.linear(duration)
        a, b, theta = angle_tensors(schedule.angles(count), torch.float64)
        beta = response(schedule, count)
        means.append(float(kl_of_angles(batches, AngleTensors(a / beta.beta_h, b / beta.beta_J, theta)).mean()))
    return means[1] - means[0]


def main(models: int = 240) -> None:
    """Print the table."""
    print(f"mean KL(exact ‖ anneal) in nats, {SPINS} spins, h ~ N(0, 1), J ~ N(0, σ²/{SPINS}), {models} models a cell")
    with one_thread():
        for coupling_scale in COUPLING_SCALES:
            for duration, steps in STEPS.items():
                change = step_error(duration, steps, coupling_scale)
                print(f"  σ = {coupling_scale:g}, T = {duration:g}, K = {steps} (twice as many: {change:+.4f})")
                for cell in measure(duration, steps, coupling_scale, models):
                    factors = f"h × {cell.field_factor:.4f}, J × {cell.coupling_factor:.4f}"
                    print(f"    {cell.name:13} {cell.kl:.4f} ± {cell.error:.4f}   {factors}", flush=True)


if __name__ == "__main__":
    main()
