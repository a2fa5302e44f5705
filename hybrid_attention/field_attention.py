"""Attention that is made of fields: softmax, sigmoid and Boltzmann attention."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from classical.sampler import Seed
from hybrid_attention.inputs import Inputs
from hybrid_attention.multihead import MultiHeadAttention
from hybrid_attention.priors import MatrixPrior, Prior
from hybrid_attention.readout import FREE_ENERGY, weighting
from hybrid_attention.window_prior import WindowPrior
from hybrid_attention.windows import Window


class FieldAttention(MultiHeadAttention):
    """Attention whose weights come from a field for every query and key.

    h_ij = q_i · k_j / √d_head (+ position bias), or c tanh(h_ij / c) with a limit c

    Args:
        embed_dim: as for `MultiHeadAttention`.
        num_heads: as for `MultiHeadAttention`.
        max_length: as for `MultiHeadAttention`.
        position_bias: as for `MultiHeadAttention`.
        readout: "mean", "sum" or "free-energy": what becomes of the weights (`hybrid_attention.readout`).
        window: as for `MultiHeadAttention`.
        field_limit: c, which no field passes: devices have ranges, and designed schedules are for fields within some.
            What masks add comes on top.

    Raises:
        ValueError: as for `MultiHeadAttention`, an unknown readout, or a limit that is not positive and finite.

    Reference:
        I. Bello, H. Pham, Q. V. Le, M. Norouzi and S. Bengio, arXiv:1611.09940 (2016), for limited logits.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        max_length: int,
        position_bias: bool = False,
        readout: str = "mean",
        window: Window | None = None,
        field_limit: float | None = None,
    ) -> None:
        super().__init__(embed_dim, num_heads, max_length, position_bias, readout == FREE_ENERGY, window)
        self.readout = weighting(readout)
        if field_limit is not None and not (math.isfinite(field_limit) and field_limit > 0):
            raise ValueError(f"field_limit is {field_limit}; it must be positive and finite")
        self.field_limit = field_limit

    @abstractmethod
    def weigh(self, fields: Tensor, visible: Tensor | None, keys: Tensor, seed: Seed | None, first: int = 0) -> Tensor:
        """Numbers that multiply the values.

        Args:
            fields: h, (batch, heads, queries, keys); under a window, slots take the place of keys.
            visible: bool, (batch or 1, heads or 1, queries, keys), or None where every key is.
            keys: the keys' tokens, (batch, keys, embed_dim).
            seed: fixes the samples, where there are any.
            first: position of the first query.

        Returns:
            (batch, heads, queries, keys), zero at hidden keys.
        """

    def weights(self, inputs: Inputs, seed: Seed | None) -> Prior:
        """Weights from the fields, (batch, heads, queries, keys)."""
        if self.window is None:
            fields = inputs.q @ inputs.k.transpose(-1, -2) * self.head_dim**-0.5
        else:
            fields = self._slot_scores(inputs, inputs.q, inputs.k) * self.head_dim**-0.5
        bias = self._bias(inputs, fields.shape[-1])
        if bias is not None:
            fields = fields + bias
        if self.field_limit is not None:
            fields = self.field_limit * torch.tanh(fields / self.field_limit)
        mask = inputs.mask(self.window)
        if mask.addition is not None:
            fields = fields + mask.addition
        weights = self.weigh(fields, mask.visible, inputs.key, seed, inputs.first)
        if self.window is None or inputs.step is not None:
            return MatrixPrior(weights)
        return WindowPrior(weights, self.window)
