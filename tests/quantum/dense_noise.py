"""Noisy anneals by dense density matrices and explicit Paulis: slow, and independent of every formula under test.

The circuit is the one that `quantum.trotter.template` promises: a qubit's mixer and the field's phase after it are one
gate, so each step has a fault of every qubit, then one of every coupled pair, and the last mixer has one more.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import expm

from tests.quantum.dense_anneal import Matrix, Vector, coupling_term, field_term, mixer, plus


def noisy_law(
    h: Vector,
    J: Vector,
    a: Vector,
    b: Vector,
    theta: Vector,
    two_qubit: float = 0.0,
    one_qubit: float = 0.0,
    readout: float = 0.0,
) -> Vector:
    """P(s), bit i = spin i, where gates are followed by random Paulis and readings are flipped.

    Args:
        h: fed fields.
        J: fed couplings, strictly upper.
        a: field angles.
        b: coupling angles.
        theta: mixer angles.
        two_qubit: probability of one of the 15 Paulis other than the identity after each RZZ.
        one_qubit: probability of X, Y or Z after each one-qubit gate.
        readout: probability of a wrong reading.
    """
    n = len(h)
    rho = np.outer(plus(n), plus(n).conj())
    for k in range(len(theta)):
        rho = _conjugated(rho, expm(1j * a[k] * field_term(h)))
        for i in range(n):
            rho = _faulty(rho, one_qubit, (i,))
        for i in range(n):
            for j in range(i + 1, n):
                if J[i, j] != 0:
                    alone = np.zeros_like(J)
                    alone[i, j] = J[i, j]
                    rho = _faulty(_conjugated(rho, expm(1j * b[k] * coupling_term(alone))), two_qubit, (i, j))
        rho = _conjugated(rho, expm(1j * theta[k] * mixer(n)))
    for i in range(n):
        rho = _faulty(rho, one_qubit, (i,))
    law = rho.diagonal().real
    flipped = np.arange(2**n)
    for i in range(n):
        law = (1 - readout) * law + readout * law[flipped ^ (1 << i)]
    return law


def _conjugated(rho: Matrix, unitary: Matrix) -> Matrix:
    return unitary @ rho @ unitary.conj().T


def _faulty(rho: Matrix, rate: float, qubits: tuple[int, ...]) -> Matrix:
    """With a probability, one of the Paulis other than the identity on these qubits, each as likely."""
    if rate == 0:
        return rho
    count = 4 ** len(qubits)
    index = np.arange(len(rho))
    total = np.zeros_like(rho)
    for number in range(1, count):
        flips = sum(1 << q for place, q in enumerate(qubits) if number >> (2 * place) & 1)
        signs = np.ones(len(rho))
        for place, q in enumerate(qubits):
            if number >> (2 * place + 1) & 1:
                signs = signs * (1 - 2 * (index >> q & 1))
        # X^flips Z^signs is the Pauli up to a phase, which the conjugation does not see
        turned = np.outer(signs, signs) * rho
        total += turned[np.ix_(index ^ flips, index ^ flips)]
    return (1 - rate) * rho + rate / (count - 1) * total
