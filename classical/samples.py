"""Weighted spin samples and their moments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Samples:
    """Spin configurations with weights, for a batch of Ising models.

    ⟨f⟩ ≈ Σ_r w_r f(s_r),  Σ_r w_r = 1

    Devices that report each distinct configuration once with the number of times it occurred fit in as they are:
    the weight is occurrences divided by shots. Rows of weight zero may pad models to a common length.

    Args:
        spins: (groups, models, rows, spins) int8, values −1 and +1.
        weights: (groups, models, rows), not negative, sum 1 over rows.
        shots: how many configurations were drawn for each model, or None where the weights are probabilities.
        diagnostics: what the sampler wants to say about how they came about.

    Raises:
        ValueError: shapes that do not fit together or spins that are not int8.
    """

    spins: Tensor
    weights: Tensor
    shots: int | None
    diagnostics: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.spins.dtype != torch.int8:
            raise ValueError(f"spins has dtype {self.spins.dtype}; it must be torch.int8")
        if self.spins.ndim != 4 or self.weights.shape != self.spins.shape[:3]:
            raise ValueError(
                f"spins has shape {tuple(self.spins.shape)} and weights {tuple(self.weights.shape)}; they must be "
                "(groups, models, rows, spins) and (groups, models, rows)"
            )

    def mean(self) -> Tensor:
        """Weighted mean ⟨s⟩, (groups, models, spins), in the dtype of the weights."""
        return torch.einsum("gmr,gmri->gmi", self.weights, self.spins.to(self.weights.dtype))

    def up_probability(self) -> Tensor:
        """Share of s_j = +1, (groups, models, spins), summed over those rows alone."""
        return torch.einsum("gmr,gmri->gmi", self.weights, (self.spins > 0).to(self.weights.dtype))

    def second_moment(self) -> Tensor:
        """Weighted ⟨s sᵀ⟩, (groups, models, spins, spins)."""
        s = self.spins.to(self.weights.dtype)
        return (s * self.weights.unsqueeze(-1)).transpose(-1, -2) @ s

    def covariance_scale(self) -> float:
        """Bessel's factor R/(R−1) for a covariance from R counted shots; 1 for probability weights.

        Raises:
            ValueError: fewer than two shots.
        """
        if self.shots is None:
            return 1.0
        if self.shots < 2:
            raise ValueError(f"shots is {self.shots}; a covariance takes at least 2")
        return self.shots / (self.shots - 1)

    def frequencies(self) -> Tensor:
        """Weight of every joint configuration, (groups, models, 2**spins), bit i = spin i, bit 0 = +1."""
        spins = self.spins.shape[-1]
        powers = 2 ** torch.arange(spins, device=self.spins.device)
        index = ((self.spins < 0).long() * powers).sum(-1)
        total = torch.zeros(*self.weights.shape[:2], 2**spins, dtype=self.weights.dtype, device=self.weights.device)
        return total.scatter_add_(-1, index, self.weights)
