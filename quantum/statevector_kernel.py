"""Compiled state-vector anneals: one model at a time, its state never leaving the processor's cache.

The circuits are in the variables of `quantum.reduced`. The lowest qubits live inside a vector register and are mixed
there, the next ones are the registers of a block, and the rest are mixed block by block. Couplings' phases come from a
table that a group shares; fields' phases are a product over spins.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from quantum.reduced import LANES
from quantum.statevector_vectors import operations

BYTES = (1 - 2 * ((np.arange(256)[:, None] >> np.arange(8)) & 1)).astype(np.int8).view(np.uint64).ravel()
"""Eight spins as eight bytes, by the eight bits of an index."""


class Kernels(NamedTuple):
    """Compiled functions for one precision; every one releases the interpreter lock.

    Args:
        table: (energies, coupling, begin, end, out): exp(i b_k E), (groups, K, 2, size) in one row, from energies
            (groups, size).
        probabilities: (batch, circuit, work, begin, end, law): laws, (models, 2**spins) in one row.
        amplitudes: (batch, circuit, work, begin, end, out): φ, (models, 2, 2**spins) in one row, not reversed.
        shots: (batch, circuit, work, wide, targets, index, begin, end, seeds, BYTES, spins): (models, shots, spins) in
            one row; bit for bit those of `quantum.draw` from the same laws.
        gradient: (batch, circuit, work, field, coupling, begin, end, upstream, out): derivatives by the field part
            and by the coupling part of every configuration's phase, (models, 2, size) in one row, from those by the
            laws. The step's weights are 2 a_k cos²ⁿθ_k and 2 b_k cos²ⁿθ_k (states before the scale are longer).

    `batch` is (fields, table, models in a group, spins, qubits), with fields (models, width) float64 in one row, and
    `circuit` the (field, tangent, scale, start, flipped) of a `Circuit`. The models from `begin` to `end` are worked
    through.
    """

    table: Any
    probabilities: Any
    amplitudes: Any
    shots: Any
    gradient: Any


def _entry(function: Any) -> Any:
    """Compiled at its first call. Without a cache on disk: an installation may be read-only."""
    return njit(nogil=True, error_model="numpy")(function)


def _part(function: Any) -> Any:
    """Part of compiled functions: always inlined, so that arrays are not counted in and out."""
    return njit(forceinline=True, error_model="numpy")(function)


@_part
def _mix(x: Any) -> Any:
    """SplitMix64's finaliser, as in `classical.random`."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@cache
