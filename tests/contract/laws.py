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
