"""What a study's table says on average: means over models with their standard errors, for every series of settings.

A model is one unit of evidence, however often it was sampled: repetitions, and the heads of a run for one sequence, are
averaged within an instance first; the standard error is that of the mean over instances.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from hybrid_attention.config import PRESET
from hybrid_attention.report import with_error
from hybrid_attention.study.grid import ANNEALS, PROCESSOR_ANNEALS
from hybrid_attention.study.settings import SAMPLERS, StudyConfig

SERIES = ["sampler", "polish", "schedule", "calibration"]
"""Columns that make one series of a figure; what varies along it is the duration."""
LINEAR = "linear"
TIMED = (LINEAR, *PROCESSOR_ANNEALS)
"""Schedules of anneals that can be made longer."""
Key = tuple[str, int, str | None, str | None]
"""Values of the columns of `SERIES`, None for null."""
_SMALL = 1e-3
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_RANK = ("one-beta", "two-beta", "tuned", "none")


@dataclass(frozen=True, eq=False)
class Models:
    """The rows of one kind of models: what one look at the page's figures is about.

    Args:
        name: in words, as "8 spins, strength 1".
        key: the same in a file's name.
        rows: of kind "model".
        spins: n.
        strength: of random models, or None.
        step: of a run's, or None.
        pooled: whether everything of these spins and this step is in it, rather than one head.
    """

    name: str
    key: str
    rows: pd.DataFrame
    spins: int
    strength: float | None
    step: int | None
    pooled: bool = True


class Mean(NamedTuple):
    """A mean over instances.

    Args:
        value: the mean.
        error: its standard error; nan for one instance.
        number: how many instances.
    """

    value: float
    error: float
    number: int


def split(table: pd.DataFrame) -> list[Models]:
    """The kinds of models in a table, strongest or latest first, then the heads of a run one by one.

    Args:
        table: of a study.
    """
    rows = table[table["kind"] == "model"]
    found = []
    for spins in sorted(rows["spins"].unique()):
        own = rows[rows["spins"] == spins]
        for strength in sorted(own["strength"].dropna().unique(), reverse=True):
            chosen = own[own["strength"] == strength]
            name, key = f"{spins} spins, strength {strength:g}", f"n{spins}-strength{strength:g}"
            found.append(Models(name, key, chosen, int(spins), float(strength), None))
        steps = sorted(own["step"].dropna().astype(int).unique(), reverse=True)
        found += [_of_a_run(own[own["step"] == step], int(spins), int(step)) for step in steps]
    for whole in [models for models in found if models.step is not None]:
        places = sorted(set(zip(whole.rows["layer"].astype(int), whole.rows["head"].astype(int), strict=True)))
        for layer, head in places if len(places) > 1 else []:
            chosen = whole.rows[(whole.rows["layer"] == layer) & (whole.rows["head"] == head)]
            name = f"{whole.spins} keys, step {whole.step}, layer {layer}, head {head}"
            key = f"{whole.key}-layer{layer}-head{head}"
            found.append(Models(name, key, chosen, whole.spins, None, whole.step, False))
    return found


def _of_a_run(rows: pd.DataFrame, spins: int, step: int) -> Models:
    single = len(rows[["layer", "head"]].drop_duplicates()) == 1
    first = rows.iloc[0]
    which = f"layer {int(first['layer'])}, head {int(first['head'])}" if single else "all layers and heads"
    return Models(f"{spins} keys, step {step}, {which}", f"n{spins}-step{step}", rows, spins, None, step)


def means(rows: pd.DataFrame, value: str, by: list[str]) -> pd.DataFrame:
    """Means over instances, rows without a value left out.

    Args:
        rows: of kind "model".
        value: the column.
        by: columns that tell the groups apart; nulls make groups, too.

    Returns:
        A row for each group that has values: its columns, then value, error and number.
    """
    known = rows[rows[value].notna()]
    single = known.groupby([*by, "instance"], dropna=False, sort=True)[value].mean().reset_index()
    grouped = single.groupby(by, dropna=False, sort=True)[value]
    return grouped.agg(value="mean", error="sem", number="count").reset_index()


def mean(rows: pd.DataFrame, value: str) -> Mean:
    """The mean over instances of a whole selection.

    Args:
        rows: of kind "model".
        value: the column.
    """
    single = rows[rows[value].notna()].groupby("instance")[value].mean()
    return Mean(float(single.mean()), float(single.sem()), len(single))


def paired(first: pd.DataFrame, second: pd.DataFrame, value: str) -> Mean:
    """The mean difference between two selections, model by model.

    Models differ from each other by far more than ways of sampling the same one, so this has the smaller error.

    Args:
        first: rows of kind "model".
        second: likewise; it is subtracted.
        value: the column.
    """
    one, other = (rows.groupby("instance")[value].mean() for rows in (first, second))
    difference = (one - other).dropna()
    return Mean(float(difference.mean()), float(difference.sem()), len(difference))


def measured(value: float, error: float) -> str:
    """A number and its standard error to the error's second digit, small ones with a power of ten.

    Args:
        value: the number.
        error: its standard error, nan for none.
    """
    if value == 0 or abs(value) >= _SMALL or not math.isfinite(value):
        return with_error(value, error)
    power = math.floor(math.log10(abs(value)))
    text = with_error(value / 10.0**power, error / 10.0**power)
    return (f"({text})" if "±" in text else text) + "·10" + str(power).translate(SUPERSCRIPTS)


def best_shots(rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """Rows of the law itself where it was studied, else those with the most shots.

    Args:
        rows: of kind "model".
        value: column that must be there.
    """
    known = rows[rows[value].notna()]
    shots = set(known["shots"])
    return known[known["shots"] == (0 if 0 in shots else max(shots, default=0))]


def shots_name(shots: int) -> str:
    """A number of shots in words.

    Args:
        shots: 0 for the law itself.
    """
    return "infinitely many shots" if shots == 0 else f"{shots:,} shots"


def key_of(values: Iterable[Any]) -> Key:
    """A series' key from values of a table.

    Args:
        values: of the columns of `SERIES`.
    """
    sampler, polish, schedule, calibration = values
    return sampler, int(polish), None if pd.isna(schedule) else schedule, None if pd.isna(calibration) else calibration


def series_of(rows: pd.DataFrame) -> list[tuple[Key, pd.DataFrame]]:
    """The rows of each series: linear anneals first, then other schedules, then what is no anneal.

    Args:
        rows: any of them, with the columns of `SERIES`.
    """
    if not len(rows):
        return []
    groups = [(key_of(key), own) for key, own in rows.groupby(SERIES, dropna=False, sort=True)]
    return sorted(groups, key=_place)


def _place(item: tuple[Key, pd.DataFrame]) -> tuple:
    sampler, polish, schedule, calibration = item[0]
    kind = 2 if schedule is None else int(schedule not in TIMED)
    rank = _RANK.index(calibration) if calibration in _RANK else len(_RANK)
    steps = item[1]["trotter_steps"].iloc[0] if kind == 1 else 0
    who = SAMPLERS.index(sampler) if sampler in SAMPLERS else len(SAMPLERS)
    return kind, who, polish, rank, steps, schedule or ""


def series_name(key: Key, several_samplers: bool = False) -> str:
    """A series in words.

    Args:
        key: as `series_of` gives it.
        several_samplers: whether the sampler of an anneal must be said.
    """
    sampler, polish, schedule, calibration = key
    if schedule is None:
        name = sampler if sampler != "exact" else "exact samples"
    elif schedule in TIMED:
        name = calibration if calibration and calibration != "none" else "no calibration"
    elif schedule.startswith(PRESET):
        steps, _, wide = schedule.removeprefix(PRESET).partition("-")
        name = f"designed, K = {steps}" + (f" {wide}" if wide else "")
    else:
        name = Path(schedule).stem + (f", {calibration}" if calibration not in (None, "none") else "")
    if several_samplers and schedule is not None:
        name += f", {sampler}"
    return name + ("" if not polish else f" + {polish} sweep" + ("s" if polish > 1 else ""))


def several_samplers(rows: pd.DataFrame) -> bool:
    """Whether more than one sampler anneals.

    Args:
        rows: of a study.
    """
    return rows.loc[rows["sampler"].isin(ANNEALS), "sampler"].nunique() > 1


def only_linear(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of anneals that have a duration to choose: linear ones, or those of an annealer.

    Args:
        rows: of a study.
    """
    return rows[rows["schedule"].isin(TIMED)]


def anneal_name(rows: pd.DataFrame) -> str:
    """What anneals of `only_linear` are called, as "linear".

    Args:
        rows: of a study.
    """
    found = only_linear(rows)["schedule"]
    return str(found.iloc[0]) if len(found) else LINEAR


def unit(rows: pd.DataFrame) -> str:
    """What follows a duration: nothing, or nanoseconds.

    Args:
        rows: of a study.
    """
    return " ns" if anneal_name(rows) in PROCESSOR_ANNEALS else ""


def of_whom(models: Models, study: StudyConfig) -> str:
    """Whose numbers a sentence is about, as "at 8 spins".

    Args:
        models: which.
        study: the settings.
    """
    if models.step is None:
        return f"at {models.spins} spin{'s' if models.spins > 1 else ''}"
    return f"for the {models.spins}-key Hamiltonians of {Path(study.models).name} at step {models.step}"
