"""Which sequences are held out, decided by the sequences themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

HELD_OUT = 10
"""One sequence in this many is for validation."""
_TRIED = 20_000


def is_held_out(sequences: np.ndarray) -> np.ndarray:
    """Whether each sequence is for validation: a fixed hash of its tokens, so that no seed moves one across.

    Args:
        sequences: tokens, int64 (size, length).

    Returns:
        bool (size,), true for about a tenth of all sequences.
    """
    state = np.zeros(len(sequences), dtype=np.uint64)
    for column in sequences.T.astype(np.uint64):
        state = (state ^ column) * np.uint64(0x100000001B3) + np.uint64(0x9E3779B97F4A7C15)
        state ^= state >> np.uint64(29)
    return state % np.uint64(HELD_OUT) == 0


def has_both_sides(draw: Callable[[int, np.random.Generator], np.ndarray]) -> bool:
    """Whether 20,000 draws of a task hold a sequence to train on and one to validate with.

    Args:
        draw: gives sequences, int64 (size, length), from a size and a generator.
    """
    drawn = is_held_out(draw(_TRIED, np.random.default_rng(0)))
    return bool(drawn.any() and not drawn.all())
