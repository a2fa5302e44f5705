"""How far a law over configurations is from the Boltzmann law of a model, by enumeration."""

from __future__ import annotations

import torch
from torch import Tensor

from classical.ising import IsingModel, all_configurations

SMALLEST_PROBABILITY = 1e-30
"""A law's probabilities count as at least this much in its logarithm; float32 holds it."""


def log_probabilities(model: IsingModel) -> Tensor:
    """Logarithm of the Boltzmann probability of every configuration.

    log P(s) = log-weight(s) − log Z

    Args:
        model: fields (groups, models, spins) and couplings (groups, spins, spins).

    Returns:
        (groups, models, 2**spins), differentiable; bit i of the index is spin i, bit 0 is +1.

    Raises:
        ValueError: more spins than can be enumerated.
    """
    s = all_configurations(model.spins, model.fields.device).to(model.fields.dtype)
    pairs = ((s @ model.couplings) * s).sum(-1)
    return torch.log_softmax(model.fields @ s.T + pairs.unsqueeze(1), -1)


def kl_divergence(model: IsingModel, law: Tensor) -> Tensor:
    """Kullback–Leibler divergence of a law from the model's own, in nats.

    KL(P ‖ Q) = Σ_s P(s) (log P(s) − log Q(s)),   P the Boltzmann law, Q the one that is given

    Args:
        model: the models.
        law: Q, (groups, models, 2**spins), sums to one over the last axis.

    Returns:
        (groups, models), differentiable in both. Where Q is zero and P is not it would be infinite; Q then counts as
        `SMALLEST_PROBABILITY`.

    Raises:
        ValueError: a law whose shape does not fit the model.
    """
    expected = (model.groups, model.models, 2**model.spins)
    if tuple(law.shape) != expected:
        raise ValueError(
            f"law has shape {tuple(law.shape)}; for this model it must be (groups, models, 2**spins) = {expected}"
        )
    log_p = log_probabilities(model)
    return (log_p.exp() * (log_p - law.clamp_min(SMALLEST_PROBABILITY).log())).sum(-1)


def total_variation(first: Tensor, second: Tensor) -> Tensor:
    """Total variation distance of two laws: the largest difference that they give any event.

    TV(P, Q) = ½ Σ_s |P(s) − Q(s)|,   from 0 to 1

    Args:
        first: P, (…, configurations), sums to one over the last axis.
        second: Q, the same shape.

    Returns:
        (…).

    Raises:
        ValueError: shapes that differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"first has shape {tuple(first.shape)} but second {tuple(second.shape)}; give two laws alike")
    return (first - second).abs().sum(-1) / 2
