"""Batches of anneals in chunks that fit a memory limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from classical.ising import IsingModel
from quantum.adjoint import Gradient, linear_function, linear_moments


class Annealer(Protocol):
    """What anneals a batch of models, all at once, in a precision of its own."""

    def law(self, model: IsingModel) -> Tensor:
        """|ψ|², (groups, models, 2**spins), real."""
        ...

    def amplitudes(self, model: IsingModel) -> Tensor:
        """ψ, (groups, models, 2**spins), complex."""
        ...

    def spins(self, model: IsingModel, shots: int, seeds: Tensor) -> Tensor:
        """Shots, (groups, models, shots, spins) int8: those that `quantum.draw` draws from `law`."""
        ...

    def gradient(self, model: IsingModel, upstream: Tensor) -> Gradient:
        """Derivatives by the model, given those by the law."""
        ...

    def fixed_bytes(self, spins: int, adjoint: bool) -> int:
        """Memory that does not depend on the batch."""
        ...

    def group_bytes(self, spins: int) -> int:
        """Memory for each group of a batch."""
        ...

    def model_bytes(self, spins: int, shots: int, adjoint: bool) -> int:
        """Memory for each model of a batch."""
        ...


def least_bytes(annealer: Annealer, spins: int) -> int:
    """Memory that one model of a number of spins takes with its derivatives."""
    return annealer.fixed_bytes(spins, True) + annealer.group_bytes(spins) + annealer.model_bytes(spins, 0, True)


@dataclass(frozen=True)
class ChunkedAnnealer:
    """An annealer that works through a batch in chunks.

    Args:
        annealer: what anneals a chunk.
        memory_limit: bytes that a chunk may take; one model is always taken.
    """

    annealer: Annealer
    memory_limit: int

    def law(self, model: IsingModel) -> Tensor:
        """|ψ|², (groups, models, 2**spins), in the dtype of the fields."""
        out = model.fields.new_empty(model.groups, model.models, 2**model.spins)
        for part, piece in self._chunks(model):
            out[part] = self.annealer.law(piece).to(out.dtype)
        return out

    def mean(self, model: IsingModel) -> Tensor:
        """⟨s⟩ of the law, (groups, models, spins), in the dtype of the fields."""
        out = torch.empty_like(model.fields)
        for part, piece in self._chunks(model):
            out[part] = linear_moments(self.annealer.law(piece)).to(out.dtype)
        return out

    def amplitudes(self, model: IsingModel, dtype: torch.dtype) -> Tensor:
        """ψ, (groups, models, 2**spins)."""
        out = model.fields.new_empty(model.groups, model.models, 2**model.spins, dtype=dtype)
        for part, piece in self._chunks(model):
            out[part] = self.annealer.amplitudes(piece)
        return out

    def spins(self, model: IsingModel, shots: int, seeds: Tensor) -> Tensor:
        """Shots, (groups, models, shots, spins) int8."""
        out = model.fields.new_empty(model.groups, model.models, shots, model.spins, dtype=torch.int8)
        for part, piece in self._chunks(model, shots=shots):
            out[part] = self.annealer.spins(piece, shots, seeds[part])
        return out

    def law_gradient(self, model: IsingModel, upstream: Tensor) -> Gradient:
        """Derivatives by the model, given those by its law."""
        total = Gradient(torch.empty_like(model.fields), torch.zeros_like(model.couplings))
        for part, piece in self._chunks(model, adjoint=True):
            self._add(total, part, self.annealer.gradient(piece, upstream[part]))
        return total

    def mean_gradient(self, model: IsingModel, upstream: Tensor) -> Gradient:
        """Derivatives by the model, given those by its ⟨s⟩."""
        total = Gradient(torch.empty_like(model.fields), torch.zeros_like(model.couplings))
        for part, piece in self._chunks(model, adjoint=True):
            self._add(total, part, self.annealer.gradient(piece, linear_function(upstream[part])))
        return total

    @staticmethod
    def _add(total: Gradient, part: tuple[slice, slice], gradient: Gradient) -> None:
        total.fields[part] = gradient.fields.to(total.fields.dtype)
        total.couplings[part[0]] += gradient.couplings.to(total.couplings.dtype)

    def _chunks(
        self, model: IsingModel, shots: int = 0, adjoint: bool = False
    ) -> Iterator[tuple[tuple[slice, slice], IsingModel]]:
        """Groups and models that fit the memory limit together, with where they belong."""
        if not model.fields.numel():
            return
        limit = self.memory_limit - self.annealer.fixed_bytes(model.spins, adjoint)
        group, one = self.annealer.group_bytes(model.spins), self.annealer.model_bytes(model.spins, shots, adjoint)
        models = max(1, min(model.models, (limit - group) // one))
        groups = max(1, min(model.groups, limit // (group + models * one)))
        for g in range(0, model.groups, groups):
            for m in range(0, model.models, models):
                part = (slice(g, g + groups), slice(m, m + models))
                yield part, IsingModel(model.fields[part], model.couplings[part[0]])
