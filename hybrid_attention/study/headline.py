"""The answer of a study in plain sentences: how long an anneal must be.

A duration reaches the target where the mean over models, less its standard error, is at least the target: a mean that
is above it by luck does not count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from hybrid_attention.study.grid import ANNEALS
from hybrid_attention.study.settings import StudyConfig
from hybrid_attention.study.summary import (
    LINEAR,
    SERIES,
    TIMED,
    Models,
    anneal_name,
    best_shots,
    key_of,
    means,
    measured,
    of_whom,
    only_linear,
    series_name,
    shots_name,
    split,
    unit,
)
from hybrid_attention.study.training_summary import training_statements

COSINE = "gradient_cosine"


@dataclass(frozen=True)
class Answer:
    """What linear anneals of some models need.

    Args:
        reached: the shortest duration that reaches the target, with its calibration, value and error, or None.
        best: the setting with the highest mean.
        lost_again: longer durations of the same calibration that do not reach it.
    """

    reached: pd.Series | None
    best: pd.Series
    lost_again: tuple[float, ...] = ()


def statements(table: pd.DataFrame, study: StudyConfig) -> list[str]:
    """The answer: a statement for every number of spins, and for training where there was any.

    Args:
        table: of the study.
        study: its settings.
    """
    return [*_gradient_statements(table, study), *training_statements(table)]


def answer(rows: pd.DataFrame, target: float) -> Answer | None:
    """What linear anneals need for the gradient, or None where none was compared with the exact one.

    Args:
        rows: of one kind of models and one number of shots.
        target: cosine asked for.
    """
    found = means(only_linear(rows), COSINE, [*SERIES, "duration"])
    if not len(found):
        return None
    best = found.sort_values(["value", "duration"], ascending=[False, True]).iloc[0]
    reaching = found[reaches(found, target)].sort_values(["duration", "value"], ascending=[True, False])
    if not len(reaching):
        return Answer(None, best)
    first = reaching.iloc[0]
    same = found[(found["calibration"] == first["calibration"]) & (found["duration"] > first["duration"])]
    return Answer(first, best, tuple(same.loc[~reaches(same, target), "duration"]))


def reaches(found: pd.DataFrame, target: float) -> pd.Series:
    """Which means are at least the target even less their standard error; one model alone has none.

    Args:
        found: of `means`.
        target: cosine asked for.
    """
    return found["value"] - found["error"].fillna(0.0) >= target


def primary(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows that the headline is about: the law, the first sampler that anneals, and the least polish.

    Args:
        rows: of one kind of models.
    """
    chosen = best_shots(rows, COSINE)
    anneals = chosen[chosen["schedule"].notna()]
    if len(anneals):
        name = next(sampler for sampler in ANNEALS if sampler in set(anneals["sampler"]))
        chosen = anneals[anneals["sampler"] == name]
    return chosen[chosen["polish"] == chosen["polish"].min()]


def statement(models: Models, study: StudyConfig) -> str:
    """What some models need, in one or two sentences.

    Args:
        models: which.
        study: the settings.
    """
    rows = primary(models.rows)
    place = of_whom(models, study)
    if not len(rows):
        return f"No gradient was compared {place}."
    place += _conditions(rows)
    linear, others = answer(rows, study.target), _other_schedules(rows, study.target)
    goal = f"To reach a gradient cosine of {study.target:g} {place}"
    if linear is None:
        opening = f"{place[0].upper()}{place[1:]}, no linear anneal was studied."
        return opening + (f" {others[0].upper()}{others[1:]}." if others else "")
    best = f"{measured(linear.best['value'], linear.best['error'])} at {_setting(linear.best)}"
    if linear.reached is None:
        near = linear.best["value"] >= study.target
        noise = ": above the target, but by less than its standard error" if near else ""
        first = f"{goal}, none of the {anneal_name(rows)} anneals was long enough; the best reaches {best}{noise}."
    else:
        reached = linear.reached
        value = measured(reached["value"], reached["error"])
        first = f"{goal}, anneal for at least {_setting(reached)}: it reaches {value}"
        if math.isnan(reached["error"]):
            first += " (one model, so no error is known)"
        if linear.lost_again:
            first += f", but no longer at T = {', '.join(f'{T:g}' for T in linear.lost_again)}{unit(rows)}"
        first += "."
    return first + (f" {others[0].upper()}{others[1:]}." if others else "")


def _gradient_statements(table: pd.DataFrame, study: StudyConfig) -> list[str]:
    kinds = [models for models in split(table) if models.pooled]
    # of each number of spins the first: the strongest, or the latest
    first = {models.spins: models for models in reversed(kinds)}
    if not study.exact:
        listed = ", ".join(str(spins) for spins in first)
        return [
            f"Nothing was compared with exact sums at {listed} spins (--no-exact), so this study has times, circuit "
            "sizes and fitted temperatures, but says nothing on the accuracy of an anneal."
        ]
    return [statement(models, study) for _, models in sorted(first.items())]


def _conditions(rows: pd.DataFrame) -> str:
    """What else the numbers hold under, where it is not the obvious."""
    shots, polish, noise = int(rows["shots"].iloc[0]), int(rows["polish"].iloc[0]), rows["noise"].iloc[0]
    parts = [f"with {shots_name(shots)}"] if shots else []
    parts += [f"after {polish} heat-bath sweep{'s' if polish > 1 else ''}"] if polish else []
    parts += ["on the noisy device"] if isinstance(noise, str) else []
    return "".join(f" {part}" for part in parts)


def _setting(row: pd.Series) -> str:
    calibration = "no calibration" if row["calibration"] == "none" else f"{row['calibration']} calibration"
    length = f"{row['duration']:g}" + (" ns" if row["schedule"] != LINEAR else "")
    return f"T = {length} ({calibration}, {row['schedule']})"


def _other_schedules(rows: pd.DataFrame, target: float) -> str:
    """The shortest other circuit that reaches the target, or else the best; "" where there is none."""
    others = rows[~rows["schedule"].isin(TIMED)]
    found = means(others, COSINE, [*SERIES, "trotter_steps"])
    if not len(found):
        return ""
    reaching = found[reaches(found, target)].sort_values(["trotter_steps", "value"], ascending=[True, False])
    row = (reaching if len(reaching) else found.sort_values("value", ascending=False)).iloc[0]
    value = measured(row["value"], row["error"])
    key = key_of(row[name] for name in SERIES)
    if key[2] is None:
        return f"{series_name(key)} reaches {value}"
    if str(key[2]).startswith("preset:"):
        wide = ", the wide one," if str(key[2]).endswith("wide") else ""
        return f"the designed circuit of {row['trotter_steps']:.0f} steps{wide} reaches {value}"
    return f"the schedule {series_name(key)} ({row['trotter_steps']:.0f} steps) reaches {value}"