def kernels(dtype: np.dtype[Any]) -> Kernels:
    """The compiled functions for states of one precision; each is compiled at its first call.

    Args:
        dtype: of the real parts, float32 or float64.
    """
    lanes, do = LANES[dtype], operations(LANES[dtype])
    bits, block = lanes.bit_length() - 1, lanes * lanes
    # in the working memory: phases of the lanes, of a block's rows, of the rows of one block, of the blocks
    of_lanes, of_rows, of_block, of_blocks = 0, 2 * lanes, 4 * lanes, 6 * lanes
    cos_sin, fill, scaled, lane_product = do.cos_sin, do.fill, do.scale, do.lane_product
    phase, unphase = do.phase, do.unphase
    law, reversed_law, store_bytes = do.law, do.reversed_law, do.store_bytes
    rotate_1, rotate_2, rotate_3, rotate_most = do.rotate[0], do.rotate[1], do.rotate[2], do.rotate[-1]

    @_part
    def rotate(work: Any, at: int, stride: int, qubits: int, tangent: Any) -> None:
        if qubits == bits:
            rotate_most(work, at, stride, tangent)
        elif qubits == 1:
            rotate_1(work, at, stride, tangent)
        elif qubits == 2:
            rotate_2(work, at, stride, tangent)
        elif qubits == 3:
            rotate_3(work, at, stride, tangent)

    @_part
    def rotate_outer(work: Any, state: int, size: int, first: int, qubits: int, tangent: Any) -> None:
        """Rotation by the qubits from `first` on, as many at a time as fit the registers."""
        while first < qubits:
            some, stride = min(bits, qubits - first), 1 << first
            for base in range(state, state + 2 * size, stride << some):
                for at in range(base, base + stride, lanes):
                    rotate(work, at, stride, some, tangent)
            first += some

    @_part
    def factors(work: Any, cosines: int, sines: int, qubits: int, scale: Any) -> None:
        """Fields' phases of one step: of the lanes, of a block's rows, and of the blocks."""
        lane_product(work, of_lanes, cosines, sines)
        lane_product(work, of_rows, cosines + bits, sines + bits)
        work[of_blocks] = scale
        work[of_blocks + 1] = 0
        count = 2
        for q in range(2 * bits, qubits):
            c, s = work[cosines + q], work[sines + q]
            for j in range(of_blocks, of_blocks + count, 2):
                x, y = work[j], work[j + 1]
                work[j] = x * c - y * s
                work[j + 1] = y * c + x * s
                work[count + j] = x * c + y * s
                work[count + j + 1] = y * c - x * s
            count *= 2

    @_part
    def layer(work: Any, table: Any, place: int, state: int, qubits: int, tangent: Any) -> None:
        """Phase and mixer of one step."""
        size, inner = 1 << qubits, min(qubits, 3 * bits)
        here, in_block = min(block, size), min(qubits, 2 * bits) - bits
        for begin in range(0, size, 1 << inner):  # stays in the nearest cache
            for base in range(begin, begin + (1 << inner), here):
                scaled(work, of_blocks + 2 * (base // block), of_rows, of_block)
                for x in range(0, here, lanes):
                    row = of_block + x // lanes
                    phase(work, table, state + base + x, size, of_lanes, row, place + base + x, tangent)
                for at in range(state + base, state + base + 2 * size, size):
                    rotate(work, at, lanes, in_block, tangent)
            for at in range(state + begin, state + begin + block, lanes):
                rotate(work, at, block, inner - 2 * bits, tangent)
                rotate(work, at + size, block, inner - 2 * bits, tangent)
        rotate_outer(work, state, size, inner, qubits, tangent)

    @_part
    def anneal(batch: Any, circuit: Any, work: Any, model: int) -> int:
        """All steps of one model from |+⟩ⁿ; where its state lies."""
        fields, table, models, _, qubits = batch
        field, tangent, scale, start, _ = circuit
        steps, size = len(field), 1 << qubits
        width = -(-max(qubits, 2 * bits) // 16) * 16
        cosines = of_blocks + -(-2 * max(1, size // block) // lanes) * lanes
        sines = cosines + steps * width
        state = sines + steps * width
        for k in range(steps):
            shift = 0.0 if k else math.pi / 4
            for x in range(0, width, 8):
                at = k * width + x
                cos_sin(fields, model * width + x, field[k], shift, work, cosines + at, sines + at)
        for x in range(state, state + size, lanes):
            fill(work, x, start)
            fill(work, x + size, start - start)
        for k in range(steps):
            factors(work, cosines + k * width, sines + k * width, qubits, scale[k])
            place = ((model // models) * steps + k) * 2 * size
            layer(work, table, place, state, qubits, tangent[k])
        return state

    @_part
    def write_law(work: Any, state: int, batch: Any, flipped: bool, out: Any, to: int) -> None:
        """|amplitude|² of the spins that are not free."""
        size, count = 1 << batch[4], 1 << batch[3]
        if count < lanes:
            for x in range(count):
                from_ = state + (count - 1 - x if flipped else x)
                out[to + x] = work[from_] * work[from_] + work[from_ + size] * work[from_ + size]
        elif flipped:
            for x in range(0, count, lanes):
                reversed_law(work, state + count - lanes - x, size, out, to + x)
        else:
            for x in range(0, count, lanes):
                law(work, state + x, size, out, to + x)

    @_entry
    def table(energies: Any, size: int, coupling: Any, begin: int, end: int, out: Any) -> None:
        for group in range(begin, end):
            for k in range(len(coupling)):
                place = (group * len(coupling) + k) * 2 * size
                for x in range(0, size, 8):
                    cos_sin(energies, group * size + x, coupling[k], 0.0, out, place + x, place + size + x)

    @_entry
    def probabilities(batch: Any, circuit: Any, work: Any, begin: int, end: int, out: Any) -> None:
        for model in range(begin, end):
            state = anneal(batch, circuit, work, model)
            write_law(work, state, batch, circuit[4], out, model << batch[3])

    @_entry
    def amplitudes(batch: Any, circuit: Any, work: Any, begin: int, end: int, out: Any) -> None:
        size, count = 1 << batch[4], 1 << batch[3]
        for model in range(begin, end):
            state = anneal(batch, circuit, work, model)
            for part in range(2):
                for x in range(count):
                    out[(2 * model + part) * count + x] = work[state + part * size + x]

    @_entry
    def shots(
        batch: Any,
        circuit: Any,
        work: Any,
        cumulative: Any,
        targets: Any,
        index: Any,
        begin: int,
        end: int,
        seeds: Any,
        bytes_: Any,
        spins: Any,
    ) -> None:
        n, size, rows = batch[3], 1 << batch[4], len(targets)
        for model in range(begin, end):
            state = anneal(batch, circuit, work, model)
            law_at = state + 2 * size
            write_law(work, state, batch, circuit[4], work, law_at)
            total = 0.0
            for x in range(1 << n):
                total += np.float64(work[law_at + x])
                cumulative[x] = total
            seed = np.uint64(seeds[model])
            for r in range(rows):
                random = _mix(seed + np.uint64(r + 1) * np.uint64(0x9E3779B97F4A7C15))
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

    @_part
    def unlayer(work: Any, table: Any, place: int, state: int, qubits: int, tangent: Any, a: Any, b: Any) -> None:
        """The inverse of `layer` on a state and the co-state behind it, and the step's share of the gradient."""
        size, inner = 1 << qubits, min(qubits, 2 * bits)
        here, other, gradient = 1 << inner, state + 2 * size, state + 4 * size
        rotate_outer(work, state, size, inner, qubits, -tangent)
        rotate_outer(work, other, size, inner, qubits, -tangent)
        for base in range(0, size, here):
            for at in range(state + base, gradient, size):
                rotate(work, at, lanes, inner - bits, -tangent)
            scaled(work, of_blocks + 2 * (base // block), of_rows, of_block)
            for x in range(base, base + here, lanes):
                row = of_block + (x - base) // lanes
                unphase(work, table, state + x, size, of_lanes, row, place + x, tangent, other + x, gradient + x, a, b)

    @_entry
    def gradient(
        batch: Any, circuit: Any, work: Any, field: Any, coupling: Any, begin: int, end: int, upstream: Any, out: Any
    ) -> None:
        _, table, models, n, qubits = batch
        _, tangent, scale, _, flipped = circuit
        steps, size, count = len(tangent), 1 << qubits, 1 << n
        width = -(-max(qubits, 2 * bits) // 16) * 16
        for model in range(begin, end):
            state = anneal(batch, circuit, work, model)
            cosines = state - 2 * steps * width
            sines = state - steps * width
            for x in range(count):
                weight = upstream[model * count + (count - 1 - x if flipped else x)]
                work[state + 2 * size + x] = weight * work[state + x]
                work[state + 3 * size + x] = weight * work[state + size + x]
            for x in range(count, size):
                work[state + 2 * size + x] = 0
                work[state + 3 * size + x] = 0
            for x in range(state + 4 * size, state + 6 * size, lanes):
                fill(work, x, tangent[0] - tangent[0])
            for k in range(steps - 1, -1, -1):
                factors(work, cosines + k * width, sines + k * width, qubits, scale[k])
                place = ((model // models) * steps + k) * 2 * size
                unlayer(work, table, place, state, qubits, tangent[k], field[k], coupling[k])
            for x in range(2 * size):
                out[2 * model * size + x] = work[state + 4 * size + x]

    return Kernels(table, probabilities, amplitudes, shots, gradient)
