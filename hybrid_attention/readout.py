"""From the probability that each key is attended to the numbers that multiply the values."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

EPSILON = 1e-12
"""Keeps a query that attends to nothing at all at zero; far below one count in any number of shots."""


def mean_readout(attended: Tensor) -> Tensor:
    """Average over the attended keys, a_j / (Σ_j a_j + ε), and exactly zero, gradient included, where Σ_j a_j = 0.

    Samples may leave a query without any attended key. The slope there is 1/ε, which turns the rounding of a covariance
    that should vanish into an enormous gradient.

    Args:
        attended: a, (…, keys), the probability that each key is attended.

    Returns:
        (…, keys): the numbers that multiply the values.
    """
    total = attended.sum(-1, keepdim=True)
    return (attended / (total + EPSILON)).masked_fill(total == 0, 0.0)


def sum_readout(attended: Tensor) -> Tensor:
    """Sum over the attended keys, a_j.

    Args:
        attended: a, (…, keys), the probability that each key is attended.

    Returns:
        (…, keys): the numbers that multiply the values.
    """
    return attended


READOUTS: dict[str, Callable[[Tensor], Tensor]] = {"mean": mean_readout, "sum": sum_readout}
"""Read-outs that are a weighted sum of the values."""

FREE_ENERGY = "free-energy"
"""The read-out that is not (`hybrid_attention.free_energy`); its weights are those of "mean"."""


def weighting(readout: str, known: tuple[str, ...] = (*READOUTS, FREE_ENERGY)) -> Callable[[Tensor], Tensor]:
    """From probabilities to weights, for a read-out by name.

    Args:
        readout: the name.
        known: names that are allowed.

    Raises:
        ValueError: another name; lists those there are.
    """
    if readout not in known:
        raise ValueError(f"readout is {readout!r}; use one of {', '.join(known)}")
    return READOUTS.get(readout, mean_readout)
