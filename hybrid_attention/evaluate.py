"""How good a model is on held-out sequences, with whatever sampler."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from classical import Sampler
from classical.ising import NotFiniteError
from classical.random import derive_seeds
from hybrid_attention import checkpoint
from hybrid_attention.build import build_model, build_task, numbering_rows_from, using_sampler
from hybrid_attention.config import TrainConfig
from hybrid_attention.errors import InputError
from hybrid_attention.parse import config_from
from hybrid_attention.processes import Processes, choose_device
from hybrid_attention.qpu import JournalFlags, run_name
from hybrid_attention.qpu_settings import QPUS
from hybrid_attention.run import RunFolder
from hybrid_attention.samplers import LONGEST_EXACT, build_sampler, schedule_digest, table_digest
from hybrid_attention.tasks import Batch, Task
from hybrid_attention.tasks.base import IGNORED
from hybrid_attention.tasks.options import options_without_paths
from hybrid_attention.tasks.registry import task_class
from hybrid_attention.transformer import Transformer

EVALUATION_SEED = 1
_SEQUENCES_AT_ONCE = 256


@dataclass(frozen=True)
class Evaluation:
    """Loss and accuracy on held-out sequences.

    Args:
        loss: mean cross-entropy over counted targets, in nats.
        loss_error: standard error of the loss over sequences.
        accuracy: share of counted targets whose class has the largest logit.
        models_per_second: Ising models solved per second, 0 where the attention has none.
    """

    loss: float
    loss_error: float
    accuracy: float
    models_per_second: float


@torch.no_grad()
def evaluate(
    model: Transformer,
    batch: Batch,
    sampler: Sampler,
    seed: int,
    progress: bool = False,
    processes: Processes | None = None,
) -> Evaluation:
    """Evaluate a model with a sampler that need not be the one it trains with.

    A sequence's samples depend on the seed and its row of the batch, not on what is computed beside it or where.

    Args:
        model: the model, on the device to compute on.
        batch: held-out sequences.
        sampler: gives the spin statistics.
        seed: fixes the samples.
        progress: whether to show a progress bar.
        processes: those that share the work and all get the result; this one alone by default.
    """
    if processes is None:
        return _evaluation(*_scores(model, batch, sampler, seed, range(len(batch.tokens)), progress))
    with processes.agreeing(NotFiniteError):
        scores, rate = _scores(model, batch, sampler, seed, processes.rows(len(batch.tokens)), progress)
    return _evaluation(processes.total(scores), rate * processes.count)


def _scores(
    model: Transformer, batch: Batch, sampler: Sampler, seed: int, rows: range, progress: bool
) -> tuple[Tensor, float]:
    """Loss, counted targets and hits of every sequence, (3, sequences), zero but for some rows; and models/s."""
    scores, models = torch.zeros(3, len(batch.tokens), dtype=torch.float64), 0
    device = next(model.parameters()).device
    pass_seed = derive_seeds(seed, EVALUATION_SEED, 0).to(device)
    started = time.perf_counter()
    starts = range(rows.start, rows.stop, _SEQUENCES_AT_ONCE)
    with using_sampler(model, sampler):
        for start in tqdm(starts, desc="evaluate", unit="batch", disable=None if progress else True, leave=False):
            piece = slice(start, min(start + _SEQUENCES_AT_ONCE, rows.stop))
            tokens, targets = (part[piece].to(device) for part in batch)
            with numbering_rows_from(model, start):
                logits = model(tokens, seed=pass_seed).logits
            loss = F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=IGNORED, reduction="none")
            counted = targets != IGNORED
            hits = (logits.argmax(-1) == targets) & counted
            scores[:, piece] = torch.stack([one.double().sum(-1) for one in (loss, counted, hits)]).cpu()
            models += model.ising_models(*tokens.shape)
    return scores, models / (time.perf_counter() - started)


def _evaluation(scores: Tensor, models_per_second: float) -> Evaluation:
    total, count, hits = scores
    mean = total.sum() / count.sum()
    # a ratio estimator: sequences are independent, the positions inside one are not
    error = (total - mean * count).square().sum().sqrt() / count.sum()
    return Evaluation(mean.item(), error.item(), (hits.sum() / count.sum()).item(), models_per_second)


def optimal_loss(task: Task, batch: Batch) -> float | None:
    """The loss of the best possible prediction on the same sequences, in nats, where the task can compute it.

    Args:
        task: gives the prediction.
        batch: held-out sequences.
    """
    best = task.optimal(batch.tokens)
    if best is None:
        return None
    return F.nll_loss(best.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED).item()


def recorded_settings(config: TrainConfig) -> dict[str, Any]:
    """What a checkpoint records of a run's settings: all of them, and digests of its schedule and table files.

    Args:
        config: the run's settings.
    """
    table = {"table_sha256": table_digest(config)} if config.schedule_table else {}
    options = options_without_paths(task_class(config.task), config) if config.task_options else ""
    return {**asdict(config), "task_options": options, "schedule_sha256": schedule_digest(config), **table}


def train_name(recorded: dict[str, Any]) -> str:
    """What tells a run's journal from others.

    Args:
        recorded: settings, by `recorded_settings`.
    """
    return run_name(recorded, asdict(TrainConfig()))


@dataclass(frozen=True)
class LoadedRun:
    """A training run read from disk."""

    folder: RunFolder
    config: TrainConfig
    task: Task
    sampler: Sampler
    model: Transformer
    step: int


def load_run(
    path: Path,
    with_data: bool = True,
    *,
    own_sampler: bool = True,
    journal: JournalFlags | None = None,
    **overrides: Any,
) -> LoadedRun:
    """Read a run's configuration and newest checkpoint.

    Args:
        path: the run's directory.
        with_data: whether the task needs its text; False works where the file is gone.
        own_sampler: whether the run's own sampler is used where no other is asked for; False takes exact sums where
            they fit, and mean field beyond, in place of a quantum processor.
        journal: where a quantum processor's jobs are kept; in the run's folder by default.
        overrides: settings to use in place of the run's own, by field name; None leaves one as it is.

    Raises:
        InputError: no run, no checkpoint, or one that is truncated or foreign.
    """
    folder = RunFolder(path)
    folder.require_run("RUN")
    config = config_from(folder.config)
    latest = folder.latest()
    if latest is None:
        raise InputError(f"RUN {path} has no checkpoint yet; go on with it by train --out {path} --resume")
    saved = checkpoint.load(latest)
    recorded = recorded_settings(config)
    checkpoint.require_settings(saved, recorded, latest)
    changed = {key: value for key, value in overrides.items() if value is not None}
    budget = changed.get("qpu_budget")  # each command has its own; the run's is not taken over
    config = replace(config, qpu_budget=None, device="cpu")  # so does where it was trained
    if "schedule" in changed:  # another schedule does not take over what belonged to the run's own
        config = replace(config, duration=None, trotter_steps=None, calibration=None)
    sampler_name = changed.get("sampler", config.sampler)
    if not own_sampler and sampler_name in QPUS:
        sampler_name = changed["sampler"] = "exact" if config.spins <= LONGEST_EXACT else "mean-field"
    config = config.with_sampler(sampler_name)
    config = replace(config, **changed, estimator="covariance", independent_halves=False).resolved().validate()
    flags = journal or JournalFlags()
    flags.require_qpu(config.sampler)
    task = build_task(config, saved.task, other_text="text" in changed, with_data=with_data)
    sampler = build_sampler(config, flags.access(path, train_name(recorded), budget))
    model = build_model(config, task, sampler)
    checkpoint.restore_model(model, saved, latest)
    model.to(choose_device(config.device))
    return LoadedRun(folder, config, task, sampler, model, saved.step)


def evaluate_run(run: LoadedRun, sequences: int | None = None, progress: bool = True) -> dict[str, Any]:
    """Evaluate a run on held-out sequences, as one JSON-ready object.

    Args:
        run: what `load_run` gave, with the sampler to use in its configuration.
        sequences: how many; by default all with exact sums, and as many as in training with samples.
        progress: whether to show a progress bar.
    """
    if sequences is not None and sequences < 1:
        raise InputError(f"--eval-sequences is {sequences}; give at least 1")
    if sequences is None and run.config.sampler != "exact":
        sequences = run.config.eval_sequences
    batch = run.task.validation(sequences)
    result = evaluate(run.model, batch, run.sampler, run.config.seed, progress)
    summary: dict[str, Any] = {
        "task": run.config.task,
        "attention": run.config.attention,
        "sampler": run.config.sampler,
        "steps": run.step,
        "parameters": run.model.parameter_count(),
        "sequences": len(batch.tokens),
        "loss": result.loss,
        "loss_error": result.loss_error,
        "accuracy": result.accuracy,
        "models_per_second": result.models_per_second,
    }
    optimal = optimal_loss(run.task, batch)
    if optimal is not None:
        summary["optimal_loss"] = optimal
    if run.task.bits_per:
        summary[f"bits_per_{run.task.bits_per}"] = result.loss / math.log(2)
    if run.task.chance is not None:
        summary["chance"] = run.task.chance
    return summary
