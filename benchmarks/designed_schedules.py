"""Designed schedules beside the best linear ones: mean KL without errors, and with an error after two-qubit gates.

python -m benchmarks.designed_schedules
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.calibrations import fitted, mean_and_error
from benchmarks.gate_noise import noisy_law
from benchmarks.timing import one_thread
from classical import IsingModel
from classical.distance import kl_divergence
from quantum import AnnealSchedule, ModelDistribution, calibrate, design_schedule
from quantum.evolution import AngleTensors, angle_tensors
from quantum.minimize import kl_of_angles

STEPS = (4, 8, 16)
DURATIONS = (2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 14.0, 17.0, 20.0, 24.0, 28.0)
GATE_ERRORS = (0.0, 0.001, 0.002, 0.005)


class CellSize(NamedTuple):
    """Where schedules are compared: spins, σ_h and σ."""

    spins: int
    field_scale: float
    coupling_scale: float


CELLS = tuple(CellSize(*c) for c in ((9, 1.0, 0.5), (9, 1.0, 1.0), (9, 2.0, 1.0), (11, 1.0, 1.0), (9, 3.0, 2.0)))


def best_linear(batches: Sequence[IsingModel], steps: int, tuned: bool) -> tuple[float, AngleTensors]:
    """Duration and angles, factors included, of the linear anneal that suits some models best.

    Args:
        batches: the models.
        steps: K.
        tuned: choose the two factors too, for these models, instead of two-beta. Only durations around the best of
            two-beta are tried.
    """
    two_beta: dict[float, AngleTensors] = {}
    starts: dict[float, tuple[float, float]] = {}
    for duration in DURATIONS:
        try:
            f, g = calibrate(AnnealSchedule.linear(duration), steps, "two-beta")
        except ValueError:  # a response near zero
            continue
        starts[duration] = (f, g)
        two_beta[duration] = _fed(duration, steps, f, g)
    kl = {duration: float(kl_of_angles(batches, angles).mean()) for duration, angles in two_beta.items()}
    best = min(kl, key=kl.__getitem__)
    if not tuned:
        return best, two_beta[best]
    known = sorted(kl)
    near = known[max(0, known.index(best) - 2) : known.index(best) + 3]
    candidates = {}
    for duration in near:
        plain = angle_tensors(AnnealSchedule.linear(duration).angles(steps), torch.float64)
        candidates[duration] = _fed(duration, steps, *fitted(batches, plain, starts[duration]))
    means = {duration: float(kl_of_angles(batches, angles).mean()) for duration, angles in candidates.items()}
    best = min(means, key=means.__getitem__)
    return best, candidates[best]


def compare(cell: CellSize, models: int, seed: int = 0) -> list[tuple[int, str, float, float]]:
    """Mean KL of every schedule in one cell.

    Linear anneals get their duration and factors from 64 other models of the cell's own scales and 8 spins.

    Returns:
        (K, schedule, mean KL, standard error) for all of them.
    """
    batches = ModelDistribution(cell.field_scale, cell.coupling_scale, cell.spins).draw(models, 2 * seed)
    to_fit = ModelDistribution(cell.field_scale, cell.coupling_scale, 8).draw(64, 2 * seed + 1)
    rows = []
    for steps in STEPS:
        schedules = {
            f"linear T={duration:g} {name}": angles
            for name in ("two-beta", "tuned")
            for duration, angles in [best_linear(to_fit, steps, name == "tuned")]
        }
        schedules["designed"] = _preset(str(steps))
        schedules["designed wide"] = _preset(f"{steps}-wide")
        for name, angles in schedules.items():
            rows.append((steps, name, *mean_and_error(kl_of_angles(batches, angles))))
    return rows


def compare_noisy(models: int, spins: int = 8, seed: int = 0) -> list[tuple[float, int, str, float, float]]:
    """Mean KL at σ_h = σ = 1 with gate errors, by density matrices: (error, K, schedule, mean KL, standard error).

    "designed for it" is designed with the same gate error, whose effect the design itself takes to be simpler.
    """
    distribution = ModelDistribution(1.0, 1.0, spins)
    model, to_fit = distribution.draw(models, 2 * seed)[0], distribution.draw(64, 2 * seed + 1)
    rows = []
    for steps in STEPS:
        linear, designed = best_linear(to_fit, steps, tuned=False)[1], _preset(str(steps))
        for gate_error in GATE_ERRORS:
            schedules = {"linear two-beta": linear, "designed": designed}
            if gate_error and steps < STEPS[-1]:
                schedule = design_schedule(steps, models=128, iterations=100, gate_error=gate_error)
                schedules["designed for it"] = angle_tensors(schedule.angles(), torch.float64)
            for name, angles in schedules.items():
                found = [_noisy_kl(IsingModel(h, J), angles, gate_error) for h, J in _few(model)]
                rows.append((gate_error, steps, name, *mean_and_error(torch.cat(found))))
    return sorted(rows)


def _noisy_kl(model: IsingModel, angles: AngleTensors, gate_error: float) -> Tensor:
    return kl_divergence(model, noisy_law(model, angles, gate_error)).flatten()


def _few(model: IsingModel) -> list[tuple[Tensor, Tensor]]:
    return list(zip(model.fields.split(4), model.couplings.split(4), strict=True))


def _fed(duration: float, steps: int, field_factor: float, coupling_factor: float) -> AngleTensors:
    a, b, theta = angle_tensors(AnnealSchedule.linear(duration).angles(steps), torch.float64)
    return AngleTensors(a * field_factor, b * coupling_factor, theta)


def _preset(name: str) -> AngleTensors:
    return angle_tensors(AnnealSchedule.preset(name).angles(), torch.float64)


def main(models: int = 192, noisy_models: int = 48) -> None:
    """Print both tables."""
    with one_thread():
        for cell in CELLS:
            print(
                f"n = {cell.spins}, σ_h = {cell.field_scale:g}, σ = {cell.coupling_scale:g}: mean KL, {models} models"
            )
            for steps, name, kl, error in compare(cell, models):
                print(f"  K = {steps:2}  {name:24} {kl:.4f} ± {error:.4f}", flush=True)
        print(f"n = 8, σ_h = σ = 1, a random Pauli after each RZZ: mean KL, {noisy_models} models")
        for gate_error, steps, name, kl, error in compare_noisy(noisy_models):
            print(f"  {gate_error:.1%}  K = {steps:2}  {name:16} {kl:.4f} ± {error:.4f}", flush=True)


if __name__ == "__main__":
    main()
