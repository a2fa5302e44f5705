"""What a training run would be charged, before anything is submitted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Protocol, runtime_checkable

from tqdm import tqdm

from hybrid_attention.build import build_task
from hybrid_attention.config import TrainConfig
from hybrid_attention.samplers import exact_fits
from quantum.jobs.estimate import Estimate

_SEQUENCES_AT_ONCE = 256


@runtime_checkable
class Priced(Protocol):
    """A sampler that says what it would cost."""

    def estimate(self, models: int, spins: int, shots: int, *, calibrated: bool = True) -> Estimate:
        """Of a batch of models."""
        ...


@dataclass(frozen=True)
class RunEstimate:
    """Costs of a training run.

    Args:
        calibration: measured once for every number of spins.
        step: of training.
        steps: how many there are.
        evaluation: one on the processor; nothing where exact sums do.
        evaluations: how many there are.
    """

    calibration: Estimate
    step: Estimate
    steps: int
    evaluation: Estimate
    evaluations: int

    @property
    def total(self) -> Estimate:
        """Of the whole run."""
        return self.calibration + self.step * self.steps + self.evaluation * self.evaluations


def run_estimate(config: TrainConfig, sampler: Priced, progress: bool = False) -> RunEstimate:
    """What a run would cost: every query of every sequence in every head of every layer is a model.

    Under causal attention the models of query k have k spins, or as many as there are slots in a window.

    Args:
        config: the run's settings.
        sampler: on its processor.
        progress: whether to show a bar while embeddings are looked for.
    """
    sizes = range(1, config.spins + 1)
    queries = {n: 1 if n < config.spins else config.length - config.spins + 1 for n in sizes}
    calibration = _sum(
        sampler.estimate(0, n, config.shots, calibrated=False)
        for n in tqdm(sizes, desc="embed", unit="size", delay=1.0, disable=None if progress else True)
    )
    evaluated = config.qpu_evaluation or not exact_fits(config)
    evaluations = 1 + -(-config.steps // config.evaluation_interval) if evaluated else 0
    # there may be fewer held-out sequences than are asked for
    held_out = len(build_task(config).validation(config.eval_sequences).tokens) if evaluated else 0
    return RunEstimate(
        calibration,
        _sum(sampler.estimate(config.heads * config.batch * queries[n], n, config.shots) for n in sizes)
        * config.layers,
        config.steps,
        _sum(
            sampler.estimate(config.heads * sequences * queries[n], n, config.shots)
            for sequences in _chunks(held_out)
            for n in sizes
        )
        * config.layers,
        evaluations,
    )


def proposal(config: TrainConfig, sampler: Priced, budget: float) -> tuple[TrainConfig, RunEstimate] | None:
    """Shots and batch with which a run stays within a budget: as many shots in all as can be, halved step by step.

    Args:
        config: the run's settings.
        sampler: on its processor.
        budget: seconds.

    Returns:
        The settings and their cost, or None where not even the least fits.
    """
    found = []
    for batch in _halves(config.batch, 1):
        for shots in _halves(config.shots, 8):
            smaller = replace(config, batch=batch, shots=shots)
            cost = run_estimate(smaller, sampler)
            if cost.total.seconds <= budget:
                found.append((batch * shots, batch, smaller, cost))
                break  # fewer shots fit as well
    if not found:
        return None
    _, _, best, cost = max(found, key=lambda one: one[:2])
    return best, cost


def _halves(value: int, least: int) -> Iterator[int]:
    while value >= least:
        yield value
        value //= 2


def _chunks(sequences: int) -> Iterator[int]:
    while sequences > 0:
        yield min(sequences, _SEQUENCES_AT_ONCE)
        sequences -= _SEQUENCES_AT_ONCE


def _sum(estimates: Iterable[Estimate]) -> Estimate:
    return reduce(add, estimates, Estimate())
