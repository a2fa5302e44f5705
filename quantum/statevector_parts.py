"""Parts of compiled state-vector anneals: the steps of one model, forwards and backwards.

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


class Parts(NamedTuple):
    """Functions for one precision, to be called from compiled code and inlined there.

    `batch` and `circuit` are those of `quantum.statevector_kernel.Kernels`.

    Args:
        cos_sin: see `quantum.statevector_vectors.Operations`.
        store_bytes: likewise.
        copy: (source, at, target, to, count): registers from one array to another.
        anneal: (batch, circuit, work, model, states, stride): the steps of a circuit on one model; where its state
            lies.
        write_law: (work, state, batch, flipped, out, to): |amplitude|² of the spins that are not free.
        undo: (batch, circuit, work, model, states, field, coupling): the inverse of `anneal` on a model's state and
            co-state in `states`, adding to the derivatives there; where the result lies, as six times a half state.
    """

    cos_sin: Any
    store_bytes: Any
    copy: Any
    anneal: Any
    write_law: Any
    undo: Any


def _part(function: Any) -> Any:
    """Always inlined, so that arrays are not counted in and out."""
    return njit(forceinline=True, error_model="numpy")(function)


@cache
def parts(dtype: np.dtype[Any]) -> Parts:
    """The parts for states of one precision.

    Args:
        dtype: of the real parts, float32 or float64.
    """
    lanes, do = LANES[dtype], operations(LANES[dtype])
    bits, block = lanes.bit_length() - 1, lanes * lanes
    # in the working memory: phases of the lanes, of a block's rows, of the rows of one block, of the blocks
    of_lanes, of_rows, of_block, of_blocks = 0, 2 * lanes, 4 * lanes, 6 * lanes
    cos_sin, fill, move, scaled, lane_product = do.cos_sin, do.fill, do.move, do.scale, do.lane_product
    phase, unphase = do.phase, do.unphase
    law, reversed_law = do.law, do.reversed_law
    rotate_1, rotate_2, rotate_3, rotate_most = do.rotate[0], do.rotate[1], do.rotate[2], do.rotate[-1]

    @_part
    def copy(source: Any, at: int, target: Any, to: int, count: int) -> None:
        for x in range(0, count, lanes):
            move(source, at + x, target, to + x)

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
    def place_of(batch: Any, steps: int) -> tuple[int, int, int, int]:
        """Where the waves and the state lie in the working memory, and how many numbers a wave has."""
        size, width = 1 << batch[4], -(-max(batch[4], 2 * bits) // 16) * 16
        cosines = of_blocks + -(-2 * max(1, size // block) // lanes) * lanes
        sines = cosines + steps * width
        return cosines, sines, sines + steps * width, width

    @_part
    def waves(batch: Any, circuit: Any, work: Any, model: int) -> None:
        """Cosines and sines of the fields' phases of every step."""
        cosines, sines, _, width = place_of(batch, len(circuit[0]))
        for k in range(len(circuit[0])):
            shift = math.pi / 4 if circuit[5] and k == 0 else 0.0
            for x in range(0, width, 8):
                at = k * width + x
                cos_sin(batch[0], model * width + x, circuit[0][k], shift, work, cosines + at, sines + at)

    @_part
    def anneal(batch: Any, circuit: Any, work: Any, model: int, states: Any, stride: int) -> int:
        """The steps of a circuit on one model, from |+⟩ⁿ or from where it was left; where its state lies."""
        _, table, models, _, qubits = batch
        field, tangent, scale, start, _, first = circuit
        steps, size = len(field), 1 << qubits
        cosines, sines, state, width = place_of(batch, steps)
        waves(batch, circuit, work, model)
        if first:
            for x in range(state, state + size, lanes):
                fill(work, x, start)
                fill(work, x + size, start - start)
        else:
            copy(states, model * stride, work, state, 2 * size)
        for k in range(steps):
            factors(work, cosines + k * width, sines + k * width, qubits, scale[k])
            layer(work, table, ((model // models) * steps + k) * 2 * size, state, qubits, tangent[k])
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

    @_part
    def undo(batch: Any, circuit: Any, work: Any, model: int, states: Any, field: Any, coupling: Any) -> int:
        _, table, models, _, qubits = batch
        _, tangent, scale, _, _, _ = circuit
        steps, size = len(scale), 1 << qubits
        cosines, sines, state, width = place_of(batch, steps)
        waves(batch, circuit, work, model)
        copy(states, 6 * size * model, work, state, 6 * size)
        for k in range(steps - 1, -1, -1):
            factors(work, cosines + k * width, sines + k * width, qubits, scale[k])
            place = ((model // models) * steps + k) * 2 * size
            unlayer(work, table, place, state, qubits, tangent[k], field[k], coupling[k])
        return state

    return Parts(cos_sin, do.store_bytes, copy, anneal, write_law, undo)
