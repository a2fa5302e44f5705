"""What a model's heads ask a sampler for: their Ising models on a few held-out sequences, kept during training.

    RUN/hamiltonians/step-00000100.safetensors     fields, couplings, upstream gradients and tokens at one step

They are recorded by exact sums wherever these fit, forward and backward, so that a step's file is a function of its
parameters alone. Nothing in a file is executable; one that is cut short or changed is refused by name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor
from torch.nn import functional as F

from classical import ExactSampler, IsingModel, Sampler
from classical.random import derive_seeds
from hybrid_attention.attention import BoltzmannAttention
from hybrid_attention.build import using_sampler
from hybrid_attention.errors import InputError
from hybrid_attention.files import write_bytes
from hybrid_attention.run import RunFolder
from hybrid_attention.tasks.base import IGNORED, Batch, Task
from hybrid_attention.transformer import Transformer

FORMAT = "hybrid-attention hamiltonians 1"
SEQUENCES = 32
"""Held-out sequences that are recorded, the same at every step."""
RECORDING_SEED = 3
_BY_LAYER = ("fields", "couplings", "upstream")


@dataclass(frozen=True, eq=False)
class Hamiltonians:
    """The Ising models of every layer, head and query on some sequences at one step.

    Query q sees keys 0 … q, which are the spins of its model; fields and upstream gradients of other keys are 0. Under
    a window, slots take the place of keys (`hybrid_attention.windows`): query q has the spins 0 … q of those there are.

    Args:
        step: optimizer updates made.
        tokens: int64 (sequences, length), held-out sequences.
        fields: for each layer h, (sequences, heads, queries, keys), dimensionless, before any calibration.
        couplings: for each layer J, (heads, keys, keys) or, for content couplings, (sequences, heads, keys, keys) or,
            under a window, (sequences, heads, queries, slots, slots), strictly upper triangular.
        upstream: for each layer ∂L/∂⟨s⟩, (sequences, heads, queries, keys), in nats, where L is the mean training loss
            on these sequences.
        labels: a readable character for each token of each sequence, where known.
    """

    step: int
    tokens: Tensor
    fields: list[Tensor]
    couplings: list[Tensor]
    upstream: list[Tensor]
    labels: list[list[str]] = field(default_factory=list)

    def model(self, layer: int, head: int, query: int, sequence: int = 0) -> IsingModel:
        """The model of one query, on the spins that it sees.

        Args:
            layer: 0 is the one that reads the tokens.
            head: of the layer.
            query: position, 0 to length − 1; its model has query + 1 spins, or as many as there are slots.
            sequence: of those that were recorded.

        Returns:
            One group of one model, float64.

        Raises:
            ValueError: an index out of range.
        """
        sequences, heads, queries, _ = self.fields[0].shape
        limits = {"layer": len(self.fields), "head": heads, "query": queries, "sequence": sequences}
        for (name, limit), value in zip(limits.items(), (layer, head, query, sequence), strict=True):
            if not 0 <= value < limit:
                raise ValueError(f"{name} is {value}; give 0" + (f" to {limit - 1}" if limit > 1 else ""))
        h, J = self.fields[layer][sequence, head, query], self.couplings[layer]
        J = J[head] if J.ndim == 3 else J[sequence, head] if J.ndim == 4 else J[sequence, head, query]
        seen = slice(query + 1)
        return IsingModel(h[None, None, seen].double(), J[None, seen, seen].double())


def record(
    model: Transformer,
    batch: Batch,
    step: int,
    sampler: Sampler | None = None,
    seed: int = 0,
    labels: list[list[str]] | None = None,
) -> Hamiltonians:
    """Record the Ising models of a model on a batch, and the gradients that reach them.

    ∂L/∂⟨s⟩ = ½ ∂L/∂P(s = +1),  L = mean cross-entropy over the counted targets of the batch

    The model is left as it was: its parameters, their gradients and its samplers.

    Args:
        model: of Boltzmann attention in every layer.
        batch: sequences.
        step: optimizer updates made.
        sampler: where spin statistics come from; exact sums by default.
        seed: fixes the samples, where there are any.
        labels: a readable character for each token of each sequence.

    Raises:
        ValueError: a model with another attention, or none of whose parameters takes a gradient.
    """
    seen: list[tuple[Tensor, Tensor, Tensor]] = []
    device = next(model.parameters()).device
    sampler = ExactSampler() if sampler is None else sampler
    with torch.enable_grad(), using_sampler(model, sampler), _observing(model, seen):
        logits = model(batch.tokens.to(device), seed=derive_seeds(seed, RECORDING_SEED, step).to(device)).logits
        loss = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten().to(device), ignore_index=IGNORED)
        attended = [up for _, _, up in seen]
        if len(attended) < len(model.attentions()) or not all(up.requires_grad for up in attended):
            raise ValueError("model has a layer that is no BoltzmannAttention, or takes no gradient; give one of such")
        gradients = torch.autograd.grad(loss, attended)
    return Hamiltonians(
        step,
        batch.tokens.clone(),
        fields=[h.detach().tril() for h, _, _ in seen],
        couplings=[J.detach().clone() for _, J, _ in seen],
        upstream=[(gradient / 2).tril() for gradient in gradients],
        labels=labels or [],
    )


def record_held_out(model: Transformer, task: Task, step: int, sampler: Sampler, seed: int) -> Hamiltonians:
    """Record the first few held-out sequences of a task.

    Args:
        model: of Boltzmann attention.
        task: gives sequences and labels.
        step: optimizer updates made.
        sampler: where spin statistics come from.
        seed: of the run.
    """
    batch = task.validation(SEQUENCES)
    return record(model, batch, step, sampler, seed, [task.labels(tokens) for tokens in batch.tokens])


def save(folder: RunFolder, hamiltonians: Hamiltonians) -> Path:
    """Write what was recorded at one step; the file is whole or not there.

    Args:
        folder: the run.
        hamiltonians: what `record` gave.

    Returns:
        The file.
    """
    tensors = _named(hamiltonians)
    told = {"format": FORMAT, "step": hamiltonians.step, "labels": hamiltonians.labels}
    told["sha256"] = _digest(told, tensors)
    folder.hamiltonians.mkdir(exist_ok=True)
    path = _file(folder, hamiltonians.step)
    # one entry: several would come in an order that differs from process to process
    write_bytes(path, to_safetensors(tensors, metadata={"hamiltonians": json.dumps(told)}))
    return path


def load(folder: RunFolder, step: int) -> Hamiltonians:
    """Read what was recorded at a step.

    Args:
        folder: the run.
        step: one of `kept_steps`.

    Raises:
        InputError: a file that is missing, cut short, changed or not of this project.
    """
    path = _file(folder, step)
    try:
        with safe_open(path, "pt") as file:
            told = json.loads(file.metadata()["hamiltonians"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        digest = told.pop("sha256")
        if told["format"] != FORMAT or told["step"] != step or digest != _digest(told, tensors):
            raise ValueError("its contents are not what was written")
        layers = range((len(tensors) - 1) // 3)
        lists = {name: [tensors[f"{name}.{layer}"] for layer in layers] for name in _BY_LAYER}
        return Hamiltonians(step, tensors["tokens"], **lists, labels=told["labels"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise InputError(
            f"hamiltonians {path} is missing, truncated or changed ({error}); delete it and choose another step, or "
            "train again"
        ) from None


def kept_steps(folder: RunFolder) -> list[int]:
    """Steps at which Hamiltonians were kept, in order.

    Args:
        folder: the run.
    """
    names = (re.fullmatch(r"step-(\d+)\.safetensors", path.name) for path in folder.hamiltonians.glob("step-*"))
    return sorted(int(name.group(1)) for name in names if name)


def forget_after(folder: RunFolder, step: int) -> None:
    """Remove what a killed run recorded after the checkpoint from which it goes on, and what it left half-written.

    Args:
        folder: the run.
        step: of the checkpoint.
    """
    for leftover in folder.hamiltonians.glob(".step-*"):
        leftover.unlink()
    for later in kept_steps(folder):
        if later > step:
            _file(folder, later).unlink()


@contextmanager
def _observing(model: Transformer, seen: list[tuple[Tensor, Tensor, Tensor]]) -> Iterator[None]:
    """Collect fields, couplings and P(s = +1) of every layer."""
    attentions = [attention for attention in model.attentions() if isinstance(attention, BoltzmannAttention)]
    before = [attention.observer for attention in attentions]
    try:
        for attention in attentions:
            attention.observer = lambda *shown: seen.append(shown)
        yield
    finally:
        for attention, own in zip(attentions, before, strict=True):
            attention.observer = own


def _named(hamiltonians: Hamiltonians) -> dict[str, Tensor]:
    named = {"tokens": hamiltonians.tokens.contiguous().cpu()}
    for name in _BY_LAYER:
        for layer, values in enumerate(getattr(hamiltonians, name)):
            named[f"{name}.{layer}"] = values.contiguous().cpu()
    return named


def _digest(told: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()


def _file(folder: RunFolder, step: int) -> Path:
    return folder.hamiltonians / f"step-{step:08d}.safetensors"
