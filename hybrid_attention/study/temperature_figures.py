"""Figures of the two temperatures: linear response against fits, and where it stops holding."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from hybrid_attention.study.curves import DURATION
from hybrid_attention.study.drawing import (
    AMBER,
    BLUE,
    INK,
    VERMILION,
    WINE,
    Axis,
    Curve,
    Figure,
    Look,
    Panel,
    Rule,
    both_ends,
    linear_axis,
    log_axis,
    reach,
)
from hybrid_attention.study.grid import ANNEALS
from hybrid_attention.study.summary import LINEAR, Mean, Models, best_shots, mean, measured, shots_name
from quantum import AnnealSchedule, response

HOLDS = 0.05
"""A fitted temperature within this share of the predicted one agrees with it."""
PREFERRED = ("none", "two-beta", "tuned", "one-beta")
_FINE = np.geomspace(0.3, 100.0, 161)
_LONG = 1.0 / math.sqrt(2.0)  # limit of β_J/β_h for long linear anneals
_SHORT = 2.0
_PARTS = (("field", "β_h"), ("coupling", "β_J"))


def temperature_figure(kinds: list[Models]) -> Figure | None:
    """Predicted and fitted temperatures of linear anneals of one number of spins, every strength or step.

    Args:
        kinds: of one number of spins.
    """
    groups = [(_who(models), rows) for models in kinds if len(rows := fitted_rows(models))]
    if not groups:
        return None
    calibration = groups[0][1]["calibration"].iloc[0]
    first = groups[0][1]
    x = log_axis(DURATION, [*_FINE, *first["duration"]], room=0.01)
    panels = [_temperatures(groups, x), _ratio(groups, x), _agreement(groups)]
    shots = int(first["shots"].iloc[0])
    uncalibrated = "without calibration" if calibration == "none" else f"with the {calibration} calibration"
    note = (
        "Lines: the inverse temperatures at which fields (β_h) and couplings (β_J) arrive in a linear anneal, by "
        "linear response with many Trotter steps. They cross at T = "
        f"{crossing():.2f}; their ratio falls from 2 to 1/√2. Points: temperatures fitted to what the anneals gave "
        f"({uncalibrated}, {shots_name(shots)}), divided by the calibration's factors; means over models with standard "
        "errors. The last panel shows where the prediction stops holding: outside the band, fits and linear response "
        f"differ by more than {HOLDS:.0%}. What an anneal is fed decides it: strong fields and couplings, also those "
        "that a calibration makes strong for a short anneal."
    )
    columns = ["Models", "T", "β_h predicted", "β_h fitted", "β_J predicted", "β_J fitted", "β_J/β_h fitted"]
    return Figure(f"temperatures-n{kinds[0].spins}", "Two temperatures", note, panels, columns, _table(groups))


def fitted_rows(models: Models) -> pd.DataFrame:
    """Rows of linear anneals that the figure's points are made of: one calibration, one sampler, no polish.

    Args:
        models: whose.
    """
    rows = models.rows[models.rows["schedule"] == LINEAR]  # for which there is a prediction
    rows = rows[(rows["polish"] == 0) & rows["beta_field_fit"].notna() & rows["beta_coupling_fit"].notna()]
    for column, order in (("calibration", PREFERRED), ("sampler", ANNEALS)):
        there = [value for value in order if value in set(rows[column])]
        rows = rows[rows[column] == (there[0] if there else None)]
    return best_shots(rows, "beta_field_fit")


def agreement(rows: pd.DataFrame) -> pd.DataFrame:
    """Fitted over predicted temperature at every duration.

    Args:
        rows: of `fitted_rows`.

    Returns:
        duration, part ("field" or "coupling"), value, error, number, and whether the two agree: within `HOLDS`, or
        beyond it by less than two standard errors.
    """
    found = []
    for duration, own in rows.groupby("duration"):
        for part, _ in _PARTS:
            ratio = mean(own.assign(ratio=own[f"beta_{part}_fit"] / own[f"beta_{part}"]), "ratio")
            noise = 0.0 if math.isnan(ratio.error) else 2.0 * ratio.error
            holds = abs(ratio.value - 1.0) - noise <= HOLDS
            found.append({"duration": duration, "part": part, **ratio._asdict(), "holds": holds})
    return pd.DataFrame(found)


@lru_cache(maxsize=1)
def crossing() -> float:
    """The duration at which fields and couplings arrive at the same temperature in a linear anneal."""
    return float(brentq(lambda T: _predicted(T)[1] - _predicted(T)[0], 2.0, 4.0, xtol=1e-6))


def _predicted(duration: float) -> tuple[float, float]:
    beta = response(AnnealSchedule.linear(duration), 1000 + int(100 * duration))
    return beta.beta_h, beta.beta_J


@lru_cache(maxsize=1)
def _fine() -> tuple[tuple[float, float], ...]:
    return tuple(_predicted(float(T)) for T in _FINE)


def _who(models: Models) -> str:
    if models.strength is not None:
        return f"strength {models.strength:g}"
    return f"step {models.step}"


def _temperatures(groups: list[tuple[str, pd.DataFrame]], x: Axis) -> Panel:
    T = [float(value) for value in _FINE]
    curves = []
    for i, ((_, symbol), color) in enumerate(zip(_PARTS, (BLUE, VERMILION), strict=True)):
        y = [pair[i] for pair in _fine()]
        hover = [f"{symbol} = {value:.3g}<br>T = {t:.3g}" for t, value in zip(T, y, strict=True)]
        curves.append(Curve(f"{symbol} predicted", T, y, hover, Look(color, "", "solid" if i == 0 else "dash")))
    for number, (who, rows) in enumerate(groups):
        for (part, symbol), color in zip(_PARTS, (BLUE, VERMILION), strict=True):
            found = [(float(t), mean(own, f"beta_{part}_fit")) for t, own in rows.groupby("duration")]
            shape = ("circle", "triangle", "square", "diamond")[number % 4]
            look = Look(color, shape, hollow=part == "coupling", line=False)
            curves.append(_points(f"{symbol} fitted, {who}", found, look, symbol))
    y_axis = log_axis("inverse temperature (1)", reach(curves[:2]) + [v for c in curves[2:] for v in c.y])
    return Panel(
        "Temperatures", x, y_axis, curves, [Rule(crossing(), f"β_h = β_J at T = {crossing():.2f}", vertical=True)]
    )


def _ratio(groups: list[tuple[str, pd.DataFrame]], x: Axis) -> Panel:
    T = [float(value) for value in _FINE]
    y = [pair[1] / pair[0] for pair in _fine()]
    hover = [f"β_J/β_h = {value:.3f}<br>T = {t:.3g}" for t, value in zip(T, y, strict=True)]
    curves = [Curve("predicted", T, y, hover, Look(INK, ""))]
    for (who, rows), look in zip(groups, _group_looks(len(groups)), strict=True):
        known = rows.assign(ratio=rows["beta_coupling_fit"] / rows["beta_field_fit"])
        # a fit of few shots may put a temperature at zero, whose ratio says nothing
        known = known[np.isfinite(known["ratio"]) & (rows["beta_field_fit"] > 0)]
        found = [(float(t), mean(own, "ratio")) for t, own in known.groupby("duration")]
        curves.append(_points(f"fitted, {who}", found, look, "β_J/β_h"))
    rules = [
        Rule(_SHORT, "2: short anneals"),
        Rule(_LONG, "1/√2: long anneals", below=True),
        Rule(crossing(), f"T = {crossing():.2f}", vertical=True, early=True),
    ]
    y_axis = linear_axis("β_J/β_h (1)", [0.5, 2.1, *(v for curve in curves for v in curve.y)], room=0.03)
    return Panel("Ratio of the two temperatures", x, y_axis, curves, rules)


def _agreement(groups: list[tuple[str, pd.DataFrame]]) -> Panel:
    curves = []
    for (who, rows), look in zip(groups, _group_looks(len(groups)), strict=True):
        found = agreement(rows)
        for part, symbol in _PARTS:
            own = found[found["part"] == part]
            points = [(float(r[0]), Mean(r[1], r[2], r[3])) for r in own[["duration", *Mean._fields]].to_numpy()]
            hollow = part == "coupling"
            drawn = Look(look.color, look.symbol, "dash" if hollow else "solid", hollow)
            curves.append(_points(f"{symbol}, {who}", points, drawn, f"{symbol} fitted/predicted"))
    durations = [value for _, rows in groups for value in rows["duration"]]
    y_axis = linear_axis("fitted / predicted (1)", [0.8, 1.2, *both_ends(curves)])
    zone = (1.0 - HOLDS, 1.0 + HOLDS, f"linear response to {HOLDS:.0%}")
    return Panel("Where linear response holds", log_axis(DURATION, durations), y_axis, curves, zone=zone)


def _group_looks(count: int) -> list[Look]:
    colors, symbols = (WINE, BLUE, AMBER, VERMILION), ("circle", "triangle", "square", "diamond")
    return [Look(colors[i % 4], symbols[i % 4], line=False) for i in range(count)]


def _points(name: str, found: list[tuple[float, Mean]], look: Look, symbol: str) -> Curve:
    hover = [f"{symbol} = {measured(m.value, m.error)}<br>T = {T:g}" for T, m in found]
    errors = [m.error for _, m in found]
    return Curve(name, [T for T, _ in found], [m.value for _, m in found], hover, look, errors)


def _table(groups: list[tuple[str, pd.DataFrame]]) -> list[list[str]]:
    table = []
    for who, rows in groups:
        for duration, own in rows.groupby("duration"):
            line = [who, f"{duration:g}"]
            for part, _ in _PARTS:
                fit = mean(own, f"beta_{part}_fit")
                line += [f"{own[f'beta_{part}'].iloc[0]:.4f}", measured(fit.value, fit.error)]
            ratio = mean(own.assign(ratio=own["beta_coupling_fit"] / own["beta_field_fit"]), "ratio")
            table.append([*line, measured(ratio.value, ratio.error)])
    return table
