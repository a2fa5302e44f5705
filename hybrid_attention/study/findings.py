"""What else a study's table says, one sentence each; a difference inside the noise is called that."""

from __future__ import annotations

import math

import pandas as pd

from hybrid_attention.study.headline import COSINE, answer, primary
from hybrid_attention.study.settings import StudyConfig
from hybrid_attention.study.summary import (
    SERIES,
    TIMED,
    Mean,
    Models,
    anneal_name,
    best_shots,
    key_of,
    mean,
    means,
    measured,
    only_linear,
    paired,
    series_name,
    series_of,
    several_samplers,
    shots_name,
    unit,
)
from hybrid_attention.study.temperature_figures import HOLDS, agreement, fitted_rows

CLEAR = 2.0
"""Standard errors by which a difference must differ from 0 not to be noise."""
_COLUMNS = [*SERIES, "duration", "trotter_steps"]


def findings(models: Models, study: StudyConfig) -> list[str]:
    """Sentences on some models: calibrations, circuits, shots, polish and temperatures.

    Args:
        models: whose.
        study: the settings.
    """
    found = [
        _calibrations(models),
        _designed(models),
        *_other_ways(models, study),
        _shots(models),
        _linear_response(models),
    ]
    return [sentence for sentence in found if sentence]


def difference(found: Mean, unit: str = "") -> str:
    """A difference with its standard error, and whether it is more than noise.

    Args:
        found: of `summary.paired`.
        unit: written after the numbers.
    """
    if math.isnan(found.error):
        return f"{found.value:+.4f}{unit} (one model, so no error is known)"
    text = ("+" if found.value > 0 else "") + measured(found.value, found.error).replace("-", "−") + unit
    return f"{text}, inside the noise" if abs(found.value) <= CLEAR * found.error else text


def _calibrations(models: Models) -> str:
    """The best calibration at the longest duration against the next."""
    rows = only_linear(primary(best_shots(models.rows, "kl")) if models.rows["kl"].notna().any() else models.rows)
    rows = rows[rows["kl"].notna()]
    if rows["calibration"].nunique() < 2:
        return ""
    longest = rows[rows["duration"] == rows["duration"].max()]
    ranked = means(longest, "kl", ["calibration"]).sort_values("value")
    best, following = ranked["calibration"].iloc[0], ranked["calibration"].iloc[1]
    one, other = (longest[longest["calibration"] == name] for name in (best, following))
    low = mean(one, "kl")
    return (
        f"Of the calibrations, {best} has the lowest KL at the longest duration, "
        f"T = {rows['duration'].max():g}{unit(rows)}: {measured(low.value, low.error)} nats. The next, {following}, "
        f"differs from it by {difference(paired(other, one, 'kl'), ' nats')}."
    )


def _designed(models: Models) -> str:
    """The shortest circuit that is as good as the best linear anneal, or else the best, in cosine and gates."""
    rows = primary(models.rows)
    linear, others = only_linear(rows), rows[rows["schedule"].notna() & ~rows["schedule"].isin(TIMED)]
    if not len(linear) or not len(others):
        return ""
    anneal = means(linear, COSINE, _COLUMNS).sort_values("value", ascending=False).iloc[0]
    found = means(others, COSINE, _COLUMNS).sort_values("value", ascending=False)
    as_good = found[found["value"] >= anneal["value"]].sort_values("trotter_steps")
    circuit = (as_good if len(as_good) else found).iloc[0]
    first, second = _same(linear, anneal), _same(others, circuit)
    name = series_name(key_of(circuit[column] for column in SERIES))
    gates = [int(own["two_qubit_gates"].iloc[0]) for own in (first, second)]
    return (
        f"The best linear anneal, T = {anneal['duration']:g} with the {anneal['calibration']} calibration, takes "
        f"{gates[0]:,} two-qubit gates. {name[0].upper()}{name[1:]}, takes {gates[1]:,}; its gradient cosine differs "
        f"by {difference(paired(second, first, COSINE))}."
    )


