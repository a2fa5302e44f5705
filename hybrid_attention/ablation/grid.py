"""The grid of an ablation: every run that is to be made, in the order in which they are made."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

from classical import MeanFieldSampler, PerfectSamples, Sampler
from hybrid_attention.ablation.arms import arm_settings, has_spins
from hybrid_attention.ablation.settings import PERFECT, TUNING_SEED, AblationConfig
from hybrid_attention.build import build_task
from hybrid_attention.config import TrainConfig
from hybrid_attention.errors import InputError
from hybrid_attention.flags import flag
from hybrid_attention.parameters import match_parameters
from hybrid_attention.parse import parse_config
from hybrid_attention.qpu_settings import CLOUD
from hybrid_attention.samplers import build_sampler
from hybrid_attention.tasks.registry import task_class

EXACT = "exact"
TUNE, COMPARE = "tune", "compare"


@dataclass(frozen=True)
class Cell:
    """One training run.

    Args:
        stage: "tune" or "compare".
        task: by name.
        length: input positions.
        arm: by name.
        sampler: with its settings.
        seed: of the run.
        rate: peak learning rate.
        feed_forward: width of the perceptrons, or None for the default.
    """

    stage: str
    task: str
    length: int
    arm: str
    sampler: str
    seed: int
    rate: float
    feed_forward: int | None

    @property
    def name(self) -> str:
        """A name of its own, the same in every process: part of a file name."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:20]
        return f"{self.stage}-{digest}"

    def train_config(self, ablation: AblationConfig) -> TrainConfig:
        """The settings of the run.

        Args:
            ablation: what the cell belongs to.

        Raises:
            InputError: settings that do not go together.
        """
        config = _run(ablation, self.task, self.length, self.arm, self.sampler)
        return replace(config, seed=self.seed, lr=self.rate, feed_forward=self.feed_forward)


@dataclass(frozen=True)
class Setting:
    """What runs that differ in seed and learning rate have in common.

    Args:
        task: by name.
        length: input positions.
        arm: by name.
        sampler: with its settings.
        feed_forward: width of the perceptrons, or None for the default.
    """

    task: str
    length: int
    arm: str
    sampler: str
    feed_forward: int | None

    def cell(self, stage: str, seed: int, rate: float) -> Cell:
        """One run of the setting."""
        return Cell(stage, self.task, self.length, self.arm, self.sampler, seed, rate, self.feed_forward)


def settings(ablation: AblationConfig) -> list[Setting]:
    """Every combination of task, length, arm and sampler, all of them checked.

    An arm without spins has no use for samplers other than exact; where exact is not among them, it takes part all
    the same.

    Args:
        ablation: its settings.

    Raises:
        InputError: names the first setting that does not work.
    """
    found = []
    for task, length in product(ablation.task_list, ablation.length_list):
        arms = {arm: _run(ablation, task, length, arm, EXACT) for arm in ablation.arms_at(length)}
        for config in arms.values():
            config.validate()
        counts: dict[str, int | None] = {arm: config.feed_forward for arm, config in arms.items()}
        if ablation.match:
            counts = _widths(arms)
        for arm in arms:
            samplers = ablation.sampler_list if has_spins(arm) else [EXACT]
            for sampler in samplers:
                _check(ablation, task, length, arm, sampler)
            found += [Setting(task, length, arm, sampler, counts[arm]) for sampler in samplers]
    return found


def tuning_cells(ablation: AblationConfig, found: list[Setting]) -> list[Cell]:
    """Runs by whose losses learning rates are chosen; none where there is one rate alone.

    Rates are chosen with the first of the samplers, and hold for all of them: what is compared is where the statistics
    come from.

    Args:
        ablation: its settings.
        found: from `settings`.
    """
    if len(ablation.rate_list) == 1:
        return []
    seeds = range(TUNING_SEED, TUNING_SEED + ablation.tuning_seeds)
    first = (ablation.sampler_list[0], EXACT)
    chosen = [s for s in found if s.length in ablation.tuning_length_list and s.sampler in first]
    chosen = [s for s in chosen if s.sampler == first[0] or not has_spins(s.arm)]
    return [setting.cell(TUNE, seed, rate) for seed, setting, rate in product(seeds, chosen, ablation.rate_list)]


