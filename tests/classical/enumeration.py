"""The oracle: Boltzmann laws by visiting every configuration in extended precision, sharing none of the code."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from classical import IsingModel


class Law(NamedTuple):
    """Everything about one model, as long doubles."""

    configurations: np.ndarray
    probabilities: np.ndarray
    log_partition: np.longdouble
    up: np.ndarray
    mean: np.ndarray
    second: np.ndarray


def law(fields: Tensor, couplings: Tensor) -> Law:
    """Boltzmann law of one model: fields (spins,), couplings (spins, spins) strictly upper."""
    h = fields.detach().numpy().astype(np.longdouble)
    J = couplings.detach().numpy().astype(np.longdouble)
    spins = len(h)
    rows = [[-1 if x >> i & 1 else 1 for i in range(spins)] for x in range(2**spins)]
    s = np.array(rows, dtype=np.longdouble).reshape(2**spins, spins)
    exponent = np.zeros(2**spins, dtype=np.longdouble)
    for j in range(spins):
        exponent += h[j] * s[:, j]
        for k in range(j + 1, spins):
            exponent += J[j, k] * s[:, j] * s[:, k]
    weight = np.exp(exponent - exponent.max())
    total = weight.sum()
    p = weight / total
    up = np.array([p[s[:, j] > 0].sum() for j in range(spins)])
    return Law(s, p, exponent.max() + np.log(total), up, s.T @ p, (s.T * p) @ s)


def laws(model: IsingModel) -> list[list[Law]]:
    """The law of every model, by group."""
    return [[law(h, J) for h in group] for group, J in zip(model.fields, model.couplings, strict=True)]


def table(model: IsingModel, name: str) -> Tensor:
    """One attribute of every law, float64 (groups, models, …)."""
    values = [[np.asarray(getattr(one, name), dtype=np.float64) for one in group] for group in laws(model)]
    return torch.from_numpy(np.array(values))


def mean_gradient(one: Law, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivative of f = Σ_i w_i ⟨s_i⟩ in fields and (strictly upper) couplings, as covariances."""
    s, p = one.configurations, one.probabilities
    centred = (s @ weights - (s @ weights) @ p) * p
    return s.T @ centred, np.triu((s.T * centred) @ s, 1)


def random_model(
    spins: int,
    groups: int = 2,
    models: int = 3,
    field: float = 1.0,
    coupling: float = 0.7,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> IsingModel:
    """Normal fields and couplings with the given standard deviations."""
    generator = torch.Generator().manual_seed(seed * 100 + spins)
    fields = field * torch.randn(groups, models, spins, generator=generator, dtype=torch.float64)
    couplings = coupling * torch.randn(groups, spins, spins, generator=generator, dtype=torch.float64)
    return IsingModel(fields.to(dtype), couplings.triu(1).to(dtype))


def single(fields: list[float] | Tensor, couplings: Tensor, dtype: torch.dtype = torch.float64) -> IsingModel:
    """One group of one model."""
    h = torch.as_tensor(fields, dtype=torch.float64).to(dtype)
    return IsingModel(h[None, None], couplings.to(dtype).triu(1)[None])
