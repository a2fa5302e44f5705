"""Statistical verdicts on samples."""

from __future__ import annotations

import numpy as np
from scipy import stats
from torch import Tensor

from classical import Samples

LEAST_EXPECTED = 5.0


def chi_squared_p(samples: Samples, probabilities: Tensor) -> float:
    """Probability of deviations at least as large as these, were the samples drawn from these laws.

    χ² = Σ (observed − expected)² / expected over the joint configurations of every model; configurations expected
    fewer than five times are counted together.

    Args:
        samples: independent counted samples, (groups, models, rows, spins).
        probabilities: (groups, models, 2**spins), bit i = spin i, bit 0 = +1.
    """
    assert samples.shots is not None, "a χ² test takes counted samples"
    observed = np.rint(samples.frequencies().double().numpy() * samples.shots)
    expected = probabilities.double().numpy() * samples.shots
    assert observed.shape == expected.shape, f"{observed.shape} counts against {expected.shape} probabilities"
    statistic, degrees = 0.0, 0
    for o, e in zip(observed.reshape(-1, observed.shape[-1]), expected.reshape(-1, expected.shape[-1]), strict=True):
        o, e = _pooled(o, e)
        statistic += float(((o - e) ** 2 / e).sum())
        degrees += len(e) - 1
    assert degrees > 0, "no configuration is expected often enough to be tested"
    return float(stats.chi2.sf(statistic, degrees))


def _pooled(observed: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rare configurations as one bin, which joins the rarest of the others where it stays too small."""
    order = np.argsort(expected)
    first = int(np.searchsorted(np.cumsum(expected[order]), LEAST_EXPECTED)) + 1
    first = max(first, int((expected < LEAST_EXPECTED).sum()))
    rare, common = order[:first], order[first:]
    return (
        np.append(observed[common], observed[rare].sum()),
        np.append(expected[common], expected[rare].sum()),
    )
