"""Attention masks as Ising models: a hidden key is a spin that is not there.

A field of zero or −∞ would leave the spin in the model. Samplers therefore get one model for each pattern of visible
keys (under a causal mask, one for each prefix), made of the visible spins alone; the exact sampler may take the mask
itself, and then shares one coupling matrix between all patterns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from classical import Sampler
from classical.random import model_seeds
from classical.sampler import ExactMoments, Seed
from hybrid_attention.expectation import boltzmann_probability

SHARED_MATRIX_SPINS = 12  # up to here one matrix for all patterns beats one for each (benchmarks/attention.py)


def masked_probability(
    fields: Tensor, couplings: Tensor, visible: Tensor | None, *, sampler: Sampler, shots: int, seed: Seed
) -> Tensor:
    """Probability that each visible spin is +1; hidden spins have probability 0 and act on no other.

    Args:
        fields: h, (groups, models, spins); values at hidden spins are ignored.
        couplings: J, (groups, spins, spins), strictly upper triangular.
        visible: bool, (groups or 1, models, spins), or None where every spin is.
        sampler: any sampler.
        shots: samples for each model.
        seed: an integer, or int64 (groups, models).

    Returns:
        (groups, models, spins), differentiable like `boltzmann_probability`.
    """
    if visible is None or bool(visible.all()):
        return boltzmann_probability(fields, couplings, sampler=sampler, shots=shots, seed=seed)
    fields = fields.masked_fill(~visible, 0.0)
    if isinstance(sampler, ExactMoments) and fields.shape[-1] <= SHARED_MATRIX_SPINS:
        return boltzmann_probability(fields, couplings, sampler=sampler, shots=shots, visible=visible)
    groups, models, spins = fields.shape
    seeds = model_seeds(seed, groups, models, fields.device)
    if visible.shape[0] == 1:
        return _by_pattern(fields, couplings, visible[0], sampler, shots, seeds)
    masks, which = torch.unique(visible, dim=0, return_inverse=True)
    parts, order = [], []
    for number, mask in enumerate(masks):
        members = (which == number).nonzero().squeeze(-1)
        parts.append(_by_pattern(fields[members], couplings[members], mask, sampler, shots, seeds[members]))
        order.append(members)
    return torch.cat(parts)[torch.cat(order).argsort()]


def _by_pattern(
    fields: Tensor, couplings: Tensor, visible: Tensor, sampler: Sampler, shots: int, seeds: Tensor
) -> Tensor:
    """One call of the sampler for each distinct row of `visible`, (models, spins)."""
    patterns, which = torch.unique(visible, dim=0, return_inverse=True)
    parts, order = [], []
    for number, pattern in enumerate(patterns):
        rows = (which == number).nonzero().squeeze(-1)
        keys = pattern.nonzero().squeeze(-1)
        part = fields.new_zeros(fields.shape[0], rows.numel(), fields.shape[-1])
        if keys.numel() > 0:
            seen = boltzmann_probability(
                fields[:, rows[:, None], keys],
                couplings[:, keys[:, None], keys],
                sampler=sampler,
                shots=shots,
                seed=seeds[:, rows],
            )
            part = part.index_copy(-1, keys, seen)
        parts.append(part)
        order.append(rows)
    return torch.cat(parts, 1)[:, torch.cat(order).argsort()]