def _other_ways(models: Models, study: StudyConfig) -> list[str]:
    """What linear anneals reach with another sampler or with polish."""
    rows = best_shots(models.rows, COSINE)
    if not len(rows):
        return []
    seen = set(primary(models.rows).groupby(["sampler", "polish"]).groups)
    found = []
    many = several_samplers(models.rows)
    for (sampler, polish), own in rows.groupby(["sampler", "polish"]):
        result = None if (sampler, polish) in seen else answer(own, study.target)
        if result is not None:
            way = ([f"on {sampler}"] if many else []) + (
                [f"with {polish} heat-bath sweep{'s' if polish > 1 else ''}"] if polish else []
            )
            row = result.best if result.reached is None else result.reached
            kind = "best" if result.reached is None else "shortest that does"
            reached = "do not reach" if result.reached is None else "reach"
            found.append(
                f"{' '.join(way).capitalize() or 'Otherwise'} {anneal_name(own)} anneals {reached} {study.target:g}: "
                f"the {kind} has {measured(row['value'], row['error'])} at T = {row['duration']:g}{unit(own)} "
                f"({row['calibration']})."
            )
    for key, own in series_of(rows[rows["schedule"].isna()]):
        value = mean(own, COSINE)
        if key[0] != "exact":
            found.append(f"Without any anneal, {series_name(key)} has {measured(value.value, value.error)}.")
    return found


def _shots(models: Models) -> str:
    """What the fewest and the most shots leave of the best setting's cosine."""
    rows = models.rows[models.rows[COSINE].notna()]
    finite = sorted({int(shots) for shots in rows["shots"]} - {0})
    if not finite or len(set(rows["shots"])) < 2:
        return ""
    ideal = primary(rows)
    top = means(ideal, COSINE, _COLUMNS).sort_values("value", ascending=False).iloc[0]
    same = _same(rows, top)
    few, best = same[same["shots"] == finite[0]], best_shots(same, COSINE)
    value, most = mean(few, COSINE), mean(best, COSINE)
    name = series_name(key_of(top[column] for column in SERIES))
    place = "" if pd.isna(top["duration"]) else f" at T = {top['duration']:g}"
    return (
        f"With {shots_name(finite[0])} the gradient cosine of the best, {name}{place}, is "
        f"{measured(value.value, value.error)} in place of {measured(most.value, most.error)} with "
        f"{shots_name(int(best['shots'].iloc[0]))}: a difference of {difference(paired(few, best, COSINE))}."
    )


def _same(rows: pd.DataFrame, setting: pd.Series) -> pd.DataFrame:
    """Rows with a setting."""
    for column in _COLUMNS:
        rows = rows[rows[column].isna() if pd.isna(setting[column]) else rows[column] == setting[column]]
    return rows


def _linear_response(models: Models) -> str:
    """From which duration on fitted temperatures agree with predicted ones."""
    rows = fitted_rows(models)
    if not len(rows):
        return ""
    found = agreement(rows)
    worst = found.loc[(found["value"] - 1.0).abs().idxmax()]
    symbol = "β_h" if worst["part"] == "field" else "β_J"
    size = f"{worst['value'] - 1.0:+.0%}".replace("-", "−")
    most = f"the largest difference is {size} ({symbol} at T = {worst['duration']:g})"
    failing = found[~found["holds"]]
    opening = f"Fitted temperatures (calibration {rows['calibration'].iloc[0]})"
    if not len(failing):
        return f"{opening} agree with linear response to {HOLDS:.0%}, or within noise, at every duration; {most}."
    good = sorted(set(found["duration"]) - set(failing["duration"]))
    if not good:
        return f"{opening} differ from linear response by more than {HOLDS:.0%} at every duration; {most}."
    later = [T for T in good if failing["duration"].max() < T]
    where = f"from T = {min(later):g} on" if later == good else f"only at T = {', '.join(f'{T:g}' for T in good)}"
    return f"{opening} agree with linear response to {HOLDS:.0%}, or within noise, {where}; {most}."
