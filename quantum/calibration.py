"""What an anneal is fed so that it samples the model asked for, to first order."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from quantum.response import Response, response
from quantum.schedule import AnnealSchedule

SMALLEST_BETA = 1e-3
"""Below this response the fed fields or couplings exceed a thousand times the model's: far outside the linear regime
that the division relies on, and amplifying whatever rounding is left in β. A negative β is divided by like any other:
the circuit then answers with the opposite sign, and the division turns it back."""


class Factors(NamedTuple):
    """What a model's fields and couplings are multiplied by before they enter the circuit."""

    field_factor: float
    coupling_factor: float


def _none(_: Response) -> Factors:
    return Factors(1.0, 1.0)


def _one_beta(beta: Response) -> Factors:
    return Factors(_inverse("beta_J", beta.beta_J), _inverse("beta_J", beta.beta_J))


def _two_beta(beta: Response) -> Factors:
    return Factors(_inverse("beta_h", beta.beta_h), _inverse("beta_J", beta.beta_J))


CALIBRATIONS: dict[str, Callable[[Response], Factors]] = {
    "none": _none,
    "one-beta": _one_beta,
    "two-beta": _two_beta,
}
"""Calibrations by name: "none" feeds h and J as they are (schedules that are calibrated by themselves), "one-beta"
divides both by β_J, "two-beta" divides h by β_h and J by β_J."""


def require_calibration(calibration: str) -> None:
    """Refuse a name that is not in `CALIBRATIONS`.

    Raises:
        ValueError: names the calibrations there are.
    """
    if calibration not in CALIBRATIONS:
        raise ValueError(f"calibration is {calibration!r}; choose one of {', '.join(CALIBRATIONS)}")


def calibrate(schedule: AnnealSchedule, steps: int | None = None, calibration: str = "two-beta") -> Factors:
    """The factors for a schedule at a number of steps.

    none: (1, 1)     one-beta: (1/β_J, 1/β_J)     two-beta: (1/β_h, 1/β_J)

    Args:
        schedule: the anneal.
        steps: Trotter steps K; may be left out for a schedule given by angles.
        calibration: a name in `CALIBRATIONS`.

    Returns:
        (field_factor, coupling_factor), dimensionless; `IsingModel.scaled` takes them.

    Raises:
        ValueError: an unknown calibration, or a response within `SMALLEST_BETA` of zero, which nothing can divide.
    """
    require_calibration(calibration)
    angles = schedule.angles(steps)
    try:
        return CALIBRATIONS[calibration](response(schedule, steps))
    except ZeroDivisionError as error:
        raise ValueError(
            f"calibration is {calibration!r}, but {error} for {schedule} with {angles.steps} steps: too close to zero "
            f"to divide by (at least {SMALLEST_BETA:g}); change the duration or the steps, or use calibration='none'"
        ) from None


def _inverse(name: str, beta: float) -> float:
    if abs(beta) < SMALLEST_BETA:
        raise ZeroDivisionError(f"{name} is {beta:.3g}")
    return 1.0 / beta
