"""A figure as data: what is drawn by plotly on the page and by matplotlib beside it, so that both say the same."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from hybrid_attention.study.summary import SUPERSCRIPTS, TIMED, Key

INK, GRID, SOFT = "#22303c", "#e4e7eb", "#5b6875"
BLUE, VERMILION, GREEN, SKY, PINK, AMBER = "#0072b2", "#d55e00", "#009e73", "#56b4e9", "#cc79a7", "#e69f00"
WINE, INDIGO, GRAY = "#882255", "#332288", "#7a8490"
# told apart by people of every colour vision (Okabe and Ito; Tol); symbols and dashes differ as well
_CALIBRATIONS = {"one-beta": (VERMILION, "diamond"), "two-beta": (BLUE, "circle"), "tuned": (GREEN, "square")}
_OTHERS = ((PINK, "dot"), (WINE, "dashdot"), (INDIGO, "dash"), (AMBER, "dot"), (GRAY, "dashdot"), (SKY, "dash"))
_FURTHER_DASHES = ("solid", "dash", "dot", "dashdot")
_MARKS = ((1.0, (1, 2, 3, 5, 7)), (3.2, (1, 2, 5)), (math.inf, (1,)))
"""Up to how many decades which numbers of each are marked."""
_SHOWN_SHARE = 0.3  # of a value: how far down its error bar is sure to be in sight
_PLAIN_FROM = 1e-4  # smaller numbers are written as powers of ten


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
        across: whether the errors are those of the positions, and their bars lie.
    """

    name: str
    x: list[float]
    y: list[float]
    hover: list[str]
    look: Look
    error: list[float] = field(default_factory=list)
    across: bool = False

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
        vertical: whether at an x rather than a y; the text is at its foot.
        early: whether the text is at the left: of the panel, or of a vertical line.
        below: whether a horizontal line's text is under it.
    """

    value: float
    text: str
    vertical: bool = False
    early: bool = False
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
    others = list(dict.fromkeys(key for key in keys if key[2] not in TIMED))
    found = {}
    for key in keys:
        if key[2] in TIMED:
            color, symbol = _CALIBRATIONS.get(key[3] or "", (SKY, "triangle"))
            way = ways.index((key[0], key[1]))
            dash = _FURTHER_DASHES[way % len(_FURTHER_DASHES)]
            found[key] = Look(color, symbol, dash, hollow=way > 0)
        else:
            color, dash = _OTHERS[others.index(key) % len(_OTHERS)]
            found[key] = Look(color, "", dash)
    return found


def with_subscripts(text: str, form: str) -> str:
    """β_h and β_J as whoever draws writes subscripts.

    Args:
        text: with plain names.
        form: of a name, {} in place of its index.
    """
    return text.replace("β_h", form.format("h")).replace("β_J", form.format("J"))


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
    steps = next(numbers for most, numbers in _MARKS if math.log10(high / low) <= most)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [step * 10.0**decade for decade in decades for step in steps]
    return tuple((value, _written(value)) for value in every if low <= value <= high)


def _written(value: float) -> str:
    if value >= _PLAIN_FROM * 0.99:
        return f"{value:g}"
    digit, _, power = f"{value:.0e}".partition("e")
    return ("" if digit == "1" else f"{digit}·") + "10" + str(int(power)).translate(SUPERSCRIPTS)


def cosine_axis(cosines: Iterable[float]) -> Axis:
    """An axis of cosines on which the distance from 1 is logarithmic; positions on it are 1 − cosine.

    Args:
        cosines: below 1.
    """
    low, high = _ends([1.0 - value for value in cosines])
    low, high = low / 1.25, high * 1.15
    marks = [distance for distance, _ in log_ticks(low, high)]
    ticks = tuple((distance, f"{1.0 - distance:.12g}") for distance in marks)
    return Axis("gradient cosine (1 is exact)", low, high, flipped=True, ticks=ticks)


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
            found += [value, value + width, max(value - width, value * _SHOWN_SHARE)]
    return found


def both_ends(curves: list[Curve]) -> list[float]:
    """Values of curves with both ends of their error bars, for a linear axis.

    Args:
        curves: of a panel.
    """
    found = []
    for curve in curves:
        for value, error in zip(curve.y, curve.error or [0.0] * len(curve.y), strict=True):
            width = 0.0 if math.isnan(error) else error
            found += [value - width, value + width]
    return found


def _ends(values: Iterable[float]) -> tuple[float, float]:
    known = [value for value in values if math.isfinite(value) and value > 0] or [0.1, 10.0]
    low, high = min(known), max(known)
    return (low, high) if high > low * 1.05 else (low / 1.5, high * 1.5)
