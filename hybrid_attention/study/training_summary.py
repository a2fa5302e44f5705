"""What training at every setting gave: losses with intervals over seeds, and differences to exact samples.

Runs with the same seed share their data and first parameters, so differences are taken seed by seed.
"""

from __future__ import annotations

import math

import pandas as pd
from scipy.special import stdtrit

from hybrid_attention.study.summary import SERIES, key_of, series_name

WITHIN = 0.015
"""Nats that a loss may differ from that of exact samples."""
_LEVEL = 0.975  # of each end, so that the interval holds 95%


def half_width(values: pd.Series) -> float:
    """Half of the 95% interval of a mean, by Student's t; nan for one value.

    Args:
        values: one for each seed.
    """
    count = len(values)
    return float(stdtrit(count - 1, _LEVEL) * values.std(ddof=1) / math.sqrt(count)) if count > 1 else math.nan


def training_means(table: pd.DataFrame) -> pd.DataFrame:
    """Loss and accuracy at every setting, over seeds.

    Args:
        table: of the study.

    Returns:
        A row for each number of spins and setting: its columns; loss, accuracy and difference (of the loss to exact
        samples) with their 95% half-widths `*_half`; and the number of seeds.
    """
    rows = table[table["kind"] == "training"]
    found = []
    for spins, own in rows.groupby("spins"):
        exact = own[own["sampler"] == "exact"].set_index("seed")["loss"]
        for key, group in own.groupby([*SERIES, "duration"], dropna=False):
            losses = group.set_index("seed")["loss"]
            difference = (losses - exact).dropna()
            row = dict(zip([*SERIES, "duration"], key, strict=True))
            row |= {"spins": int(spins), "seeds": len(losses)}
            for name, values in (("loss", losses), ("accuracy", group["accuracy"]), ("difference", difference)):
                row |= {name: float(values.mean()), f"{name}_half": half_width(values)}
            found.append(row)
    return pd.DataFrame(found)


def training_statements(table: pd.DataFrame) -> list[str]:
    """The shortest anneal that trains as well as exact samples, a statement for every length.

    Args:
        table: of the study.
    """
    found = training_means(table)
    if not len(found):
        return []
    task = table.loc[table["kind"] == "training", "task"].iloc[0]
    return [_statement(own, str(task), int(spins)) for spins, own in found.groupby("spins")]


def _statement(found: pd.DataFrame, task: str, spins: int) -> str:
    place = f"Trained on {task} with {spins} tokens"
    sampled = found[found["sampler"] != "exact"]
    linear = sampled[sampled["schedule"] == "linear"].sort_values(["duration", "difference"])
    if not len(sampled):
        return f"{place}, no sampler was compared with exact samples."
    seeds = int(sampled["seeds"].min())
    if seeds < 2:
        return f"{place}, one seed gives no interval for the loss; give --seeds 3 or more."
    aim = f"within {WITHIN} nats of exact samples (95% interval over {seeds} seeds)"
    good = linear[_within(linear)]
    rest = sampled[sampled["schedule"] != "linear"]
    also = [_name(row) for _, row in rest[_within(rest)].iterrows()]
    tail = f" So does {' and '.join(also)}." if also and len(good) else ""
    if len(good):
        row = good.iloc[0]
        shortest = f"T = {row['duration']:g} ({row['calibration']})"
        return f"{place}, the shortest anneal whose loss lies {aim} has {shortest}.{tail}"
    if also:
        return f"{place}, the loss lies {aim} for {' and '.join(also)}, and for no linear anneal."
    row = sampled.loc[(sampled["difference"].abs() + sampled["difference_half"]).idxmin()]
    low, high = (row["difference"] + sign * row["difference_half"] for sign in (-1, 1))
    closest = f"the closest, {_name(row)}, differs by {row['difference']:+.4f} nats ({low:+.4f} to {high:+.4f})"
    noise = ": more seeds would narrow it" if low <= WITHIN and high >= -WITHIN else ""
    return f"{place}, no loss is shown to lie {aim}; {closest}{noise}."


def _within(found: pd.DataFrame) -> pd.Series:
    return found["difference"].abs() + found["difference_half"] <= WITHIN


def _name(row: pd.Series) -> str:
    key = key_of(row[name] for name in SERIES)
    return series_name(key) + ("" if pd.isna(row["duration"]) else f" at T = {row['duration']:g}")
