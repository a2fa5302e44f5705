"""What the fixed points of a continuous Hopfield network are: an average over all patterns, over some, or one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hybrid_attention.softmax import visible_softmax

KINDS = ("global", "metastable", "single")
_MASS = 0.9


@dataclass(frozen=True, eq=False)
class FixedPoints:
    """Fixed points by how many patterns hold 90 % of the softmax there.

    "single": one pattern does. "global": it takes more than half of the n visible ones. "metastable": a subset between.

    Args:
        needed: int64 (batch, heads, queries), the least number of patterns whose weights sum to 90 %.
        visible: int64 (batch, heads, queries), n.
        updates: int64 (batch, heads, queries), updates until the state stood still.
        converged: bool (batch, heads, queries), whether it did.
    """

    needed: Tensor
    visible: Tensor
    updates: Tensor
    converged: Tensor

    def kinds(self) -> Tensor:
        """Index into `KINDS` for every query, −1 where it sees fewer than two patterns and there is no question."""
        kind = torch.where(self.needed == 1, 2, torch.where(2 * self.needed > self.visible, 0, 1))
        return kind.masked_fill(self.visible < 2, -1)

    def shares(self) -> dict[str, list[float]]:
        """For each kind its share among the queries of every head, NaN for a head without any that sees two."""
        kind = self.kinds().transpose(0, 1).flatten(1)
        total = (kind >= 0).sum(-1)
        return {name: ((kind == number).sum(-1) / total).tolist() for number, name in enumerate(KINDS)}


def patterns_needed(weights: Tensor, mass: float = _MASS) -> Tensor:
    """Least number of weights that sum to a part of the whole.

    Args:
        weights: (…, patterns), non-negative.
        mass: the part, between 0 and 1.

    Returns:
        int64 (…): 0 where all weights are 0.
    """
    ordered = weights.double().sort(-1, descending=True).values.cumsum(-1)
    total = ordered[..., -1:]
    # a hair less than asked for: nine of ten equal weights make 90 %, whatever rounding says
    below = ordered < (mass - 1e-9) * total
    return (below.sum(-1) + 1).masked_fill(total.squeeze(-1) == 0, 0)


@torch.no_grad()
def find_fixed_points(
    patterns: Tensor,
    state: Tensor,
    beta: Tensor | float,
    bias: Tensor | None = None,
    visible: Tensor | None = None,
    mass: float = _MASS,
    tolerance: float = 1e-8,
    most: int = 1000,
) -> FixedPoints:
    """Iterate ξ ← Σ_j softmax_j(β ξ·x_j) x_j until it stands still, in float64.

    Args:
        patterns: x, (batch, heads, patterns, width).
        state: ξ at the start, (batch, heads, queries, width).
        beta: β, a number or (heads, 1, 1).
        bias: added to the exponents, (batch or 1, heads or 1, queries, patterns), or None.
        visible: bool, of the same shape, or None where every pattern is.
        mass: the part of the softmax to be held.
        tolerance: greatest change of a component, relative to the longest pattern, at which a state stands still.
        most: updates after which to give up.

    Reference:
        H. Ramsauer et al., "Hopfield networks is all you need", ICLR 2021, arXiv:2008.02217, for the three kinds.
    """
    patterns, state = patterns.double(), state.double()
    shape = (*state.shape[:-1], patterns.shape[-2])
    small = tolerance * patterns.norm(dim=-1).amax().clamp(min=torch.finfo(torch.float64).tiny)
    beta = beta.double() if isinstance(beta, Tensor) else beta

    def weigh(at: Tensor) -> Tensor:
        exponents = at @ patterns.transpose(-1, -2) * beta
        return visible_softmax(exponents if bias is None else exponents + bias, visible)

    updates = torch.zeros(shape[:-1], dtype=torch.int64, device=state.device)
    moving = torch.ones_like(updates, dtype=torch.bool)
    for _ in range(most):
        after = weigh(state) @ patterns
        moving = moving & ((after - state).abs().amax(-1) > small)
        if not bool(moving.any()):
            break
        updates = updates + moving
        state = torch.where(moving.unsqueeze(-1), after, state)
    seen = torch.ones(shape, dtype=torch.bool, device=state.device) if visible is None else visible.expand(shape)
    return FixedPoints(patterns_needed(weigh(state), mass), seen.sum(-1), updates, ~moving)
