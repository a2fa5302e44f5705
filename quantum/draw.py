"""Shots drawn from a known law, each model with random numbers of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from classical.random import uniforms


def draw(probabilities: Tensor, shots: int, seeds: Tensor) -> Tensor:
    """Indices of configurations, by inverting the cumulative law.

    index_r = min { x : Σ_{y≤x} P(y) > u_r },  u_r uniform in (0, 1)

    Args:
        probabilities: (groups, models, configurations), not negative, float64 for a sum that stays exact.
        shots: how many to draw for each model.
        seeds: int64 (groups, models); a model's draws depend on its own seed alone.

    Returns:
        (groups, models, shots) int64.
    """
    cumulative = probabilities.cumsum(-1)
    targets = uniforms(seeds, shots).to(probabilities) * cumulative[..., -1:]
    index = torch.searchsorted(cumulative, targets, right=True)
    return index.clamp_(max=probabilities.shape[-1] - 1)


def configurations(index: Tensor, spins: int) -> Tensor:
    """Spins of configuration indices: bit i of the index is spin i, bit 0 is +1.

    Args:
        index: int64, any shape.
        spins: number of spins.

    Returns:
        (*index.shape, spins) int8, values −1 and +1.
    """
    bits = (index.unsqueeze(-1) >> torch.arange(spins, device=index.device)) & 1
    return (1 - 2 * bits).to(torch.int8)
