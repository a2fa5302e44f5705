"""Where the couplings between attention decisions come from.

Every kind is a module that turns the keys' tokens into strictly upper couplings. Kinds that do not look at the tokens
give one matrix for each head, which all sequences and queries share; content couplings give one for each head of each
sequence. Under a window couplings are between slots (`hybrid_attention.windows`), not between positions: all queries
of all sequences still share one matrix for each head, and content couplings give one for every query.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hybrid_attention.windows import Window, gather_slots


class PositionCouplings(nn.Module):
    """One learnable coupling for every head and pair of key positions, zero at the start.

    Args:
        num_heads: number of heads.
        max_length: number of key positions.
    """

    per_sequence = False
    rows: Tensor
    columns: Tensor

    def __init__(self, num_heads: int, max_length: int) -> None:
        super().__init__()
        rows, columns = torch.triu_indices(max_length, max_length, 1)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)
        self.max_length = max_length
        self.values = nn.Parameter(torch.zeros(num_heads, rows.numel()))

    def forward(self, keys: Tensor) -> Tensor:
        """Couplings (heads, keys, keys) for tokens (batch, keys, embed_dim)."""
        full = self.values.new_zeros(self.values.shape[0], self.max_length, self.max_length)
        full = full.index_put((_heads(self.values), self.rows, self.columns), self.values)
        return full[:, : keys.shape[1], : keys.shape[1]]


class RelativeCouplings(nn.Module):
    """One learnable coupling for every head and distance |j − k|, zero at the start.

    Args:
        num_heads: number of heads.
        max_length: number of key positions.
    """

    per_sequence = False

    def __init__(self, num_heads: int, max_length: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(num_heads, max(max_length - 1, 1)))

    def forward(self, keys: Tensor) -> Tensor:
        """Couplings (heads, keys, keys) for tokens (batch, keys, embed_dim)."""
        position = torch.arange(keys.shape[1], device=keys.device)
        distance = (position - position.unsqueeze(-1)).clamp(min=1)
        return self.values[:, distance - 1].triu(1)


class ContentCouplings(nn.Module):
    """Couplings from the keys' own tokens, without effect at the start.

    J_jk = a_j · b_k / √r for j < k,  a = W_a x,  b = W_b x,  W_b = 0 at the start, r = embed_dim / num_heads

    Args:
        embed_dim: width of the tokens.
        num_heads: number of heads.
    """

    per_sequence = True

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.first = nn.Linear(embed_dim, embed_dim, bias=False)
        self.second = nn.Linear(embed_dim, embed_dim, bias=False)
        nn.init.zeros_(self.second.weight)

    def forward(self, keys: Tensor) -> Tensor:
        """Couplings (batch · heads, keys, keys) for tokens (batch, keys, embed_dim), heads fastest."""
        a, b = (
            F.linear(keys, projection.weight.to(keys.dtype))
            .unflatten(-1, (self.num_heads, -1))
            .transpose(1, 2)
            .flatten(0, 1)
            for projection in (self.first, self.second)
        )
        return (a @ b.transpose(-1, -2) * a.shape[-1] ** -0.5).triu(1)


class FixedCouplings(nn.Module):
    """Random couplings that are not trained: the control that asks whether learning them matters.

    J_jk ~ N(0, 1/max_length), so that the couplings' pull on one spin has unit variance.

    Args:
        num_heads: number of heads.
        max_length: number of key positions.
        seed: fixes them; they are saved with the module.
    """

    per_sequence = False
    values: Tensor

    def __init__(self, num_heads: int, max_length: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        values = torch.randn(num_heads, max_length, max_length, generator=generator) * max_length**-0.5
        self.register_buffer("values", values.triu(1))

    def forward(self, keys: Tensor) -> Tensor:
        """Couplings (heads, keys, keys) for tokens (batch, keys, embed_dim)."""
        return self.values[:, : keys.shape[1], : keys.shape[1]]


class NoCouplings(nn.Module):
    """No couplings: every spin decides alone, P(s_j = +1) = σ(2 h_j).

    Args:
        num_heads: number of heads.
    """

    per_sequence = False

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads

    def forward(self, keys: Tensor) -> Tensor:
        """Zeros (heads, keys, keys) for tokens (batch, keys, embed_dim)."""
        return keys.new_zeros(self.num_heads, keys.shape[1], keys.shape[1])


COUPLINGS: dict[str, Callable[[int, int, int, int], nn.Module]] = {
    "position": lambda embed_dim, heads, length, seed: PositionCouplings(heads, length),
    "relative": lambda embed_dim, heads, length, seed: RelativeCouplings(heads, length),
    "content": lambda embed_dim, heads, length, seed: ContentCouplings(embed_dim, heads),
    "none": lambda embed_dim, heads, length, seed: NoCouplings(heads),
    "fixed": lambda embed_dim, heads, length, seed: FixedCouplings(heads, length, seed),
}
"""Kinds by name; each takes (embed_dim, num_heads, max_length, seed)."""


class WindowRelativeCouplings(nn.Module):
    """Couplings between the slots of a window by distance, and a coupling of its own for every pair with a global key.

    The distance of a global key from the others grows from query to query, so that it says nothing that all queries
    could share. All are zero at the start.

    Args:
        num_heads: number of heads.
        window: gives the slots.
    """

    per_sequence = False
    pair: Tensor

    def __init__(self, num_heads: int, window: Window) -> None:
        super().__init__()
        rows, columns = torch.triu_indices(window.slots, window.slots, 1)
        by_distance = max(window.size - 1, 1)
        pair = torch.where(columns < window.size, columns - rows - 1, 0)
        apart = columns >= window.size
        pair[apart] = by_distance + torch.arange(int(apart.sum()))
        which = torch.zeros(window.slots, window.slots, dtype=torch.int64)
        which[rows, columns] = pair
        self.register_buffer("pair", which, persistent=False)
        self.values = nn.Parameter(torch.zeros(num_heads, by_distance + int(apart.sum())))

    def forward(self, keys: Tensor) -> Tensor:
        """Couplings (heads, slots, slots) for as many slots as there are tokens (batch, slots, embed_dim)."""
        slots = keys.shape[1]
        return self.values[:, self.pair[:slots, :slots]].triu(1)


class WindowContentCouplings(ContentCouplings):
    """`ContentCouplings` between the keys in every query's slots; the earlier key of a pair gives a.

    Args:
        embed_dim: width of the tokens.
        num_heads: number of heads.
        window: gives the slots.
    """

    def __init__(self, embed_dim: int, num_heads: int, window: Window) -> None:
        super().__init__(embed_dim, num_heads)
        self.window = window

    def forward(self, keys: Tensor) -> Tensor:
        """Couplings (batch, heads, queries, slots, slots) for tokens (batch, keys, embed_dim)."""
        return self._between(*(gather_slots(x, self.window) for x in self._projected(keys)))

    def of_query(self, keys: Tensor) -> Tensor:
        """Couplings (batch, heads, 1, slots, slots) for the tokens in one query's slots (batch, slots, embed_dim)."""
        return self._between(*(x.unsqueeze(2) for x in self._projected(keys)))

    def _projected(self, keys: Tensor) -> list[Tensor]:
        return [
            F.linear(keys, projection.weight.to(keys.dtype)).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for projection in (self.first, self.second)
        ]

    def _between(self, a: Tensor, b: Tensor) -> Tensor:
        products = b @ a.transpose(-1, -2) * a.shape[-1] ** -0.5  # a later slot in the window is an earlier key
        size = self.window.size
        if a.shape[-2] > size:  # global keys among themselves stand in the order of their positions
            ordered = products.transpose(-1, -2)[..., size:, size:]
            products = torch.cat([products[..., :size], torch.cat([products[..., :size, size:], ordered], -2)], -1)
        return products.triu(1)


def build_couplings(
    kind: str, embed_dim: int, num_heads: int, max_length: int, seed: int, window: Window | None
) -> nn.Module:
    """Couplings of one layer.

    Args:
        kind: a name in `COUPLINGS`.
        embed_dim: width of the tokens.
        num_heads: number of heads.
        max_length: number of key positions, where there is no window.
        seed: fixes "fixed" couplings.
        window: gives the slots, which take the place of positions, or None.
    """
    if window is None:
        return COUPLINGS[kind](embed_dim, num_heads, max_length, seed)
    if kind == "relative":
        return WindowRelativeCouplings(num_heads, window)
    if kind == "content":
        return WindowContentCouplings(embed_dim, num_heads, window)
    return COUPLINGS[kind](embed_dim, num_heads, window.slots, seed)


def _heads(values: Tensor) -> Tensor:
    return torch.arange(values.shape[0], device=values.device).unsqueeze(-1)
