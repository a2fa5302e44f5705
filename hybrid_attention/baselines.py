"""Attention without interactions between keys, behind the same interface: softmax and sigmoid."""

from __future__ import annotations

import torch
from torch import Tensor

from classical.sampler import Seed
from hybrid_attention.energy import Pattern, PatternObserver
from hybrid_attention.field_attention import FieldAttention
from hybrid_attention.softmax import visible_softmax


class SoftmaxAttention(FieldAttention):
    """Standard attention, w_ij = exp(h_ij) / Σ_k exp(h_ik); a query that sees no key gets zeros.

    Args:
        embed_dim: width of the tokens.
        num_heads: number of heads.
        max_length: longest sequence.
        position_bias: as for `MultiHeadAttention`.
        readout: "mean", which is the "sum" too as the weights sum to 1, or "free-energy".
        window: as for `MultiHeadAttention`.
        field_limit: as for `FieldAttention`.

    Reference:
        A. Vaswani et al., "Attention is all you need", NeurIPS 2017.
    """

    def weigh(self, fields: Tensor, visible: Tensor | None, keys: Tensor, seed: Seed | None, first: int = 0) -> Tensor:
        """Softmax over the visible keys."""
        return visible_softmax(fields, visible)


class SigmoidAttention(FieldAttention):
    """Every key decides alone, a_ij = σ(2 h_ij): Boltzmann attention at J = 0, in closed form.

    Args:
        embed_dim: width of the tokens.
        num_heads: number of heads.
        max_length: longest sequence.
        position_bias: as for `MultiHeadAttention`.
        readout: "mean", "sum" or "free-energy".
        window: as for `MultiHeadAttention`.
        field_limit: as for `FieldAttention`.
    """

    pattern_observer: PatternObserver | None = None

    def weigh(self, fields: Tensor, visible: Tensor | None, keys: Tensor, seed: Seed | None, first: int = 0) -> Tensor:
        """σ(2h) at the visible keys, read out, in at least float32."""
        with torch.autocast(fields.device.type, enabled=False):
            fields = fields.to(torch.float64 if fields.dtype == torch.float64 else torch.float32)
            attended = torch.sigmoid(2 * fields)
            if visible is not None:
                attended = attended.masked_fill(~visible, 0.0)
            if self.pattern_observer is not None:
                self.pattern_observer(Pattern(fields, None, attended, visible))
            return self.readout(attended)
