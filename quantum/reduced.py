"""Circuits in the variables in which a processor simulates them cheaply.

The circuit is K times (phase, mixer) on |+⟩ⁿ (`quantum.schedule`). Three exact changes of variables:

* With ψ(x) = i^|x| φ(x), |x| the number of spins −1, the mixer exp(iθX) is a real rotation of φ: real and imaginary
  parts do not meet. The factor of |+⟩ⁿ, (−i)^|x|, is a field phase of π/4 on every spin and joins the first phase.
* A rotation is cos θ times (φ₀ − tφ₁, φ₁ + tφ₀), t = tan θ: one multiply-add for each number. The cosines of all
  qubits, cosⁿθ, join the phase of their step.
* θ is reduced to |θ| ≤ π/4. Each π/2 taken off is iX on every qubit, a flip of all spins: it commutes with couplings
  and mixers, turns the fields after it round and reverses the result.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantum.schedule import Angles

LANES = {np.dtype(np.float32): 16, np.dtype(np.float64): 8}
"""Numbers in a vector of 64 bytes."""


class Circuit(NamedTuple):
    """A circuit after the changes of variables.

    Args:
        field: ±a_k, (K,) float64; the sign tells whether an odd number of flips came before step k.
        coupling: b_k, (K,) float64.
        tangent: t_k of the reduced mixers, (K,), in the state's precision.
        scale: cosⁿθ_k, (K,), in the state's precision.
        start: every amplitude of |+⟩ⁿ, times what rounding the scales has lost.
        flipped: whether the result is reversed.
        phase: of the amplitudes as a whole, radians.
    """

    field: NDArray[np.float64]
    coupling: NDArray[np.float64]
    tangent: NDArray[Any]
    scale: NDArray[Any]
    start: Any
    flipped: bool
    phase: float


def circuit(angles: Angles, spins: int, dtype: np.dtype[Any]) -> Circuit:
    """Change the variables of a circuit.

    Args:
        angles: of a schedule.
        spins: of the model; where they are fewer than fill a vector, the kernels add free spins without a field.
        dtype: float32 or float64.
    """
    qubits = padded(spins, dtype)
    turns = np.rint(angles.mixer / (math.pi / 2))
    tangent = np.tan(angles.mixer - turns * (math.pi / 2)).astype(dtype)
    exact = (1 + tangent.astype(np.float64) ** 2) ** (-qubits / 2)  # of the rounded tangent: still a rotation
    scale = exact.astype(dtype)
    odd = np.cumsum(turns) % 2 == 1
    free = (qubits - spins) * angles.mixer.sum()  # each added spin stays |+⟩ and turns the phase by Σθ
    factors = max(qubits, 2 * (LANES[dtype].bit_length() - 1))  # of fields' phases, unused rows of a block included
    return Circuit(
        field=np.where(np.concatenate([[False], odd[:-1]]), -angles.field, angles.field),
        coupling=np.ascontiguousarray(angles.coupling),
        tangent=tangent,
        scale=scale,
        start=dtype.type(2.0 ** (-spins / 2) * np.prod(exact / scale)),
        flipped=bool(odd[-1]),
        phase=float(qubits * turns.sum() * (math.pi / 2) - factors * (math.pi / 4) - free),
    )


def padded(spins: int, dtype: np.dtype[Any]) -> int:
    """Qubits that are simulated for a number of spins: at least as many as fill a vector."""
    return max(spins, LANES[dtype].bit_length() - 1)


SEGMENT = 16
"""Steps whose phases are in memory at a time. Longer circuits are taken in so many steps at once, with the models'
states kept in between, so that memory does not grow with the steps."""


class Segment(NamedTuple):
    """Some consecutive steps of a circuit.

    Args:
        circuit: (field, tangent, scale, start, flipped, first) as the kernels take them.
        coupling: b_k, (K,) float64.
        last: whether no steps follow.
    """

    circuit: tuple[Any, ...]
    coupling: NDArray[np.float64]
    last: bool


def segments(circuit: Circuit) -> list[Segment]:
    """A circuit as consecutive segments of at most `SEGMENT` steps."""
    found = []
    for k in range(0, len(circuit.field), SEGMENT):
        part = slice(k, k + SEGMENT)
        arrays = (circuit.field[part], circuit.tangent[part], circuit.scale[part])
        last = k + SEGMENT >= len(circuit.field)
        found.append(Segment((*arrays, circuit.start, circuit.flipped, k == 0), circuit.coupling[part], last))
    return found


class Sizes(NamedTuple):
    """Numbers of working memory that one thread needs: in the state's precision, and of 8 bytes."""

    work: int
    wide: int


def sizes(spins: int, adjoint: bool, dtype: np.dtype[Any]) -> Sizes:
    """Working memory of one thread.

    Args:
        spins: of a model.
        adjoint: whether a co-state and derivatives are needed.
        dtype: float32 or float64.
    """
    lanes, size = LANES[dtype], 2 ** padded(spins, dtype)
    factors = 6 * lanes + 2 * SEGMENT * wave_width(spins, dtype) + _blocks(size, lanes)
    return Sizes(factors + (6 if adjoint else 3) * size, size)


def wave_width(spins: int, dtype: np.dtype[Any]) -> int:
    """Fields of one model, with zeros: enough for the qubits in a vector and in a block, a multiple of 16."""
    return -(-max(padded(spins, dtype), 2 * (LANES[dtype].bit_length() - 1)) // 16) * 16


def _blocks(size: int, lanes: int) -> int:
    """Room for one complex number for each block, a multiple of the lanes."""
    return -(-2 * max(1, size // lanes**2) // lanes) * lanes
