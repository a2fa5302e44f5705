"""Compiled work on as many threads as torch uses."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

_PIECES = 4
"""Each thread takes so many pieces, one after the other, so that none waits long for the last."""


def in_pieces(count: int, work: Callable[[int, int], object]) -> None:
    """Call a function that releases the interpreter lock on consecutive ranges that cover 0 … count.

    Args:
        count: how many items there are.
        work: takes the first item and the one after the last.
    """
    threads = min(torch.get_num_threads(), count)
    if threads <= 1:
        work(0, count)
        return
    pieces = min(count, threads * _PIECES)
    edges = [count * piece // pieces for piece in range(pieces + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))
