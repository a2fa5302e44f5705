"""PyTorch's attention masks reduced to two things: which keys a query sees, and what is added to its fields."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LOWEST_ADDITION = -8192.0
"""Additions of this and below hide a key: −1e4, −1e9 and a dtype's lowest number are what others write for −∞. As a
field, such a number would pin a spin to −1, which pushes on the spins it is coupled to, and round their fields away."""
HIGHEST_ADDITION = 1e6


class Mask(NamedTuple):
    """Visible keys, bool (batch or 1, heads or 1, queries, keys), and an addition to the fields of the same shape."""

    visible: Tensor | None
    addition: Tensor | None


def combine_masks(
    attn_mask: Tensor | None,
    key_padding_mask: Tensor | None,
    is_causal: bool,
    *,
    batch: int,
    heads: int,
    queries: int,
    keys: int,
    device: torch.device,
    dtype: torch.dtype | None = None,
) -> Mask:
    """Combine the masks of `torch.nn.MultiheadAttention`.

    A key is hidden where any of the masks hides it, and additions add up.

    Args:
        attn_mask: (queries, keys) or (batch · heads, queries, keys), heads fastest; bool with True for hidden keys, or
            a floating-point addition with −∞, or anything up to −8192, for hidden keys.
        key_padding_mask: (batch, keys), likewise.
        is_causal: query i sees keys 0 … i only, whatever the numbers of queries and keys.
        batch: sequences.
        heads: attention heads.
        queries: queries in each sequence.
        keys: keys in each sequence.
        device: of the tokens, where the masks must be and a causal mask is put.
        dtype: of the addition; that of the mask by default.

    Raises:
        ValueError: a mask that is no tensor, of the wrong shape, on another device or of an integer dtype, or one that
            adds NaN or a number above 1e6.
    """
    visible: Tensor | None = None
    addition: Tensor | None = None
    for name, mask in (("attn_mask", attn_mask), ("key_padding_mask", key_padding_mask)):
        if mask is not None:
            _require_kind(mask, name, device)
    if attn_mask is not None:
        if attn_mask.shape == (queries, keys):
            shaped = attn_mask[None, None]
        elif attn_mask.shape == (batch * heads, queries, keys):
            shaped = attn_mask.unflatten(0, (batch, heads))
        else:
            raise ValueError(
                f"attn_mask has shape {tuple(attn_mask.shape)}; it must be (queries, keys) = {(queries, keys)} or "
                f"(batch * heads, queries, keys) = {(batch * heads, queries, keys)}"
            )
        visible, addition = _read(shaped, "attn_mask", dtype)
    if key_padding_mask is not None:
        if key_padding_mask.shape != (batch, keys):
            raise ValueError(
                f"key_padding_mask has shape {tuple(key_padding_mask.shape)}; "
                f"it must be (batch, keys) = {(batch, keys)}"
            )
        kept, added = _read(key_padding_mask[:, None, None, :].expand(-1, 1, queries, -1), "key_padding_mask", dtype)
        visible = kept if visible is None else visible & kept
        if added is not None:
            addition = added if addition is None else addition + added
    if is_causal:
        past = torch.ones(queries, keys, dtype=torch.bool, device=device).tril()[None, None]
        visible = past if visible is None else visible & past
    return Mask(visible, addition)


def _require_kind(mask: Tensor, name: str, device: torch.device) -> None:
    fix = "give torch.bool (True = hidden) or a floating-point addition"
    if not isinstance(mask, Tensor):
        raise ValueError(f"{name} is a {type(mask).__name__}; {fix}, as a torch tensor")
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise ValueError(f"{name} has dtype {mask.dtype}; {fix}")
    if mask.device != device:
        raise ValueError(f"{name} is on {mask.device} but the query on {device}; move it there")


def _read(mask: Tensor, name: str, dtype: torch.dtype | None) -> tuple[Tensor, Tensor | None]:
    """Visible keys and a finite addition, None where there is nothing to add."""
    if mask.dtype == torch.bool:
        return ~mask, None
    addition = mask if dtype is None else mask.to(dtype)
    hidden = addition <= LOWEST_ADDITION
    addition = addition.masked_fill(hidden, 0.0)
    if not bool((addition <= HIGHEST_ADDITION).all()):
        raise ValueError(
            f"{name} contains NaN or a number above {HIGHEST_ADDITION:g}; use finite numbers, and -inf for hidden keys"
        )
    return ~hidden, addition if bool(addition.any()) else None
