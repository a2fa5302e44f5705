"""An ablation's answer in plain sentences."""

from __future__ import annotations

import math

import pandas as pd

from hybrid_attention.ablation.arms import has_spins, is_coupled
from hybrid_attention.ablation.grid import EXACT, TUNE
from hybrid_attention.ablation.settings import AblationConfig
from hybrid_attention.ablation.summary import (
    SETTING,
    Interval,
    compared,
    difference,
    losses,
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
    if value.seeds == 0:
        return "–"
    if math.isnan(value.half):
        return f"{value.mean:+.{digits}f} (one seed)"
    return f"{value.mean:+.{digits}f} ({value.low:+.{digits}f} to {value.high:+.{digits}f})"


def _couplings(table: pd.DataFrame, ablation: AblationConfig, task: str) -> list[str]:
    """For each length, the best arm with learned couplings against every reference."""
    sampler, found = ablation.sampler_list[0], []
    for length in ablation.length_list:
        arms = [arm for arm in ablation.arms_at(length) if is_coupled(arm)]
        by_seed = pd.DataFrame({arm: losses(table, task, length, arm, sampler) for arm in arms}).dropna()
        if not len(by_seed):
            continue
        best = str(by_seed.mean().idxmin())
        parts = []
        for name in ablation.reference_list:
            value = difference(table, task, length, best, sampler, name)
            if name == best or value.seeds == 0:
                continue
            verdict = ", which is inside the noise" if value.seeds > 1 and not value.clear else ""
            parts.append(f"{signed(value)} nats to {name}{verdict}")
        chosen = "" if len(arms) == 1 else f" of {len(arms)} arms with learned couplings, chosen on these same runs,"
        if parts:
            found.append(f"{task}, length {length}: {best}, the best{chosen} differs by {' and by '.join(parts)}.")
    return [text.replace("the best differs", "the only arm with learned couplings, differs") for text in found]


def _growth(table: pd.DataFrame, ablation: AblationConfig, task: str) -> list[str]:
    """Whether arms with couplings do better against others of the same additions on longer sequences."""
    found = []
    for arm in (name for name in ablation.arm_list if is_coupled(name)):
        for against in ablation.reference_list:
            if arm == against or arm.split("+")[1:] != against.split("+")[1:]:
                continue
            value = slope(table, task, arm, ablation.sampler_list[0], against)
            if value is None or value.seeds < 2:
                continue
            way = "falls with length" if value.high < 0 else "rises with length" if value.low > 0 else ""
            what = f"the difference of {arm} to {against}"
            told = f"{what} {way}" if way else f"whether {what} changes with length is inside the noise"
            found.append(f"{task}: {told}: {signed(value, 5)} nats for each position.")
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
    """How many seeds there are, where some are missing, and what failed."""
    rows = compared(table)
    counts = rows.groupby(SETTING)["seed"].nunique()
    expected = [
        (task, length, arm, sampler)
        for task in ablation.task_list
        for length in ablation.length_list
        for arm in ablation.arms_at(length)
        for sampler in (ablation.sampler_list if has_spins(arm) else [EXACT])
    ]
    reached = {setting: int(counts.get(setting, 0)) for setting in expected}
    fewest, most = min(reached.values()), max(reached.values())
    found = []
    if fewest < ablation.seeds:
        number = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        without = sorted({f"{arm} at length {length}" for (_, length, arm, _), n in reached.items() if n == 0})
        none = f"; nothing yet of {', '.join(without)}" if without else ""
        found.append(f"{number} of {ablation.seeds} seeds were reached{none}.")
    tried = table[table["stage"] == TUNE].groupby(["task", "arm"])["loss"].count()
    failed = [f"{arm} on {task}" for (task, arm), count in tried.items() if count == 0]
    if failed:
        found.append(f"At every learning rate failed, and are not compared: {', '.join(failed)}.")
    ended = rows[rows["failure"].notna()]
    if len(ended):
        arms = ", ".join(sorted(set(ended["arm"])))
        found.append(f"{len(ended)} of {len(rows)} runs failed and are left out of the means ({arms}).")
    return found
