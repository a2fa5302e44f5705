"""What SAPI refuses, as documented for D-Wave's processors."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.loopback.problem import Programmed, RefusedError


def check_parameters(properties: dict[str, Any], parameters: dict[str, Any]) -> None:
    """Refuse parameters that the solver does not take, outside of their ranges, or against each other.

    Raises:
        RefusedError: code 400.
    """
    for name in parameters:
        if name not in properties["parameters"]:
            raise RefusedError(400, f"Unknown parameter {name}")
    reads = parameters.get("num_reads", 1)
    if isinstance(reads, bool) or not isinstance(reads, int):
        raise RefusedError(400, "num_reads must be an integer")
    _within("num_reads", reads, properties["num_reads_range"])
    if parameters.get("answer_mode", "histogram") not in ("raw", "histogram"):
        raise RefusedError(400, "answer_mode must be raw or histogram")
    schedule = parameters.get("anneal_schedule")
    if schedule is not None and "annealing_time" in parameters:
        raise RefusedError(400, "annealing_time and anneal_schedule exclude each other")
    fast = parameters.get("fast_anneal", False)
    if fast:
        if parameters.get("h_gain_schedule") is not None:
            raise RefusedError(400, "h_gain_schedule is not supported with fast_anneal")
        if schedule is not None and len(schedule) > 2:
            raise RefusedError(400, "anneal_schedule has more than two points, which fast_anneal does not support")
    anneal = parameters.get("annealing_time", properties["default_annealing_time"])
    if schedule is not None:
        anneal = schedule[-1][0]
    limits = properties["fast_anneal_time_range" if fast else "annealing_time_range"]
    _within("annealing_time", anneal, limits)
    for name in ("programming_thermalization", "readout_thermalization"):
        if name in parameters:
            _within(name, parameters[name], properties[f"{name}_range"])
    biases = parameters.get("flux_biases")
    if biases is not None:
        if len(biases) != properties["num_qubits"] or not np.isfinite(biases).all():
            raise RefusedError(400, f"flux_biases must be {properties['num_qubits']} finite numbers")
        if parameters.get("auto_scale", True):
            raise RefusedError(400, "flux_biases cannot be used with auto_scale")
    cooling = parameters.get("programming_thermalization", properties["default_programming_thermalization"])
    waiting = parameters.get("readout_thermalization", properties["default_readout_thermalization"])
    _within("problem run duration", cooling + reads * (anneal + waiting), properties["problem_run_duration_range"])


def check_values(properties: dict[str, Any], parameters: dict[str, Any], programmed: Programmed) -> Programmed:
    """Refuse values outside of the solver's ranges; rescale them where `auto_scale` is on, as it is by default.

    Raises:
        RefusedError: code 400.
    """
    if parameters.get("fast_anneal", False) and programmed.h.any():
        raise RefusedError(400, "linear biases must be zero with fast_anneal")
    ranges = {"h": properties["h_range"], "J": properties["extended_j_range"]}
    if parameters.get("auto_scale", True):
        ranges["J"] = properties["j_range"]
        factor = max(
            [x / (high if x > 0 else low) for name, (low, high) in ranges.items() for x in getattr(programmed, name)],
            default=0.0,
        )
        if not factor:
            return programmed
        scaled = programmed.h / factor, programmed.J / factor
        return Programmed(programmed.qubits, scaled[0], programmed.pairs, scaled[1], programmed.flux)
    for name, limits in ranges.items():
        for value in getattr(programmed, name):
            _within(f"{name} value", float(value), limits)
    if programmed.J.min(initial=0.0) < properties["j_range"][0]:
        low, high = properties["per_qubit_coupling_range"]
        total = np.zeros(len(programmed.qubits))
        for end in (0, 1):
            np.add.at(total, programmed.pairs[:, end], programmed.J)
        for value in total:
            _within("per-qubit coupling", float(value), [low, high])
    return programmed


def _within(name: str, value: float, limits: list[float]) -> None:
    if not limits[0] <= value <= limits[1]:
        raise RefusedError(400, f"{name} {value:g} is out of range [{limits[0]:g}, {limits[1]:g}]")
