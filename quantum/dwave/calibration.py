"""At which temperatures a processor samples what it is programmed with, and so what models are divided by.

    P(s) ∝ exp(β_h Σ h' s + β_J Σ J' s s),   h' = h/β_h,  J' = J/β_J

"hand" takes the two from the user, "table" predicts them from a published schedule, "fit" measures them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from classical.ising import IsingModel
from classical.random import derive_seeds, uniforms
from classical.samples import Samples
from classical.temperatures import TemperatureFit, fit_temperatures
from quantum.calibration import SMALLEST_BETA
from quantum.checks import positive_number
from quantum.dwave.anneal import Anneal
from quantum.jobs.errors import UnsuitableError
from quantum.response import response
from quantum.schedule import AnnealSchedule

Draw = Callable[[IsingModel, Sequence[int]], tuple[Samples, IsingModel]]

CALIBRATIONS = ("fit", "table", "hand")

LADDER = (1.0, 4.0, 16.0, 64.0)
"""Inverse temperatures to try where nothing is known: one of them leaves spins neither free nor frozen."""

PROBES = 4
"""Models of a calibration batch."""

_STEPS = 4096
"""Trotter steps for the response of a table, which is a continuous anneal's: their error falls with their square."""

_PROBE_SEED = 5


@dataclass(frozen=True)
class Temperatures:
    """Inverse temperatures of a processor, and how they are known.

    Args:
        field: β_h.
        coupling: β_J.
        source: a name in `CALIBRATIONS`.
        fit: with its errors, where they were measured.
    """

    field: float
    coupling: float
    source: str
    fit: TemperatureFit | None = None


def require_calibration(
    calibration: str, beta: tuple[float, float] | None, schedule: AnnealSchedule | None, anneal: Anneal
) -> tuple[float, float] | None:
    """Refuse a calibration without what it takes, and what it does not take.

    Args:
        calibration: a name in `CALIBRATIONS`.
        beta: (β_h, β_J); for "hand", or where "fit" begins.
        schedule: for "table".
        anneal: that the schedule must be of.

    Returns:
        beta as two floats, or None.

    Raises:
        ValueError: says what to give.
    """
    if calibration not in CALIBRATIONS:
        raise ValueError(f"calibration is {calibration!r}; choose one of {', '.join(CALIBRATIONS)}")
    if calibration == "hand" and beta is None:
        raise ValueError("calibration is 'hand', which takes beta=(field, coupling); give the two, or use 'fit'")
    if (calibration == "table") != (schedule is not None):
        raise ValueError(
            f"calibration is {calibration!r} and schedule is {schedule!r}; a schedule belongs to 'table' and to no "
            "other: give AnnealSchedule.tabulated(...) with the processor's published A(s) and B(s)"
        )
    if schedule is not None:
        if schedule.kind != "tabulated":
            raise ValueError(f"schedule is {schedule!r}; 'table' takes AnnealSchedule.tabulated(...), in GHz")
        assert schedule.duration is not None
        if not math.isclose(schedule.duration, anneal.duration, rel_tol=1e-9):
            raise ValueError(
                f"schedule lasts {schedule.duration:g} ns, but the anneal {anneal.duration:g} ns; give both the same "
                "duration"
            )
    if beta is None:
        return None
    if calibration == "table":
        raise ValueError(f"beta is {beta!r}, which 'table' computes; leave it out, or use 'hand'")
    try:
        field, coupling = beta
    except (TypeError, ValueError):
        raise ValueError(f"beta is {beta!r}; give two numbers, (field, coupling)") from None
    return positive_number("beta[0]", field), positive_number("beta[1]", coupling)


def tabulated_temperatures(schedule: AnnealSchedule, longest_chain: int) -> Temperatures:
    """Those of a coherent anneal of single qubits, by linear response (`quantum.response`).

    Args:
        schedule: published A(s) and B(s) over the anneal's duration.
        longest_chain: of the embedding; a chain answers more slowly than a qubit, and a table says nothing about it.

    Raises:
        UnsuitableError: chains of more than one qubit, or a response too close to zero to divide by.
    """
    if longest_chain > 1:
        raise UnsuitableError(
            f"calibration is 'table', which holds for single qubits, but the embedding has chains of up to "
            f"{longest_chain}; use 'fit', or so few spins that no chains are needed"
        )
    beta = response(schedule, _STEPS)
    return Temperatures(_divisor("β_h", beta.beta_h), _divisor("β_J", beta.beta_J), "table")


