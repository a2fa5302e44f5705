"""The random numbers of `classical.random` for compiled functions, bit for bit the same."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import njit

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""What a seed grows by from one number to the next."""


@njit(inline="always", error_model="numpy")
def mix(x: Any) -> Any:
    """SplitMix64's finaliser."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@cache
def product_kernel() -> Any:
    """The compiled function that draws independent spins; it releases the interpreter lock.

    Its arguments are P(s = +1) (models, n) float64, seeds (models,) uint64, the spins (models, count, n) int8 to be
    filled, and the first and last model to work through. Number k n + i of a seed decides spin i of configuration k.
    """

    @njit(nogil=True, error_model="numpy")
    def draw(up: Any, seeds: Any, out: Any, begin: int, end: int) -> None:
        count, n = out.shape[1], out.shape[2]
        for model in range(begin, end):
            counter = seeds[model]
            for k in range(count):
                for i in range(n):
                    bits = mix(counter + GOLDEN * np.uint64(k * n + i + 1)) >> np.uint64(12)
                    u = np.float64(np.int64(bits)) * 2.0**-52 + 2.0**-53
                    out[model, k, i] = np.int8(1) if u < up[model, i] else np.int8(-1)

    return draw
