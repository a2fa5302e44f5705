"""The grid of an ablation: every run that is to be made, in the order in which they are made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from classical import MeanFieldSampler
from hybrid_attention.ablation.arms import has_spins
from hybrid_attention.ablation.run_settings import run_config, unnamed_sampler
from hybrid_attention.ablation.settings import TUNING_SEED, AblationConfig
from hybrid_attention.build import build_model, build_task
from hybrid_attention.config import TrainConfig
from hybrid_attention.errors import InputError
from hybrid_attention.parameters import match_parameters
from hybrid_attention.processes import choose_device
from hybrid_attention.qpu_settings import CLOUD, QPUS
from hybrid_attention.samplers import build_sampler, exact_fits, schedule_digest, table_digest
from hybrid_attention.tasks import Task

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
        config = run_config(ablation, self.task, self.length, self.arm, self.sampler)
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
    choose_device(ablation.runs.device)
    for task, length in product(ablation.task_list, ablation.length_list):
        arms = {arm: run_config(ablation, task, length, arm, EXACT) for arm in ablation.arms_at(length)}
        with _told(f"{task}, length {length}"):
            for arm, config in arms.items():
                with _told(arm):
                    config.validate()
            data = build_task(next(iter(arms.values())))
            widths = _widths(arms, data) if ablation.match else dict.fromkeys(arms, ablation.runs.feed_forward)
        for arm in arms:
            samplers = ablation.sampler_list if has_spins(arm) else [EXACT]
            for sampler in samplers:
                with _told(f"{task}, length {length}, {arm}, {sampler}"):
                    _check(run_config(ablation, task, length, arm, sampler), data, sampler)
            found += [Setting(task, length, arm, sampler, widths[arm]) for sampler in samplers]
    return found


def data_digests(ablation: AblationConfig) -> dict[str, str]:
    """SHA-256 of what the settings do not say of tasks and samplers: texts, states of tasks, files.

    Args:
        ablation: its settings.

    Returns:
        By what it is of.
    """
    found = {}
    for task, length in product(ablation.task_list, ablation.length_list):
        arm = ablation.arms_at(length)[0]
        state = build_task(run_config(ablation, task, length, arm, EXACT)).state()
        found[f"{task}, length {length}"] = json.dumps(state, sort_keys=True)
    for sampler in ablation.sampler_list:
        task, length = ablation.task_list[0], ablation.length_list[0]
        config = run_config(ablation, task, length, ablation.arms_at(length)[0], sampler)
        noise = Path(config.noise).read_text() if config.noise.endswith(".json") else ""
        found[f"--samplers {sampler}"] = schedule_digest(config) + table_digest(config) + noise
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in found.items()}


def held_out(ablation: AblationConfig, task: str, length: int) -> int | None:
    """How many held-out sequences every arm is evaluated on: all, or as many as in training where sums are sampled.

    Args:
        ablation: its settings.
        task: by name.
        length: input positions.
    """
    pairs = product(filter(has_spins, ablation.arms_at(length)), ablation.sampler_list)
    exact = all(exact_fits(run_config(ablation, task, length, arm, sampler)) for arm, sampler in pairs)
    return None if exact else ablation.runs.eval_sequences


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
    able = [s for s in found if (s.task, s.length, s.arm) in rates]
    return [s.cell(COMPARE, seed, rates[s.task, s.length, s.arm]) for seed, s in product(seeds, able)]


def chosen_rates(
    ablation: AblationConfig, found: list[Setting], tuned: list[tuple[Cell, float | None]]
) -> dict[tuple[str, int, str], float]:
    """The learning rate of every task, length and arm: the one of the smallest mean loss where rates were tried.

    Args:
        ablation: its settings.
        found: from `settings`.
        tuned: cells of the stage "tune" with their losses, None for runs that failed.

    Returns:
        Without those arms that fail at every rate, which cannot be compared.
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
        if means[best] < float("inf"):
            rates[s.task, s.length, s.arm] = best
    return rates


def _widths(arms: dict[str, TrainConfig], task: Task) -> dict[str, int | None]:
    """Widths of the perceptrons with which all arms have the parameters of the largest."""
    # numbers of parameters do not depend on samplers, and this one holds models of any size
    counting = {arm: replace(config, estimator="covariance") for arm, config in arms.items()}
    matched = match_parameters(counting, to=max, sampler=MeanFieldSampler(), task=task)
    return {arm: row.config.perceptron_width for arm, row in matched.items()}


def _check(config: TrainConfig, task: Task, sampler: str) -> None:
    """Refuse a combination before any run is made."""
    config = config.resolved().validate()
    if config.sampler in CLOUD:
        fix = f"an ablation trains on this machine; use study --train for --sampler {config.sampler}"
        raise InputError(f"--samplers has {sampler!r}; {fix}")
    if config.sampler in QPUS:
        return  # whose journal belongs to a run
    build_model(config, task, unnamed_sampler(sampler) or build_sampler(config))


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Add to an error which of all runs it is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{error} ({where})") from None
