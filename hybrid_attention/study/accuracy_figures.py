"""Figures of accuracy: against duration, cost and shots."""

from __future__ import annotations

import math

import pandas as pd

from hybrid_attention.study.curves import (
    COSINE,
    GRADIENT,
    KL,
    Quantity,
    by_cost,
    by_duration,
    duration_axis,
    every_series,
    table_head,
    table_rows,
)
from hybrid_attention.study.drawing import Curve, Figure, Look, Panel, Rule, cosine_axis, log_axis, looks, reach
from hybrid_attention.study.settings import StudyConfig
from hybrid_attention.study.summary import (
    Models,
    best_shots,
    means,
    measured,
    series_name,
    series_of,
    several_samplers,
    shots_name,
)

_KL_TITLE = "KL(exact ‖ law) (nats)"
_NEAR = 0.7  # in the logarithm of the distance from 1: where a text would lie over a curve
_COMPARABLE = 3000.0  # panels share an axis unless it would span more than this factor
_COSTS = {
    "two_qubit_gates": "two-qubit gates of the circuit",
    "seconds": "seconds for the samples of one model",
}


def kl_figure(models: Models) -> Figure | None:
    """KL against duration; the law's, so that shots play no part.

    Args:
        models: whose.
    """
    series = every_series(best_shots(models.rows, KL.column), models.rows, KL)
    curves = by_duration(series, KL)
    if not curves:
        return None
    panel = Panel("", duration_axis(models.rows), log_axis(_KL_TITLE, reach(curves)), curves)
    note = (
        "How far the law of the samples is from the Boltzmann law; lower is better. Points are means over models with "
        "their standard errors. Horizontal lines, shaded likewise where they are few, are circuits and samplers that "
        "have no duration to choose."
    )
    return Figure("kl-duration", "KL against duration", note, [panel], table_head(_KL_TITLE), table_rows(series))


def cosine_figure(models: Models, study: StudyConfig) -> Figure | None:
    """Gradient cosine against duration, a panel for each number of shots.

    Args:
        models: whose.
        study: gives the target.
    """
    known = models.rows[models.rows[COSINE].notna()]
    parts = [(int(shots), every_series(own, models.rows, GRADIENT)) for shots, own in known.groupby("shots")]
    drawn = [(shots, curves) for shots, series in parts if (curves := by_duration(series, GRADIENT))]
    if not drawn:
        return None
    axes = [cosine_axis([study.target, *(1.0 - value for value in reach(curves))]) for _, curves in drawn]
    every = cosine_axis([study.target, *(1.0 - value for _, curves in drawn for value in reach(curves))])
    if every.high / every.low < _COMPARABLE:
        axes = [every for _ in drawn]
    panels = [
        Panel(shots_name(shots).capitalize(), duration_axis(models.rows), y, curves, [_target(study, curves)])
        for (shots, curves), y in zip(drawn, axes, strict=True)
    ]
    note = (
        "How well the estimated gradient points along the exact one; higher is better. The axis is logarithmic in the "
        "distance from 1. With infinitely many shots only the error of the anneal is left; fewer add the noise of "
        "sampling. A duration reaches the target where the mean less its standard error does."
    )
    return Figure(
        "cosine-duration",
        "Gradient cosine against duration",
        note,
        panels,
        ["Shots", *table_head("Gradient cosine")],
        [[shots_name(shots), *row] for shots, series in parts for row in table_rows(series)],
    )


def cost_figure(models: Models, study: StudyConfig) -> Figure | None:
    """What accuracy costs: two-qubit gates, and seconds where a sampler has no gates.

    Args:
        models: whose.
        study: gives the target.
    """
    shown = [("two_qubit_gates", KL), ("two_qubit_gates", GRADIENT)]
    shown += [("seconds", GRADIENT)] if models.rows["schedule"].isna().any() else []
    panels, rows = [], []
    for cost, quantity in shown:
        found = _cost_panel(models.rows, cost, quantity, study)
        if found is not None:
            panels.append(found[0])
            rows += found[1]
    if not panels:
        return None
    note = (
        "What accuracy costs; better settings lie further left, and low in KL or high in cosine. Two-qubit gates are "
        "those of the circuit in which every pair is coupled; a linear anneal needs more the longer it is, as its "
        "Trotter steps do."
    )
    columns = ["Against", "Series", "T", "Cost", "Mean ± standard error", "Models"]
    return Figure("cost-accuracy", "Cost against accuracy", note, panels, columns, rows)


