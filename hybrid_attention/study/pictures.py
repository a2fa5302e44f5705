"""A study's figures by matplotlib: PNG and SVG files, drawn from the same data as the page."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid_attention.files import write_bytes
from hybrid_attention.study.drawing import GRID, INK, SOFT, Axis, Curve, Figure, Panel, with_subscripts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = {"circle": "o", "square": "s", "diamond": "D", "triangle": "^", "cross": "P", "star": "*", "": ""}
_DASHES: dict[str, Any] = {
    "solid": "-",
    "dash": (0, (5, 2)),
    "dot": (0, (1.2, 1.6)),
    "dashdot": (0, (5, 1.6, 1.2, 1.6)),
}
_LEAST_SHARE = 0.02  # of a value: where an error bar ends that passes zero on a logarithmic axis
_WIDTH, _HEIGHT, _LEGEND_ROW, _COLUMNS = 5.6, 4.0, 0.24, 3
_STYLE: Any = {
    "svg.hashsalt": "study",  # the same figure gives the same file
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#b8c0c9",
    "xtick.color": INK,
    "ytick.color": INK,
}


def write_pictures(figure: Figure, folder: Path, name: str) -> None:
    """Write PNG and SVG of a figure; a file is either whole or not there.

    Args:
        figure: what to draw.
        folder: it exists.
        name: of the files, without ending.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context(_STYLE):
        count = len(figure.panels)
        columns = min(count, _COLUMNS)
        lines = math.ceil(count / columns)
        legend = (
            max(math.ceil((len(panel.curves) + (panel.zone is not None)) / 2) for panel in figure.panels) * _LEGEND_ROW
        )
        width = _WIDTH * columns if count > 1 else 1.25 * _WIDTH
        canvas = Canvas(figsize=(width, lines * (_HEIGHT + legend) + 0.3), layout="constrained", facecolor="white")
        FigureCanvasAgg(canvas)
        canvas.suptitle(figure.title, x=0.01, ha="left", fontsize=13, fontweight="bold")
        for number, panel in enumerate(figure.panels, start=1):
            _draw(canvas.add_subplot(lines, columns, number), panel)
        canvas.draw_without_rendering()  # lays it out
        canvas.set_layout_engine("none")  # once is enough for both files
        for kind, options in (("png", {"dpi": 150}), ("svg", {"metadata": {"Date": None}})):
            held = io.BytesIO()
            canvas.savefig(held, format=kind, **options)
            write_bytes(folder / f"{name}.{kind}", held.getvalue())


def _draw(axes: Axes, panel: Panel) -> None:
    _axis(axes, "x", panel.x)
    _axis(axes, "y", panel.y)
    axes.set_title(panel.title, loc="left", fontsize=11)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    handles = [
        _level(axes, curve) if curve.level else _curve(axes, curve, (panel.x if curve.across else panel.y).log)
        for curve in panel.curves
    ]
    for rule in panel.rules:
        style: Any = {"color": SOFT, "linewidth": 1.0, "linestyle": (0, (5, 3)), "zorder": 1}
        if rule.vertical:
            axes.axvline(rule.value, **style)
            end = panel.y.high if panel.y.flipped else panel.y.low
            across, gap = ("right", -4) if rule.early else ("left", 4)
            _text(axes, rule.text, (rule.value, end), (gap, 3), across, "bottom")
        else:
            axes.axhline(rule.value, **style)
            side, shift = ("top", -3) if rule.below else ("bottom", 2)
            across, end, gap = ("left", panel.x.low, 3) if rule.early else ("right", panel.x.high, -3)
            _text(axes, rule.text, (end, rule.value), (gap, shift), across, side)
    if panel.zone is not None:
        low, high, text = panel.zone
        handles.append(axes.axhspan(low, high, color=SOFT, alpha=0.14, linewidth=0, zorder=0, label=text))
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(-0.02, -0.16),
        ncols=2,
        frameon=False,
        fontsize=9,
        columnspacing=1.2,
        handlelength=2.6,
    )


def _curve(axes: Axes, curve: Curve, log: bool) -> Any:
    look = curve.look
    errors = None
    if curve.error:
        up = [0.0 if math.isnan(error) else error for error in curve.error]
        values = curve.x if curve.across else curve.y
        down = [min(e, (1 - _LEAST_SHARE) * v) if log else e for v, e in zip(values, up, strict=True)]
        errors = [down, up]
    return axes.errorbar(
        curve.x,
        curve.y,
        xerr=errors if curve.across else None,
        yerr=None if curve.across else errors,
        label=_written(curve.name),
        color=look.color,
        linestyle=_DASHES[look.dash] if look.line else "none",
        linewidth=1.6,
        marker=_MARKERS[look.symbol],
        markersize=5.5,
        markerfacecolor="white" if look.hollow else look.color,
        capsize=2.5,
        elinewidth=1.0,
        zorder=3,
    )


def _level(axes: Axes, curve: Curve) -> Any:
    value, error = curve.y[0], curve.error[0] if curve.error else math.nan
    style: Any = {"color": curve.look.color, "linestyle": _DASHES[curve.look.dash], "linewidth": 1.8}
    line = axes.axhline(value, label=_written(curve.name), **style)
    if not math.isnan(error):
        axes.axhspan(value - error, value + error, color=curve.look.color, alpha=0.14, linewidth=0, zorder=0)
    return line


def _axis(axes: Axes, which: str, axis: Axis) -> None:
    from matplotlib.ticker import MaxNLocator, NullLocator

    axes.set(**{f"{which}scale": "log" if axis.log else "linear", f"{which}label": _written(axis.title)})
    ends = (axis.high, axis.low) if axis.flipped else (axis.low, axis.high)
    axes.set(**{f"{which}lim": ends})
    own = getattr(axes, f"{which}axis")
    if axis.ticks:
        own.set_ticks([value for value, _ in axis.ticks], [text for _, text in axis.ticks])
        own.set_minor_locator(NullLocator())
    elif not axis.log and which == "x":
        own.set_major_locator(MaxNLocator(5))


def _text(axes: Axes, text: str, place: tuple[float, float], shift: tuple[int, int], across: str, along: str) -> None:
    if text:
        axes.annotate(
            _written(text),
            place,
            shift,
            textcoords="offset points",
            ha=across,
            va=along,
            fontsize=8.5,
            color=SOFT,
            zorder=4,
        )


def _written(text: str) -> str:
    return with_subscripts(text, r"$\beta_{}$")
