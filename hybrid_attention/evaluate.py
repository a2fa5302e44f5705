"""How good a model is on held-out sequences, with whatever sampler."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from tqdm import tqdm

from classical import ExactSampler, Sampler
from classical.random import derive_seeds
from hybrid_attention import checkpoint
from hybrid_attention.build import build_model, build_sampler, build_task, using_sampler
from hybrid_attention.config import TrainConfig, as_arguments, read_toml
from hybrid_attention.errors import InputError
from hybrid_attention.parse import parse_config
from hybrid_attention.run import RunFolder
from hybrid_attention.tasks import Batch, Task, TextTask
from hybrid_attention.tasks.base import IGNORED
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
def evaluate(model: Transformer, batch: Batch, sampler: Sampler, seed: int, progress: bool = False) -> Evaluation:
    """Evaluate a model with a sampler that need not be the one it trains with.

    Args:
        model: the model.
        batch: held-out sequences.
        sampler: gives the spin statistics.
        seed: fixes the samples.
        progress: whether to show a progress bar.
    """
    losses, counts, correct, models = [], [], 0, 0
    started = time.perf_counter()
    starts = range(0, len(batch.tokens), _SEQUENCES_AT_ONCE)
    with using_sampler(model, sampler):
        for start in tqdm(starts, desc="evaluate", unit="batch", disable=None if progress else True, leave=False):
            tokens = batch.tokens[start : start + _SEQUENCES_AT_ONCE]
            targets = batch.targets[start : start + _SEQUENCES_AT_ONCE]
            logits = model(tokens, seed=derive_seeds(seed, EVALUATION_SEED, start)).logits
            loss = F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=IGNORED, reduction="none")
            counted = targets != IGNORED
            losses.append(loss.double().sum(-1))
            counts.append(counted.sum(-1))
            correct += int(((logits.argmax(-1) == targets) & counted).sum())
            models += model.ising_models(*tokens.shape)
    seconds = time.perf_counter() - started
    total, count = torch.cat(losses), torch.cat(counts).double()
    mean = total.sum() / count.sum()
    # a ratio estimator: sequences are independent, the positions inside one are not
    error = (total - mean * count).square().sum().sqrt() / count.sum()
    return Evaluation(mean.item(), error.item(), correct / count.sum().item(), models / seconds)


@dataclass(frozen=True)
class LoadedRun:
    """A training run read from disk."""

    folder: RunFolder
    config: TrainConfig
    task: Task
    model: Transformer
    step: int


def load_run(path: Path, with_data: bool = True, **overrides: Any) -> LoadedRun:
    """Read a run's configuration and newest checkpoint.

    Args:
        path: the run's directory.
        with_data: whether the task needs its text; False works where the file is gone.
        overrides: settings to use in place of the run's own, by field name; None leaves one as it is.

    Raises:
        InputError: no run, no checkpoint, or one that is truncated or foreign.
    """
    folder = RunFolder(path)
    folder.require_run("RUN")
    config = parse_config(as_arguments(read_toml(folder.config)), source=str(folder.config))
    latest = folder.latest()
    if latest is None:
        raise InputError(f"RUN {path} has no checkpoint yet; go on with it by train --out {path} --resume")
    saved = checkpoint.load(latest)
    checkpoint.require_settings(saved, asdict(config), latest)
    changed = {key: value for key, value in overrides.items() if value is not None}
    config = replace(config, **changed).validate()
    if config.task == "text" and not with_data:
        task: Task = TextTask.without_text(config.length, saved.task["characters"])
    else:
        task = build_task(config, saved.task, other_text="text" in changed)
    model = build_model(config, task, build_sampler(config))
    checkpoint.restore_model(model, saved, latest)
    return LoadedRun(folder, config, task, model, saved.step)


def evaluate_run(run: LoadedRun, progress: bool = True) -> dict[str, Any]:
    """Evaluate a run on all its held-out sequences, as one JSON-ready object.

    Args:
        run: what `load_run` gave, with the sampler to use in its configuration.
        progress: whether to show a progress bar.
    """
    sampler: Sampler = ExactSampler() if run.config.sampler == "exact" else build_sampler(run.config)
    batch = run.task.validation(run.config.eval_sequences if run.config.sampler != "exact" else None)
    result = evaluate(run.model, batch, sampler, run.config.seed, progress)
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
    if run.config.task == "text":
        summary["bits_per_character"] = result.loss / math.log(2)
    if run.task.chance is not None:
        summary["chance"] = run.task.chance
    return summary
