"""Batches of anneals on the processor: the compiled kernels, their tables, working memory and threads."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from classical.ising import IsingModel
from quantum.adjoint import Gradient, linear_moments, pair_moments
from quantum.evolution import coupling_energies
from quantum.reduced import SEGMENT, Segment, circuit, padded, segments, sizes, wave_width
from quantum.schedule import Angles
from quantum.statevector_kernel import BYTES, Kernels, kernels

_Work = Callable[[int, int], None]

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
        self._anneal(model, self._kernels.probabilities, lambda: (_flat(out),))
        return out

    def amplitudes(self, model: IsingModel) -> Tensor:
        """ψ, (groups, models, 2**spins) complex."""
        out = torch.empty(model.groups, model.models, 2, 2**model.spins, dtype=self.real)
        self._anneal(model, self._kernels.amplitudes, lambda: (_flat(out),))
        reduced = circuit(self.angles, model.spins, self._numpy)
        x = np.arange(2**model.spins)
        ones = sum(((x >> i) & 1 for i in range(model.spins)), np.zeros_like(x))
        turns = torch.from_numpy(np.exp(1j * (reduced.phase + ones * np.pi / 2)))
        psi = torch.complex(out[..., 0, :], out[..., 1, :]) * turns.to(self.real.to_complex())
        return psi.flip(-1) if reduced.flipped else psi

    def spins(self, model: IsingModel, shots: int, seeds: Tensor) -> Tensor:
        """Shots, (groups, models, shots, spins) int8; exactly those that `quantum.draw` draws from `law`."""
        out = torch.empty(model.groups, model.models, shots, model.spins, dtype=torch.int8)
        count, seeds_, spins = 2 ** padded(model.spins, self._numpy), _flat(seeds), _flat(out)

        def arguments() -> tuple[NDArray[Any], ...]:
            own = np.empty(count), np.empty(shots), np.empty(shots, dtype=np.uint64)
            return (*own, seeds_, BYTES, spins)

        self._anneal(model, self._kernels.shots, arguments)
        return out

    def gradient(self, model: IsingModel, upstream: Tensor) -> Gradient:
        """Derivatives by fields and couplings, in `real`, given those by the law."""
        n, count, size = model.spins, model.groups * model.models, 2 ** padded(model.spins, self._numpy)
        states = torch.empty(model.groups, model.models, 6, size, dtype=self.real)
        self._anneal(model, None, tuple, states)
        reduced, memory, given = circuit(self.angles, n, self._numpy), _flat(states), _flat(upstream.to(self.real))
        batch, energies = self._batch(model)
        back = self._kernels.start_back
        self._share(count, lambda: lambda begin, end: back(batch, reduced.flipped, given, memory, begin, end))
        for segment in reversed(segments(reduced)):
            self._fill_table(batch[1], energies, segment.coupling)
            length = 2 * segment.circuit[2].astype(np.float64) ** 2
            weights = tuple((w * length).astype(self._numpy) for w in (segment.circuit[0], segment.coupling))

            def worker(segment: Segment = segment, weights: Any = weights) -> _Work:
                work, retreat = self._memory(n, True), self._kernels.retreat
                return lambda begin, end: retreat(batch, segment.circuit, work, memory, begin, end, *weights)

            self._share(count, worker)
        by_fields = linear_moments(states[:, :, 4])[..., :n]
        by_couplings = pair_moments(states[:, :, 5].sum(1))[..., :n, :n]
        return Gradient(by_fields, by_couplings)

    def fixed_bytes(self, spins: int, adjoint: bool) -> int:
        """Working memory of the threads."""
        need = sizes(spins, adjoint, self._numpy)
        return self.threads * (need.work * self._numpy.itemsize + 8 * need.wide)

    def group_bytes(self, spins: int) -> int:
        """A group's table of some steps, and its energies while they are computed."""
        return 2 ** padded(spins, self._numpy) * (2 * self._numpy.itemsize * SEGMENT + 3 * 8)

    def model_bytes(self, spins: int, shots: int, adjoint: bool) -> int:
        """A model's fields, its state between segments, and its law, its shots, or its derivatives."""
        states = 9 if adjoint else 2 if self.angles.steps > SEGMENT else 0
        numbers = states * 2 ** padded(spins, self._numpy) + (0 if shots else 2 * 2**spins)
        return numbers * self._numpy.itemsize + shots * spins + 2 * 8 * wave_width(spins, self._numpy)

    @cached_property
    def _numpy(self) -> np.dtype[Any]:
        return np.dtype(np.float32 if self.real == torch.float32 else np.float64)

    @property
    def _kernels(self) -> Kernels:
        return kernels(self._numpy)

    def _anneal(
        self,
        model: IsingModel,
        finish: Any,
        arguments: Callable[[], tuple[Any, ...]],
        states: Tensor | None = None,
    ) -> None:
        """All segments: the last by `finish` with `arguments`, made once for each thread, or kept in `states`."""
        n, count = model.spins, model.groups * model.models
        parts = segments(circuit(self.angles, n, self._numpy))
        stride = 2 * 2 ** padded(n, self._numpy) if states is None else states[0, 0].numel() if count else 0
        if states is None:
            states = torch.empty(count * stride if len(parts) > 1 else 0, dtype=self.real)
        memory, (batch, energies) = _flat(states), self._batch(model)
        for segment in parts:
            self._fill_table(batch[1], energies, segment.coupling)
            kernel = finish if segment.last and finish is not None else self._kernels.advance

            def worker(segment: Segment = segment, kernel: Any = kernel) -> _Work:
                work, own = self._memory(n, False), arguments() if kernel is finish else ()
                return lambda begin, end: kernel(batch, segment.circuit, work, memory, stride, begin, end, *own)

            self._share(count, worker)

    def _memory(self, spins: int, adjoint: bool) -> NDArray[Any]:
        """Working memory of a thread."""
        return torch.empty(sizes(spins, adjoint, self._numpy).work, dtype=self.real).numpy()

    def _batch(self, model: IsingModel) -> tuple[tuple[Any, ...], NDArray[np.float64]]:
        """The batch as the kernels take it, its table empty, and ΣJss of every group and configuration."""
        n, qubits = model.spins, padded(model.spins, self._numpy)
        rows = torch.zeros(model.groups * model.models, wave_width(n, self._numpy), dtype=torch.float64)
        rows[:, :n] = model.fields.reshape(-1, n)
        wide = torch.nn.functional.pad(model.couplings.double(), (0, qubits - n, 0, qubits - n))
        energies = coupling_energies(wide).flatten(1).contiguous().numpy()
        table = torch.empty(model.groups * SEGMENT * 2 * 2**qubits, dtype=self.real).numpy()
        return (_flat(rows), table, model.models, n, qubits), energies

    def _fill_table(self, table: NDArray[Any], energies: NDArray[np.float64], angles: NDArray[np.float64]) -> None:
        """Write the phases of the couplings of every group, for some steps, into a table."""
        groups, size = energies.shape
        rows, kernel = energies.reshape(-1), self._kernels.table
        self._share(groups, lambda: lambda begin, end: kernel(rows, size, angles, begin, end, table))

    def _share(self, count: int, worker: Callable[[], _Work]) -> None:
        """Work from 0 to `count` in pieces that threads take in turn, each with a worker of its own."""
        threads = min(self.threads, count)
        if threads <= 1:
            if count:
                worker()(0, count)
            return
        piece = -(-count // (threads * _PIECES))
        begins = itertools.count(0, piece)

        def run() -> None:
            work = worker()
            while (begin := next(begins)) < count:
                work(begin, min(begin + piece, count))

        others = [_pool(os.getpid(), self.threads - 1).submit(run) for _ in range(threads - 1)]
        run()
        for other in others:
            other.result()


def _flat(tensor: Tensor) -> NDArray[Any]:
    """All numbers in one row, sharing memory where the tensor is contiguous."""
    return tensor.contiguous().reshape(-1).numpy()


@lru_cache(maxsize=4)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:  # noqa: ARG001 (part of the key)
    """Threads of one process: a fork inherits the pool but not its threads, so it gets a new one."""
    return ThreadPoolExecutor(threads, thread_name_prefix="anneal")
