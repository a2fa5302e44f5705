"""The law of a noisy anneal, by dense density matrices."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from classical import IsingModel
from quantum import AnnealSchedule, calibrate
from tests.contract.laws import Law
from tests.quantum.dense_noise import noisy_law


def noisy_anneal(schedule: AnnealSchedule, steps: int | None, two_qubit: float, one_qubit: float, flip: float) -> Law:
    """What `depolarizing_noise` makes of the Trotterized anneal, with two-beta calibration.

    Args:
        schedule: the anneal.
        steps: Trotter steps K.
        two_qubit: probability of an error after each RZZ.
        one_qubit: after each one-qubit gate.
        flip: of a wrong reading.
    """
    angles, factors = schedule.angles(steps), calibrate(schedule, steps, "two-beta")
    known: dict[bytes, Tensor] = {}

    def law(model: IsingModel) -> Tensor:
        key = b"".join(x.numpy().tobytes() + repr(x.shape).encode() for x in (model.fields, model.couplings))
        if key not in known:
            fed = model.scaled(*factors)
            h, J = fed.fields.double().numpy(), fed.couplings.double().numpy()
            a, b, theta = angles.field, angles.coupling, angles.mixer
            laws = [
                [noisy_law(one, J[g], a, b, theta, two_qubit, one_qubit, flip) for one in h[g]]
                for g in range(model.groups)
            ]
            known[key] = torch.from_numpy(np.array(laws))
        return known[key]

    return law
