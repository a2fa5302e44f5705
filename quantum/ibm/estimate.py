"""What a job is expected to be charged, before it is submitted."""

from __future__ import annotations

from quantum.ibm.circuits import CircuitFacts
from quantum.ibm.device import Device

OVERHEAD = 2.0
"""Seconds of every job, as IBM's guide has it."""

CIRCUIT = 100e-6
"""Seconds of one shot where a backend does not say how long its gates take; IBM's quick formula has this."""


def quantum_seconds(device: Device, work: list[tuple[CircuitFacts | None, int]], shots: int) -> float:
    """QPU time of one job, by IBM's own baseline formula.

    2 s + Σ (rep_delay + circuit duration) · models · shots

    IBM calls it an approximation without mitigation or suppression. The overhead is "about" 2 s and dominates below
    some 5,000 executions; take the result as good to a factor of two. The journal multiplies later estimates by the
    largest ratio of charge to estimate that it has seen, so that a budget errs on the safe side from the second job on;
    `max_execution_time` bounds the first.

    Args:
        device: with its delay between shots.
        work: the circuits of the job, and how many models each runs.
        shots: that are executed for each model.

    Reference:
        IBM Quantum documentation, "Workload usage".
    """
    busy = 0.0
    for facts, models in work:
        duration = CIRCUIT if facts is None or facts.duration is None else facts.duration
        busy += (device.rep_delay + duration) * models * shots
    return OVERHEAD + busy
