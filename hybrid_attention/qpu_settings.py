"""Settings of quantum processors: which go together, and with what."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hybrid_attention.flags import require

if TYPE_CHECKING:
    from hybrid_attention.config import TrainConfig

ANNEALERS = ("dwave", "dwave-emulator")
"""Samplers that take anneals as D-Wave's processors have them."""

CLOUD = ("dwave", "ibm")
"""Samplers whose jobs are charged."""

QPUS = ("dwave", "dwave-emulator", "ibm")
"""Samplers with a journal."""

QPU_FIELDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("anneal", "field", "schedule_table", "beta", "control_error"), ANNEALERS),
    **dict.fromkeys(("solver", "qpu_budget", "qpu_evaluation"), QPUS),
    "precision": ("dwave-emulator",),
}
"""Settings of processors, and the samplers that they go with."""

FITTED = ("fit", "table", "hand")
"""Calibrations of annealers; the others are those of simulated circuits."""


def validate_qpu(config: TrainConfig) -> None:
    """Refuse settings of a processor that make no sense.

    Args:
        config: a run's settings.

    Raises:
        InputError: names the first flag that does not, its value and the fix.
    """
    sampler = config.sampler
    for name, samplers in QPU_FIELDS.items():
        value = getattr(config, name)
        require(
            sampler in samplers or value in (None, "", False), name, value, f"it goes with --sampler {_or(samplers)}"
        )
    if sampler in ANNEALERS:
        _validate_annealer(config)
    else:
        fix = f"it goes with --sampler {_or(ANNEALERS)}; use none, one-beta, two-beta or tuned"
        require(config.calibration not in FITTED, "calibration", config.calibration, fix)


def _validate_annealer(config: TrainConfig) -> None:
    require(config.schedule == "linear", "schedule", config.schedule, "an annealer has its own; leave it out")
    require(config.trotter_steps is None, "trotter_steps", config.trotter_steps, "an annealer has none; leave it out")
    calibration, table, beta = config.calibration, config.schedule_table, config.beta
    require(calibration in (None, *FITTED), "calibration", calibration, f"an annealer takes {_or(FITTED)}")
    if config.anneal != "standard":
        fix = "a fast anneal takes no linear biases: give ancilla or ghost, or --anneal standard"
        require(config.field, "field", config.field, fix)
    if config.sampler == "dwave":
        require(calibration == "table" or not table, "schedule_table", table, "it goes with --calibration table")
        require(calibration != "table" or table, "calibration", calibration, "give --schedule-table FILE with it")
    else:
        fix = "only fast anneals, which are coherent, are emulated: leave it out"
        require(config.anneal != "standard", "anneal", config.anneal, fix)
    require(calibration != "hand" or beta, "calibration", calibration, "give --beta FIELD,COUPLING with it")
    require(calibration != "table" or not beta, "beta", beta, "--calibration table computes it: leave it out")
    inverse_temperatures(beta)


def inverse_temperatures(beta: str) -> tuple[float, float] | None:
    """(β_h, β_J) of --beta, or None where it is not given.

    Args:
        beta: FIELD,COUPLING.

    Raises:
        InputError: something other than two positive numbers.
    """
    if not beta:
        return None
    try:
        field, coupling = (float(part) for part in beta.split(","))
    except ValueError:
        field = coupling = math.nan
    good = all(math.isfinite(one) and one > 0 for one in (field, coupling))
    require(good, "beta", beta, "give two positive numbers, as in 8,8")
    return field, coupling


def _or(names: tuple[str, ...]) -> str:
    return " or ".join(names)
