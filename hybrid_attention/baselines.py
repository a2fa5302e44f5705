"""Attention without interactions between keys, behind the same interface: softmax and sigmoid."""

from __future__ import annotations

import torch
from torch import Tensor

from classical.sampler import Seed
from hybrid_attention.multihead import MultiHeadAttention
from hybrid_attention.readout import READOUTS


class SoftmaxAttention(MultiHeadAttention):
    """Standard attention, w_ij = exp(h_ij) / Σ_k exp(h_ik); a query that sees no key gets zeros.

    Reference:
        A. Vaswani et al., "Attention is all you need", NeurIPS 2017.
    """

    def weigh(self, fields: Tensor, visible: Tensor | None, keys: Tensor, seed: Seed | None) -> Tensor:
        """Softmax over the visible keys."""
        if visible is None:
            return fields.softmax(-1)
        seen = visible.any(-1, keepdim=True)
        return fields.masked_fill(~visible & seen, -torch.inf).softmax(-1).masked_fill(~visible, 0.0)


class SigmoidAttention(MultiHeadAttention):
    """Every key decides alone, a_ij = σ(2 h_ij): Boltzmann attention at J = 0, in closed form.

    Args:
        embed_dim: width of the tokens.
        num_heads: number of heads.
        max_length: longest sequence.
        position_bias: as for `MultiHeadAttention`.
        readout: "mean" or "sum".
    """

    def __init__(
        self, embed_dim: int, num_heads: int, max_length: int, position_bias: bool = False, readout: str = "mean"
    ) -> None:
        super().__init__(embed_dim, num_heads, max_length, position_bias)
        if readout not in READOUTS:
            raise ValueError(f"readout is {readout!r}; use one of {', '.join(READOUTS)}")
        self.readout = READOUTS[readout]

    def weigh(self, fields: Tensor, visible: Tensor | None, keys: Tensor, seed: Seed | None) -> Tensor:
        """σ(2h) at the visible keys, read out."""
        attended = torch.sigmoid(2 * fields)
        return self.readout(attended if visible is None else attended.masked_fill(~visible, 0.0))
