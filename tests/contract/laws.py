"""What samplers declare as their law, computed without any of the code under test."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import numpy as np
import torch
from torch import Tensor

from classical import IsingModel
from quantum import AnnealSchedule, calibrate
from tests.classical.enumeration import table
from tests.quantum.dense_anneal import circuit_state

Law = Callable[[IsingModel], Tensor]
"""Probabilities of all configurations, float64 (groups, models, 2**spins), bit i = spin i, bit 0 = +1."""


def _remembered(law: Law) -> Law:
    """The same law, computed once for every model."""
    known: dict[bytes, Tensor] = {}

    @wraps(law)
    def recall(model: IsingModel) -> Tensor:
        key = b"".join(x.numpy().tobytes() + repr(x.shape).encode() for x in (model.fields, model.couplings))
        if key not in known:
            known[key] = law(model)
        return known[key]

    return recall


@_remembered
def boltzmann(model: IsingModel) -> Tensor:
    """P(s) ∝ exp(Σ_j h_j s_j + Σ_{j<k} J_jk s_j s_k), by visiting every configuration."""
    return table(model, "probabilities")


def anneal(schedule: AnnealSchedule, steps: int | None = None, calibration: str = "two-beta") -> Law:
    """The Trotterized anneal's law, by dense Pauli matrices and matrix exponentials.

    Args:
        schedule: the anneal.
        steps: Trotter steps K; may be left out for a schedule given by angles.
        calibration: what multiplies fields and couplings before they enter.
    """
    angles, factors = schedule.angles(steps), calibrate(schedule, steps, calibration)

    @_remembered
    def law(model: IsingModel) -> Tensor:
        fed = model.scaled(*factors)
        h, J = fed.fields.double().numpy(), fed.couplings.double().numpy()
        states = [
            [circuit_state(one, J[g], angles.field, angles.coupling, angles.mixer) for one in h[g]]
            for g in range(model.groups)
        ]
        return torch.from_numpy(np.abs(np.array(states)) ** 2)

    return law


@_remembered
def independent(model: IsingModel) -> Tensor:
    """P(s) = Π_j e^{h_j s_j} / (e^{h_j} + e^{−h_j}), one spin after the other."""
    h = model.fields.double().numpy()
    law = np.ones((*h.shape[:2], 1))
    for j in range(model.spins):
        up, down = (np.exp(s * h[..., j, None]) / (2 * np.cosh(h[..., j, None])) for s in (1, -1))
        law = np.concatenate([law * up, law * down], -1)
    return torch.from_numpy(law)


def swept(law: Law, sweeps: int) -> Law:
    """Another law after heat-bath sweeps in the order of the spins, by dense transition matrices.

    Args:
        law: where the sweeps start.
        sweeps: how many.
    """

    @_remembered
    def after(model: IsingModel) -> Tensor:
        start, target = law(model).numpy(), boltzmann(model).numpy()
        out = np.empty_like(start)
        for place in np.ndindex(*start.shape[:2]):
            p = start[place]
            for _ in range(sweeps):
                for spin in range(model.spins):
                    p = p @ heat_bath_matrix(target[place], spin)
            out[place] = p
        return torch.from_numpy(out)

    return after


def heat_bath_matrix(target: np.ndarray, spin: int) -> np.ndarray:
    """Transition matrix (from, to) that draws one spin from its law given the others.

    Args:
        target: the law that it keeps, (2**spins,).
        spin: which.
    """
    matrix = np.zeros((len(target), len(target)))
    for x in range(len(target)):
        y = x ^ (1 << spin)
        for to in (x, y):
            matrix[x, to] = target[to] / (target[x] + target[y])
    return matrix


def ghosted(law: Law) -> Law:
    """The law of the spins times a last one that they meet in place of their fields.

    Args:
        law: of models of one more spin without fields.
    """

    @_remembered
    def relative(model: IsingModel) -> Tensor:
        n, out = model.spins, torch.zeros(model.groups, model.models, 2**model.spins, dtype=torch.float64)
        for g, m in np.ndindex(model.groups, model.models):
            couplings = torch.zeros(1, n + 1, n + 1, dtype=torch.float64)
            couplings[0, :n, :n] = model.couplings[g]
            couplings[0, :n, n] = model.fields[g, m]
            whole = law(IsingModel(torch.zeros(1, 1, n + 1, dtype=torch.float64), couplings))[0, 0]
            for x, probability in enumerate(whole.tolist()):
                bits = x & (2**n - 1)
                out[g, m, bits ^ (2**n - 1) if x >> n else bits] += probability
        return out

    return relative
