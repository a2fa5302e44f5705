"""What an ablation's table says: losses over seeds, differences seed by seed, and how these grow with length.

Runs with one seed share their data and its order, so that arms are compared seed by seed; the intervals are Student's.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from hybrid_attention.ablation.arms import has_spins
from hybrid_attention.ablation.grid import COMPARE, EXACT
from hybrid_attention.ablation.settings import PERFECT
from hybrid_attention.study.training_summary import half_width

SETTING = ["task", "length", "arm", "sampler"]
"""Columns that tell settings apart."""


class Interval(NamedTuple):
    """A mean over seeds with its 95% interval.

    Args:
        mean: over seeds.
        half: half of the interval's width, nan for one seed.
        seeds: how many.
    """

    mean: float
    half: float
    seeds: int

    @property
    def low(self) -> float:
        """Lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + self.half

    @property
    def clear(self) -> bool:
        """Whether 0 lies outside."""
        return abs(self.mean) > self.half

    def within(self, bound: float) -> bool:
        """Whether the interval lies inside ± bound."""
        return abs(self.mean) + self.half <= bound


def interval(values: pd.Series) -> Interval:
    """Mean and 95% interval of one value per seed.

    Args:
        values: finite ones count.
    """
    known = values.dropna()
    return Interval(float(known.mean()) if len(known) else math.nan, half_width(known), len(known))


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """Runs that are compared, without those that chose learning rates.

    Args:
        table: of an ablation.
    """
    return table[table["stage"] == COMPARE]


def losses(table: pd.DataFrame, task: str, length: int, arm: str, sampler: str) -> pd.Series:
    """Losses of one setting by seed.

    Args:
        table: of an ablation.
        task: by name.
        length: input positions.
        arm: by name.
        sampler: with its settings.
    """
    rows = compared(table)
    chosen = (rows["task"] == task) & (rows["length"] == length) & (rows["arm"] == arm) & (rows["sampler"] == sampler)
    return rows[chosen].set_index("seed")["loss"]


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Every setting that was compared, in the order of the table.

    Args:
        table: of an ablation.

    Returns:
        Columns task, length, arm, sampler, rate, parameters, seeds (with a loss), failures, loss, loss_half, accuracy,
        accuracy_half and cpu_seconds (mean).
    """
    found = []
    for key, rows in compared(table).groupby(SETTING, sort=False):
        loss, accuracy = interval(rows["loss"]), interval(rows["accuracy"])
        row = dict(zip(SETTING, key, strict=True))
        row |= {"rate": rows["rate"].iloc[0], "parameters": rows["parameters"].max(), "seeds": loss.seeds}
        row |= {"failures": int(rows["failure"].notna().sum()), "loss": loss.mean, "loss_half": loss.half}
        row |= {"accuracy": accuracy.mean, "accuracy_half": accuracy.half, "cpu_seconds": rows["cpu_seconds"].mean()}
        found.append(row)
    return pd.DataFrame(found)


def difference(table: pd.DataFrame, task: str, length: int, arm: str, sampler: str, against: str) -> Interval:
    """Loss of an arm less that of another, seed by seed.

    Args:
        table: of an ablation.
        task: by name.
        length: input positions.
        arm: by name.
        sampler: of the arm, and of the other one where it has spins.
        against: the other arm.
    """
    return interval(_paired(table, task, length, arm, sampler, against))


def slope(table: pd.DataFrame, task: str, arm: str, sampler: str, against: str) -> Interval | None:
    """How fast the difference to another arm changes with length, in nats for each position.

    A straight line through a seed's differences at all lengths gives one slope for each seed.

    Args:
        table: of an ablation.
        task: by name.
        arm: by name.
        sampler: as for `difference`.
        against: the other arm.

    Returns:
        None with fewer than two lengths.
    """
    rows = compared(table)
    lengths = sorted(rows[(rows["task"] == task) & (rows["arm"] == arm)]["length"].unique())
    by_length = pd.DataFrame({n: _paired(table, task, int(n), arm, sampler, against) for n in lengths}).dropna()
    if len(lengths) < 2 or not len(by_length):
        return None
    x = np.asarray(lengths, dtype=float)
    x -= x.mean()
    return interval(pd.Series(by_length.to_numpy() @ x / (x @ x)))


def sampler_difference(table: pd.DataFrame, task: str, length: int, arm: str, sampler: str, against: str) -> Interval:
    """Loss with one sampler less that with another, seed by seed.

    Args:
        table: of an ablation.
        task: by name.
        length: input positions.
        arm: by name.
        sampler: one.
        against: the other.
    """
    own, other = (losses(table, task, length, arm, name) for name in (sampler, against))
    return interval(own - other)


def sampler_reference(samplers: list[str]) -> str | None:
    """What other samplers are compared with: perfect samples at equal shots, else exact sums, else nothing.

    Args:
        samplers: of the ablation.
    """
    return next((name for name in (PERFECT, EXACT) if name in samplers), None) if len(samplers) > 1 else None


def _paired(table: pd.DataFrame, task: str, length: int, arm: str, sampler: str, against: str) -> pd.Series:
    other = losses(table, task, length, against, sampler if has_spins(against) else EXACT)
    return losses(table, task, length, arm, sampler if has_spins(arm) else EXACT) - other
