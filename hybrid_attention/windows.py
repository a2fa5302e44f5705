"""Windows: a query sees its last few keys and a few global ones, so that cost grows with length, not with its square.

The keys of a query stand in slots. Slot s < w holds the key s positions back (slot 0 is the query's own), slot w + m
the global key m. Query i sees exactly the slots s ≤ i: a global key gets its own slot once it has left the window.
Scores and sums are products of blocks of queries with the keys within reach, of which a diagonal band is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_SMALLEST_BLOCK = 16


@dataclass(frozen=True)
class Window:
    """Which keys a query sees: its last `size` ones, itself included, and the first `global_keys` of the sequence.

    Args:
        size: w, at least 1.
        global_keys: g, at least 0.

    Raises:
        ValueError: numbers below these.
    """

    size: int
    global_keys: int = 0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"window is {self.size}; it must be at least 1")
        if self.global_keys < 0:
            raise ValueError(f"global_keys is {self.global_keys}; it must be at least 0")

    @property
    def slots(self) -> int:
        """Most keys that a query sees, w + g."""
        return self.size + self.global_keys

    def within(self, length: int) -> Window:
        """The same for sequences of some length, without slots that none of their queries fills.

        Args:
            length: of the longest sequence.
        """
        size = min(self.size, length)
        return Window(size, min(self.global_keys, length - size))

    def positions(self, query: int) -> list[int]:
        """Positions of the keys that a query sees, slot by slot.

        Args:
            query: its position.
        """
        seen = min(query + 1, self.slots)
        return [query - slot if slot < self.size else slot - self.size for slot in range(seen)]

    def visible(self, length: int, device: torch.device | None = None) -> Tensor | None:
        """Slots that hold a key, bool (1, 1, queries, slots), or None where all do.

        Args:
            length: of the sequences.
            device: where to put it.
        """
        filled = min(length, self.slots)
        if filled == 1:
            return None
        return torch.ones(length, filled, dtype=torch.bool, device=device).tril()[None, None]


def slot_scores(queries: Tensor, keys: Tensor, window: Window) -> Tensor:
    """Scalar product of every query with the key in each of its slots, 0 for slots without a key.

    Args:
        queries: (batch, heads, length, channels).
        keys: (batch, heads, length, channels).
        window: which keys are seen.

    Returns:
        (batch, heads, length, min(length, slots)).
    """
    length, fitted = queries.shape[2], window.within(queries.shape[2])
    block = max(fitted.size, min(_SMALLEST_BLOCK, length))
    products = _blocks(queries, block) @ _reach(keys, block, fitted.size).transpose(-1, -2)
    scores = _Band.apply(products, fitted.size).flatten(2, 3)[:, :, :length]
    if fitted.global_keys == 0:
        return scores
    distant = queries @ keys[:, :, : fitted.global_keys].transpose(-1, -2)
    return torch.cat([scores, _left_window(distant, fitted)], -1)


def slot_mix(weights: Tensor, values: Tensor, window: Window) -> Tensor:
    """Sum of the values in every query's slots, Σ_s w_is v_key(i, s).

    Args:
        weights: (batch, heads, length, min(length, slots)), 0 for slots without a key.
        values: (batch, heads, length, channels).
        window: which keys are seen.

    Returns:
        (batch, heads, length, channels).
    """
    length, fitted = values.shape[2], window.within(values.shape[2])
    block = max(fitted.size, min(_SMALLEST_BLOCK, length))
    band = _blocks(weights[..., : fitted.size], block)
    mixed = (_Unband.apply(band, block + fitted.size - 1) @ _reach(values, block, fitted.size)).flatten(2, 3)
    mixed = mixed[:, :, :length]
    if fitted.global_keys == 0:
        return mixed
    return mixed + weights[..., fitted.size :] @ values[:, :, : fitted.global_keys]


def gather_slots(x: Tensor, window: Window) -> Tensor:
    """What stands in every query's slots; 0 in slots without a key.

    Args:
        x: (…, length, channels), something for every position.
        window: which keys are seen.

    Returns:
        (…, length, min(length, slots), channels), a copy.
    """
    length, fitted = x.shape[-2], window.within(x.shape[-2])
    padded = F.pad(x, (0, 0, fitted.size - 1, 0))
    parts = [padded.unfold(-2, fitted.size, 1).transpose(-1, -2).flip(-2)]
    if fitted.global_keys:
        distant = x[..., None, : fitted.global_keys, :].expand(*x.shape[:-2], length, -1, -1)
        parts.append(_left_window(distant, fitted, 1))
    return torch.cat(parts, -2)


def slot_positions(length: int, window: Window, device: torch.device | None = None) -> Tensor:
    """Position of the key in every query's slots, int64 (length, min(length, slots)); 0 in slots without a key.

    Args:
        length: of the sequences.
        window: which keys are seen.
        device: where to put it.
    """
    fitted = window.within(length)
    query = torch.arange(length, device=device).unsqueeze(-1)
    slot = torch.arange(fitted.slots, device=device)
    position = torch.where(slot < fitted.size, query - slot, slot - fitted.size)
    return position.masked_fill(slot > query, 0)


def _left_window(distant: Tensor, window: Window, trailing: int = 0) -> Tensor:
    """Zero for global keys that are still inside the window or ahead; (…, length, global keys, trailing axes)."""
    columns = distant.ndim - 1 - trailing
    length, count = distant.shape[columns - 1], distant.shape[columns]
    query = torch.arange(length, device=distant.device).unsqueeze(-1)
    hidden = window.size + torch.arange(count, device=distant.device) > query
    return distant.masked_fill(hidden.view(*hidden.shape, *[1] * trailing), 0.0)


def _blocks(x: Tensor, block: int) -> Tensor:
    """Queries in blocks, (batch, heads, blocks, block, channels); zeros fill the last one."""
    missing = -x.shape[2] % block
    return (F.pad(x, (0, 0, 0, missing)) if missing else x).unflatten(2, (-1, block))


def _reach(keys: Tensor, block: int, size: int) -> Tensor:
    """Keys that some query of a block sees, last one first, (batch, heads, blocks, block + size − 1, channels)."""
    own = _blocks(keys, block)
    before = F.pad(own[:, :, :-1, block - size + 1 :], (0, 0, 0, 0, 1, 0))
    return torch.cat([before, own], 3).flip(3)


class _Band(torch.autograd.Function):
    """Query r of a block (…, rows, columns) sees the columns from rows − 1 − r on: these `size` columns."""

    @staticmethod
    def forward(ctx: Any, products: Tensor, size: int) -> Tensor:
        ctx.columns = products.shape[-1]
        return _diagonals(products.contiguous(), size).contiguous()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        return _Unband.apply(upstream, ctx.columns), None


class _Unband(torch.autograd.Function):
    """The other way: a band back in its place among zeros, which is also the derivative of `_Band`."""

    @staticmethod
    def forward(ctx: Any, band: Tensor, columns: int) -> Tensor:
        ctx.size = band.shape[-1]
        products = band.new_zeros(*band.shape[:-1], columns)
        _diagonals(products, ctx.size).copy_(band)
        return products

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        return _Band.apply(upstream, ctx.size), None


def _diagonals(products: Tensor, size: int) -> Tensor:
    """A view of the band."""
    rows, columns = products.shape[-2:]
    *strides, _, _ = products.stride()
    return products.as_strided(
        (*products.shape[:-1], size), (*strides, columns - 1, 1), products.storage_offset() + rows - 1
    )
