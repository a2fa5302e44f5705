"""Reads in submissions of their own, each with another choice of spins to turn over.

A spin-reversal transform takes s_j → g_j s_j, h_j → g_j h_j, J_jk → g_j g_k J_jk, and a flux bias with its spin. It
changes no energy, and averages over errors that do not turn over with it. Whole chains are turned, so that what holds
them together stays ferromagnetic.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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


def spin_reversal(seed: int, part: int, spins: int) -> NDArray[np.int8]:
    """g of one model's submission, (1, spins), −1 where a spin is turned over.

    Args:
        seed: of the model.
        part: which of its submissions.
        spins: how many.
    """
    numbers = uniforms(derive_seeds(seed, _GAUGES, part), spins).numpy()
    gauge: NDArray[np.int8] = np.where(numbers < 0.5, -1, 1).astype(np.int8)[None]
    return gauge


def no_reversal(spins: int) -> NDArray[np.int8]:
    """g where none is turned over.

    Args:
        spins: how many.
    """
    return np.ones((1, spins), dtype=np.int8)
