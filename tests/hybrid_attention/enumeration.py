"""Boltzmann statistics the slow way: numpy, float64, one model at a time, every configuration."""

import itertools

import numpy as np


def law(fields, couplings):
    """All configurations (2**n, n) of ±1 and their probabilities, from h (n,) and J, whose upper triangle counts."""
    fields = np.asarray(fields, dtype=np.float64)
    couplings = np.triu(np.asarray(couplings, dtype=np.float64), 1)
    s = np.array(list(itertools.product((1.0, -1.0), repeat=len(fields)))).reshape(2 ** len(fields), len(fields))
    log_weight = s @ fields + ((s @ couplings) * s).sum(1)
    p = np.exp(log_weight - log_weight.max())
    return s, p / p.sum()


def up_probability(fields, couplings):
    """P(s_j = +1), (n,)."""
    s, p = law(fields, couplings)
    return p @ (s > 0)


def mean(fields, couplings):
    """⟨s⟩, (n,)."""
    s, p = law(fields, couplings)
    return p @ s


def gradients(fields, couplings, upstream):
    """Central differences of upstream · ⟨s⟩ with respect to h and the upper triangle of J, right to about 1e-9."""
    fields, couplings = np.array(fields, dtype=np.float64), np.triu(np.array(couplings, dtype=np.float64), 1)
    n, step = len(fields), 1e-5
    by_fields, by_couplings = np.zeros(n), np.zeros((n, n))
    for j in range(n):
        d = np.zeros(n)
        d[j] = step
        by_fields[j] = upstream @ (mean(fields + d, couplings) - mean(fields - d, couplings)) / (2 * step)
        for k in range(j + 1, n):
            d2 = np.zeros((n, n))
            d2[j, k] = step
            by_couplings[j, k] = upstream @ (mean(fields, couplings + d2) - mean(fields, couplings - d2)) / (2 * step)
    return by_fields, by_couplings
