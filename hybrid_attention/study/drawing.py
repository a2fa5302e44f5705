"""A figure as data: what is drawn by plotly on the page and by matplotlib beside it, so that both say the same."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from hybrid_attention.study.summary import Key

INK, GRID, SOFT = "#22303c", "#e4e7eb", "#5b6875"
BLUE, VERMILION, GREEN, SKY, PINK, AMBER = "#0072b2", "#d55e00", "#009e73", "#56b4e9", "#cc79a7", "#e69f00"
WINE, INDIGO, GRAY = "#882255", "#332288", "#7a8490"
# told apart by people of every colour vision (Okabe and Ito; Tol); symbols and dashes differ as well
_CALIBRATIONS = {"one-beta": (VERMILION, "diamond"), "two-beta": (BLUE, "circle"), "tuned": (GREEN, "square")}
_OTHERS = ((PINK, "dot"), (WINE, "dashdot"), (INDIGO, "dash"), (AMBER, "dot"), (GRAY, "dashdot"), (SKY, "dash"))
_FURTHER_DASHES = ("solid", "dash", "dot", "dashdot")
_STEPS = (1, 2, 5)
_MANY_DECADES = 2.6  # beyond them only powers of ten are marked
_COSINES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999)


@dataclass(frozen=True)
class Axis:
    """An axis: its title with unit, where it ends, and what is marked.

    Args:
        title: with the unit.
        low: smallest value.
        high: largest value.
        log: whether logarithmic.
        flipped: whether it falls.
        ticks: (value, text); chosen by whoever draws where empty.
    """

    title: str
    low: float
    high: float
    log: bool = True
    flipped: bool = False
    ticks: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True)
class Look:
    """How a series is drawn.

    Args:
        color: hexadecimal.
        symbol: circle, square, diamond, triangle, cross, star or "" for none.
        dash: solid, dash, dot or dashdot.
        hollow: whether its symbols are outlines.
        line: whether its points are joined.
    """

    color: str
    symbol: str = "circle"
    dash: str = "solid"
    hollow: bool = False
    line: bool = True


@dataclass(frozen=True)
class Curve:
    """Points with error bars, or a level across the panel.

    Args:
        name: in the legend.
        x: positions; empty for a level.
        y: values; one for a level.
        hover: a text for each value.
        look: how it is drawn.
        error: half-width for each value, nan for none; empty for no errors at all. Of a level it is shaded.
    """

    name: str
    x: list[float]
    y: list[float]
    hover: list[str]
    look: Look
    error: list[float] = field(default_factory=list)

    @property
    def level(self) -> bool:
        """Whether it is a horizontal line across the panel."""
        return not self.x


@dataclass(frozen=True)
class Rule:
    """A thin line across the panel with a text at its end.

    Args:
        value: where.
        text: what it is.
        vertical: whether at an x rather than a y.
        below: whether a horizontal line's text is under it.
    """

    value: float
    text: str
    vertical: bool = False
    below: bool = False


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Args:
        title: what tells it from its neighbours.
        x: axis.
        y: axis.
        curves: in the order of the legend.
        rules: lines with texts.
        zone: (low, high) of a horizontal band, and its text.
    """

    title: str
    x: Axis
    y: Axis
    curves: list[Curve]
    rules: list[Rule] = field(default_factory=list)
    zone: tuple[float, float, str] | None = None


@dataclass(frozen=True)
class Figure:
    """Panels that are looked at together, with what they show in words and numbers.

    Args:
        key: its file name begins with it.
        title: a heading.
        note: how to read it.
        panels: at least one.
        columns: heads of the table behind it.
        rows: of that table.
    """

    key: str
    title: str
    note: str
    panels: list[Panel]
    columns: list[str]
    rows: list[list[str]]


def looks(keys: list[Key]) -> dict[Key, Look]:
    """A look for every series, the same wherever the series appears.

    Args:
        keys: (sampler, polish, schedule, calibration) of each.
    """
    ways = list(dict.fromkeys((key[0], key[1]) for key in keys if key[2] is not None))
    others = list(dict.fromkeys(key for key in keys if key[2] != "linear"))
    found = {}
    for key in keys:
        if key[2] == "linear":
            color, symbol = _CALIBRATIONS.get(key[3] or "", (SKY, "triangle"))
            way = ways.index((key[0], key[1]))
            dash = _FURTHER_DASHES[way % len(_FURTHER_DASHES)]
            found[key] = Look(color, symbol, dash, hollow=way > 0)
        else:
            color, dash = _OTHERS[others.index(key) % len(_OTHERS)]
            found[key] = Look(color, "", dash)
    return found


def log_axis(title: str, values: Iterable[float], room: float = 0.04) -> Axis:
    """A logarithmic axis around some values, marked at 1, 2 and 5 or at powers of ten.

    Args:
        title: with the unit.
        values: positive ones count.
        room: left at each end, as a share of the length.
    """
    low, high = _ends(values)
    span = math.log(high / low) or 1.0
    low, high = low * math.exp(-room * span), high * math.exp(room * span)
    return Axis(title, low, high, ticks=log_ticks(low, high))


def log_ticks(low: float, high: float) -> tuple[tuple[float, str], ...]:
    """Marks of a logarithmic axis.

    Args:
        low: its lower end.
        high: its upper end.
    """
    steps = _STEPS if math.log10(high / low) < _MANY_DECADES else (1,)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [step * 10.0**decade for decade in decades for step in steps]
    return tuple((value, f"{value:g}") for value in every if low <= value <= high)


def cosine_axis(cosines: Iterable[float]) -> Axis:
    """An axis of cosines on which the distance from 1 is logarithmic; positions on it are 1 − cosine.

    Args:
        cosines: below 1.
    """
    low, high = _ends([1.0 - value for value in cosines])
    low, high = low / 1.25, high * 1.15
    marks = [cosine for cosine in _COSINES if low <= 1.0 - cosine <= high]
    return Axis("gradient cosine (1 is exact)", low, high, flipped=True, ticks=tuple((1 - c, f"{c:g}") for c in marks))


def linear_axis(title: str, values: Iterable[float], room: float = 0.06) -> Axis:
    """A linear axis around some values.

    Args:
        title: with the unit.
        values: finite ones count.
        room: left at each end, as a share of the length.
    """
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    span = max(known) - min(known) or abs(known[0]) * 0.1 or 1.0
    return Axis(title, min(known) - room * span, max(known) + room * span, log=False)


def reach(curves: list[Curve]) -> list[float]:
    """Values of curves with the ends of their error bars.

    Args:
        curves: of a panel.
    """
    found = []
    for curve in curves:
        errors = curve.error or [0.0] * len(curve.y)
        for value, error in zip(curve.y, errors, strict=True):
            width = 0.0 if math.isnan(error) else error
            # on a logarithmic axis an error bar that passes 0 has no end
            found += [value, value + width, *([value - width] if value > 2 * width else [])]
    return found


def _ends(values: Iterable[float]) -> tuple[float, float]:
    known = [value for value in values if math.isfinite(value) and value > 0] or [0.1, 10.0]
    low, high = min(known), max(known)
    return (low, high) if high > low * 1.05 else (low / 1.5, high * 1.5)
