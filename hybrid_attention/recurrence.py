"""Weights that factorize, as a recurrence: cost and memory linear in the length."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hybrid_attention.priors import LOWEST_EXPONENT, Prior

_CHUNK = 32
"""Positions that are worked through together, by a small matrix; between chunks a state is handed on."""


class RecurrentPrior(Prior):
    """Normalized weights of linear attention, with or without decay.

        α_ij = f_ij / Σ_j f_ij,   f_ij = φ_i · ψ_j exp(−Σ_{l=j+1..i} λ_l)

    over keys j ≤ i, or over all keys where it is not causal (and then without decay). As a recurrence,
    S_i = e^{−λ_i} S_{i−1} + ψ_i v_iᵀ and Σ_j f_ij v_j = φ_iᵀ S_i.

    Args:
        queries: features φ ≥ 0, (batch, heads, queries, features).
        keys: features ψ ≥ 0, (batch, heads, keys, features), zero at hidden keys.
        decay: λ ≥ 0, (batch, heads, keys), zero at hidden keys, or None.
        causal: whether query i sees keys 0 … i only; there are then as many queries as keys.
    """

    def __init__(self, queries: Tensor, keys: Tensor, decay: Tensor | None, causal: bool) -> None:
        if decay is not None and not causal:
            raise ValueError("decay is given, but causal is False; a decay needs an order of positions")
        self.queries, self.keys, self.decay, self.causal = queries, keys, decay, causal

    def mix(self, values: Tensor) -> Tensor:
        """Numerator and denominator in one pass, in at least float32."""
        with torch.autocast(values.device.type, enabled=False):
            wide = values.to(self.queries.dtype)
            sums = self._sums(torch.cat([wide, wide.new_ones(*wide.shape[:-1], 1)], -1))
            return (sums[..., :-1] / _safe(sums[..., -1:])).to(values.dtype)

    def log_mix(self, values: Tensor, beta: Tensor) -> Tensor:
        """Exponentials relative to a running maximum, which the state is rescaled to at every position."""
        total = _safe(self._sums(values.new_ones(*values.shape[:-1], 1)))
        seen = self.keys.sum(-1, keepdim=True) > 0
        lowest = torch.finfo(values.dtype).min / 4
        tops = values.detach().masked_fill(~seen, lowest)
        if not self.causal:
            top = tops.amax(-2, keepdim=True)
            powers = _powers(values, top, beta, seen)
            return top + _log_share(self.queries @ (self.keys.transpose(-1, -2) @ powers), total) / beta
        beta = beta.squeeze(-2)
        state = values.new_zeros(*values.shape[:2], self.keys.shape[-1], values.shape[-1])
        top = torch.full_like(tops[:, :, 0], lowest)
        numerators, references = [], []
        for i in range(values.shape[-2]):
            loss = 0.0 if self.decay is None else self.decay[:, :, i, None]
            before = top - (loss.detach() / beta.detach() if isinstance(loss, Tensor) else 0.0)
            after = torch.maximum(before, tops[:, :, i])
            shrunk = (beta * (top - after) - loss).exp()
            fresh = _powers(values[:, :, i], after, beta, seen[:, :, i])
            state = shrunk.unsqueeze(-2) * state + self.keys[:, :, i].unsqueeze(-1) * fresh.unsqueeze(-2)
            numerators.append((self.queries[:, :, i].unsqueeze(-2) @ state).squeeze(-2))
            references.append(after)
            top = after
        share = _log_share(torch.stack(numerators, -2), total)
        return torch.stack(references, -2) + share / beta.unsqueeze(-2)

    def matrix(self) -> Tensor:
        """The quadratic form: every weight written out."""
        with torch.autocast(self.queries.device.type, enabled=False):
            weights = factorized_weights(self.queries, self.keys, self.decay, self.causal)
            return weights / _safe(weights.sum(-1, keepdim=True))

    def _sums(self, values: Tensor) -> Tensor:
        """Σ_j f_ij v_j."""
        if self.causal:
            return causal_sums(self.queries, self.keys, values, self.decay)
        return self.queries @ (self.keys.transpose(-1, -2) @ values)


def factorized_weights(queries: Tensor, keys: Tensor, decay: Tensor | None, causal: bool) -> Tensor:
    """Quadratic form of a factorized weight, f_ij = φ_i · ψ_j exp(−|Λ_i − Λ_j|), Λ_i = Σ_{l ≤ i} λ_l.

    Args:
        queries: φ, (batch, heads, queries, features).
        keys: ψ, (batch, heads, keys, features).
        decay: λ ≥ 0, (batch, heads, keys), or None; with it there are as many queries as keys.
        causal: whether f_ij = 0 for j > i.

    Returns:
        (batch, heads, queries, keys), not normalized.
    """
    weights = queries @ keys.transpose(-1, -2)
    if decay is not None:
        weights = weights * (-_between(decay)).exp()
    return weights.tril() if causal else weights


def causal_sums(queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor | None, chunk: int = _CHUNK) -> Tensor:
    """Σ_{j ≤ i} φ_i · ψ_j exp(−Σ_{l=j+1..i} λ_l) v_j by chunks: quadratic inside one, a state between them.

    Args:
        queries: φ, (batch, heads, length, features).
        keys: ψ, (batch, heads, length, features).
        values: v, (batch, heads, length, channels).
        decay: λ ≥ 0, (batch, heads, length), or None.
        chunk: positions in a chunk.

    Returns:
        (batch, heads, length, channels).
    """
    outputs = []
    state: Tensor | None = None
    for start in range(0, queries.shape[-2], chunk):
        rows = slice(start, start + chunk)
        q, k, v = queries[:, :, rows], keys[:, :, rows], values[:, :, rows]
        lost = None if decay is None else decay[:, :, rows]
        output = factorized_weights(q, k, lost, causal=True) @ v
        past = None if lost is None else lost.cumsum(-1).unsqueeze(-1)
        if state is not None:
            output = output + (q if past is None else q * (-past).exp()) @ state
        outputs.append(output)
        if past is not None:
            k = k * (past - past[:, :, -1:]).exp()
            state = None if state is None else state * (-past[:, :, -1:]).exp()
        added = k.transpose(-1, -2) @ v
        state = added if state is None else state + added
    return torch.cat(outputs, -2)


def _between(decay: Tensor) -> Tensor:
    """|Λ_i − Λ_j|, (batch, heads, length, length)."""
    past = decay.cumsum(-1)
    return (past.unsqueeze(-1) - past.unsqueeze(-2)).abs()


def _powers(values: Tensor, top: Tensor, beta: Tensor, seen: Tensor) -> Tensor:
    """exp(β (v − top)) at keys that are seen, 0 elsewhere, where v may be anything."""
    exponents = beta * (values - top).masked_fill(~seen, 0.0)
    return exponents.clamp(min=LOWEST_EXPONENT[values.dtype]).exp().masked_fill(~seen, 0.0)


def _log_share(numerator: Tensor, total: Tensor) -> Tensor:
    return (numerator / total).clamp(min=math.exp(LOWEST_EXPONENT[total.dtype])).log()


def _safe(total: Tensor) -> Tensor:
    """A denominator that is 1 where there is nothing to divide."""
    return total.masked_fill(total == 0, 1.0)
