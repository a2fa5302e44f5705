"""From the probability that each key is attended to the numbers that multiply the values."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

EPSILON = 1e-12
"""Keeps a query that attends to nothing at all at zero; far below one count in any number of shots."""


def mean_readout(attended: Tensor) -> Tensor:
    """Average over the attended keys, a_j / (Σ_j a_j + ε).

    Args:
        attended: a, (…, keys), the probability that each key is attended.

    Returns:
        (…, keys): the numbers that multiply the values.
    """
    return attended / (attended.sum(-1, keepdim=True) + EPSILON)


def sum_readout(attended: Tensor) -> Tensor:
    """Sum over the attended keys, a_j.

    Args:
        attended: a, (…, keys), the probability that each key is attended.

    Returns:
        (…, keys): the numbers that multiply the values.
    """
    return attended


READOUTS: dict[str, Callable[[Tensor], Tensor]] = {"mean": mean_readout, "sum": sum_readout}