def shots_figure(models: Models, study: StudyConfig) -> Figure | None:
    """Gradient cosine against shots, each series at its best duration; None with fewer than two numbers of shots.

    Args:
        models: whose.
        study: gives the target.
    """
    known = models.rows[models.rows[COSINE].notna()]
    numbers = sorted({int(shots) for shots in known["shots"]} - {0})
    if len(numbers) < 2:
        return None
    look, many = looks([key for key, _ in series_of(models.rows)]), several_samplers(models.rows)
    curves, rows = [], []
    for key, own in series_of(known):
        ranked = means(best_shots(own, COSINE), COSINE, ["duration"]).sort_values("value", ascending=False)
        duration = ranked["duration"].iloc[0]
        chosen = own[own["duration"].isna() if pd.isna(duration) else own["duration"] == duration]
        name = series_name(key, many) + ("" if pd.isna(duration) else f", T = {duration:g}")
        found = means(chosen, COSINE, ["shots"])
        lines = [(int(s), v, e, int(c)) for s, v, e, c in found[["shots", "value", "error", "number"]].to_numpy()]
        rows += [[name, shots_name(shots), measured(v, e), str(count)] for shots, v, e, count in lines]
        points = [line for line in lines if line[0] > 0 and line[1] < 1.0]
        own_look = look[key] if look[key].symbol else Look(look[key].color, "triangle", look[key].dash)
        curves.append(
            Curve(
                name,
                [float(shots) for shots, *_ in points],
                [1.0 - v for _, v, _, _ in points],
                [f"cosine {measured(v, e)}<br>{shots_name(shots)}" for shots, v, e, _ in points],
                own_look,
                [e for _, _, e, _ in points],
            )
        )
    y = cosine_axis([study.target, *(1.0 - value for value in reach(curves))])
    panel = Panel("", log_axis("shots for each model", numbers), y, curves, [_target(study, curves)])
    note = (
        "Each series at the duration at which its gradient is best with the most shots. Where a curve flattens, more "
        "shots no longer help: what is left is the anneal's own error."
    )
    columns = ["Series", "Shots", "Gradient cosine ± standard error", "Models"]
    return Figure("shots-accuracy", "Shots against accuracy", note, [panel], columns, rows)


def _cost_panel(
    rows: pd.DataFrame, cost: str, quantity: Quantity, study: StudyConfig
) -> tuple[Panel, list[list[str]]] | None:
    known = rows[rows[quantity.column].notna() & rows[cost].notna()]
    # only shots that were drawn took time
    chosen = known[known["shots"] == known["shots"].max()] if cost == "seconds" else best_shots(known, quantity.column)
    series = every_series(chosen, rows, quantity)
    curves = by_cost(series, quantity, cost)
    if not curves:
        return None
    x = log_axis(_COSTS[cost], [value for curve in curves for value in curve.x])
    heights = reach(curves)
    gradient = quantity.column == COSINE
    y = cosine_axis([study.target, *(1.0 - v for v in heights)]) if gradient else log_axis(_KL_TITLE, heights)
    title = ("Gradient cosine" if gradient else "KL") + f" against {cost.replace('_', '-', 1).replace('_', ' ')}"
    if len(chosen) and chosen["shots"].iloc[0]:
        title += f", {shots_name(int(chosen['shots'].iloc[0]))}"
    table = [
        [title, one.name, "–" if pd.isna(T) else f"{T:g}", f"{x_value:.4g}", measured(value, error), str(int(count))]
        for one in series
        for T, x_value, value, error, count in one.means[["duration", cost, "value", "error", "number"]].to_numpy()
    ]
    return Panel(title, x, y, curves, [_target(study, curves)] if gradient else []), table


def _target(study: StudyConfig, curves: list[Curve]) -> Rule:
    """The target, its text at the left unless curves begin there."""
    goal = 1.0 - study.target
    begins = [curve.y[0] for curve in curves if not curve.level]
    crowded = any(abs(math.log(height / goal)) < _NEAR for height in begins)
    return Rule(goal, f"target {study.target:g}", early=not crowded)
