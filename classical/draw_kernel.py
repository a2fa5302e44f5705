"""Compiled perfect samples from a bilinear form: first one half of the spins, then the other given it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import njit

from classical.random_kernel import GOLDEN, mix


@cache
def draw_kernel() -> Any:
    """The compiled function; it releases the interpreter lock.

    Its arguments are the weights of the first half (models, A) float64; C (groups, A, B) and V (models, B), of one
    floating-point type; both halves' configurations (A, n_A) and (B, n_B) int8; seeds (models,) uint64; the spins
    (models, shots, n_A + n_B) int8 to be filled; models per group; and the first and last model to work through.
    Number r of a seed decides the first half of shot r, and number shots + r the second.
    """

    @njit(inline="always", error_model="numpy")
    def uniform(seed: Any, number: Any) -> Any:
        bits = mix(seed + GOLDEN * np.uint64(number)) >> np.uint64(12)
        return np.float64(np.int64(bits)) * 2.0**-52 + 2.0**-53

    @njit(inline="always", error_model="numpy")
    def first_at_least(cumulative: Any, value: Any) -> Any:
        low, high = 0, len(cumulative) - 1
        while low < high:
            middle = (low + high) // 2
            if cumulative[middle] < value:
                low = middle + 1
            else:
                high = middle
        return low

    @njit(nogil=True, error_model="numpy")
    def draw(
        weight_a: Any,
        c: Any,
        v: Any,
        of_a: Any,
        of_b: Any,
        seeds: Any,
        out: Any,
        per_group: int,
        begin: int,
        end: int,
    ) -> None:
        count_a, count_b = c.shape[1], c.shape[2]
        n_a, n_b, shots = of_a.shape[1], of_b.shape[1], out.shape[1]
        cumulative_a = np.empty(count_a)
        cumulative_b = np.empty((count_a, count_b))
        known = np.empty(count_a, dtype=np.bool_)
        for model in range(begin, end):
            group, seed = model // per_group, seeds[model]
            known[:] = False
            total = 0.0
            for a in range(count_a):
                total += weight_a[model, a]
                cumulative_a[a] = total
            for r in range(shots):
                a = first_at_least(cumulative_a, uniform(seed, r + 1) * total)
                own = cumulative_b[a]
                if not known[a]:
                    known[a] = True
                    running = 0.0
                    for b in range(count_b):
                        running += np.float64(c[group, a, b] * v[model, b])
                        own[b] = running
                b = first_at_least(own, uniform(seed, shots + r + 1) * own[count_b - 1])
                for i in range(n_a):
                    out[model, r, i] = of_a[a, i]
                for i in range(n_b):
                    out[model, r, n_a + i] = of_b[b, i]

    return draw
