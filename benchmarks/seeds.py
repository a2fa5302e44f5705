"""Means over seeds with their standard errors."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def mean_and_error(values: Sequence[float]) -> str:
    """Mean ± standard error."""
    return f"{statistics.mean(values):.4f} ± {_error(values):.4f}"


def paired(values: Sequence[float], reference: Sequence[float]) -> str:
    """Mean difference ± standard error, seed by seed, so that what a seed does to both drops out."""
    differences = [value - own for value, own in zip(values, reference, strict=True)]
    return f"{statistics.mean(differences):+.4f} ± {_error(differences):.4f}"


def _error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
