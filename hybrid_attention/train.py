"""Training: a new run, or one that goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from classical import Sampler
from hybrid_attention import checkpoint
from hybrid_attention.build import build_model, build_task
from hybrid_attention.config import TrainConfig
from hybrid_attention.errors import InputError
from hybrid_attention.evaluate import recorded_settings, train_name
from hybrid_attention.loop import Loop
from hybrid_attention.optimizer import build_optimizer, learning_rate_factor
from hybrid_attention.processes import Processes
from hybrid_attention.qpu import JournalFlags, run_name
from hybrid_attention.qpu_estimate import Priced, run_estimate
from hybrid_attention.qpu_settings import QPUS
from hybrid_attention.run import RunFolder
from hybrid_attention.samplers import build_sampler
from hybrid_attention.tasks import Task
from hybrid_attention.transformer import Transformer
from quantum.jobs import BudgetError

__all__ = ["TrainedRun", "build_optimizer", "learning_rate_factor", "train"]


@dataclass(frozen=True)
class TrainedRun:
    """A finished run: what was trained, with what, and every evaluation on the way."""

    folder: RunFolder
    config: TrainConfig
    task: Task
    sampler: Sampler
    model: Transformer
    rows: list[dict[str, Any]]


def train(
    config: TrainConfig,
    folder: RunFolder,
    resume: bool = False,
    progress: bool = True,
    sampler: Sampler | None = None,
    journal: JournalFlags | None = None,
    task: Task | None = None,
    processes: Processes | None = None,
) -> TrainedRun:
    """Train a model, or go on with a run that was interrupted.

    Batches and samples are functions of the run's seed and the step, and every checkpoint holds the whole state: a run
    that was killed and resumed ends with the numbers of one that was not. Under torchrun every process works on its own
    rows of each batch, and the first writes all files.

    Args:
        config: the run's settings.
        folder: where it lives on disk.
        resume: go on from the newest checkpoint, or from the start where there is none.
        progress: whether to show a progress bar and a line for each evaluation.
        sampler: takes the place of the one in the settings, for samplers that have no name there.
        journal: where a quantum processor's jobs are kept; in the run's folder by default.
        task: takes the place of the one in the settings, for tasks that have no name there.
        processes: those that work on the run; made from --device and torchrun's environment by default.

    Returns:
        The run, its model on the CPU.

    Raises:
        InputError: settings that do not work, before anything is written, or a checkpoint that cannot be used.
        RunStopped: the loss or a gradient is not finite, or another process has stopped.
        BudgetError: the next job of a quantum processor would pass its budget; the run can be resumed with another.
        QPUError: a quantum processor failed; the run can be resumed.
    """
    processes = processes or Processes(config.device)
    progress = progress and processes.first
    with processes.agreeing(InputError):
        config = config.resolved().validate()
        _require_shares(config, processes)
        saved_at = folder.latest() if resume else None
        saved = checkpoint.load(saved_at) if saved_at is not None else None
        if saved is not None and saved_at is not None:
            checkpoint.require_settings(saved, recorded_settings(config), saved_at)
        if sampler is None:
            flags = journal or JournalFlags()
            flags.require_qpu(config.sampler)
            sampler = build_sampler(
                config, flags.access(folder.path, train_name(recorded_settings(config)), config.qpu_budget)
            )
        if task is None:
            task = build_task(config, None if saved is None else saved.task)
        elif saved is not None:
            _require_same_task(task, saved, saved_at)
        model = build_model(config, task, sampler).to(processes.device)
        optimizer = build_optimizer(model, config)
        if saved is not None and saved_at is not None:
            checkpoint.restore_model(model, saved, saved_at)
            checkpoint.restore_optimizer(optimizer, saved.optimizer)
    _require_same_start(config, saved, processes)
    loop = Loop(config, folder, task, sampler, model, optimizer, processes, progress)
    if config.qpu_budget is None or not isinstance(sampler, Priced):
        loop.run(saved)
    else:
        cost = run_estimate(config, sampler, progress).total.seconds
        whole = f"the whole run is estimated at {cost:.4g} s of QPU time, and its budget is {config.qpu_budget:g} s"
        if progress:
            tqdm.write(whole)
        try:
            loop.run(saved)
        except BudgetError as error:
            raise BudgetError(f"{error}; {whole}: go on with --resume --qpu-budget MORE") from None
    return TrainedRun(folder, config, task, sampler, model.to("cpu"), folder.rows())


def _require_same_task(task: Task, saved: checkpoint.Checkpoint, path: Path | None) -> None:
    """Refuse to go on with another task than the one that was trained."""
    try:
        task.require_state(saved.task)
    except ValueError as error:
        raise InputError(f"checkpoint {path} was trained on another task ({error}); give that task") from None


def _require_shares(config: TrainConfig, processes: Processes) -> None:
    """Refuse what cannot be divided among processes."""
    count = processes.count
    if count > 1 and config.sampler in QPUS:
        raise InputError(
            f"--sampler is {config.sampler}, but {count} processes were started, and the jobs of a quantum processor "
            "belong to one; leave torchrun out, or use another sampler"
        )
    if config.batch < count:
        raise InputError(f"--batch is {config.batch}, but {count} processes share it; give at least {count}")


def _require_same_start(config: TrainConfig, saved: checkpoint.Checkpoint | None, processes: Processes) -> None:
    """Refuse processes that would not train the same model, as where they see different folders."""
    settings = run_name(recorded_settings(config), {})[:8]
    start = "no checkpoint" if saved is None else f"the checkpoint of step {saved.step}"
    processes.require_same(
        f"{start} and settings {settings}",
        "give all the same arguments, and an --out that all of them see",
    )
