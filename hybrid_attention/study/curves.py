"""Curves and table rows of one column of a study, a series at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from hybrid_attention.study.drawing import Axis, Curve, Look, log_axis, looks
from hybrid_attention.study.summary import Key, means, measured, series_name, series_of, several_samplers, unit

DURATION = "duration T (ħ / largest transverse field)"
NANOSECONDS = "duration T (ns)"
COSINE = "gradient_cosine"
_TINY = 1e-12  # a distance from 1, or a KL, that is rounding alone has no place on a logarithmic axis
_MOST_SHADED = 4  # levels beyond which their errors, one over the other, would hide the rest
_LONE_SYMBOL = "triangle"


class Quantity(NamedTuple):
    """What is drawn of a column.

    Args:
        column: its name.
        name: in hover texts.
        unit: likewise.
    """

    column: str
    name: str
    unit: str = ""

    def height(self, value: float) -> float:
        """Where a value stands on its axis: a cosine by its distance from 1.

        Args:
            value: as in the table.
        """
        return 1.0 - value if self.column == COSINE else value


KL = Quantity("kl", "KL", " nats")
GRADIENT = Quantity(COSINE, "cosine")


class Series(NamedTuple):
    """One series of settings with its means.

    Args:
        key: its settings.
        name: in words.
        look: how it is drawn.
        means: duration, value, error, number, and the mean of trotter_steps, two_qubit_gates and seconds.
    """

    key: Key
    name: str
    look: Look
    means: pd.DataFrame


def every_series(rows: pd.DataFrame, among: pd.DataFrame, quantity: Quantity) -> list[Series]:
    """The series in some rows that have values.

    Args:
        rows: whose means are taken.
        among: all rows of these models: names and looks agree between figures that have them in common.
        quantity: which column.
    """
    look, many = looks([key for key, _ in series_of(among)]), several_samplers(among)
    found = []
    for key, own in series_of(rows[rows[quantity.column].notna()]):
        costs = own.groupby("duration", dropna=False)[["trotter_steps", "two_qubit_gates", "seconds"]].mean()
        merged = means(own, quantity.column, ["duration"]).merge(costs.reset_index(), on="duration")
        found.append(Series(key, series_name(key, many), look[key], merged))
    return found


def by_duration(series: list[Series], quantity: Quantity) -> list[Curve]:
    """A curve for each series with durations, a level for each without; many levels have no errors.

    Args:
        series: of `every_series`.
        quantity: what they are means of.
    """
    found = []
    for one in series:
        shown = one.means[one.means["value"].map(quantity.height) > _TINY]
        if len(shown):
            level = bool(shown["duration"].isna().all())
            found.append(_curve(one, shown, quantity, [] if level else list(shown["duration"]), one.look))
    crowded = sum(curve.level for curve in found) > _MOST_SHADED
    return [replace(curve, error=[]) if crowded and curve.level else curve for curve in found]


def by_cost(series: list[Series], quantity: Quantity, cost: str) -> list[Curve]:
    """A curve for each series that has the cost.

    Args:
        series: of `every_series`.
        quantity: what they are means of.
        cost: two_qubit_gates or seconds.
    """
    found = []
    for one in series:
        shown = one.means[(one.means["value"].map(quantity.height) > _TINY) & one.means[cost].notna()]
        if len(shown):
            lone = Look(one.look.color, _lone(one.look.dash), line=False)
            found.append(_curve(one, shown, quantity, list(shown[cost]), one.look if one.look.symbol else lone))
    return found


def duration_axis(among: pd.DataFrame) -> Axis:
    """The axis of durations, the same in every figure of these models.

    Args:
        among: all rows of these models.
    """
    title = NANOSECONDS if unit(among) else DURATION
    return log_axis(title, list(among["duration"].dropna()) or [0.5, 20.0])


def table_rows(series: list[Series]) -> list[list[str]]:
    """A row for each mean: series, T, K, two-qubit gates, mean with error, models.

    Args:
        series: of `every_series`.
    """
    return [
        [
            one.name,
            _number(row.duration),
            _number(row.trotter_steps),
            _number(row.two_qubit_gates),
            measured(row.value, row.error),
            str(int(row.number)),
        ]
        for one in series
        for row in _records(one.means)
    ]


def table_head(title: str) -> list[str]:
    """The columns of `table_rows`.

    Args:
        title: of the mean.
    """
    return ["Series", "T", "Trotter steps", "Two-qubit gates", f"{title} ± standard error", "Models"]


class _Record(NamedTuple):
    duration: float
    value: float
    error: float
    number: int
    trotter_steps: float
    two_qubit_gates: float
    seconds: float


def _records(found: pd.DataFrame) -> list[_Record]:
    return [_Record(*values) for values in found[list(_Record._fields)].to_numpy().tolist()]


def _curve(one: Series, shown: pd.DataFrame, quantity: Quantity, x: list[float], look: Look) -> Curve:
    y = [quantity.height(value) for value in shown["value"]]
    hover = [_hover(row, quantity) for row in _records(shown)]
    return Curve(one.name, x, y, hover, look, list(shown["error"]))


def _hover(row: _Record, quantity: Quantity) -> str:
    parts = [] if pd.isna(row.duration) else [f"T = {row.duration:g}"]
    parts += [] if pd.isna(row.trotter_steps) else [f"K = {row.trotter_steps:g}"]
    parts += [] if pd.isna(row.two_qubit_gates) else [f"{row.two_qubit_gates:,.0f} two-qubit gates"]
    parts += [] if pd.isna(row.seconds) else [f"{row.seconds:.2g} s for each model"]
    value = f"{quantity.name} {measured(row.value, row.error)}{quantity.unit}"
    return "<br>".join([value, ", ".join(parts[:2]), *parts[2:]] if parts else [value])


def _lone(dash: str) -> str:
    """Circuits without a curve differ by symbol where their lines would by dash."""
    return {"dot": "triangle", "dashdot": "cross", "dash": "star"}.get(dash, _LONE_SYMBOL)


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:g}" if value < 1e4 else f"{value:,.0f}"
