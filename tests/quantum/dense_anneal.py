"""Anneals by dense Pauli matrices and `scipy.linalg.expm`: slow, and independent of every formula under test."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

X = np.array([[0, 1], [1, 0]], dtype=complex)
Z = np.diag([1, -1]).astype(complex)

Matrix = NDArray[np.complex128]
Vector = NDArray[np.float64]


def on_qubit(operator: Matrix, qubit: int, qubits: int) -> Matrix:
    """A one-qubit operator on one of several qubits; qubit 0 is the lowest bit, so the rightmost factor."""
    return np.kron(np.kron(np.eye(2 ** (qubits - 1 - qubit)), operator), np.eye(2**qubit))


def mixer(qubits: int) -> Matrix:
    """Σ X_i."""
    return sum((on_qubit(X, i, qubits) for i in range(qubits)), np.zeros((2**qubits,) * 2, complex))


def field_term(h: Vector) -> Matrix:
    """Σ h_i Z_i."""
    n = len(h)
    return sum((h[i] * on_qubit(Z, i, n) for i in range(n)), np.zeros((2**n,) * 2, complex))


def coupling_term(J: Vector) -> Matrix:
    """Σ_{i<j} J_ij Z_i Z_j."""
    n = len(J)
    total = np.zeros((2**n,) * 2, complex)
    for i in range(n):
        for j in range(i + 1, n):
            total += J[i, j] * on_qubit(Z, i, n) @ on_qubit(Z, j, n)
    return total


def plus(qubits: int) -> Matrix:
    """|+⟩ⁿ."""
    return np.full(2**qubits, 2 ** (-qubits / 2), dtype=complex)


def circuit_state(h: Vector, J: Vector, a: Vector, b: Vector, theta: Vector) -> Matrix:
    """Amplitudes after K times (phase, mixer)."""
    state = plus(len(h))
    for k in range(len(theta)):
        state = expm(1j * (a[k] * field_term(h) + b[k] * coupling_term(J))) @ state
        state = expm(1j * theta[k] * mixer(len(h))) @ state
    return state


def continuous_state(h: Vector, J: Vector, duration: float, intervals: int = 800) -> Matrix:
    """The linear anneal itself: H held at its midpoint over intervals far shorter than any Trotter step."""
    state, dt = plus(len(h)), duration / intervals
    drive, problem = mixer(len(h)), field_term(h) + coupling_term(J)
    for k in range(intervals):
        u = (k + 0.5) / intervals
        state = expm(1j * dt * ((1 - u) * drive + u * problem)) @ state
    return state


def random_model(spins: int, seed: int, sigma: float = 1.0) -> tuple[Vector, Vector]:
    """h ~ N(0, 1) and J ~ N(0, σ²/n), strictly upper."""
    rng = np.random.default_rng(seed)
    h = rng.normal(size=spins)
    return h, np.triu(rng.normal(size=(spins, spins)) * sigma / np.sqrt(spins), 1)
