"""Attention masks as Ising models: a hidden key is a spin that is not there.

A field of zero or −∞ would leave the spin in the model. Samplers therefore get one model for each pattern of visible
keys (under a causal mask, one for each prefix), made of the visible spins alone. The exact sampler takes masks itself
and shares one coupling matrix between patterns, so it gets patterns of similar size together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from classical import Sampler
from classical.random import model_seeds
from classical.sampler import ExactMoments, Seed
from hybrid_attention.expectation import boltzmann_probability

_FEW_MODELS = 64
"""So few models to a group cost less than its coupling matrix: all patterns are solved together."""
_JOINT_SIZES = (8, 10, *range(12, 64))
"""Patterns of up to 8 visible spins are solved together, then 9 and 10, 11 and 12, and from 13 on each size alone."""

_Estimate = Callable[..., Tensor]
"""`boltzmann_probability` with all but fields, couplings, seed and visible given."""


def masked_probability(
    fields: Tensor,
    couplings: Tensor,
    visible: Tensor | None,
    *,
    sampler: Sampler,
    shots: int,
    seed: Seed,
    estimator: str = "covariance",
    independent_halves: bool = False,
) -> Tensor:
    """Probability that each visible spin is +1; hidden spins have probability 0 and act on no other.

    Args:
        fields: h, (groups, models, spins); values at hidden spins are ignored.
        couplings: J, (groups, spins, spins), strictly upper triangular.
        visible: bool, (groups or 1, models, spins), or None where every spin is.
        sampler: any sampler.
        shots: samples for each model.
        seed: an integer, or int64 (groups, models).
        estimator: as for `boltzmann_probability`.
        independent_halves: as for `boltzmann_probability`.

    Returns:
        (groups, models, spins), differentiable like `boltzmann_probability`.
    """
    estimate = partial(
        boltzmann_probability,
        sampler=sampler,
        shots=shots,
        estimator=estimator,
        independent_halves=independent_halves,
    )
    if visible is None or bool(visible.all()):
        return estimate(fields, couplings, seed=seed)
    fields = fields.masked_fill(~visible, 0.0)
    if isinstance(sampler, ExactMoments):
        if visible.shape[0] > 1:
            return estimate(fields, couplings, visible=visible)
        return _exact(fields, couplings, visible[0], estimate)
    seeds = model_seeds(seed, fields.shape[0], fields.shape[1], fields.device)
    masks, which = torch.unique(visible, dim=0, return_inverse=True)
    if len(masks) == 1:
        return _sampled(fields, couplings, masks[0], estimate, seeds)
    parts, order = [], []
    for number, mask in enumerate(masks):
        members = (which == number).nonzero().squeeze(-1)
        parts.append(_sampled(fields[members], couplings[members], mask, estimate, seeds[members]))
        order.append(members)
    return torch.cat(parts)[torch.cat(order).argsort()]


def _sampled(fields: Tensor, couplings: Tensor, visible: Tensor, estimate: _Estimate, seeds: Tensor) -> Tensor:
    """One call of the sampler for each distinct row of `visible`, (models, spins)."""

    def solve(rows: Tensor, keys: Tensor) -> Tensor:
        h, J = _select(fields.index_select(1, rows), keys, -1), _select(_select(couplings, keys, -1), keys, -2)
        return estimate(h, J, seed=seeds[:, rows])

    _, pattern = torch.unique(visible, dim=0, return_inverse=True)
    return _in_parts(fields, visible, pattern, solve)


def _exact(fields: Tensor, couplings: Tensor, visible: Tensor, estimate: _Estimate) -> Tensor:
    """One call for patterns of similar size, on the spins that any of them sees: a call costs 2^{spins}."""

    def solve(rows: Tensor, keys: Tensor) -> Tensor:
        h, J = _select(fields.index_select(1, rows), keys, -1), _select(_select(couplings, keys, -1), keys, -2)
        mask = visible[rows][:, keys]
        return estimate(h, J, visible=None if bool(mask.all()) else mask.unsqueeze(0))

    if fields.shape[1] <= _FEW_MODELS:
        part = torch.zeros(len(visible), dtype=torch.int64, device=visible.device)
    else:
        part = torch.bucketize(visible.sum(-1), torch.tensor(_JOINT_SIZES, device=visible.device))
    return _in_parts(fields, visible, part, solve)


def _in_parts(fields: Tensor, visible: Tensor, part: Tensor, solve: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Solve the models part by part, each on the spins that its models see, and put them back in order.

    Args:
        fields: (groups, models, spins).
        visible: bool, (models, spins).
        part: int64 (models,), the part that each model belongs to.
        solve: from rows and keys to probabilities (groups, rows, keys).
    """
    parts, order = [], []
    for number in part.unique().tolist():
        rows = (part == number).nonzero().squeeze(-1)
        keys = visible[rows].any(0).nonzero().squeeze(-1)
        whole = fields.new_zeros(fields.shape[0], rows.numel(), fields.shape[-1])
        parts.append(whole.index_copy(-1, keys, solve(rows, keys)) if keys.numel() else whole)
        order.append(rows)
    return torch.cat(parts, 1).index_select(1, torch.cat(order).argsort())


def _select(values: Tensor, keys: Tensor, axis: int) -> Tensor:
    """Some entries along an axis; a view where they are the first ones."""
    if int(keys[-1]) == keys.numel() - 1:
        return values.narrow(axis, 0, keys.numel())
    return values.index_select(axis, keys)
