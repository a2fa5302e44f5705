"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from classical import ExactSampler, Sampler
from classical.ising import NotFiniteError
from classical.random import derive_seeds
from hybrid_attention import checkpoint, hamiltonians
from hybrid_attention.build import build_model, build_task
from hybrid_attention.checkpoint import Checkpoint
from hybrid_attention.config import TrainConfig
from hybrid_attention.energy import collecting_energy
from hybrid_attention.errors import RunStopped
from hybrid_attention.evaluate import evaluate, recorded_settings, train_name
from hybrid_attention.qpu import JournalFlags
from hybrid_attention.qpu_estimate import Priced, run_estimate
from hybrid_attention.qpu_settings import QPUS
from hybrid_attention.run import RunFolder
from hybrid_attention.samplers import build_sampler, exact_fits
from hybrid_attention.tasks import Task
from hybrid_attention.tasks.base import IGNORED
from hybrid_attention.transformer import Transformer
from quantum.jobs import BudgetError

TRAINING_SEED = 0
_WEIGHT_DECAY = 0.01
_LARGEST_NORM = 1.0


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
) -> TrainedRun:
    """Train a model, or go on with a run that was interrupted.

    Batches and samples are functions of the run's seed and the step, and every checkpoint holds the whole state: a run
    that was killed and resumed ends with the numbers of one that was not.

    Args:
        config: the run's settings.
        folder: where it lives on disk.
        resume: go on from the newest checkpoint, or from the start where there is none.
        progress: whether to show a progress bar and a line for each evaluation.
        sampler: takes the place of the one in the settings, for samplers that have no name there.
        journal: where a quantum processor's jobs are kept; in the run's folder by default.

    Raises:
        InputError: settings that do not work, before anything is written, or a checkpoint that cannot be used.
        RunStopped: the loss or a gradient is not finite.
        BudgetError: the next job of a quantum processor would pass its budget; the run can be resumed with another.
        QPUError: a quantum processor failed; the run can be resumed.
    """
    config = config.resolved().validate()
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
    task = build_task(config, None if saved is None else saved.task)
    model = build_model(config, task, sampler)
    optimizer = build_optimizer(model, config)
    if saved is not None and saved_at is not None:
        checkpoint.restore_model(model, saved, saved_at)
        checkpoint.restore_optimizer(optimizer, saved.optimizer)
    loop = _Loop(config, folder, task, sampler, model, optimizer, progress)
    if config.qpu_budget is None or not isinstance(sampler, Priced):
        return loop.run(saved)
    cost = run_estimate(config, sampler, progress).total.seconds
    whole = f"the whole run is estimated at {cost:.4g} s of QPU time, and its budget is {config.qpu_budget:g} s"
    if progress:
        tqdm.write(whole)
    try:
        return loop.run(saved)
    except BudgetError as error:
        raise BudgetError(f"{error}; {whole}: go on with --resume --qpu-budget MORE") from None


