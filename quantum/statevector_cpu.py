"""Batches of anneals on the processor: the compiled kernels, their tables, working memory and threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from classical.ising import IsingModel
from quantum.adjoint import Gradient, linear_moments, pair_moments
from quantum.evolution import coupling_energies
from quantum.reduced import circuit, padded, sizes, wave_width
from quantum.schedule import Angles
from quantum.statevector_kernel import BYTES, Kernels, kernels

_PIECES = 6
"""Each thread takes so many pieces of a batch, one after the other, so that none waits long for the last."""


@dataclass(frozen=True)
class CompiledAnnealer:
    """The anneals of one circuit, by `quantum.statevector_kernel`.

    Args:
        angles: of the circuit.
        real: dtype of real and imaginary parts, torch.float32 or torch.float64.
        threads: how many models are annealed at a time.
    """

    angles: Angles
    real: torch.dtype
    threads: int

    def law(self, model: IsingModel) -> Tensor:
        """|ψ|², (groups, models, 2**spins) in `real`."""
        out = torch.empty(model.groups, model.models, 2**model.spins, dtype=self.real)
        self._run(self._kernels.probabilities, model, (), (_flat(out),))
        return out

    def amplitudes(self, model: IsingModel) -> Tensor:
        """ψ, (groups, models, 2**spins) complex."""
        out = torch.empty(model.groups, model.models, 2, 2**model.spins, dtype=self.real)
        self._run(self._kernels.amplitudes, model, (), (_flat(out),))
        reduced = circuit(self.angles, model.spins, self._numpy)
        x = np.arange(2**model.spins)
        ones = sum(((x >> i) & 1 for i in range(model.spins)), np.zeros_like(x))
        turns = torch.from_numpy(np.exp(1j * (reduced.phase + ones * np.pi / 2)))
        psi = torch.complex(out[..., 0, :], out[..., 1, :]) * turns.to(self.real.to_complex())
        return psi.flip(-1) if reduced.flipped else psi

    def spins(self, model: IsingModel, shots: int, seeds: Tensor) -> Tensor:
        """Shots, (groups, models, shots, spins) int8; exactly those that `quantum.draw` draws from `law`."""
        out = torch.empty(model.groups, model.models, shots, model.spins, dtype=torch.int8)
        _, wide = self._sizes(model.spins)

        def scratch() -> tuple[NDArray[Any], ...]:
            return np.empty(wide), np.empty(shots), np.empty(shots, dtype=np.uint64)

        self._run(self._kernels.shots, model, scratch, (_flat(seeds), BYTES, _flat(out)))
        return out

    def gradient(self, model: IsingModel, upstream: Tensor) -> Gradient:
        """Derivatives by fields and couplings, in `real`, given those by the law."""
        reduced, size = circuit(self.angles, model.spins, self._numpy), 2 ** padded(model.spins, self._numpy)
        length = 2 * reduced.scale.astype(np.float64) ** 2
        weights = tuple((w * length).astype(self._numpy) for w in (reduced.field, reduced.coupling))
        out = torch.empty(model.groups, model.models, 2, size, dtype=self.real)
        self._run(self._kernels.gradient, model, lambda: weights, (_flat(upstream.to(self.real)), _flat(out)), True)
        n = model.spins
        by_fields = linear_moments(out[:, :, 0])[..., :n]
        by_couplings = pair_moments(out[:, :, 1].sum(1))[..., :n, :n]
        return Gradient(by_fields, by_couplings)

    def fixed_bytes(self, spins: int, adjoint: bool) -> int:
        """Working memory of the threads."""
        need = self._sizes(spins, adjoint)
        return self.threads * (need.work * self._numpy.itemsize + 8 * need.wide)

    def group_bytes(self, spins: int) -> int:
        """A group's table, and energies while the table is made."""
        return 2 ** padded(spins, self._numpy) * (2 * self._numpy.itemsize * self.angles.steps + 3 * 8)

    def model_bytes(self, spins: int, shots: int, adjoint: bool) -> int:
        """A model's fields and law, or its shots, or the derivatives by all its phases."""
        numbers = 6 * 2 ** padded(spins, self._numpy) if adjoint else 0 if shots else 2 * 2**spins
        return numbers * self._numpy.itemsize + shots * spins + 2 * 8 * wave_width(spins, self._numpy)

    @cached_property
    def _numpy(self) -> np.dtype[Any]:
        return np.dtype(np.float32 if self.real == torch.float32 else np.float64)

    @property
    def _kernels(self) -> Kernels:
        return kernels(self._numpy)

    def _sizes(self, spins: int, adjoint: bool = False) -> Any:
        return sizes(spins, self.angles.steps, adjoint, self._numpy)

    def _run(
        self,
        kernel: Any,
        model: IsingModel,
        extra: tuple[()] | Callable[[], tuple[Any, ...]],
        outputs: tuple[Any, ...],
        adjoint: bool = False,
    ) -> None:
        """One kernel over all models, in pieces that the threads take in turn."""
        models = model.groups * model.models
        if not models:
            return
        dtype, n = self._numpy, model.spins
        qubits, reduced = padded(n, dtype), circuit(self.angles, n, dtype)
        threads = max(1, min(self.threads, models))
        fields = torch.zeros(models, wave_width(n, dtype), dtype=torch.float64)
        fields[:, :n] = model.fields.reshape(models, n)
        table = self._table(model.couplings, qubits, reduced.coupling)
        batch = (_flat(fields), table, model.models, n, qubits)
        ready = (reduced.field, reduced.tangent, reduced.scale, reduced.start, reduced.flipped)
        piece = -(-models // (threads * _PIECES)) if threads > 1 else models
        need = self._sizes(n, adjoint)

        def work(begins: Any) -> None:
            memory = torch.empty(need.work, dtype=self.real).numpy()
            own = extra() if callable(extra) else extra
            while (begin := next(begins)) < models:
                kernel(batch, ready, memory, *own, begin, min(begin + piece, models), *outputs)

        _on_threads(work, count(0, piece), threads)

    def _table(self, couplings: Tensor, qubits: int, angles: NDArray[np.float64]) -> NDArray[Any]:
        """Phases of the couplings of every group and step."""
        groups, n = couplings.shape[:2]
        wide = torch.nn.functional.pad(couplings.double(), (0, qubits - n, 0, qubits - n))
        energies = coupling_energies(wide).contiguous()
        table = torch.empty(groups * len(angles) * 2 * 2**qubits, dtype=self.real).numpy()

        def work(begins: Any) -> None:
            while (begin := next(begins)) < groups:
                self._kernels.table(_flat(energies), 2**qubits, angles, begin, begin + 1, table)

        _on_threads(work, count(), min(self.threads, groups))
        return table


def _flat(tensor: Tensor) -> NDArray[Any]:
    """All numbers in one row, sharing memory where the tensor is contiguous."""
    return tensor.contiguous().reshape(-1).numpy()


def _on_threads(work: Callable[[Any], None], begins: Any, threads: int) -> None:
    """Run `work` on some threads, this one among them; they take their beginnings from one counter."""
    others = [_pool(os.getpid(), threads - 1).submit(work, begins) for _ in range(threads - 1)]
    work(begins)
    for other in others:
        other.result()


@lru_cache(maxsize=4)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:  # noqa: ARG001 (part of the key)
    """Threads of one process: a fork inherits the pool but not its threads, so it gets a new one."""
    return ThreadPoolExecutor(threads, thread_name_prefix="anneal")
