"""The law that mean-field samplers declare, from scipy's root finder and a product over spins."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import root
from torch import Tensor

from classical import IsingModel
from tests.contract.laws import Law


def mean_field_fields(h: np.ndarray, J: np.ndarray, method: str) -> np.ndarray:
    """Fields θ with θ_i = h_i + Σ_k J_ik tanh θ_k (− m_i Σ_k J_ik² (1 − m_k²)) of one model, from θ = h.

    Args:
        h: (spins,).
        J: (spins, spins), strictly upper.
        method: "naive" or "tap".
    """

    def excess(theta: np.ndarray) -> np.ndarray:
        out = np.zeros(len(h))
        for i in range(len(h)):
            felt = h[i]
            for k in range(len(h)):
                coupling, m = J[min(i, k), max(i, k)] if i != k else 0.0, np.tanh(theta[k])
                felt += coupling * m
                if method == "tap":
                    felt -= np.tanh(theta[i]) * coupling**2 * (1 - m**2)
            out[i] = theta[i] - felt
        return out

    found = root(excess, h, tol=1e-13)
    assert np.abs(excess(found.x)).max() < 1e-10, found.message
    return found.x


def mean_field(method: str) -> Law:
    """Q(s) = Π_i e^{θ_i s_i} / (2 cosh θ_i), for models so weakly coupled that there is one θ.

    Args:
        method: "naive" or "tap".
    """

    def law(model: IsingModel) -> Tensor:
        h, J = model.fields.double().numpy(), model.couplings.double().numpy()
        out = np.empty((model.groups, model.models, 2**model.spins))
        for g, m in np.ndindex(model.groups, model.models):
            theta = mean_field_fields(h[g, m], J[g], method)
            for x in range(2**model.spins):
                s = np.array([-1 if x >> i & 1 else 1 for i in range(model.spins)])
                out[g, m, x] = np.prod(np.exp(theta * s) / (2 * np.cosh(theta)))
        return torch.from_numpy(out)

    return law
