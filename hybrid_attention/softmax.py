"""Softmax under a mask."""

from __future__ import annotations

import torch
from torch import Tensor


def visible_softmax(exponents: Tensor, visible: Tensor | None) -> Tensor:
    """Softmax over the visible keys, in at least float32; a query that sees none gets zeros.

    Args:
        exponents: (batch, heads, queries, keys).
        visible: bool, (batch or 1, heads or 1, queries, keys), or None where every key is.
    """
    with torch.autocast(exponents.device.type, enabled=False):
        exponents = exponents.to(torch.float64 if exponents.dtype == torch.float64 else torch.float32)
        if visible is None:
            return exponents.softmax(-1)
        seen = visible.any(-1, keepdim=True)
        return exponents.masked_fill(~visible & seen, -torch.inf).softmax(-1).masked_fill(~visible, 0.0)
