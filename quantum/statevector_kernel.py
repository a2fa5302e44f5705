"""Compiled state-vector anneals: one model at a time, its state never leaving the processor's cache.

A batch's fields' and couplings' phases are made here, its models annealed by `quantum.statevector_parts`, and their
laws, amplitudes, shots or derivatives read.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from classical.random_kernel import GOLDEN, mix
from quantum.statevector_parts import parts

BYTES = (1 - 2 * ((np.arange(256)[:, None] >> np.arange(8)) & 1)).astype(np.int8).view(np.uint64).ravel()
"""Eight spins as eight bytes, by the eight bits of an index."""


class Kernels(NamedTuple):
    """Compiled functions for one precision; every one releases the interpreter lock.

    `batch` is (fields, table, models in a group, spins, qubits), with fields (models, width) float64 in one row.
    `circuit` is (field, tangent, scale, start, flipped, first) of a `Segment`. The models from `begin` to `end` are
    worked through; where the segment is not the first, from their states in `states`, `stride` numbers apart.

    Args:
        table: (energies, size, coupling, begin, end, out): exp(i b_k E), (groups, K, 2, size) in one row.
        advance: (batch, circuit, work, states, stride, begin, end): a segment that others follow.
        probabilities: (…, end, law): the last segment and the laws, (models, 2**spins) in one row.
        amplitudes: (…, end, out): the last segment and φ, (models, 2, 2**spins) in one row, not reversed.
        shots: (…, end, wide, targets, index, seeds, BYTES, spins): the last segment and (models, shots, spins) in one
            row, bit for bit those of `quantum.draw` from the same laws.
        start_back: (batch, flipped, upstream, states, begin, end): co-states behind the states, and room for the
            derivatives by the field part and by the coupling part of every configuration's phase: (models, 6, size).
        retreat: (batch, circuit, work, states, begin, end, field, coupling): undoes a segment and adds its share of
            the derivatives, with weights 2 a_k cos²ⁿθ_k and 2 b_k cos²ⁿθ_k (states before the scale are longer).
    """

    table: Any
    advance: Any
    probabilities: Any
    amplitudes: Any
    shots: Any
    start_back: Any
    retreat: Any


def _entry(function: Any) -> Any:
    """Compiled at its first call. Without a cache on disk: an installation may be read-only."""
    return njit(nogil=True, error_model="numpy")(function)


@cache
def kernels(dtype: np.dtype[Any]) -> Kernels:
    """The compiled functions for states of one precision; each is compiled at its first call.

    Args:
        dtype: of the real parts, float32 or float64.
    """
    cos_sin, store_bytes, copy, anneal, write_law, undo = parts(dtype)

    @_entry
    def table(energies: Any, size: int, coupling: Any, begin: int, end: int, out: Any) -> None:
        for group in range(begin, end):
            for k in range(len(coupling)):
                place = (group * len(coupling) + k) * 2 * size
                for x in range(0, size, 8):
                    cos_sin(energies, group * size + x, coupling[k], 0.0, out, place + x, place + size + x)

    @_entry
    def advance(batch: Any, circuit: Any, work: Any, states: Any, stride: int, begin: int, end: int) -> None:
        for model in range(begin, end):
            state = anneal(batch, circuit, work, model, states, stride)
            copy(work, state, states, model * stride, 2 << batch[4])

    @_entry
    def probabilities(
        batch: Any, circuit: Any, work: Any, states: Any, stride: int, begin: int, end: int, out: Any
    ) -> None:
        for model in range(begin, end):
            state = anneal(batch, circuit, work, model, states, stride)
            write_law(work, state, batch, circuit[4], out, model << batch[3])

    @_entry
    def amplitudes(
        batch: Any, circuit: Any, work: Any, states: Any, stride: int, begin: int, end: int, out: Any
    ) -> None:
        size, count = 1 << batch[4], 1 << batch[3]
        for model in range(begin, end):
            state = anneal(batch, circuit, work, model, states, stride)
            for part in range(2):
                for x in range(count):
                    out[(2 * model + part) * count + x] = work[state + part * size + x]

    @_entry
    def shots(
        batch: Any,
        circuit: Any,
        work: Any,
        states: Any,
        stride: int,
        begin: int,
        end: int,
        cumulative: Any,
        targets: Any,
        index: Any,
        seeds: Any,
        bytes_: Any,
        spins: Any,
    ) -> None:
        n, size, rows = batch[3], 1 << batch[4], len(targets)
        for model in range(begin, end):
            state = anneal(batch, circuit, work, model, states, stride)
            law_at = state + 2 * size
            write_law(work, state, batch, circuit[4], work, law_at)
            total = 0.0
            for x in range(1 << n):
                total += np.float64(work[law_at + x])
                cumulative[x] = total
            seed = np.uint64(seeds[model])
            for r in range(rows):
                random = mix(seed + np.uint64(r + 1) * GOLDEN)
                targets[r] = (np.float64(random >> np.uint64(12)) * 2.0**-52 + 2.0**-53) * total
                index[r] = 0
            step = np.uint64(1 << n) >> np.uint64(1)
            while step:
                for r in range(rows):
                    here = index[r] + step
                    index[r] = here if cumulative[here - np.uint64(1)] <= targets[r] else index[r]
                step >>= np.uint64(1)
            at, end_of_model = model * rows * n, (model + 1) * rows * n
            for r in range(rows):
                for i in range(0, n, 8):  # eight at once; what is written past a row is written again by the next
                    eight = (index[r] >> np.uint64(i)) & np.uint64(255)
                    if at + i + 8 <= end_of_model:
                        store_bytes(spins, at + i, bytes_[eight])
                    else:
                        for j in range(i, n):
                            spins[at + j] = 1 - 2 * np.int64((index[r] >> np.uint64(j)) & np.uint64(1))
                at += n

    @_entry
    def start_back(batch: Any, flipped: bool, upstream: Any, states: Any, begin: int, end: int) -> None:
        size, count = 1 << batch[4], 1 << batch[3]
        for model in range(begin, end):
            state = 6 * size * model
            for x in range(state + 2 * size, state + 6 * size):
                states[x] = 0
            for x in range(count):
                weight = upstream[model * count + (count - 1 - x if flipped else x)]
                states[state + 2 * size + x] = weight * states[state + x]
                states[state + 3 * size + x] = weight * states[state + size + x]

    @_entry
    def retreat(
        batch: Any, circuit: Any, work: Any, states: Any, begin: int, end: int, field: Any, coupling: Any
    ) -> None:
        numbers = 6 << batch[4]
        for model in range(begin, end):
            state = undo(batch, circuit, work, model, states, field, coupling)
            copy(work, state, states, numbers * model, numbers)

    return Kernels(table, advance, probabilities, amplitudes, shots, start_back, retreat)
