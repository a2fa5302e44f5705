"""What a call of attention is about."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hybrid_attention.masks import Mask, combine_masks
from hybrid_attention.window_masks import slot_mask
from hybrid_attention.windows import Window


class Inputs(NamedTuple):
    """Projections, tokens and masks of a call of attention.

    q, k and v are (batch, heads, length, head_dim); query and key are the tokens they come from, (batch, length,
    embed_dim); the masks are those of `MultiHeadAttention.forward`. In a step of generation there is one query, at
    position `step`, and the keys are those that it sees: all up to its own or, under a window, those in its slots.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    query: Tensor
    key: Tensor
    attn_mask: Tensor | None
    key_padding_mask: Tensor | None
    is_causal: bool
    step: int | None = None

    @property
    def first(self) -> int:
        """Position of the first query."""
        return 0 if self.step is None else self.step

    def mask(self, window: Window | None = None) -> Mask:
        """All masks as one.

        Args:
            window: which keys are seen, where keys stand in the slots of one.
        """
        batch, heads, queries, _ = self.q.shape
        dtype = torch.float64 if self.q.dtype == torch.float64 else torch.float32
        if window is not None and self.step is None:
            return slot_mask(
                self.attn_mask,
                self.key_padding_mask,
                window,
                batch=batch,
                heads=heads,
                length=queries,
                device=self.q.device,
                dtype=dtype,
            )
        return combine_masks(
            self.attn_mask,
            self.key_padding_mask,
            self.is_causal,
            batch=batch,
            heads=heads,
            queries=queries,
            keys=self.k.shape[2],
            device=self.q.device,
            dtype=dtype,
        )
