"""The training loop, in one process or in several that work on the same batches."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from classical import ExactSampler, Sampler
from classical.ising import NotFiniteError
from classical.random import derive_seeds
from hybrid_attention import checkpoint, hamiltonians
from hybrid_attention.build import numbering_rows_from
from hybrid_attention.checkpoint import Checkpoint
from hybrid_attention.config import TrainConfig
from hybrid_attention.energy import collecting_energy
from hybrid_attention.errors import InputError, RunStopped
from hybrid_attention.evaluate import evaluate, recorded_settings
from hybrid_attention.optimizer import LARGEST_NORM, learning_rate_factor
from hybrid_attention.processes import Processes
from hybrid_attention.qpu_settings import QPUS
from hybrid_attention.run import RunFolder
from hybrid_attention.samplers import exact_fits
from hybrid_attention.tasks import Task
from hybrid_attention.tasks.base import IGNORED
from hybrid_attention.transformer import Transformer

TRAINING_SEED = 0


@dataclass
class Loop:
    """The state of one training loop.

    Args:
        config: the run's settings.
        folder: where it lives on disk; the first process alone writes there.
        task: gives the batches.
        sampler: gives the spin statistics.
        model: what to train, on its device.
        optimizer: of the model's parameters.
        processes: those that work on the same batches.
        progress: whether to show a progress bar and a line for each evaluation.
    """

    config: TrainConfig
    folder: RunFolder
    task: Task
    sampler: Sampler
    model: Transformer
    optimizer: torch.optim.AdamW
    processes: Processes
    progress: bool

    def run(self, saved: Checkpoint | None) -> None:
        """Train from a checkpoint, or from the start, to the end.

        Args:
            saved: the checkpoint; model and optimizer have been restored from it.

        Raises:
            InputError: a folder that cannot be written to.
            RunStopped: the loss or a gradient is not finite, or another process has stopped.
        """
        config = self.config
        step, loss_sum, loss_count, seconds = 0 if saved is None else saved.step, 0.0, 0, 0.0
        with self.processes.agreeing(InputError):
            if self.processes.first:
                self._prepare_folder(saved)
        if self.progress:
            tqdm.write(f"parameters: {self.model.parameter_count():,}")
        models = self.model.ising_models(config.batch, config.length)
        wrapped = self.processes.wrap(self.model)
        bar = tqdm(total=config.steps, initial=step, desc="train", unit="step", disable=None if self.progress else True)
        with bar:
            if saved is None:
                self._keep_hamiltonians(step)
                self._evaluate_and_save(step, 0.0, 0, 0.0)
            while step < config.steps:
                started = time.perf_counter()
                loss = self.update(wrapped, step)
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

    def _prepare_folder(self, saved: Checkpoint | None) -> None:
        """The run's folder as it was at a checkpoint, or a new one."""
        step = 0
        if saved is None:
            self.folder.create()
            self.config.save(self.folder.config)
            self.folder.rewrite_rows([])
        else:
            step = saved.step
            self.folder.rewrite_rows(row for row in self.folder.rows() if row["step"] <= step)
        hamiltonians.forget_after(self.folder, step)

    def update(self, wrapped: nn.Module, step: int) -> float:
        """One optimizer update.

        Args:
            wrapped: the model, as `Processes.wrap` gives it.
            step: updates made so far.

        Returns:
            The mean loss of the batch, in nats, without the energy that --energy-loss adds.

        Raises:
            RunStopped: the loss or a gradient is not finite, or another process has stopped.
        """
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * learning_rate_factor(step, config.steps)
        problem = None
        shares = self.model.head.weight.new_full((2 if config.energy_loss else 1,), math.nan)  # as the others' are
        try:
            shares = self._shares(wrapped, step)
        except NotFiniteError as error:
            problem = error  # the other processes must not wait for this one
        loss, *energy = self.processes.total(shares.detach()).tolist()
        if problem is not None:
            raise self._stop(_undefined(problem), step) from problem
        self._require_finite(loss, "loss", step)
        whole = shares[0]
        if energy:
            self._require_finite(energy[0], "energy loss", step)
            whole = whole + config.energy_loss * shares[1]
        self.optimizer.zero_grad(set_to_none=True)
        self.processes.backward(whole)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), LARGEST_NORM)
        self._require_finite(norm.item(), "gradient norm", step)
        self.optimizer.step()
        return float(loss)

    def _shares(self, wrapped: nn.Module, step: int) -> Tensor:
        """What this process's rows add to the batch's loss and, with --energy-loss, to its energy, (1,) or (2,)."""
        config, device = self.config, self.processes.device
        batch = self.task.training_batch(config.batch, config.seed, step)
        counted = int((batch.targets != IGNORED).sum())
        rows = self.processes.rows(config.batch)
        tokens, targets = (part[rows.start : rows.stop].to(device) for part in batch)
        seed = derive_seeds(config.seed, TRAINING_SEED, step).to(device)
        energies: list[Tensor] = []
        collecting = collecting_energy(self.model, energies) if config.energy_loss else nullcontext()
        with numbering_rows_from(self.model, rows.start), collecting:
            logits = wrapped(tokens, seed=seed).logits
        total = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum")
        shares = [total / counted if counted else total * math.nan]
        if config.energy_loss:  # every sequence has the same number of models
            shares.append(torch.stack(energies).mean() * (len(tokens) / config.batch))
        return torch.stack(shares)

    @contextmanager
    def _stopping_at(self, step: int) -> Iterator[None]:
        """Fields or couplings that are not finite mean a model that ran away; no loss comes of them."""
        try:
            yield
        except NotFiniteError as error:
            raise self._stop(_undefined(error), step) from error

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
        if every is None or (step % every and step < self.config.steps) or not self.processes.first:
            return
        sampler = ExactSampler() if exact_fits(self.config) else self.sampler
        with self._stopping_at(step):
            recorded = hamiltonians.record_held_out(self.model, self.task, step, sampler, self.config.seed)
        hamiltonians.save(self.folder, recorded)

    def _evaluate_and_save(self, step: int, loss_sum: float, loss_count: int, models_per_second: float) -> None:
        """Evaluate with the training sampler and exactly, add a row of metrics and save a checkpoint."""
        config, together = self.config, self.processes
        held_out = self.task.validation(config.eval_sequences)
        with self._stopping_at(step):
            exact = None
            if exact_fits(config):
                exact = evaluate(self.model, held_out, ExactSampler(), config.seed, processes=together)
            own = exact
            if own is None or (config.sampler != "exact" and (config.sampler not in QPUS or config.qpu_evaluation)):
                own = evaluate(self.model, held_out, self.sampler, config.seed, processes=together)
        for evaluation in (exact, own):
            self._require_finite(evaluation.loss if evaluation else 0.0, "held-out loss", step)
        row = {
            "step": step,
            "train_loss": loss_sum / loss_count if loss_count else None,
            "loss": own.loss,
            "accuracy": own.accuracy,
            "loss_exact": exact.loss if exact else None,
            "accuracy_exact": exact.accuracy if exact else None,
            "models_per_second": models_per_second,
        }
        if together.first:
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


def _undefined(error: NotFiniteError) -> str:
    """Why there is no loss."""
    return f"the loss is not defined ({str(error).split(';')[0]})"
