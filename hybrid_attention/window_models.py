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
    fields: Tensor,
    couplings: Tensor,
    probability: Probability,
    seeds: Seed,
    first: int = 0,
    visible: Tensor | None = None,
) -> Tensor:
    """P(s = +1) in every slot that holds a key which may be seen, 0 in the others.

    Query i has keys in the slots s ≤ i. Where they may all be seen, queries whose slots are all filled are one batch
    without a mask, and the few before them are solved apart, on fewer spins.

    Args:
        fields: h, (batch, heads, queries, slots).
        couplings: J between slots, strictly upper: (heads, slots, slots), shared by all queries of a head, or (batch,
            heads, queries, slots, slots).
        probability: solves models (groups, models, spins).
        seeds: an integer, or int64 (batch, heads, queries).
        first: position of the first query.
        visible: bool, (batch or 1, heads or 1, queries, slots), False in slots without a key; None where keys are all
            that hides a slot is having none.
    """
    queries, slots = fields.shape[2:]
    filled = torch.ones(queries, slots, dtype=torch.bool, device=fields.device).tril(first)
    solve = _shared if couplings.ndim == 3 else _apart
    if visible is not None and not bool((visible == filled).all()):
        return solve(fields, couplings, probability, seeds, slice(None), visible)
    early = min(queries, max(0, slots - 1 - first))
    parts = []
    if early and couplings.ndim == 3:
        parts.append(_shared(fields, couplings, probability, seeds, slice(early), filled[None, None, :early]))
    else:  # nothing is shared: query by query, on the slots that are filled
        for i in range(early):
            n = first + i + 1
            up = _apart(fields[..., :n], couplings[..., :n, :n], probability, seeds, slice(i, i + 1), None)
            parts.append(F.pad(up, (0, slots - n)))
    if early < queries:
        parts.append(solve(fields, couplings, probability, seeds, slice(early, queries), None))
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)


def _shared(
    fields: Tensor, couplings: Tensor, probability: Probability, seeds: Seed, rows: slice, visible: Tensor | None
) -> Tensor:
    """A group is one head, its models the queries of all sequences."""
    part = fields[:, :, rows]
    batch, _, queries, _ = part.shape
    if visible is not None:
        visible = visible.expand(batch, -1, -1, -1).transpose(0, 1).flatten(1, 2)
    seed = seeds[:, :, rows].transpose(0, 1).flatten(1, 2) if isinstance(seeds, Tensor) else seeds
    up = probability(part.transpose(0, 1).flatten(1, 2), couplings, visible, seed=seed)
    return up.unflatten(1, (batch, queries)).transpose(0, 1)


def _apart(
    fields: Tensor, couplings: Tensor, probability: Probability, seeds: Seed, rows: slice, visible: Tensor | None
) -> Tensor:
    """Every query of every head and sequence is a group."""
    part, J = fields[:, :, rows], couplings[:, :, rows]
    if visible is not None:
        visible = visible.expand(part.shape).flatten(0, 2).unsqueeze(1)
    seed = seeds[:, :, rows].flatten().unsqueeze(-1) if isinstance(seeds, Tensor) else seeds
    return probability(part.flatten(0, 2).unsqueeze(1), J.flatten(0, 2), visible, seed=seed).view(part.shape)
