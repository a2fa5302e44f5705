"""Under which conditions jobs are run, and what comes of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

IN_FLIGHT = 200
"""Jobs that wait at the service at a time; D-Wave's rejects more than 1,000 of one user's."""

R = TypeVar("R")


@dataclass(frozen=True)
class Terms:
    """Under which conditions jobs are run.

    Args:
        purpose: what they are for, such as "calibration".
        budget: most QPU time that all jobs of the journal may come to, seconds; None for no limit.
        in_flight: most jobs that wait at the service at a time.
        settle: seconds after which a posted job is found by its label if it was accepted.
        cancel: on an error, cancel what still waits at the service rather than leave it to be fetched later.
    """

    purpose: str = ""
    budget: float | None = None
    in_flight: int = IN_FLIGHT
    settle: float = 10.0
    cancel: bool = False


@dataclass(frozen=True, eq=False)
class Result(Generic[R]):
    """An answered request.

    Args:
        problem_id: the service's.
        charged_us: QPU time that it was charged, µs.
        value: what was read from the answer.
    """

    problem_id: str
    charged_us: float
    value: R
