"""Weights over keys, and the two means of the values that a read-out takes under them."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

LOWEST_EXPONENT = {torch.float32: -80.0, torch.float64: -700.0}
"""Exponents are cut off here: e^−80 is still a normal number in float32, so that no sum of them vanishes."""
_ELEMENTS_AT_ONCE = 2**24


class Prior(ABC):
    """Non-negative weights α_ij of queries i over keys j, as a matrix or as something that acts like one."""

    @abstractmethod
    def mix(self, values: Tensor) -> Tensor:
        """Weighted sum of the values, Σ_j α_ij v_j.

        Args:
            values: (batch, heads, keys, channels).

        Returns:
            (batch, heads, queries, channels).
        """

    @abstractmethod
    def log_mix(self, values: Tensor, beta: Tensor) -> Tensor:
        """Free energy, (1/β_c) log(Σ_j α_ij exp(β_c v_jc) / Σ_j α_ij), for β and values of any size.

        Args:
            values: (batch, heads, keys, channels).
            beta: β > 0, (heads, 1, channels).

        Returns:
            (batch, heads, queries, channels); not defined where a query has no weight at all, and finite there.
        """

    @abstractmethod
    def matrix(self) -> Tensor:
        """α, (batch, heads, queries, keys)."""


class MatrixPrior(Prior):
    """Weights that are there as a matrix.

    Args:
        weights: α, (batch, heads, queries, keys), zero at hidden keys.
    """

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights

    def mix(self, values: Tensor) -> Tensor:
        """One matrix product, in the dtype of the values."""
        return self.weights.to(values.dtype) @ values

    def log_mix(self, values: Tensor, beta: Tensor) -> Tensor:
        """M + log Σ_j α_j exp(max(β (v_j − M), −80)) / β, M the maximum where α_j > 0; float64: −700."""
        weights = self.weights.to(values.dtype)
        batch, heads, keys, channels = values.shape
        rows = max(1, _ELEMENTS_AT_ONCE // max(1, batch * heads * keys * channels))
        parts = weights.split(rows, -2)
        return torch.cat([pairwise_log_mix(part, values.unsqueeze(-3), beta) for part in parts], -2)

    def matrix(self) -> Tensor:
        """The matrix itself."""
        return self.weights


def pairwise_log_mix(weights: Tensor, values: Tensor, beta: Tensor) -> Tensor:
    """`Prior.log_mix` of a few queries, every query, key and channel apart.

    Args:
        weights: α, (batch, heads, queries, keys).
        values: (batch, heads, queries or 1, keys, channels).
        beta: as for `Prior.log_mix`.
    """
    attended = (weights > 0).unsqueeze(-1)
    v, beta = values, beta.unsqueeze(-2)
    top = v.detach().masked_fill(~attended, -torch.inf).amax(-2, keepdim=True)
    top = top.masked_fill(top == -torch.inf, 0.0)
    lowest = LOWEST_EXPONENT[values.dtype]
    exponents = (beta * (v - top)).clamp(min=lowest).masked_fill(~attended, lowest)
    total = weights.sum(-1)[..., None, None]
    share = (weights.unsqueeze(-1) * exponents.exp()).sum(-2, keepdim=True) / total.masked_fill(total == 0, 1.0)
    return (top + share.masked_fill(total == 0, 1.0).log() / beta).squeeze(-2)
