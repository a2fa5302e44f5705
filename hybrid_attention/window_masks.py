"""PyTorch's attention masks in the slots of a window."""

from __future__ import annotations

import torch
from torch import Tensor

from hybrid_attention.masks import Mask, combine_masks
from hybrid_attention.windows import Window, slot_positions


def slot_mask(
    attn_mask: Tensor | None,
    key_padding_mask: Tensor | None,
    window: Window,
    *,
    batch: int,
    heads: int,
    length: int,
    device: torch.device,
    dtype: torch.dtype | None = None,
) -> Mask:
    """The masks of `torch.nn.MultiheadAttention`, read at the key in every slot, and slots without a key hidden.

    Padding costs memory linear in the length; an attn_mask has its square already.

    Args:
        attn_mask: as for `combine_masks`.
        key_padding_mask: as for `combine_masks`.
        window: which keys are seen.
        batch: sequences.
        heads: attention heads.
        length: of the sequences, queries and keys.
        device: of the tokens.
        dtype: of the addition; that of the mask by default.

    Returns:
        Parts of shape (batch or 1, heads or 1, length, min(length, slots)).

    Raises:
        ValueError: as for `combine_masks`.
    """
    visible, addition = window.visible(length, device), None
    for queries, attn, padding in ((length, attn_mask, None), (1, None, key_padding_mask)):
        if attn is None and padding is None:
            continue
        given = combine_masks(
            attn, padding, False, batch=batch, heads=heads, queries=queries, keys=length, device=device, dtype=dtype
        )
        positions = slot_positions(length, window, device)
        kept, added = (None if part is None else _in_slots(part, positions) for part in given)
        if kept is not None:
            visible = kept if visible is None else visible & kept
        if added is not None:
            addition = added if addition is None else addition + added
    return Mask(visible, addition)


def _in_slots(mask: Tensor, positions: Tensor) -> Tensor:
    """Entries of (batch, heads, length or 1, keys) at the positions (length, slots)."""
    if mask.shape[2] == 1:
        return mask[:, :, 0, positions]
    return mask.gather(-1, positions.expand(*mask.shape[:2], -1, -1))
