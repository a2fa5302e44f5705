"""Designed schedules: a shallow circuit's angles, optimized so that its law is close to Boltzmann's.

    minimize over (a_k, b_k, θ_k), k = 0 … K−1:   mean over random models of KL(exact ‖ anneal)

The simulator is differentiated through, and BFGS finds the minimum on a fixed set of models, from the best linear
anneal of a few steps and then, doubling these, from each other. With hundreds of models of 2^n outcomes each and 3K
angles, what it finds holds for other models of the same distribution; the KL that a design carries is measured on
those.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np
import torch

from classical.ising import IsingModel
from quantum.calibration import calibrate
from quantum.design_range import Design, Recipe, strengths
from quantum.distribution import NARROW, ModelDistribution, single_models
from quantum.evolution import AngleTensors, angle_tensors
from quantum.minimize import Progress, kl_of_angles, minimize_kl
from quantum.schedule import AnnealSchedule

LIMIT_QUANTILE = 0.99
"""Share of the design's own models inside each limit of its range."""

TESTED_SPINS = (10, 12, 14)
"""Numbers of spins beyond its own that a design is tested with, up to the first where its linear anneal is better."""

_DOUBLING = 6
_DURATIONS = np.geomspace(1.0, 24.0, 25)


def design_schedule(
    steps: int,
    *,
    distribution: ModelDistribution | Sequence[IsingModel] = NARROW,
    models: int = 384,
    iterations: int = 400,
    gate_error: float = 0.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> AnnealSchedule:
    """Optimize the angles of a circuit of K steps.

    With gate errors, the law that is optimized is the global depolarization of the ideal one, which costs nothing and
    is what many random errors tend to:

    Q' = F Q + (1 − F) 2^{−n},   F = (1 − gate_error)^{K n(n−1)/2}

    Args:
        steps: K, at least 1.
        distribution: random models, or models of one's own, as those of a training run; a fifth of these is held out.
        models: how many to optimize on; as many are drawn, or fewer are there, to measure the KL.
        iterations: most BFGS iterations at each number of steps; it stops by itself when they gain nothing.
        gate_error: probability of a random two-qubit Pauli after each RZZ, in [0, 1).
        seed: fixes the models.
        progress: called with the number of finished iterations, those at fewer steps included, and the mean KL.

    Returns:
        A schedule given by angles, calibrated by itself, that carries its `Design`.

    Raises:
        ValueError: steps, models or iterations below 1, a gate error outside [0, 1), or an empty distribution.
    """
    for name, value in (("steps", steps), ("models", models), ("iterations", iterations)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is {value!r}; give an integer of at least 1")
    if isinstance(gate_error, bool) or not isinstance(gate_error, int | float) or not 0 <= gate_error < 1:
        raise ValueError(f"gate_error is {gate_error!r}; give a probability from 0 to below 1")
    if isinstance(distribution, ModelDistribution):
        training, held_out = distribution.draw(models, 2 * seed), distribution.draw(models, 2 * seed + 1)
    else:
        training, held_out = _split(single_models(distribution, most=-(-models * 5 // 4), seed=seed))
    linear = _linear(training, steps)
    angles = _designed(training, steps, linear, iterations, 1.0 - gate_error, _counting(progress))
    field, coupling, mixer = (x.tolist() for x in angles)
    recipe = _recipe(steps, distribution, training, iterations, gate_error, seed)
    kl = kl_of_angles(held_out, angles)
    design = Design(
        kl=float(kl.mean()),
        kl_error=float(kl.std()) / len(kl) ** 0.5 if len(kl) > 1 else 0.0,
        **_limits(distribution, training),
        spins=_tested_spins(distribution, training, angles, linear, seed),
        recipe=recipe,
    )
    return AnnealSchedule.from_angles(field=field, coupling=coupling, mixer=mixer, design=design)


def _linear(batches: Sequence[IsingModel], steps: int) -> AngleTensors:
    """The angles, calibration included, of the linear two-beta anneal whose duration suits the models best."""
    best: tuple[float, AngleTensors] | None = None
    for duration in _DURATIONS:
        schedule = AnnealSchedule.linear(float(duration))
        try:
            factors = calibrate(schedule, steps, "two-beta")
        except ValueError:  # a response near zero
            continue
        a, b, theta = angle_tensors(schedule.angles(steps), torch.float64)
        angles = AngleTensors(a * factors.field_factor, b * factors.coupling_factor, theta)
        kl = float(kl_of_angles(batches, angles).mean())
        if best is None or kl < best[0]:
            best = kl, angles
    if best is None:
        raise ValueError(f"steps is {steps}, with which no linear anneal responds to fields and couplings; change it")
    return best[1]


def _designed(
    batches: Sequence[IsingModel],
    steps: int,
    linear: AngleTensors,
    iterations: int,
    fidelity: float,
    progress: Progress | None,
) -> AngleTensors:
    """The optimized angles, from the linear ones where they are few and from a design of half the steps otherwise.

    From there many steps end in angles as smooth as those of few; from the linear anneal they end where a circuit
    does as well on its own models and much worse on somewhat stronger ones.
    """
    start = linear
    if steps >= _DOUBLING:
        half = _designed(batches, steps // 2, _linear(batches, steps // 2), iterations, fidelity, progress)
        start = _stretched(half, steps)
    found = minimize_kl(
        batches,
        torch.stack(start),
        lambda rows: AngleTensors(*rows),
        iterations=iterations,
        fidelity=fidelity,
        progress=progress,
    )
    return AngleTensors(*found)


def _stretched(angles: AngleTensors, steps: int) -> AngleTensors:
    """Angles spread over more steps; together they grow, as those of longer designs do."""
    few = len(angles.mixer)
    at, known = (np.arange(steps) + 0.5) / steps, (np.arange(few) + 0.5) / few
    shrink = (few / steps) ** 0.3
    return AngleTensors(*(torch.from_numpy(np.interp(at, known, x.numpy()) * shrink) for x in angles))


def _counting(progress: Progress | None) -> Progress | None:
    """The same, told how many iterations there were in all and not in one stage."""
    if progress is None:
        return None
    counter = count(1)
    return lambda _, kl: progress(next(counter), kl)


def _split(batches: Sequence[IsingModel]) -> tuple[list[IsingModel], list[IsingModel]]:
    """Given models to optimize on, and a fifth to measure on; where there are too few of a size, both get them all."""
    training, held_out = [], []
    for batch in batches:
        kept = batch.groups // 5
        training.append(IsingModel(batch.fields[kept:], batch.couplings[kept:]))
        least = kept or batch.groups
        held_out.append(IsingModel(batch.fields[:least], batch.couplings[:least]))
    return training, held_out


def _recipe(
    steps: int,
    distribution: ModelDistribution | Sequence[IsingModel],
    training: Sequence[IsingModel],
    iterations: int,
    gate_error: float,
    seed: int,
) -> Recipe:
    drawn = distribution if isinstance(distribution, ModelDistribution) else None
    return Recipe(
        steps=steps,
        field_scale=drawn.fields if drawn else (),
        coupling_scale=drawn.couplings if drawn else (),
        spins=tuple(batch.spins for batch in training),
        models=sum(batch.groups for batch in training),
        iterations=iterations,
        gate_error=float(gate_error),
        seed=seed,
    )


def _limits(distribution: ModelDistribution | Sequence[IsingModel], training: Sequence[IsingModel]) -> dict[str, float]:
    """The strengths that all but a few of the design's models stay below."""
    batches = distribution.draw(20_000, 0) if isinstance(distribution, ModelDistribution) else training
    measured = [strengths(batch) for batch in batches]
    fields = torch.cat([x.flatten() for x, _ in measured])
    couplings = torch.cat([y for _, y in measured])
    return {
        "largest_field": float(torch.quantile(fields, LIMIT_QUANTILE, interpolation="higher")),
        "largest_coupling": float(torch.quantile(couplings, LIMIT_QUANTILE, interpolation="higher")),
    }


def _tested_spins(
    distribution: ModelDistribution | Sequence[IsingModel],
    training: Sequence[IsingModel],
    angles: AngleTensors,
    linear: AngleTensors,
    seed: int,
) -> tuple[int, int]:
    """From one spin to the most with which the design is still better than the linear anneal it grew from."""
    own = [batch.spins for batch in training]
    if not isinstance(distribution, ModelDistribution):
        return min(own), max(own)
    most = max(own)
    for spins in TESTED_SPINS:
        if spins <= most:
            continue
        batch = [_random(distribution, spins, seed)]
        if kl_of_angles(batch, angles).mean() >= kl_of_angles(batch, linear).mean():
            break
        most = spins
    return 1, most


def _random(distribution: ModelDistribution, spins: int, seed: int) -> IsingModel:
    """A few models of a distribution, of another size."""
    return ModelDistribution(distribution.fields, distribution.couplings, spins).draw(24, 2 * seed + 1)[0]
