"""What an anneal is fed so that it samples the model asked for, to first order."""

from __future__ import annotations

from collections.abc import Callable

from quantum.response import response
from quantum.schedule import AnnealSchedule
from quantum.tuned import Factors, tuned_factors

SMALLEST_BETA = 1e-3
"""Below this response the fed fields or couplings exceed a thousand times the model's: far outside the linear regime
that the division relies on, and amplifying whatever rounding is left in β. A negative β is divided by like any other:
the circuit then answers with the opposite sign, and the division turns it back."""


def _none(_: AnnealSchedule, __: int | None) -> Factors:
    return Factors(1.0, 1.0)


def _one_beta(schedule: AnnealSchedule, steps: int | None) -> Factors:
    factor = _inverse("beta_J", response(schedule, steps).beta_J)
    return Factors(factor, factor)


def _two_beta(schedule: AnnealSchedule, steps: int | None) -> Factors:
    beta = response(schedule, steps)
    return Factors(_inverse("beta_h", beta.beta_h), _inverse("beta_J", beta.beta_J))


CALIBRATIONS: dict[str, Callable[[AnnealSchedule, int | None], Factors]] = {
    "none": _none,
    "one-beta": _one_beta,
    "two-beta": _two_beta,
    "tuned": tuned_factors,
}
"""Calibrations by name: "none" feeds h and J as they are (schedules that are calibrated by themselves), "one-beta"
divides both by β_J, "two-beta" divides h by β_h and J by β_J, "tuned" multiplies them by the two numbers that
minimize the mean KL over `quantum.tuned.TUNING` (`quantum.tuned.tune_factors` takes other models)."""


def require_calibration(calibration: str) -> None:
    """Refuse a name that is not in `CALIBRATIONS`.

    Raises:
        ValueError: names the calibrations there are.
    """
    if calibration not in CALIBRATIONS:
        raise ValueError(f"calibration is {calibration!r}; choose one of {', '.join(CALIBRATIONS)}")


def resolve_calibration(schedule: AnnealSchedule, calibration: str | None) -> str:
    """The name that a schedule's calibration has where none is asked for, or the one that is, if it makes sense.

    Designed schedules are calibrated by themselves: "none" is their default and the only one they take, since
    dividing once more would undo what they were designed for. All others default to "two-beta".

    Args:
        schedule: the anneal.
        calibration: a name in `CALIBRATIONS`, or None for the schedule's own default.

    Raises:
        ValueError: an unknown name, or a calibration for a designed schedule.
    """
    if calibration is None:
        return "two-beta" if schedule.design is None else "none"
    require_calibration(calibration)
    if schedule.design is not None and calibration != "none":
        raise ValueError(
            f"calibration is {calibration!r}, but a designed schedule is calibrated by itself and must not be "
            "calibrated again; use 'none', or leave calibration out"
        )
    return calibration


def calibrate(schedule: AnnealSchedule, steps: int | None = None, calibration: str | None = None) -> Factors:
    """The factors for a schedule at a number of steps.

    none: (1, 1)     one-beta: (1/β_J, 1/β_J)     two-beta: (1/β_h, 1/β_J)     tuned: argmin of the mean KL

    Args:
        schedule: the anneal.
        steps: Trotter steps K; may be left out for a schedule given by angles.
        calibration: a name in `CALIBRATIONS`; by default "two-beta", and "none" for designed schedules.

    Returns:
        (field_factor, coupling_factor), dimensionless; `IsingModel.scaled` takes them.

    Raises:
        ValueError: an unknown calibration, one for a designed schedule, or a response within `SMALLEST_BETA` of zero,
            which nothing can divide.
    """
    name = resolve_calibration(schedule, calibration)
    angles = schedule.angles(steps)
    try:
        return CALIBRATIONS[name](schedule, steps)
    except ZeroDivisionError as error:
        raise ValueError(
            f"calibration is {name!r}, but {error} for {schedule} with {angles.steps} steps: too close to zero "
            f"to divide by (at least {SMALLEST_BETA:g}); change the duration or the steps, or use calibration='none'"
        ) from None


def _inverse(name: str, beta: float) -> float:
    if abs(beta) < SMALLEST_BETA:
        raise ZeroDivisionError(f"{name} is {beta:.3g}")
    return 1.0 / beta
