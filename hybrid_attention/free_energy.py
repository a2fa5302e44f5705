"""The free-energy read: each channel chooses for itself between the mean of the values and their maximum."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hybrid_attention.priors import Prior

_FIRST_RAW = 1.8  # b = softplus(1.8) = 1.953
_SMALLEST_BETA = 1e-12
_WIDEST = {torch.float32: 60.0, torch.float64: 600.0}
"""Largest b (max v − min v) whose exponentials share one reference: e^−60 and e^−600 keep all their digits."""
_NARROW = 1.0


def free_energy(prior: Prior, values: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and free energy of the values under normalized weights.

        μ_ic = Σ_j α_ij v_jc,   F_ic = (1/b_c) log Σ_j α_ij exp(b_c v_jc)

    μ ≤ F ≤ max over attended j of v_jc. For b → 0, F = μ + b Var(v)/2 + O(b²); for b → ∞, F → max over attended j, from
    below by at most −log(α of the maximum)/b. The weights are normalized here.

    Both take one pass of the prior wherever b (max v − min v) is below 60 (float32) or 600 (float64): they are linear
    in the weights, so a recurrence stays one. In channels beyond, and in these alone, `Prior.log_mix` gives every query
    a reference of its own.

    Args:
        prior: the weights α.
        values: v, (batch, heads, keys, channels), float32 or float64.
        beta: b > 0, (heads, 1, channels).

    Returns:
        μ and F, both (batch, heads, queries, channels), zero where a query attends to nothing.

    Reference:
        Lu and Yang, "Free energy mixer", ICLR 2026, arXiv:2602.07160.
    """
    channels = values.shape[-1]
    # no result depends on the reference, so that none needs its derivative
    top, bottom = values.detach().amax(-2, keepdim=True), values.detach().amin(-2, keepdim=True)
    spread = beta.detach() * (top - bottom)
    narrow, wide = spread <= _NARROW, spread > _WIDEST[values.dtype]
    exponents = (beta * (values - top)).masked_fill(wide, 0.0)
    powers = torch.where(narrow, exponents.expm1(), exponents.exp())
    one = values.new_ones(*values.shape[:-1], 1)
    mean, power, total = prior.mix(torch.cat([values, powers, one], -1)).split([channels, channels, 1], -1)
    none = total == 0
    scale = total.masked_fill(none, 1.0)
    mean, power = mean / scale, power / scale
    # each logarithm sees only what it may: a discarded NaN would still spoil the gradient
    near = torch.where(narrow, power, 0.0).log1p()
    far = torch.where(narrow | none, 1.0, power).log()
    free = top + torch.where(narrow, near, far) / beta
    if bool(wide.any()):
        free = torch.where(wide, prior.log_mix(values, beta), free)
    return mean.masked_fill(none, 0.0), free.masked_fill(none, 0.0)


class FreeEnergyRead(nn.Module):
    """Two-level gated free-energy read of the values.

        read = (1 − λ) μ + λ F,   λ = σ(W_λ x)
        out = g ∘ read,           g = √d · softplus(W_g x) / ‖softplus(W_g x)‖

    x is the query's token, d its width, b = softplus(raw) one number for each channel. At the start b = 1.953
    (raw = 1.8), λ = ½ and g = 1 (W_λ = W_g = 0). Sums are kept in float32 or float64 under autocast.

    Args:
        embed_dim: width of the tokens, divisible by num_heads.
        num_heads: number of heads.

    Reference:
        Lu and Yang, "Free energy mixer", ICLR 2026, arXiv:2602.07160.
    """

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.raw = nn.Parameter(torch.full((embed_dim,), _FIRST_RAW))
        # zeros draw no random numbers: arms with and without this read start from the same other parameters
        self.inner = nn.Parameter(torch.zeros(embed_dim, embed_dim))
        self.outer = nn.Parameter(torch.zeros(embed_dim, embed_dim))

    def forward(self, prior: Prior, values: Tensor, tokens: Tensor) -> Tensor:
        """Read the values.

        Args:
            prior: the weights α.
            values: v, (batch, heads, keys, head_dim).
            tokens: x, the queries' tokens, (batch, queries, embed_dim).

        Returns:
            (batch, queries, embed_dim), in the dtype of the values.
        """
        wide = torch.float64 if values.dtype == torch.float64 else torch.float32
        inner, outer = (F.linear(tokens, weight).to(wide) for weight in (self.inner, self.outer))
        with torch.autocast(values.device.type, enabled=False):
            beta = F.softplus(self.raw.to(wide)).clamp(min=_SMALLEST_BETA)
            mean, free = free_energy(prior, values.to(wide), beta.view(self.num_heads, 1, -1))
            mean, free = (part.transpose(1, 2).flatten(2) for part in (mean, free))
            read = mean + torch.sigmoid(inner) * (free - mean)
            gate = F.normalize(F.softplus(outer), dim=-1) * outer.shape[-1] ** 0.5
            return (gate * read).to(values.dtype)
