"""An energy of attention patterns, as an auxiliary loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Pattern(NamedTuple):
    """The Ising models of one forward pass and what was attended.

    Args:
        fields: h, (batch, heads, queries, keys).
        couplings: J, (heads, keys, keys) or (batch, heads, keys, keys), strictly upper, or (batch, heads, queries,
            keys, keys) where every query has its own; None for none.
        attended: P(s_j = +1), (batch, heads, queries, keys).
        visible: bool, (batch or 1, heads or 1, queries, keys), or None where every key is.
    """

    fields: Tensor
    couplings: Tensor | None
    attended: Tensor
    visible: Tensor | None


PatternObserver = Callable[[Pattern], None]
"""Is shown the pattern of every forward pass, inside the autograd graph."""


def pattern_energy(pattern: Pattern) -> Tensor:
    """Negative log pseudo-likelihood of the attended pattern, per visible spin, mean over models, in nats.

        t_j = h_j + Σ_k J_jk ⟨s_k⟩,   ⟨s_k⟩ = 2 P_k − 1
        E = mean over models of (1/n) Σ_j [ −P_j log σ(2 t_j) − (1 − P_j) log σ(−2 t_j) ]

    n counts the visible spins of a model; models that see no key are left out. E ≥ 0: the price, in nats, of telling
    each decision from the mean of the others. It is small where decisions are firm and agree with their couplings, ln 2
    where h = J = 0, and at J = 0 the mean entropy of a decision. Unlike the expected energy itself it is bounded below.
    It needs nothing but P, so that every sampler serves it and gradients through P are the estimator's.

    Args:
        pattern: of one forward pass.

    Returns:
        A scalar, float32 or float64.

    Reference:
        J. Besag, The Statistician 24, 179 (1975), for the pseudo-likelihood.
    """
    wide = torch.float64 if pattern.fields.dtype == torch.float64 else torch.float32
    with torch.autocast(pattern.fields.device.type, enabled=False):
        local, up, visible = pattern.fields.to(wide), pattern.attended.to(wide), pattern.visible
        if pattern.couplings is not None:
            J = pattern.couplings.to(wide)
            mean = 2 * up - 1 if visible is None else (2 * up - 1).masked_fill(~visible, 0.0)
            own = J.ndim > mean.ndim
            pull = (mean.unsqueeze(-2) if own else mean) @ (J + J.transpose(-1, -2))
            local = local + (pull.squeeze(-2) if own else pull)
        if visible is not None:
            local = local.masked_fill(~visible, 0.0)
        cost = -(up * F.logsigmoid(2 * local) + (1 - up) * F.logsigmoid(-2 * local))
        if visible is None:
            return cost.mean()
        visible = visible.expand_as(cost)
        spins = visible.sum(-1)
        per_model = cost.masked_fill(~visible, 0.0).sum(-1) / spins.clamp(min=1)
        return per_model.sum() / (spins > 0).sum().clamp(min=1)


@contextmanager
def collecting_energy(model: nn.Module, energies: list[Tensor]) -> Iterator[None]:
    """Collect the energy of every layer's patterns in forward passes inside the block.

    Args:
        model: with attention that makes patterns; others add nothing.
        energies: grows by one scalar for each layer and forward pass.
    """
    attentions: list[Any] = [module for module in model.modules() if hasattr(module, "pattern_observer")]
    before = [attention.pattern_observer for attention in attentions]
    try:
        for attention in attentions:
            attention.pattern_observer = lambda pattern: energies.append(pattern_energy(pattern))
        yield
    finally:
        for attention, own in zip(attentions, before, strict=True):
            attention.pattern_observer = own