def compared_cells(ablation: AblationConfig, found: list[Setting], rates: dict[Any, float]) -> list[Cell]:
    """Runs that are compared, seed after seed, so that one that is cut short has whole seeds.

    Args:
        ablation: its settings.
        found: from `settings`.
        rates: from `chosen_rates`, by (task, length, arm).
    """
    seeds = range(ablation.seeds)
    return [s.cell(COMPARE, seed, rates[s.task, s.length, s.arm]) for seed, s in product(seeds, found)]


def chosen_rates(
    ablation: AblationConfig, found: list[Setting], tuned: list[tuple[Cell, float | None]]
) -> dict[tuple[str, int, str], float]:
    """The learning rate of every task, length and arm: the one of the smallest mean loss where rates were tried.

    Args:
        ablation: its settings.
        found: from `settings`.
        tuned: cells of the stage "tune" with their losses, None for runs that failed.

    Raises:
        InputError: an arm that fails at every rate.
    """
    losses: dict[tuple[str, int, str], dict[float, list[float]]] = {}
    for cell, loss in tuned:
        at = losses.setdefault((cell.task, cell.length, cell.arm), {}).setdefault(cell.rate, [])
        at.append(float("inf") if loss is None else loss)
    rates = {}
    for s in found:
        if len(ablation.rate_list) == 1:
            rates[s.task, s.length, s.arm] = ablation.rate_list[0]
            continue
        tried = [length for task, length, arm in losses if (task, arm) == (s.task, s.arm)]
        nearest = min(tried, key=lambda length: (abs(length - s.length), length))
        means = {rate: sum(own) / len(own) for rate, own in losses[s.task, nearest, s.arm].items()}
        best = min(means, key=lambda rate: means[rate])
        if means[best] == float("inf"):
            raise InputError(f"--rates {ablation.rates}: {s.arm} on {s.task} fails at every one; give smaller rates")
        rates[s.task, s.length, s.arm] = best
    return rates


def unnamed_sampler(sampler: str) -> Sampler | None:
    """The sampler of a run where train has no name for it, else None.

    Args:
        sampler: as in --samplers.
    """
    return PerfectSamples() if sampler == PERFECT else None


def _run(ablation: AblationConfig, task: str, length: int, arm: str, sampler: str) -> TrainConfig:
    """Settings of a run but for seed, rate and width."""
    shared = ablation.runs
    weight = shared.energy_loss if "energy" in arm.split("+")[1:] else 0.0
    kind = task_class(task, "--tasks")
    data = {
        "text": shared.text if kind.from_text else "",
        "task_options": shared.task_options if kind.has_options else "",
    }
    own = {**arm_settings(arm), **data, "task": task, "length": length, "energy_loss": weight}
    return _with_sampler(replace(shared, **own), sampler)


def _with_sampler(config: TrainConfig, sampler: str) -> TrainConfig:
    """The settings with those of --samplers: NAME/setting=value/…"""
    name, *given = sampler.split("/")
    if name == PERFECT and not given:
        return config
    changed = [flag("sampler") + "=" + name]
    for setting in given:
        key, equals, value = setting.partition("=")
        if not equals or not key or not value:
            raise InputError(f"--samplers has {sampler!r}; write NAME/setting=value, as gibbs/burn-in=10")
        changed.append(f"{flag(key)}={value}")
    try:
        return parse_config(changed, config)
    except InputError as error:
        raise InputError(f"--samplers has {sampler!r}: {error}") from None


def _widths(arms: dict[str, TrainConfig]) -> dict[str, int | None]:
    """Widths of the perceptrons with which all arms have the parameters of the largest."""
    # numbers of parameters do not depend on samplers, and this one holds models of any size
    counting = {arm: replace(config, estimator="covariance") for arm, config in arms.items()}
    task = build_task(next(iter(counting.values())))
    matched = match_parameters(counting, to=max, sampler=MeanFieldSampler(), task=task)
    return {arm: row.config.perceptron_width for arm, row in matched.items()}


def _check(ablation: AblationConfig, task: str, length: int, arm: str, sampler: str) -> None:
    """Refuse a combination before any run is made."""
    config = _run(ablation, task, length, arm, sampler).resolved()
    fix = f"an ablation trains on this machine; use study --train for --sampler {config.sampler}"
    if config.sampler in CLOUD:
        raise InputError(f"--samplers has {sampler!r}; {fix}")
    try:
        build_sampler(config.validate())
    except InputError as error:
        where = f"{task}, length {length}, {arm}, {sampler}"
        raise InputError(f"{error} ({where})") from None
