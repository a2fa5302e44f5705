"""A study's figures by plotly: for the page, with values on hover and series that can be switched off."""

from __future__ import annotations

import math
from typing import Any

import plotly.graph_objects as go

from hybrid_attention.study.drawing import GRID, INK, SOFT, Axis, Curve, Look, Panel, Rule, with_subscripts

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_SYMBOLS = {"circle": "circle", "square": "square", "diamond": "diamond", "triangle": "triangle-up"}
_SYMBOLS |= {"cross": "cross", "star": "star"}
_LEVEL_POINTS = 25  # so that a level's value shows on hover wherever one points
_LEAST_SHARE = 0.02  # of a value: where an error bar ends that passes zero on a logarithmic axis
_PLAIN, _PHONE = 360, 300  # pixels: height without a legend, and width of the legend on a phone
_ROW, _WIDE, _NARROW = 20, 8, 50  # pixels: of the legend's rows, its letters, and what else an entry takes


def chart(panel: Panel) -> go.Figure:
    """A panel with its legend below.

    Args:
        panel: what to draw.
    """
    figure = go.Figure()
    if panel.zone is not None:
        low, high, text = panel.zone
        _band(figure, low, high, panel, SOFT, name=text)
    for number, curve in enumerate(panel.curves):
        group = f"series {number}"
        if curve.level:
            _level(figure, curve, panel, group)
        else:
            _curve(figure, curve, panel, group)
    for rule in panel.rules:
        _rule(figure, rule, panel)
    figure.update_layout(
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="white",
        font={"family": _FONT, "size": 13, "color": INK},
        hoverlabel={"font": {"family": _FONT, "size": 13}, "namelength": -1},
        hovermode="closest",
        showlegend=True,
        margin={"l": 56, "r": 10, "t": 12, "b": 8},
        legend={
            "orientation": "h",
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "x": 0,
            "xanchor": "left",
            "font": {"size": 12.5},
            "tracegroupgap": 0,
            "itemwidth": 34,
        },
    )
    figure.update_xaxes(**_axis(panel.x))
    figure.update_yaxes(**_axis(panel.y))
    return figure