def fitted_temperatures(
    spins: int,
    with_fields: bool,
    start: tuple[float, float] | None,
    kinds: int,
    draw: Draw,
) -> tuple[Temperatures, ...]:
    """Measure temperatures on random models, for every kind of copy.

    Where nothing is known, one model at each rung of `LADDER`, on copies of the first kind, says roughly where they
    are; `PROBES` models on copies of each kind at what was found there give the answer.

    Args:
        spins: of the models.
        with_fields: whether they have fields.
        start: (β_h, β_J) instead of a ladder.
        kinds: how many kinds of copies there are.
        draw: samples models as they are programmed, each on a copy of a kind, and says of which model they are samples:
            fields may have become couplings.

    Raises:
        UnsuitableError: samples that show no temperature, or one that is not above zero.
    """
    if start is None:
        rungs = torch.tensor(LADDER, dtype=torch.float64)
        model = probe_models(spins, len(LADDER), with_fields, 0)
        rough = _fit(*draw(_divided(model, rungs, rungs), [0] * len(LADDER)))
        start = rough.field, rough.coupling
    places = probe_kinds(kinds)
    parts = [slice(kind * PROBES, (kind + 1) * PROBES) for kind in range(kinds)]
    betas = [start] * kinds
    found: list[Temperatures] = []
    for number in range(1, 1 + probe_rounds(kinds)):
        # values stay within what a processor takes, however cold it is
        scale = torch.tensor([[max(1.0, beta) for beta in betas[kind]] for kind in places], dtype=torch.float64)
        model = probe_models(spins, len(places), with_fields, number)
        samples, sampled = draw(_divided(model, *scale.unbind(1)), places)
        found = [
            _fit(
                Samples(samples.spins[part], samples.weights[part], samples.shots),
                IsingModel(sampled.fields[part], sampled.couplings[part]),
            )
            for part in parts
        ]
        betas = [(one.field, one.coupling) for one in found]
    return tuple(found)


def probe_rounds(kinds: int) -> int:
    """How often probes are drawn: again at what was found, where the start was that of another kind of copy.

    Args:
        kinds: how many there are.
    """
    return 1 if kinds == 1 else 2


def probe_kinds(kinds: int) -> list[int]:
    """The kind of copy that each model of a calibration batch goes to.

    Args:
        kinds: how many there are.
    """
    return [kind for kind in range(kinds) for _ in range(PROBES)]


def probe_models(spins: int, models: int, with_fields: bool, number: int) -> IsingModel:
    """Random models that show temperatures near 1, (models, 1, spins), always the same.

    h uniform in ±0.8,   J uniform in ±1.2/√n

    Args:
        spins: n.
        models: how many.
        with_fields: whether h is there.
        number: of the batch.
    """
    seeds = derive_seeds(_PROBE_SEED, number, spins, torch.arange(models))
    numbers = 2 * uniforms(seeds, spins + spins * spins) - 1
    h = 0.8 * numbers[:, None, :spins] * with_fields
    J = 1.2 / math.sqrt(spins) * numbers[:, spins:].reshape(models, spins, spins).triu(1)
    return IsingModel(h, J.clamp(-1.0, 1.0))


def _divided(model: IsingModel, by_field: Any, by_coupling: Any) -> IsingModel:
    """A model divided by β_h and β_J of its own for every group."""
    return IsingModel(model.fields / by_field[:, None, None], model.couplings / by_coupling[:, None, None])


def _fit(samples: Samples, sampled: IsingModel) -> Temperatures:
    """Temperatures that samples show of models which were programmed as they are here."""
    try:
        fit = fit_temperatures(samples, sampled)
    except ValueError as error:
        raise UnsuitableError(
            f"calibration is 'fit', but its batch shows no temperature ({error}); give beta=(field, coupling) to start "
            "from, or use calibration='hand'"
        ) from None
    # where there are no fields (or no couplings) the other's temperature stands in: it divides nothing
    coupling = fit.beta_field if math.isnan(fit.beta_coupling) else fit.beta_coupling
    field = coupling if math.isnan(fit.beta_field) else fit.beta_field
    return Temperatures(_divisor("β_h", field), _divisor("β_J", coupling), "fit", fit)


def _divisor(name: str, beta: float) -> float:
    if beta < SMALLEST_BETA:
        raise UnsuitableError(
            f"calibration gives {name} = {beta:.3g}, too close to zero (or below it) to divide by (at least "
            f"{SMALLEST_BETA:g}); choose another duration, or calibration='hand'"
        )
    return beta
