"""Fast and standard anneals, and how long they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quantum.checks import positive_number
from quantum.dwave.solver_limits import SolverLimits

ANNEALS = ("fast", "standard")


@dataclass(frozen=True)
class Anneal:
    """One anneal of a solver.

    A fast (diabatic) anneal lasts nanoseconds and takes no linear biases; a standard one lasts microseconds and does.

    Args:
        kind: a name in `ANNEALS`.
        duration: nanoseconds.
    """

    kind: str
    duration: float

    @property
    def annealing_time(self) -> float:
        """The duration in the vendor's microseconds."""
        # nine digits: 7 ns is 0.007 µs and not 0.007000000000000001
        return float(f"{self.duration / 1000:.9g}")

    def parameters(self) -> dict[str, Any]:
        """As the solver takes it."""
        fast = {"fast_anneal": True} if self.kind == "fast" else {}
        return {**fast, "annealing_time": self.annealing_time}


def choose_anneal(kind: str, duration: float | None, limits: SolverLimits) -> Anneal:
    """The anneal that is asked for, if the solver has it.

    Args:
        kind: a name in `ANNEALS`.
        duration: nanoseconds; by default the solver's shortest fast anneal, or its default standard one.
        limits: of the solver.

    Raises:
        ValueError: an unknown kind, a fast anneal on a solver that has none, or a duration outside its range.
    """
    if kind not in ANNEALS:
        raise ValueError(f"anneal is {kind!r}; choose one of {', '.join(ANNEALS)}")
    span = limits.fast_anneal_time_range if kind == "fast" else limits.annealing_time_range
    if span is None or (kind == "fast" and "fast_anneal" not in limits.parameters):
        raise ValueError(f"anneal is 'fast', but {limits.name} has no fast anneals; use 'standard' or another solver")
    if duration is None:
        return Anneal(kind, 1000 * (span[0] if kind == "fast" else limits.default_annealing_time))
    anneal = Anneal(kind, positive_number("duration", duration))
    if not span[0] <= anneal.annealing_time <= span[1]:
        raise ValueError(
            f"duration is {anneal.duration:g} ns, but {kind} anneals of {limits.name} take {1000 * span[0]:g} to "
            f"{1000 * span[1]:g} ns"
        )
    return anneal