def height(panel: Panel) -> int:
    """Pixels that a chart needs, its legend on a narrow screen included.

    Args:
        panel: what is drawn.
    """
    widest = max((len(curve.name) for curve in panel.curves), default=0)
    per_row = max(1, _PHONE // (_WIDE * widest + _NARROW))
    return _PLAIN + _ROW * math.ceil((len(panel.curves) + (panel.zone is not None)) / per_row)


def _curve(figure: go.Figure, curve: Curve, panel: Panel, group: str) -> None:
    look = curve.look
    mode = "+".join(part for part, shown in (("lines", look.line), ("markers", look.symbol)) if shown)
    figure.add_scatter(
        x=curve.x,
        y=curve.y,
        name=_written(curve.name),
        legendgroup=group,
        mode=mode,
        line=_line(look),
        marker=_marker(look),
        **({"error_x": _errors(curve, panel.x)} if curve.across else {"error_y": _errors(curve, panel.y)}),
        text=[_written(text) for text in curve.hover],
        hovertemplate="%{text}<extra>%{fullData.name}</extra>",
    )


def _level(figure: go.Figure, curve: Curve, panel: Panel, group: str) -> None:
    """A horizontal line, shaded by its error."""
    value, error = curve.y[0], curve.error[0] if curve.error else math.nan
    if not math.isnan(error):
        low = max(value - error, value * _LEAST_SHARE) if panel.y.log else value - error
        _band(figure, low, value + error, panel, curve.look.color, group=group)
    steps = [i / (_LEVEL_POINTS - 1) for i in range(_LEVEL_POINTS)]
    low, high = panel.x.low, panel.x.high
    figure.add_scatter(
        x=[low * (high / low) ** s if panel.x.log else low + (high - low) * s for s in steps],
        y=[value] * _LEVEL_POINTS,
        name=_written(curve.name),
        legendgroup=group,
        mode="lines",
        line=_line(curve.look),
        text=[_written(curve.hover[0])] * _LEVEL_POINTS,
        hovertemplate="%{text}<extra>%{fullData.name}</extra>",
    )


def _band(
    figure: go.Figure, low: float, high: float, panel: Panel, color: str, name: str = "", group: str = ""
) -> None:
    """A shaded strip across the panel, with a name in the legend or as part of a series."""
    figure.add_scatter(
        x=[panel.x.low, panel.x.high, panel.x.high, panel.x.low],
        y=[low, low, high, high],
        fill="toself",
        fillcolor=_faint(color),
        line={"width": 0, "color": color},
        mode="lines",
        name=name,
        legendgroup=group or name,
        showlegend=bool(name),
        hoverinfo="skip",
    )


def _errors(curve: Curve, axis: Axis) -> dict[str, Any] | None:
    if not curve.error:
        return None
    widths = [0.0 if math.isnan(error) else error for error in curve.error]
    down = [
        min(width, value * (1.0 - _LEAST_SHARE)) if axis.log else width
        for value, width in zip(curve.x if curve.across else curve.y, widths, strict=True)
    ]
    return {"type": "data", "array": widths, "arrayminus": down, "symmetric": False, "thickness": 1.3, "width": 3}


def _line(look: Look) -> dict[str, Any]:
    return {"color": look.color, "width": 2.2 if not look.symbol else 1.8, "dash": look.dash}


def _marker(look: Look) -> dict[str, Any]:
    symbol = _SYMBOLS.get(look.symbol, "circle") + ("-open" if look.hollow else "")
    return {"symbol": symbol, "size": 8, "color": look.color, "line": {"width": 1.8 if look.hollow else 0}}


def _rule(figure: go.Figure, rule: Rule, panel: Panel) -> None:
    line = {"color": SOFT, "width": 1.2, "dash": "dash"}
    if rule.vertical:
        figure.add_vline(x=rule.value, line=line, layer="below")
        side, shift = ("right", -4) if rule.early else ("left", 4)
        _text(figure, rule.text, _place(panel.x, rule.value), _foot(panel), side, "bottom", shift)
    else:
        figure.add_hline(y=rule.value, line=line, layer="below")
        side = "top" if rule.below else "bottom"
        across, end = ("left", panel.x.low) if rule.early else ("right", panel.x.high)
        _text(figure, rule.text, _place(panel.x, end), _place(panel.y, rule.value), across, side)


def _text(figure: go.Figure, text: str, x: float, y: float, xanchor: str, yanchor: str, shift: int = 0) -> None:
    if text:
        figure.add_annotation(
            x=x,
            y=y,
            text=_written(text),
            showarrow=False,
            xanchor=xanchor,
            yanchor=yanchor,
            xshift=shift,
            font={"size": 12, "color": SOFT},
            borderpad=2,
        )


def _axis(axis: Axis) -> dict[str, Any]:
    ends = [_place(axis, axis.low), _place(axis, axis.high)]
    found = {
        "title_text": _written(axis.title),
        "title_font_size": 13,
        "title_standoff": 8,
        "type": "log" if axis.log else "linear",
        "range": ends[::-1] if axis.flipped else ends,
        "gridcolor": GRID,
        "linecolor": "#b8c0c9",
        "zeroline": False,
        "fixedrange": True,
        "ticks": "outside",
        "tickcolor": "#b8c0c9",
        "automargin": True,
    }
    if axis.ticks:
        found |= {"tickvals": [value for value, _ in axis.ticks], "ticktext": [text for _, text in axis.ticks]}
    return found


def _place(axis: Axis, value: float) -> float:
    """A position as plotly's ranges and annotations take it."""
    return math.log10(value) if axis.log else value


def _foot(panel: Panel) -> float:
    return _place(panel.y, panel.y.high if panel.y.flipped else panel.y.low)


def _written(text: str) -> str:
    return with_subscripts(text, "β<sub>{}</sub>")


def _faint(color: str) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.14)"
