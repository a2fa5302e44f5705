"""Weights over the slots of a window."""

from __future__ import annotations

import torch
from torch import Tensor

from hybrid_attention.priors import Prior, pairwise_log_mix
from hybrid_attention.windows import Window, gather_slots, slot_mix, slot_positions

_ELEMENTS_AT_ONCE = 2**24


class WindowPrior(Prior):
    """Weights of queries over the keys in their slots; cost and memory are linear in the length.

    Args:
        weights: α, (batch, heads, queries, min(queries, slots)), zero in slots without a key.
        window: which keys are seen.
    """

    def __init__(self, weights: Tensor, window: Window) -> None:
        self.weights, self.window = weights, window

    def mix(self, values: Tensor) -> Tensor:
        """Products of blocks, in the dtype of the values."""
        return slot_mix(self.weights.to(values.dtype), values, self.window)

    def log_mix(self, values: Tensor, beta: Tensor) -> Tensor:
        """Every query, slot and channel apart, as for weights that are a matrix, a few heads at a time."""
        weights = self.weights.to(values.dtype)
        _, heads, queries, channels = values.shape
        rows = max(1, _ELEMENTS_AT_ONCE // max(1, heads * queries * weights.shape[-1] * channels))
        pairs = zip(weights.split(rows), values.split(rows), strict=True)
        return torch.cat([pairwise_log_mix(w, gather_slots(v, self.window), beta) for w, v in pairs])

    def matrix(self) -> Tensor:
        """α written out, (batch, heads, queries, keys)."""
        queries = self.weights.shape[2]
        keys = slot_positions(queries, self.window, self.weights.device)
        full = self.weights.new_zeros(*self.weights.shape[:3], queries)
        return full.scatter_add(-1, keys.expand_as(self.weights), self.weights)