def learning_rate_factor(step: int, steps: int) -> float:
    """Share of the peak learning rate in the update that follows `step` updates.

    Linear warm-up over min(50, steps/20) updates, then half a cosine to zero.

    Args:
        step: updates made so far.
        steps: updates in all.
    """
    warm_up = max(1, min(50, steps // 20))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def build_optimizer(model: Transformer, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with a learning rate of its own for the couplings.

    Args:
        model: what to train.
        config: gives the learning rates.
    """
    couplings = [p for name, p in model.named_parameters() if ".couplings." in name]
    others = [p for name, p in model.named_parameters() if ".couplings." not in name]
    groups = [{"params": others, "peak": config.lr}, {"params": couplings, "peak": config.coupling_rate}]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.lr, weight_decay=_WEIGHT_DECAY)


@dataclass
class _Loop:
    """The state of one training loop."""

    config: TrainConfig
    folder: RunFolder
    task: Task
    sampler: Sampler
    model: Transformer
    optimizer: torch.optim.AdamW
    progress: bool

    def run(self, saved: Checkpoint | None) -> TrainedRun:
        """Train from a checkpoint, or from the start, to the end."""
        config = self.config
        step, loss_sum, loss_count, seconds = 0, 0.0, 0, 0.0
        if saved is None:
            self.folder.create()
            config.save(self.folder.config)
            self.folder.rewrite_rows([])
        else:
            step = saved.step
            self.folder.rewrite_rows(row for row in self.folder.rows() if row["step"] <= step)
        hamiltonians.forget_after(self.folder, step)
        models = self.model.ising_models(config.batch, config.length)
        bar = tqdm(total=config.steps, initial=step, desc="train", unit="step", disable=None if self.progress else True)
        with bar:
            if saved is None:
                self._keep_hamiltonians(step)
                self._evaluate_and_save(step, 0.0, 0, 0.0)
            while step < config.steps:
                started = time.perf_counter()
                loss = self._update(step)
                seconds += time.perf_counter() - started
                step += 1
                loss_sum, loss_count = loss_sum + loss, loss_count + 1
                bar.update()
                bar.set_postfix(
                    loss=f"{loss_sum / loss_count:.4f}", models_per_s=f"{models * loss_count / seconds:,.0f}"
                )
                self._keep_hamiltonians(step)  # before the checkpoint, after which nobody would come back for them
                if step % config.evaluation_interval == 0 or step == config.steps:
                    self._evaluate_and_save(step, loss_sum, loss_count, models * loss_count / seconds)
                    loss_sum, loss_count, seconds = 0.0, 0, 0.0
        return TrainedRun(self.folder, config, self.task, self.sampler, self.model, self.folder.rows())

    def _update(self, step: int) -> float:
        """One optimizer update; the mean loss of its batch, in nats, without the energy that --energy-loss adds."""
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * learning_rate_factor(step, config.steps)
        batch = self.task.training_batch(config.batch, config.seed, step)
        seed = derive_seeds(config.seed, TRAINING_SEED, step)
        energies: list[Tensor] = []
        with self._stopping_at(step), collecting_energy(self.model, energies) if config.energy_loss else nullcontext():
            logits = self.model(batch.tokens, seed=seed).logits
        loss = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED)
        self._require_finite(loss.item(), "loss", step)
        self.optimizer.zero_grad(set_to_none=True)
        whole = loss
        if energies:
            energy = torch.stack(energies).mean()
            self._require_finite(energy.item(), "energy loss", step)
            whole = loss + config.energy_loss * energy
        whole.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), _LARGEST_NORM)
        self._require_finite(norm.item(), "gradient norm", step)
        self.optimizer.step()
        return loss.item()

    @contextmanager
    def _stopping_at(self, step: int) -> Iterator[None]:
        """Fields or couplings that are not finite mean a model that ran away; no loss comes of them."""
        try:
            yield
        except NotFiniteError as error:
            raise self._stop(f"the loss is not defined ({str(error).split(';')[0]})", step) from error

    def _require_finite(self, value: float, name: str, step: int) -> None:
        if not math.isfinite(value):
            raise self._stop(f"the {name} is {value}", step)

    def _stop(self, reason: str, step: int) -> RunStopped:
        last = self.folder.latest()
        kept = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
        return RunStopped(
            f"{reason} at step {step}; {kept}; try a smaller --lr (now {self.config.lr:g}) in a new --out"
        )

    def _keep_hamiltonians(self, step: int) -> None:
        """Record the Ising models of a few held-out sequences, where this step is one to do so."""
        every = self.config.export_every
        if every is None or (step % every and step < self.config.steps):
            return
        sampler = ExactSampler() if exact_fits(self.config) else self.sampler
        with self._stopping_at(step):
            recorded = hamiltonians.record_held_out(self.model, self.task, step, sampler, self.config.seed)
        hamiltonians.save(self.folder, recorded)

    def _evaluate_and_save(self, step: int, loss_sum: float, loss_count: int, models_per_second: float) -> None:
        """Evaluate with the training sampler and exactly, add a row of metrics and save a checkpoint."""
        config = self.config
        held_out = self.task.validation(config.eval_sequences)
        with self._stopping_at(step):
            exact = evaluate(self.model, held_out, ExactSampler(), config.seed) if exact_fits(config) else None
            own = exact
            if own is None or (config.sampler != "exact" and (config.sampler not in QPUS or config.qpu_evaluation)):
                own = evaluate(self.model, held_out, self.sampler, config.seed)
        row = {
            "step": step,
            "train_loss": loss_sum / loss_count if loss_count else None,
            "loss": own.loss,
            "accuracy": own.accuracy,
            "loss_exact": exact.loss if exact else None,
            "accuracy_exact": exact.accuracy if exact else None,
            "models_per_second": models_per_second,
        }
        for evaluation in (exact, own):
            self._require_finite(evaluation.loss if evaluation else 0.0, "held-out loss", step)
        self.folder.append_row(row)
        tensors = {key: value.detach() for key, value in self.model.state_dict().items()}
        moments = checkpoint.optimizer_tensors(self.optimizer)
        saved = Checkpoint(step, tensors, moments, self.task.state(), recorded_settings(config))
        checkpoint.save(self.folder.checkpoints, saved)
        if self.progress:
            tqdm.write(describe(row, config))


def describe(row: dict[str, Any], config: TrainConfig) -> str:
    """One readable line for an evaluation.

    Args:
        row: of metrics.jsonl.
        config: the run's settings.
    """
    parts = [f"step {row['step']:>6}", f"loss {row['loss']:.4f}", f"accuracy {row['accuracy']:.3f}"]
    if config.sampler != "exact" and row["loss_exact"] is not None:
        parts += [f"exact: loss {row['loss_exact']:.4f}", f"accuracy {row['accuracy_exact']:.3f}"]
    if row["models_per_second"]:
        parts.append(f"{row['models_per_second']:,.0f} models/s")
    return "   ".join(parts)
