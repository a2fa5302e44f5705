"""The Ising models of a window: one spin for each slot that holds a key."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from classical.sampler import Seed

Probability = Callable[..., Tensor]
"""`hybrid_attention.visibility.masked_probability` with everything but models, mask and seed given."""


def window_probability(
    fields: Tensor, couplings: Tensor, probability: Probability, seeds: Seed, first: int = 0
) -> Tensor:
    """P(s = +1) in every slot that holds a key, 0 in the others.

    Query i has keys in the slots s ≤ i. Queries whose slots are all filled are one batch without a mask; the few before
    them are solved apart, on fewer spins.

    Args:
        fields: h, (batch, heads, queries, slots).
        couplings: J between slots, strictly upper: (heads, slots, slots), shared by all queries of a head, or (batch,
            heads, queries, slots, slots).
        probability: solves models (groups, models, spins).
        seeds: an integer, or int64 (batch, heads, queries).
        first: position of the first query.
    """
    queries, slots = fields.shape[2:]
    early = min(queries, max(0, slots - 1 - first))
    solve = _shared if couplings.ndim == 3 else _apart
    parts = []
    if early:
        parts.append(solve(fields, couplings, probability, seeds, slice(0, early), first))
    if early < queries:
        parts.append(solve(fields, couplings, probability, seeds, slice(early, queries), None))
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)


def _shared(
    fields: Tensor, couplings: Tensor, probability: Probability, seeds: Seed, rows: slice, first: int | None
) -> Tensor:
    """A group is one head, its models the queries of all sequences; with `first`, some slots of theirs are empty."""
    part = fields[:, :, rows]
    batch, _, queries, slots = part.shape
    visible = None
    if first is not None:
        filled = torch.ones(queries, slots, dtype=torch.bool, device=fields.device).tril(first)
        visible = filled.repeat(batch, 1).unsqueeze(0)
    seed = seeds[:, :, rows].transpose(0, 1).flatten(1, 2) if isinstance(seeds, Tensor) else seeds
    up = probability(part.transpose(0, 1).flatten(1, 2), couplings, visible, seed=seed)
    return up.unflatten(1, (batch, queries)).transpose(0, 1)


def _apart(
    fields: Tensor, couplings: Tensor, probability: Probability, seeds: Seed, rows: slice, first: int | None
) -> Tensor:
    """Every query of every head and sequence is a group; with `first`, query by query, on the slots that are filled."""
    if first is not None:
        parts = []
        for i in range(rows.start, rows.stop):
            filled, one = first + i + 1, slice(i, i + 1)
            up = _apart(fields[..., :filled], couplings[..., :filled, :filled], probability, seeds, one, None)
            parts.append(F.pad(up, (0, fields.shape[-1] - filled)))
        return torch.cat(parts, 2)
    part, J = fields[:, :, rows], couplings[:, :, rows]
    seed = seeds[:, :, rows].flatten().unsqueeze(-1) if isinstance(seeds, Tensor) else seeds
    return probability(part.flatten(0, 2).unsqueeze(1), J.flatten(0, 2), None, seed=seed).view(part.shape)
