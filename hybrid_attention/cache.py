"""What a layer keeps of the positions so far, so that one more token of generation costs one step."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from hybrid_attention.windows import Window


class Cache(ABC):
    """What a layer of attention keeps between steps.

    Args:
        position: of the next token, which is the number of tokens so far.
    """

    def __init__(self) -> None:
        self.position = 0

    @abstractmethod
    def append(self, token: Tensor, key: Tensor, value: Tensor) -> None:
        """Add one position.

        Args:
            token: (batch, 1, embed_dim).
            key: (batch, heads, 1, head_dim).
            value: (batch, heads, 1, head_dim).
        """


class KeyCache(Cache):
    """Keys, values and tokens that later queries may see: all of them or, under a window, its slots.

    Args:
        window: which keys are seen, or None for all.
    """

    def __init__(self, window: Window | None = None) -> None:
        super().__init__()
        self.window = window
        self._recent: list[Tensor] = []
        self._global: list[Tensor] = []

    def append(self, token: Tensor, key: Tensor, value: Tensor) -> None:
        """Add one position; what has left the window and is not global is forgotten."""
        new = [key, value, token]
        if self.window is None:
            self._recent = _joined(self._recent, new)
        else:  # the newest first, as in slots
            kept = self.window.size - 1
            self._recent = _joined(new, [old[..., :kept, :] for old in self._recent])
            if self.position < self.window.global_keys:
                self._global = _joined(self._global, new)
        self.position += 1

    def seen(self) -> tuple[Tensor, Tensor, Tensor]:
        """Keys, values (batch, heads, keys, head_dim) and tokens (batch, keys, embed_dim) that the last query sees.

        In the order of their positions or, under a window, of its slots.
        """
        if self.window is None or self.position <= self.window.size or not self._global:
            key, value, token = self._recent
            return key, value, token
        left = self.position - self.window.size
        key, value, token = _joined(self._recent, [old[..., :left, :] for old in self._global])
        return key, value, token


class StateCache(Cache):
    """The state of a linear recurrence, whose size does not depend on the length.

    S_i = γ_i S_{i−1} + ψ_i (v_i, 1)ᵀ,   Σ_j w_ij v_j = φ_iᵀ S_i^v / φ_iᵀ S_i^1
    """

    def __init__(self) -> None:
        super().__init__()
        self.newest: tuple[Tensor, Tensor]
        self._state: Tensor | None = None

    def append(self, token: Tensor, key: Tensor, value: Tensor) -> None:
        """Take note of one position; `update` adds it to the state."""
        self.newest = (key, value)
        self.position += 1

    def update(self, query: Tensor, key: Tensor, kept: Tensor | None, value: Tensor) -> Tensor:
        """Add one position to the state and read it.

        Args:
            query: φ, (batch, heads, 1, features).
            key: ψ, (batch, heads, 1, features).
            kept: γ, (batch, heads, 1, 1), or None for 1.
            value: (batch, heads, 1, channels).

        Returns:
            Mean of the values so far, (batch, heads, 1, channels).
        """
        wide = torch.cat([value.to(key.dtype), torch.ones_like(key[..., :1])], -1)
        added = key.transpose(-1, -2) @ wide
        if self._state is not None:
            added = added + (self._state if kept is None else kept * self._state)
        self._state = added
        sums = query @ added
        total = sums[..., -1:]
        return (sums[..., :-1] / total.masked_fill(total == 0, 1.0)).to(value.dtype)


def _joined(first: list[Tensor], second: list[Tensor]) -> list[Tensor]:
    if not first or not second:
        return first or second
    return [torch.cat(pair, -2) for pair in zip(first, second, strict=True)]
