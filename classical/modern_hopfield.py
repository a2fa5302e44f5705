"""Continuous Hopfield networks, whose update is softmax attention.

    E(ξ) = −(1/β) log Σ_j exp(β x_j·ξ) + ½|ξ|² + (1/β) log N + ½ max_j |x_j|²

Few patterns far apart are each a minimum; patterns that are close for their β share one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Recall(NamedTuple):
    """Where updates of continuous states have led.

    Args:
        state: (…, states, width).
        updates: how many each state took until it stood still, (…, states) int64.
        settled: whether it did, (…, states) bool.
    """

    state: Tensor
    updates: Tensor
    settled: Tensor


@dataclass(frozen=True, eq=False)
class ContinuousHopfield:
    """Patterns of real numbers, retrieved by descending a log-sum-exp energy.

    E(ξ) = −(1/β) log Σ_j exp(β x_j·ξ) + ½|ξ|² + (1/β) log N + ½ max_j |x_j|²

    Its constants make it non-negative. With patterns as keys and values and a query as the state, one update at
    β = 1/√d is softmax attention. Differentiable.

    Args:
        patterns: x, (…, patterns, width), float32 or float64; their scale sets that of β.
        beta: inverse temperature β, above 0; None for 1/√width.

    Raises:
        ValueError: patterns of another shape or dtype, or beta not above 0.

    Reference:
        H. Ramsauer et al., "Hopfield networks is all you need", ICLR 2021, arXiv:2008.02217.
    """

    patterns: Tensor
    beta: float | None = None

    def __post_init__(self) -> None:
        patterns = self.patterns
        if not isinstance(patterns, Tensor) or patterns.dtype not in (torch.float32, torch.float64):
            kind = patterns.dtype if isinstance(patterns, Tensor) else type(patterns).__name__
            raise ValueError(f"patterns is {kind}; pass a tensor of torch.float32 or torch.float64")
        if patterns.ndim < 2 or 0 in patterns.shape[-2:]:
            raise ValueError(
                f"patterns has shape {tuple(patterns.shape)}; it must be (…, patterns, width), each at least 1"
            )
        if self.beta is not None and not (self.beta > 0 and math.isfinite(self.beta)):
            raise ValueError(f"beta is {self.beta!r}; give an inverse temperature above 0, or None for 1/√width")

    @property
    def inverse_temperature(self) -> float:
        """β."""
        return self.patterns.shape[-1] ** -0.5 if self.beta is None else self.beta

    def weights(self, state: Tensor) -> Tensor:
        """How much each pattern has in the update of a state, softmax_j(β x_j·ξ).

        Args:
            state: ξ, (…, states, width).

        Returns:
            (…, states, patterns), sum 1 over patterns.

        Raises:
            ValueError: states of another width or dtype.
        """
        return torch.softmax(self._exponents(state), -1)

    def update(self, state: Tensor) -> Tensor:
        """One step downhill, ξ ← Σ_j softmax_j(β x_j·ξ) x_j; the energy never rises.

        Args:
            state: ξ, (…, states, width).

        Returns:
            (…, states, width).

        Raises:
            ValueError: states of another width or dtype.
        """
        return self.weights(state) @ self.patterns

    def energy(self, state: Tensor) -> Tensor:
        """E(ξ), not negative.

        Args:
            state: ξ, (…, states, width).

        Returns:
            (…, states).

        Raises:
            ValueError: states of another width or dtype.
        """
        beta = self.inverse_temperature
        constant = math.log(self.patterns.shape[-2]) / beta + self.patterns.square().sum(-1).amax(-1, keepdim=True) / 2
        return state.square().sum(-1) / 2 - torch.logsumexp(self._exponents(state), -1) / beta + constant

    def recall(self, state: Tensor, *, most: int = 1000, tolerance: float = 1e-6) -> Recall:
        """Update until the state stands still.

        Args:
            state: ξ at the start, (…, states, width).
            most: updates after which to stop, at least 1.
            tolerance: greatest change of a component, relative to the longest pattern, at which a state stands still.

        Returns:
            The last states, and whether they stand still.

        Raises:
            ValueError: states of another width or dtype, most below 1, or a tolerance not above 0.
        """
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            raise ValueError(f"most is {most!r}; give an integer of at least 1")
        if not tolerance > 0:
            raise ValueError(f"tolerance is {tolerance!r}; give a number above 0")
        small = tolerance * float(self.patterns.detach().norm(dim=-1).max())
        after = self.update(state)
        updates = torch.ones(after.shape[:-1], dtype=torch.int64, device=after.device)
        moving = (after - state).abs().amax(-1) > small
        for _ in range(most - 1):
            if not bool(moving.any()):
                break
            updates = updates + moving
            state = after
            after = torch.where(moving.unsqueeze(-1), self.update(state), state)
            moving = moving & ((after - state).abs().amax(-1) > small)
        return Recall(after, updates, ~moving)

    def _exponents(self, state: Tensor) -> Tensor:
        x = self.patterns
        if state.ndim < 2 or state.shape[-1] != x.shape[-1] or state.dtype != x.dtype:
            raise ValueError(
                f"state has shape {tuple(state.shape)} and dtype {state.dtype}; for these patterns it must be "
                f"(…, states, {x.shape[-1]}) and {x.dtype}"
            )
        return self.inverse_temperature * (state @ x.transpose(-1, -2))
