"""The figures of a report: learning curves and heat maps, with values that show on hover."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import plotly.colors
import plotly.graph_objects as go
from torch import Tensor

from hybrid_attention.config import TrainConfig

ATTENTION_COLORS: list[str] = plotly.colors.sequential.Viridis
COUPLING_COLORS: list[str] = plotly.colors.diverging.RdBu
HIDDEN = "#e4e7eb"
"""Behind an attention map: keys a query cannot see."""
DIAGONAL = "#bcc4cd"
"""Behind a coupling map: darker than the middle of its scale, which is nearly white."""

_INK, _GRID = "#22303c", "#e4e7eb"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_LOGARITHMIC_FROM = 20.0  # a loss that falls by more than this factor is drawn on a logarithmic axis


def loss_curves(rows: list[dict[str, Any]], chance: float | None, config: TrainConfig) -> go.Figure:
    """Training and held-out loss against training step, in nats.

    Args:
        rows: of metrics.jsonl.
        chance: accuracy of a guess; its loss is −ln chance.
        config: says whether training used samples.
    """
    steps = [row["step"] for row in rows]
    figure = _curves("loss (nats)", ".4f")
    trained = [row for row in rows if row["train_loss"] is not None]
    _line(figure, "training", [row["step"] for row in trained], [row["train_loss"] for row in trained], "#8a94a0")
    _held_out(figure, rows, "loss", config)
    values = [value for trace in figure.data for value in trace.y if value is not None]
    if values and min(values) > 0 and max(values) > _LOGARITHMIC_FROM * min(values):
        figure.update_yaxes(type="log", title_text="loss (nats, logarithmic)", dtick="D2", tickformat="~g")
    if chance is not None:
        _chance(figure, steps, -math.log(chance), f"chance, {-math.log(chance):.3f}")
    return figure


def accuracy_curves(rows: list[dict[str, Any]], chance: float | None, config: TrainConfig) -> go.Figure:
    """Held-out accuracy against training step.

    Args:
        rows: of metrics.jsonl.
        chance: accuracy of a guess, where there is a fair one.
        config: says whether training used samples.
    """
    figure = _curves("accuracy (share of targets)", ".1%")
    _held_out(figure, rows, "accuracy", config)
    figure.update_yaxes(range=[0, 1.03], tickformat=".0%")
    if chance is not None:
        _chance(figure, [row["step"] for row in rows], chance, f"chance, {chance:.0%}")
    return figure


def attention_map(weights: Tensor, labels: list[str], limit: float) -> go.Figure:
    """One head's weights: queries down, keys across, on a scale from 0; keys a query cannot see are left out.

    Args:
        weights: (queries, keys).
        labels: a character for each token.
        limit: where the scale ends; larger weights have its last colour.
    """
    safe = [escape(label, quote=False) for label in labels]
    size = len(labels)
    rows = weights.tolist()
    figure = _heat_map(
        [[rows[i][j] if j <= i else None for j in range(size)] for i in range(size)],
        [[f"query {i + 1} {safe[i]} → key {j + 1} {safe[j]}" for j in range(size)] for i in range(size)],
        labels,
        ATTENTION_COLORS,
        (0.0, limit),
        ".3f",
    )
    figure.update_layout(plot_bgcolor=HIDDEN)
    return figure.update_xaxes(title_text="key").update_yaxes(title_text="query")


def coupling_map(couplings: Tensor, labels: list[str], limit: float) -> go.Figure:
    """One head's couplings on a scale symmetric about 0; a key has none with itself.

    Args:
        couplings: J, (keys, keys), symmetric, dimensionless.
        labels: of the keys.
        limit: where the scale ends; any positive number serves where all couplings are 0.
    """
    # labels that are not the position itself
    token = ["" if label == str(j + 1) else f" {escape(label, quote=False)}" for j, label in enumerate(labels)]
    size = len(labels)
    rows = couplings.tolist()
    end = limit if limit > 0 else 1.0
    figure = _heat_map(
        [[rows[j][k] if j != k else None for k in range(size)] for j in range(size)],
        [[f"key {j + 1}{token[j]} and key {k + 1}{token[k]}" for k in range(size)] for j in range(size)],
        labels,
        COUPLING_COLORS,
        (-end, end),
        "+.3f",
    )
    figure.update_layout(plot_bgcolor=DIAGONAL)
    return figure.update_xaxes(title_text="key").update_yaxes(title_text="key")


def _heat_map(
    values: list[list[float | None]],
    names: list[list[str]],
    labels: list[str],
    colors: list[str],
    limits: tuple[float, float],
    number: str,
) -> go.Figure:
    figure = go.Figure(
        go.Heatmap(
            z=values,
            customdata=names,
            zmin=limits[0],
            zmax=limits[1],
            colorscale=colors,
            showscale=False,
            hoverongaps=False,
            xgap=1,
            ygap=1,
            hovertemplate=f"%{{customdata}}<br><b>%{{z:{number}}}</b><extra></extra>",
        )
    )
    ticks = list(range(0, len(labels), 2 if len(labels) > 12 and max(map(len, labels)) > 1 else 1))
    axis = {
        "tickmode": "array",
        "tickvals": ticks,
        "ticktext": [escape(labels[tick], quote=False) for tick in ticks],
        "tickangle": 0,
        "tickfont": {"family": _MONO, "size": 13 if len(labels) <= 14 else 10},
        "title_font_size": 12,
        "title_standoff": 6,
        "showgrid": False,
        "zeroline": False,
        "fixedrange": True,
        "constrain": "domain",
    }
    figure.update_layout(**_layout(), margin={"l": 46, "r": 6, "t": 6, "b": 44})
    figure.update_xaxes(**axis)
    return figure.update_yaxes(**axis, autorange="reversed", scaleanchor="x")


def _curves(title: str, number: str) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        **_layout(),
        plot_bgcolor="white",
        hovermode="x unified",
        margin={"l": 62, "r": 12, "t": 8, "b": 48},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"},
    )
    axis = {"gridcolor": _GRID, "linecolor": "#b8c0c9", "zeroline": False, "fixedrange": True, "ticks": "outside"}
    axis |= {"tickcolor": "#b8c0c9", "title_font_size": 13, "title_standoff": 10, "automargin": True}
    figure.update_xaxes(**axis, title_text="training step", rangemode="tozero")
    return figure.update_yaxes(**axis, title_text=title, hoverformat=number)


def _held_out(figure: go.Figure, rows: list[dict[str, Any]], quantity: str, config: TrainConfig) -> None:
    """Held-out curves: on samples and exactly where training used samples, else one."""
    steps = [row["step"] for row in rows]
    exact = [row[f"{quantity}_exact"] for row in rows]
    if config.attention != "boltzmann":
        _line(figure, "held out", steps, exact, "#0072b2", symbol="circle")
    elif config.sampler == "exact":
        _line(figure, "held out, exact", steps, exact, "#0072b2", symbol="circle")
    else:
        sampled = [row[quantity] for row in rows]
        _line(figure, f"held out, {config.sampler}", steps, sampled, "#d55e00", symbol="diamond")
        if exact[-1] is not None:
            _line(figure, "held out, exact", steps, exact, "#0072b2", symbol="circle", dash="dash")


def _line(
    figure: go.Figure, name: str, x: list[int], y: list[float], color: str, symbol: str | None = None, dash: str = ""
) -> None:
    figure.add_scatter(
        x=x,
        y=y,
        name=name,
        mode="lines+markers" if symbol or len(x) == 1 else "lines",
        line={"color": color, "width": 2, "dash": dash or "solid"},
        marker={"symbol": symbol or "circle", "size": 7},
    )


def _chance(figure: go.Figure, steps: list[int], value: float, name: str) -> None:
    figure.add_scatter(
        x=[steps[0], steps[-1]],
        y=[value, value],
        name=name,
        mode="lines",
        line={"color": _INK, "width": 1.5, "dash": "dot"},
        hoverinfo="skip",
    )


def _layout() -> dict[str, Any]:
    return {
        "template": "none",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": _FONT, "size": 13, "color": _INK},
        "hoverlabel": {"font": {"family": _FONT, "size": 13}},
    }
