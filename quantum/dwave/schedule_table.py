"""Tables of A(s) and B(s) as D-Wave publishes them for its processors, and a generic one that is nobody's."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantum.checks import number_columns, require_fraction
from quantum.schedule import AnnealSchedule

Floats = NDArray[np.float64]

COLUMNS = ("s", "A(s) (GHz)", "B(s) (GHz)")
"""Of a table, as D-Wave's spreadsheets name them."""

PLAUSIBLE = (1e-3, 1e3)
"""GHz between which the largest A and the largest B of a processor lie; others are in other units."""


@dataclass(frozen=True)
class ScheduleTable:
    """A(s) and B(s) of a processor, for anneals of any duration.

    H / h_Planck = −(A(s)/2) Σ X + (B(s)/2) (Σ h Z + Σ J Z Z),   h and J in the vendor's sign

    Args:
        fraction: s, (rows,), from 0 to 1, strictly increasing.
        a_ghz: A(s), (rows,), GHz, not negative.
        b_ghz: B(s), (rows,), GHz, not negative.

    Raises:
        ValueError: columns of unequal length, values that are negative or not finite, s that does not run from 0 to 1,
            or values that are no GHz.
    """

    fraction: tuple[float, ...]
    a_ghz: tuple[float, ...]
    b_ghz: tuple[float, ...]

    def __post_init__(self) -> None:
        columns: dict[str, Sequence[float]] = {"fraction": self.fraction, "a_ghz": self.a_ghz, "b_ghz": self.b_ghz}
        s, a, b = number_columns(columns, least=2)
        require_fraction(s)
        for name, values, letter in (("a_ghz", a, "A"), ("b_ghz", b, "B")):
            if fault := _implausible(values, letter):
                raise ValueError(f"{name} {fault}")

    def schedule(self, duration_ns: float) -> AnnealSchedule:
        """The anneal of a duration.

        Args:
            duration_ns: T, nanoseconds.

        Raises:
            ValueError: a duration that is not above zero.
        """
        return AnnealSchedule.tabulated(
            fraction=self.fraction, a_ghz=self.a_ghz, b_ghz=self.b_ghz, duration_ns=duration_ns
        )

    def at(self, fraction: Floats) -> tuple[Floats, Floats]:
        """A(s) and B(s) between the rows, GHz.

        Args:
            fraction: s, any shape, each in [0, 1].
        """
        return np.interp(fraction, self.fraction, self.a_ghz), np.interp(fraction, self.fraction, self.b_ghz)

    @property
    def crossing_ghz(self) -> float:
        """A = B where the two cross first, GHz.

        Raises:
            ValueError: they do not cross.
        """
        a, b = np.array(self.a_ghz), np.array(self.b_ghz)
        above = a > b
        if not above[0] or above.all():
            raise ValueError(
                f"table has A from {a[0]:.3g} to {a[-1]:.3g} GHz and B from {b[0]:.3g} to {b[-1]:.3g} GHz, which do "
                "not cross; give the table of a whole anneal"
            )
        row = int(np.argmin(above))
        before, after = (a - b)[row - 1], (a - b)[row]
        return float(b[row - 1] + (b[row] - b[row - 1]) * before / (before - after))


def _implausible(values: Floats, letter: str) -> str:
    """Why a column is no A(s) or B(s) in GHz, or nothing."""
    largest = float(values.max())
    if (values < 0).any():
        return f"has the negative value {values.min():g}; {letter}(s) is not negative"
    if not PLAUSIBLE[0] <= largest <= PLAUSIBLE[1]:
        return (
            f"comes to at most {largest:.3g}, which is not plausible in GHz ({PLAUSIBLE[0]:g} to {PLAUSIBLE[1]:g}); "
            "give GHz, not joules or rad/s"
        )
    return ""


def _generic() -> ScheduleTable:
    s = np.linspace(0.0, 1.0, 201)
    columns = (s, 6.0 * (1 - s) ** 4, 12.0 * s**2)
    return ScheduleTable(*(tuple(column.tolist()) for column in columns))


GENERIC_TABLE = _generic()
"""A(s) = 6 (1 − s)⁴ GHz and B(s) = 12 s² GHz: smooth, of the size of a flux-qubit annealer's, with A = B = 1.2 GHz at
s = 0.32. It is generic: nobody publishes it and no processor has it. For a processor read its own table."""


def read_schedule_table(path: str | os.PathLike[str], duration_ns: float) -> AnnealSchedule:
    """The anneal of a duration on a processor whose table is in a file.

    Args:
        path: CSV, as exported from the spreadsheet that D-Wave publishes for a processor (see `read_table`).
        duration_ns: T, nanoseconds.

    Raises:
        ValueError: a file that is no such table, or a duration that is not above zero.
        FileNotFoundError: there is no such file.
    """
    return read_table(path).schedule(duration_ns)


def read_table(path: str | os.PathLike[str]) -> ScheduleTable:
    """Read A(s) and B(s) from a CSV file.

    The first row names the columns: "s", "A(s) (GHz)" and "B(s) (GHz)", in any order. Others, as "C (normalized)", are
    passed over.

    Args:
        path: of the file.

    Raises:
        ValueError: a column that is missing, in other units, not numeric or not plausible in GHz, or s that does not
            run from 0 to 1; names file and column.
        FileNotFoundError: there is no such file.
    """
    name = os.fspath(path)
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file)]
    except (UnicodeDecodeError, csv.Error):
        raise ValueError(f"{name} is no CSV file; export the schedule's sheet of the spreadsheet as CSV") from None
    lines = [(line, row) for line, row in enumerate(rows, 1) if any(row)]
    if not lines:
        raise ValueError(f"{name} is empty; it needs the columns {', '.join(COLUMNS)}")
    header = [" ".join(cell.split()) for cell in lines[0][1]]
    places = [_place(header, column, name) for column in COLUMNS]
    s, a, b = ([_number(row, place, header[place], line, name) for line, row in lines[1:]] for place in places)
    if len(s) < 2:
        raise ValueError(f"{name} has {len(s)} rows of numbers; a table needs at least 2, from s = 0 to s = 1")
    steps = np.diff(s)
    if s[0] != 0 or s[-1] != 1 or (steps <= 0).any():
        word = f"runs from {s[0]:g} to {s[-1]:g}" if (steps > 0).all() else "does not increase from row to row"
        raise ValueError(f"{name}: column 's' {word}; give the whole table, from 0 to 1 and strictly increasing")
    for values, column in ((a, COLUMNS[1]), (b, COLUMNS[2])):
        if fault := _implausible(np.array(values), column[0]):
            raise ValueError(f"{name}: column '{column}' {fault}")
    return ScheduleTable(tuple(s), tuple(a), tuple(b))


def _place(header: list[str], column: str, name: str) -> int:
    """Where a column stands."""
    if header.count(column) == 1:
        return header.index(column)
    if column in header:
        raise ValueError(f"{name} has the column '{column}' {header.count(column)} times; leave one")
    stem = column.split(" ")[0]
    others = [cell for cell in header if cell.lower().startswith(stem.lower()) and cell.lower() != "s"]
    if others and column != "s":
        raise ValueError(f"{name} has a column '{others[0]}', but not '{column}'; give {stem} in GHz, under that name")
    raise ValueError(f"{name} has no column '{column}', only {', '.join(header) or 'none'}; name it so")


def _number(row: list[str], place: int, column: str, line: int, name: str) -> float:
    text = row[place] if place < len(row) else ""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name}: column '{column}' holds {text!r} in row {line}; give a number")
    return value
