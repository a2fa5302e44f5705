"""Nested tensors: sequences of different lengths without padding, as PyTorch's own encoder hands them to its layers."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Padded(NamedTuple):
    """Tokens (batch, longest, embed_dim), zero behind the end, and bool (batch, longest), True there."""

    tokens: Tensor
    hidden: Tensor


def require_plain(
    query: Tensor, key: Tensor | None, value: Tensor | None, attn_mask: Tensor | None, key_padding_mask: Tensor | None
) -> None:
    """Check that nested tokens attend to themselves, without masks.

    Args:
        query: nested, unless another is.
        key: None or the query itself.
        value: None or the query itself.
        attn_mask: None.
        key_padding_mask: None.

    Raises:
        ValueError: anything else.
    """
    if not query.is_nested or any(other is not None and other is not query for other in (key, value)):
        raise ValueError(
            "query, key or value is a nested tensor; all three must then be the same one (give padded tensors and a "
            "key_padding_mask for attention between two)"
        )
    for name, mask in (("attn_mask", attn_mask), ("key_padding_mask", key_padding_mask)):
        if mask is not None:
            raise ValueError(f"{name} is given with a nested query; leave it out, or give a padded query")


def pad(tokens: Tensor) -> Padded:
    """Nested tokens with padding behind every sequence.

    Args:
        tokens: nested, with sequences (length, embed_dim).

    Raises:
        ValueError: a nested tensor of another layout than `torch.strided`.
    """
    if tokens.layout != torch.strided:
        raise ValueError(
            f"query is a nested tensor of layout {tokens.layout}; give one of layout torch.strided, or a padded tensor "
            "and a key_padding_mask"
        )
    padded = torch.nested.to_padded_tensor(tokens, 0.0)
    lengths = torch.tensor([len(sequence) for sequence in tokens.unbind()], device=padded.device)
    return Padded(padded, torch.arange(padded.shape[1], device=padded.device) >= lengths.unsqueeze(-1))


def unpad(padded: Padded) -> Tensor:
    """Padded tokens as a nested tensor again.

    Args:
        padded: tokens and where there are none.
    """
    lengths = (~padded.hidden).sum(-1).tolist()
    return torch.nested.as_nested_tensor([row[:n] for row, n in zip(padded.tokens, lengths, strict=True)])
