"""Figures of training: loss and accuracy against duration."""

from __future__ import annotations

import math

import pandas as pd

from hybrid_attention.study.curves import duration_axis
from hybrid_attention.study.drawing import INK, Axis, Curve, Figure, Look, Panel, Rule, both_ends, linear_axis, looks
from hybrid_attention.study.summary import SERIES, key_of, measured, series_name, series_of, several_samplers
from hybrid_attention.study.training_summary import WITHIN, training_means

_TITLES = {
    "difference": "loss − loss of exact samples (nats)",
    "loss": "loss, held out (nats)",
    "accuracy": "accuracy, held out (share of targets)",
}


def training_figure(table: pd.DataFrame, spins: int) -> Figure | None:
    """Loss, its difference to exact samples, and accuracy against duration, with 95% intervals over seeds.

    Args:
        table: of the study.
        spins: length of the sequences.
    """
    rows = table[(table["kind"] == "training") & (table["spins"] == spins)]
    if not len(rows):
        return None
    found = training_means(rows)
    look, many = looks([key for key, _ in series_of(rows)]), several_samplers(rows)
    found["series"] = [key_of(row) for row in found[SERIES].itertuples(index=False)]
    x = duration_axis(rows)
    panels = [_panel(found, name, x, look, many) for name in _TITLES]
    first = rows.iloc[0]
    seeds = int(found["seeds"].max())
    note = (
        f"Trained on {first['task']} for {first['training_steps']:.0f} steps at every setting and evaluated with exact "
        f"sums on held-out sequences. Error bars are 95% intervals (Student's t) over {seeds} "
        f"seed{'s' if seeds > 1 else ''}; exact samples are independent samples of the Boltzmann law, with as many "
        "shots. Differences to them are taken seed by seed, as runs with the same seed share data and first "
        f"parameters; inside the band they are at most {WITHIN} nats."
    )
    columns = ["Series", "T", "Loss (nats)", "Difference to exact (nats)", "Accuracy", "Seeds"]
    lines = [
        [
            series_name(row["series"], many),
            "–" if pd.isna(row["duration"]) else f"{row['duration']:g}",
            *(measured(row[name], row[f"{name}_half"]) for name in ("loss", "difference", "accuracy")),
            str(row["seeds"]),
        ]
        for _, row in found.iterrows()
    ]
    return Figure(f"training-n{spins}", "Training", note, panels, columns, lines)


def _panel(found: pd.DataFrame, name: str, x: Axis, look: dict, many: bool) -> Panel:
    curves = []
    for key in look:
        own = found[[series == key for series in found["series"]]]
        exact = key[0] == "exact"
        if exact and name == "difference":
            continue
        hover = [_hover(row, name) for _, row in own.iterrows()]
        durations = [] if own["duration"].isna().all() else [float(T) for T in own["duration"]]
        drawn = Look(INK, "", "dot") if exact else look[key]
        values = [float(value) for value in own[name]]
        errors = [float(value) for value in own[f"{name}_half"]]
        curves.append(Curve(series_name(key, many), durations, values, hover, drawn, errors))
    extent = both_ends(curves)
    if name != "difference":
        return Panel(name.capitalize(), x, linear_axis(_TITLES[name], extent), curves)
    y = linear_axis(_TITLES[name], [-1.6 * WITHIN, 1.6 * WITHIN, *extent])
    zone = (-WITHIN, WITHIN, f"within {WITHIN} nats")
    return Panel("Difference to exact samples", x, y, curves, [Rule(0.0, "")], zone)


def _hover(row: pd.Series, name: str) -> str:
    unit = "" if name == "accuracy" else " nats"
    half = row[f"{name}_half"]
    spread = " (one seed)" if math.isnan(half) else " (95%)"
    place = "" if pd.isna(row["duration"]) else f"<br>T = {row['duration']:g}"
    return f"{name} {measured(row[name], half)}{unit}{spread}{place}"
