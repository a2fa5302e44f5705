"""Compiled heat-bath sweeps: some dozens of chains side by side, their spins and local fields in the processor's cache.

All chains of a group share its couplings, so that one number of J goes with a row of chains.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import njit

from classical.random_kernel import GOLDEN, mix

CHAINS_AT_ONCE = 64

_LOG2_E = np.float32(1.4426950408889634)
_LARGEST = np.float32(80.0)


@njit(inline="always", error_model="numpy")
def _exp(x: Any) -> Any:
    """e^x for |x| ≤ 80 to 2·10⁻⁷: 2^integer by its bits, times 2^rest by its Taylor series (|rest| ≤ ½)."""
    y = x * _LOG2_E
    whole = np.floor(y + np.float32(0.5))
    z = (y - whole) * np.float32(0.6931471805599453)
    series = np.float32(1 / 720) + z * np.float32(1 / 5040)
    series = np.float32(1 / 120) + z * series
    series = np.float32(1 / 24) + z * series
    series = np.float32(1 / 6) + z * series
    series = np.float32(0.5) + z * series
    series = np.float32(1) + z * (np.float32(1) + z * series)
    return series * np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)


@cache
def sweep_kernel() -> Any:
    """The compiled function; it releases the interpreter lock.

    Its arguments are fields (chains, n) float32, couplings (groups, n, n) float32, symmetric, seeds (chains,) uint64,
    spins (chains, n) int8 to start from, how many sweeps come before the first that is kept, how many sweeps lie
    between kept ones, the kept spins (chains, kept, n) int8 to be filled, chains per group, and the first and last of
    the blocks of `CHAINS_AT_ONCE` chains to work through; a group begins a new block.
    """

    @njit(nogil=True, error_model="numpy", fastmath={"contract"})
    def sweep(
        fields: Any,
        couplings: Any,
        seeds: Any,
        start: Any,
        before: int,
        between: int,
        out: Any,
        per_group: int,
        begin: int,
        end: int,
    ) -> None:
        n, kept = fields.shape[1], out.shape[1]
        s = np.empty((n, CHAINS_AT_ONCE), dtype=np.float32)
        local = np.empty((n, CHAINS_AT_ONCE), dtype=np.float32)
        change = np.empty(CHAINS_AT_ONCE, dtype=np.float32)
        uniform = np.empty(CHAINS_AT_ONCE, dtype=np.float32)
        counter = np.empty(CHAINS_AT_ONCE, dtype=np.uint64)
        blocks = (per_group + CHAINS_AT_ONCE - 1) // CHAINS_AT_ONCE
        for block in range(begin, end):
            group = block // blocks
            first = group * per_group + (block - group * blocks) * CHAINS_AT_ONCE
            width = min(CHAINS_AT_ONCE, (group + 1) * per_group - first)
            J = couplings[group]
            for i in range(n):
                for c in range(width):
                    s[i, c] = start[first + c, i]
            for c in range(width):
                counter[c] = seeds[first + c]
            due = before
            row = 0
            while row < kept:
                for i in range(n):  # one matrix product a sweep: rounding errors do not add up
                    for c in range(width):
                        local[i, c] = fields[first + c, i]
                    for k in range(n):
                        coupling = J[i, k]
                        for c in range(width):
                            local[i, c] += coupling * s[k, c]
                for i in range(n):
                    for c in range(width):
                        counter[c] += GOLDEN
                        bits = mix(counter[c]) >> np.uint64(41)
                        uniform[c] = np.float32(2.0**-23) * (np.float32(np.int32(bits)) + np.float32(0.5))
                    for c in range(width):
                        x = np.float32(-2) * local[i, c]
                        x = x if x < _LARGEST else _LARGEST
                        x = x if x > -_LARGEST else -_LARGEST
                        up = uniform[c] * (np.float32(1) + _exp(x)) < np.float32(1)
                        new = np.float32(1) if up else np.float32(-1)
                        change[c] = new - s[i, c]
                        s[i, c] = new
                    for k in range(i + 1, n):
                        coupling = J[i, k]
                        for c in range(width):
                            local[k, c] += coupling * change[c]
                if due == 0:
                    for c in range(width):
                        for i in range(n):
                            out[first + c, row, i] = np.int8(s[i, c])
                    row += 1
                    due = between
                due -= 1

    return sweep
