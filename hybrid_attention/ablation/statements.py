"""An ablation's answer in plain sentences."""

from __future__ import annotations

import math

import pandas as pd

from hybrid_attention.ablation.arms import is_coupled
from hybrid_attention.ablation.settings import AblationConfig
from hybrid_attention.ablation.summary import (
    Interval,
    compared,
    difference,
    means,
    sampler_difference,
    sampler_reference,
    slope,
)
from hybrid_attention.study.training_summary import WITHIN


def statements(table: pd.DataFrame, ablation: AblationConfig) -> list[str]:
    """The headline: what couplings were worth, whether more with length, and how samplers compared.

    Args:
        table: of an ablation.
        ablation: its settings.
    """
    if not len(compared(table)):
        return ["No run is there to compare yet."]
    found = []
    for task in ablation.task_list:
        found += _couplings(table, ablation, task) + _growth(table, ablation, task) + _samplers(table, ablation, task)
    return [*found, *_reached(table, ablation)]


def signed(value: Interval, digits: int = 4) -> str:
    """A difference with its interval.

    Args:
        value: what to write.
        digits: after the point.
    """
    if math.isnan(value.half):
        return f"{value.mean:+.{digits}f} (one seed)"
    return f"{value.mean:+.{digits}f} ({value.low:+.{digits}f} to {value.high:+.{digits}f})"


def _couplings(table: pd.DataFrame, ablation: AblationConfig, task: str) -> list[str]:
    """For each length, the best arm with learned couplings against every reference."""
    sampler, found = ablation.sampler_list[0], []
    every = means(table)
    for length in ablation.length_list:
        rows = every[(every["task"] == task) & (every["length"] == length) & (every["sampler"] == sampler)]
        coupled = rows[[is_coupled(arm) for arm in rows["arm"]]].dropna(subset="loss")
        if not len(coupled):
            continue
        best = coupled.loc[coupled["loss"].idxmin(), "arm"]
        against = [name for name in ablation.reference_list if name != best]
        parts = []
        for name in against:
            value = difference(table, task, length, best, sampler, name)
            verdict = "" if value.clear else ", which is inside the noise"
            parts.append(f"{signed(value)} nats to {name}{verdict}")
        if parts:
            found.append(
                f"{task}, length {length}: of the arms with learned couplings {best} has the lowest loss; its "
                f"difference is {' and '.join(parts)}."
            )
    return found


def _growth(table: pd.DataFrame, ablation: AblationConfig, task: str) -> list[str]:
    """Whether the plainest coupled arms gain more on longer sequences."""
    found = []
    for arm in (name for name in ablation.arm_list if is_coupled(name)):
        for against in ablation.reference_list:
            if arm == against or arm.split("+")[1:] != against.split("+")[1:]:
                continue
            value = slope(table, task, arm, ablation.sampler_list[0], against)
            if value is None or math.isnan(value.half):
                continue
            growth = "grows with length" if value.high < 0 else "shrinks with length" if value.low > 0 else ""
            what = (
                f"the gain of {arm} over {against} {growth}"
                if growth
                else (f"whether the gain of {arm} over {against} changes with length is inside the noise")
            )
            found.append(f"{task}: {what}: {signed(value, 5)} nats for each position.")
    return found


def _samplers(table: pd.DataFrame, ablation: AblationConfig, task: str) -> list[str]:
    """Samplers against perfect samples or exact sums."""
    reference = sampler_reference(ablation.sampler_list)
    rows = compared(table)
    rows = rows[rows["task"] == task]
    found = []
    for (length, arm, sampler), _ in rows.groupby(["length", "arm", "sampler"], sort=False):
        if reference is None or sampler == reference or sampler not in ablation.sampler_list:
            continue
        value = sampler_difference(table, task, int(length), arm, sampler, reference)
        if value.seeds < 2:
            continue
        close = f"inside ± {WITHIN} nats" if value.within(WITHIN) else f"not shown to be inside ± {WITHIN} nats"
        found.append(
            f"{task}, length {length}, {arm}: training on {sampler} differs from {reference} by {signed(value)} nats, "
            f"{close}."
        )
    return found


def _reached(table: pd.DataFrame, ablation: AblationConfig) -> list[str]:
    """How many seeds there are, where some are missing or failed."""
    rows = compared(table)
    every = means(table)
    fewest, most = int(every["seeds"].min()), int(every["seeds"].max())
    found = []
    if fewest < ablation.seeds:
        reached = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        found.append(f"{reached} of {ablation.seeds} seeds were reached.")
    failed = rows[rows["failure"].notna()]
    if len(failed):
        arms = ", ".join(sorted(set(failed["arm"])))
        found.append(f"{len(failed)} of {len(rows)} runs failed and are left out of the means ({arms}).")
    return found
