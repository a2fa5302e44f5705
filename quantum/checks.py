"""What the numbers of a schedule must be, and what to say when they are not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def positive_number(name: str, value: float) -> float:
    """A finite number above zero, as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < float(value) < np.inf:
        raise ValueError(f"{name} is {value!r}; give a finite number above zero")
    return float(value)


def number_columns(columns: dict[str, Sequence[float]], least: int) -> list[Vector]:
    """The columns as float64 vectors of one length, none of them with a value that is not finite."""
    vectors = []
    for name, values in columns.items():
        try:
            vector = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{name} is {values!r}; give a list of numbers") from None
        if vector.ndim != 1 or len(vector) < least:
            raise ValueError(f"{name} has shape {vector.shape}; give a list of at least {least} numbers")
        require_finite(name, vector)
        vectors.append(vector)
    lengths = [len(vector) for vector in vectors]
    if len(set(lengths)) > 1:
        given = ", ".join(f"{name} {length}" for name, length in zip(columns, lengths, strict=True))
        raise ValueError(f"{', '.join(columns)} have unequal lengths ({given}); give one value of each per row")
    return vectors


def require_finite(name: str, values: Vector) -> None:
    if not bool(np.isfinite(values).all()):
        raise ValueError(f"{name} contains {values[~np.isfinite(values)].flat[0]}; every value must be finite")


def require_fraction(fraction: Vector) -> None:
    if fraction[0] != 0 or fraction[-1] != 1:
        raise ValueError(
            f"fraction runs from {fraction[0]:g} to {fraction[-1]:g}; a schedule's table starts at 0 and ends at 1"
        )
    falls = np.flatnonzero(np.diff(fraction) <= 0)
    if len(falls):
        row = int(falls[0]) + 1
        raise ValueError(
            f"fraction[{row}] is {fraction[row]:g} after {fraction[row - 1]:g}; sort the rows, each fraction once"
        )
