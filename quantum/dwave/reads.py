"""Reads in submissions of their own, each with another choice of spins to turn over.

A spin-reversal transform takes s_j → g_j s_j, h_j → g_j h_j, J_jk → g_j g_k J_jk, and a flux bias with its spin. It
changes no energy, and averages over errors that do not turn over with it. Whole chains are turned, so that what holds
them together stays ferromagnetic.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from classical.random import derive_seeds, uniforms

_GAUGES = 17
"""Label that sets these random numbers apart from others of the same seed."""


def split_reads(shots: int, most: int, parts: int) -> list[int]:
    """Reads of every submission, as equal as they can be and none of them empty.

    Args:
        shots: in all.
        most: that one submission takes.
        parts: how many submissions there are at least, where there are shots enough.
    """
    count = min(shots, max(parts, -(-shots // most)))
    return [shots // count + (part < shots % count) for part in range(count)]


def spin_reversals(seeds: Tensor, part: int, spins: int) -> NDArray[np.int8]:
    """g of one submission's models, (models, spins), −1 where a spin is turned over.

    Args:
        seeds: of the models, (models,).
        part: which of their submissions.
        spins: how many.
    """
    numbers = uniforms(derive_seeds(seeds, _GAUGES, part), spins).numpy()
    gauge: NDArray[np.int8] = np.where(numbers < 0.5, -1, 1).astype(np.int8)
    return gauge


def no_reversal(models: int, spins: int) -> NDArray[np.int8]:
    """g where none is turned over.

    Args:
        models: how many.
        spins: of each.
    """
    return np.ones((models, spins), dtype=np.int8)
