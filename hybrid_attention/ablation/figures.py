"""Figures of an ablation as data: losses, differences to a reference, and differences between samplers."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from hybrid_attention.ablation.arms import is_coupled
from hybrid_attention.ablation.settings import AblationConfig
from hybrid_attention.ablation.statements import signed
from hybrid_attention.ablation.summary import (
    Interval,
    difference,
    means,
    sampler_difference,
    sampler_reference,
    slope,
)
from hybrid_attention.report import with_error
from hybrid_attention.study.drawing import (
    BLUE,
    GRAY,
    Axis,
    Curve,
    Figure,
    Look,
    Panel,
    Rule,
    both_ends,
    linear_axis,
)
from hybrid_attention.study.training_summary import WITHIN

_COUPLED, _OTHER = Look(BLUE, "circle", line=False), Look(GRAY, "square", line=False)
_NAMES = {True: "learned couplings", False: "no learned couplings"}


def figures(table: pd.DataFrame, ablation: AblationConfig) -> Iterator[Figure]:
    """Every figure that the table has something for.

    Args:
        table: of an ablation.
        ablation: its settings.
    """
    every = means(table)
    sampler = ablation.sampler_list[0]
    for task in ablation.task_list:
        own = every[(every["task"] == task) & every["sampler"].isin((sampler, "exact"))]
        own = own.drop_duplicates(["length", "arm"])
        if len(own):
            yield _losses(own, task)
            for reference in ablation.reference_list:
                yield _differences(table, own, task, sampler, reference)
        found = _samplers(table, every[every["task"] == task], task, ablation)
        if found is not None:
            yield found


def _losses(rows: pd.DataFrame, task: str) -> Figure:
    panels, lines = [], []
    for length, own in rows.groupby("length", sort=False):
        values = [Interval(r["loss"], r["loss_half"], r["seeds"]) for _, r in own.iterrows()]
        panels.append(_forest(f"Length {length}", list(own["arm"]), values, "loss, held out (nats)"))
        for _, r in own.iterrows():
            loss, accuracy = with_error(r["loss"], r["loss_half"]), with_error(r["accuracy"], r["accuracy_half"])
            counts = [f"{r['parameters']:,.0f}", f"{r['rate']:g}", str(r["seeds"]), f"{r['cpu_seconds']:.0f}"]
            lines.append([str(length), r["arm"], loss, accuracy, *counts])
    note = (
        "Held-out loss after training, lower is better: means over seeds with 95% intervals (Student's t). Arms share "
        "seeds, so that whether two differ is said by the paired differences below rather than by overlapping bars."
    )
    columns = ["Length", "Arm", "Loss (nats)", "Accuracy", "Parameters", "Learning rate", "Seeds", "CPU s per run"]
    return Figure(f"loss-{task}", f"Loss: {task}", note, panels, columns, lines)


def _differences(table: pd.DataFrame, rows: pd.DataFrame, task: str, sampler: str, reference: str) -> Figure:
    panels, lines = [], []
    for length, own in rows.groupby("length", sort=False):
        arms = [arm for arm in own["arm"] if arm != reference]
        values = [difference(table, task, int(length), arm, sampler, reference) for arm in arms]
        panels.append(_forest(f"Length {length}", arms, values, f"loss − loss of {reference} (nats)", zero=True))
        lines += [
            [str(length), arm, signed(value), "yes" if value.clear else "no", str(value.seeds)]
            for arm, value in zip(arms, values, strict=True)
        ]
    for arm in dict.fromkeys(rows["arm"]):
        value = None if arm == reference else slope(table, task, arm, sampler, reference)
        if value is not None:
            lines.append(
                ["slope, for each position", arm, signed(value, 5), "yes" if value.clear else "no", str(value.seeds)]
            )
    note = (
        f"Differences to {reference}, taken seed by seed, with 95% intervals; left of 0 is better. Each interval "
        f"stands for itself: were there no differences at all, {0.05 * len(lines):.1f} of {len(lines)} would exclude 0 "
        "on average."
    )
    columns = ["Length", "Arm", "Difference (nats), 95% interval", "Excludes 0", "Seeds"]
    key = f"difference-{task}-{reference.replace('+', '-')}"
    return Figure(key, f"Difference to {reference}: {task}", note, panels, columns, lines)


def _samplers(table: pd.DataFrame, rows: pd.DataFrame, task: str, ablation: AblationConfig) -> Figure | None:
    reference = sampler_reference(ablation.sampler_list)
    if reference is None:
        return None
    panels, lines = [], []
    for (length, arm), own in rows.groupby(["length", "arm"], sort=False):
        names = [name for name in own["sampler"] if name != reference]
        if reference not in set(own["sampler"]) or not names:
            continue
        values = [sampler_difference(table, task, int(length), arm, name, reference) for name in names]
        title = f"loss − loss with {reference} (nats)"
        panels.append(_forest(f"{arm}, length {length}", names, values, title, zero=True, couplings=False))
        lines += [
            [str(length), arm, name, signed(value), "yes" if value.within(WITHIN) else "no", str(value.seeds)]
            for name, value in zip(names, values, strict=True)
        ]
    if not panels:
        return None
    note = (
        f"Held-out loss of models trained with each sampler less that with {reference}, seed by seed, with 95% "
        f"intervals; all are evaluated with exact sums. Dashed lines are at ± {WITHIN} nats."
    )
    columns = ["Length", "Arm", "Sampler", "Difference (nats), 95% interval", f"Within ± {WITHIN}", "Seeds"]
    return Figure(f"samplers-{task}", f"Samplers: {task}", note, panels, columns, lines)


def _forest(
    title: str, names: list[str], values: list[Interval], label: str, zero: bool = False, couplings: bool = True
) -> Panel:
    """Means with horizontal error bars, a line for each name."""
    places = {name: float(place) for place, name in enumerate(names)}
    groups = (True, False) if couplings else (False,)
    curves = []
    for coupled in groups:
        own = [(n, v) for n, v in zip(names, values, strict=True) if not couplings or is_coupled(n) == coupled]
        own = [(n, v) for n, v in own if math.isfinite(v.mean)]
        if not own:
            continue
        hover = [
            f"{n}: {v.mean:.4f}<br>{v.seeds} seeds" + ("" if math.isnan(v.half) else f", ± {v.half:.4f}")
            for n, v in own
        ]
        curves.append(
            Curve(
                _NAMES[coupled] if couplings else "samplers",
                [v.mean for _, v in own],
                [places[n] for n, _ in own],
                hover,
                _COUPLED if coupled else _OTHER,
                [v.half for _, v in own],
                across=True,
            )
        )
    reach = both_ends([Curve("", [], c.x, [], c.look, c.error) for c in curves])
    bounds = [-WITHIN, WITHIN] if not couplings else []
    x = linear_axis(label, [*reach, *([0.0] if zero else []), *bounds])
    y = Axis("", -0.6, len(names) - 0.4, log=False, flipped=True, ticks=tuple((places[n], n) for n in names))
    rules = [Rule(0.0, "", vertical=True)] if zero else []
    return Panel(title, x, y, curves, rules + [Rule(bound, "", vertical=True) for bound in bounds])
