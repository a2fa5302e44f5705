"""Compiled zero-temperature dynamics: a spin that turns corrects the local fields of all others."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import njit


@cache
def descent_kernel() -> Any:
    """The compiled function; it releases the interpreter lock.

    Its arguments are fields (models, n), the local fields that count as zero (models, n), couplings (groups, n, n),
    symmetric, all float64, spins (chains, n) int8, which are turned in place, sweeps (chains,) int64 and settled
    (chains,) bool to be filled, chains per group, chains per model, the most sweeps, and the first and last chain.
    """

    @njit(nogil=True, error_model="numpy")
    def descent(
        fields: Any,
        dead: Any,
        couplings: Any,
        spins: Any,
        sweeps: Any,
        settled: Any,
        per_group: int,
        per_model: int,
        most: int,
        begin: int,
        end: int,
    ) -> None:
        n = fields.shape[1]
        local = np.empty(n)
        for chain in range(begin, end):
            J, model, s = couplings[chain // per_group], chain // per_model, spins[chain]
            moved = True
            while moved and sweeps[chain] < most:
                sweeps[chain] += 1
                moved = False
                for i in range(n):  # once a sweep: rounding errors do not add up
                    local[i] = fields[model, i]
                for k in range(n):
                    for i in range(n):
                        local[i] += J[k, i] * s[k]
                for i in range(n):
                    if s[i] * local[i] < -dead[model, i]:
                        moved = True
                        s[i] = -s[i]
                        for k in range(n):
                            local[k] += 2 * J[i, k] * s[i]
            settled[chain] = not moved

    return descent
