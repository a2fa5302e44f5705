"""A coherent anneal on a chip by dense matrices and `scipy.linalg.expm`, from the numbers that are posted."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import constants
from scipy.linalg import eigh, expm

Schedule = Callable[[float], float]
Vector = NDArray[np.float64]

X = np.array([[0.0, 1.0], [1.0, 0.0]])
Z = np.diag([1.0, -1.0])


def on_qubits(operators: dict[int, Vector], qubits: int) -> Vector:
    """A product of one-qubit operators; the first qubit is the rightmost factor."""
    whole = np.eye(1)
    for qubit in range(qubits):
        whole = np.kron(operators.get(qubit, np.eye(2)), whole)
    return whole


def flux_energy(flux: float, b_ghz: float, mutual_inductance: float) -> float:
    """I_p Φ in GHz, with B = 2 M I_p²."""
    current = np.sqrt(b_ghz * 1e9 * constants.h / (2 * mutual_inductance * 1e-12))
    quantum = constants.h / (2 * constants.e)
    return float(current * flux * quantum / constants.h * 1e-9)


def law(
    solver: Any,
    data: dict[str, Any],
    flux: list[float] | None,
    a: Schedule,
    b: Schedule,
    duration: float,
    *,
    mutual_inductance: float = 1.65,
    intervals: int = 1500,
) -> Vector:
    """Probabilities of the used qubits' configurations, bit i for the i-th of them, 0 for +1.

    Args:
        solver: the problem's.
        data: of the problem, in SAPI's `qp` format.
        flux: Φ₀, for every site.
        a: A(s), GHz.
        b: B(s), GHz.
        duration: nanoseconds.
        mutual_inductance: pH.
        intervals: over which H is held at its midpoint.
    """
    lin, quad = (np.frombuffer(base64.b64decode(data[name]), dtype="<f8") for name in ("lin", "quad"))
    used = [q for q, h in zip(solver.properties["qubits"], lin.tolist(), strict=True) if h == h]
    couplers = [(i, j) for i, j in solver.properties["couplers"] if i in used and j in used]
    n = len(used)
    drive = sum(on_qubits({i: X}, n) for i in range(n))
    ising = np.zeros((2**n, 2**n))
    for (i, j), J in zip(couplers, quad.tolist(), strict=True):
        ising += J * on_qubits({used.index(i): Z, used.index(j): Z}, n)
    biases = [0.0] * solver.properties["num_qubits"] if flux is None else flux

    def hamiltonian(s: float) -> Vector:
        total: Vector = -a(s) / 2 * drive + b(s) / 2 * ising
        for i, qubit in enumerate(used):
            if biases[qubit]:  # a positive one favours +1
                total = total - flux_energy(biases[qubit], b(s), mutual_inductance) * on_qubits({i: Z}, n)
        return total

    state = eigh(hamiltonian(0.0))[1][:, 0].astype(complex)
    dt = duration / intervals
    for k in range(intervals):
        state = expm(-2j * np.pi * dt * hamiltonian((k + 0.5) / intervals)) @ state
    return np.abs(state) ** 2
