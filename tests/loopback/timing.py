"""What a problem costs, by the timing model that a solver publishes (version 1.0).

    programming = typical + thermalization
    sampling    = reads · (anneal + readout(qubits) + thermalization + delay)
    access      = programming + sampling                                         [µs]

readout(qubits) is linear between the published points, in log-log.
"""

from __future__ import annotations

from typing import Any

import numpy as np

DECIMALS = 3
"""Charges are rounded to nanoseconds, so that sums of them can be compared exactly."""


def timing(properties: dict[str, Any], parameters: dict[str, Any], qubits: int, reads: int) -> dict[str, float]:
    """The times of an answer, in microseconds; `qpu_access_time` is what is charged.

    Args:
        properties: of the solver.
        parameters: of the problem.
        qubits: how many are programmed.
        reads: how many.
    """
    data = properties["problem_timing_data"]
    points = data["readout_time_model_parameters"]
    assert data["readout_time_model"] == "pwl_log_log"
    sizes, times = points[: len(points) // 2], points[len(points) // 2 :]
    readout = float(10 ** np.interp(np.log10(qubits), sizes, times))
    anneal = parameters.get("annealing_time", properties["default_annealing_time"])
    if schedule := parameters.get("anneal_schedule"):
        anneal = schedule[-1][0]
    thermalization = parameters.get("readout_thermalization") or data["default_readout_thermalization"]
    delay = data["qpu_delay_time_per_sample"]
    cooling = parameters.get("programming_thermalization") or data["default_programming_thermalization"]
    programming = data["typical_programming_time"] + cooling
    sampling = reads * (anneal + readout + thermalization + delay)
    return {
        "qpu_sampling_time": round(sampling, DECIMALS),
        "qpu_anneal_time_per_sample": round(anneal, DECIMALS),
        "qpu_readout_time_per_sample": round(readout, DECIMALS),
        "qpu_delay_time_per_sample": round(delay, DECIMALS),
        "qpu_programming_time": round(programming, DECIMALS),
        "qpu_access_overhead_time": 0.0,
        "total_post_processing_time": 0.0,
        "post_processing_overhead_time": 0.0,
        "qpu_access_time": round(programming + sampling, DECIMALS),
    }
