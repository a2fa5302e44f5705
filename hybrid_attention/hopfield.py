"""Modern Hopfield attention: a query moves among the keys before it reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from classical.sampler import Seed
from hybrid_attention.fixed_points import FixedPoints, find_fixed_points
from hybrid_attention.masks import Mask
from hybrid_attention.multihead import Inputs, MultiHeadAttention
from hybrid_attention.priors import MatrixPrior, Prior
from hybrid_attention.readout import FREE_ENERGY, weighting
from hybrid_attention.softmax import visible_softmax

READOUTS = ("mean", FREE_ENERGY)


class HopfieldAttention(MultiHeadAttention):
    """Attention after several updates of a continuous Hopfield network whose stored patterns are the keys.

        ξ_0 = q,   ξ_{u+1} = Σ_j softmax_j(β ξ_u·k_j) k_j,   w = softmax_j(β ξ_{U−1}·k_j),   y = W_o Σ_j w_j v_j

    An update never raises E(ξ) = −(1/β) log Σ_j exp(β k_j·ξ) + ½|ξ|². One update (U = 1) at β = 1/√d_head is softmax
    attention. β = exp(r)/√d_head is learnable, one number for each head, and starts at 1/√d_head. Position biases and
    additive masks join every update's exponents. Updates are made in float32 or float64 under autocast.

    Args:
        embed_dim: width of the tokens, divisible by num_heads.
        num_heads: number of heads.
        max_length: longest sequence.
        position_bias: as for `MultiHeadAttention`.
        readout: "mean" or "free-energy".
        updates: U, at least 1.

    Raises:
        ValueError: sizes that do not fit, an unknown read-out, or updates below 1.

    Reference:
        H. Ramsauer et al., "Hopfield networks is all you need", ICLR 2021, arXiv:2008.02217.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        max_length: int,
        position_bias: bool = False,
        readout: str = "mean",
        updates: int = 3,
    ) -> None:
        weighting(readout, READOUTS)
        if updates < 1:
            raise ValueError(f"updates is {updates}; it must be at least 1")
        super().__init__(embed_dim, num_heads, max_length, position_bias, readout == FREE_ENERGY)
        self.updates = updates
        self.log_scale = nn.Parameter(torch.zeros(num_heads))
        self.observer: Callable[[FixedPoints], None] | None = None

    @property
    def beta(self) -> Tensor:
        """Inverse temperature of every head, (heads,)."""
        return self.head_dim**-0.5 * self.log_scale.exp()

    def weights(self, inputs: Inputs, seed: Seed | None) -> Prior:
        """Weights of the last update, (batch, heads, queries, keys)."""
        mask = inputs.mask()
        with torch.autocast(inputs.q.device.type, enabled=False):
            state, patterns, scale, bias = self._network(inputs, mask)
            if self.observer is not None:
                beta = self.beta.detach().view(-1, 1, 1)
                self.observer(find_fixed_points(patterns.detach(), state.detach(), beta, bias, mask.visible))
            for _ in range(self.updates - 1):
                state = self._softmax(state, patterns, scale, bias, mask) @ patterns
            return MatrixPrior(self._softmax(state, patterns, scale, bias, mask))

    def _network(self, inputs: Inputs, mask: Mask) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """First state, patterns, β√d_head (heads, 1, 1) and what is added to the exponents."""
        wide = torch.float64 if inputs.q.dtype == torch.float64 else torch.float32
        bias = mask.addition
        if self.position_bias is not None:
            own = self.position_bias[:, : inputs.q.shape[2], : inputs.k.shape[2]].to(wide)
            bias = own if bias is None else own + bias
        return inputs.q.to(wide), inputs.k.to(wide), self.log_scale.to(wide).exp().view(-1, 1, 1), bias

    def _softmax(self, state: Tensor, patterns: Tensor, scale: Tensor, bias: Tensor | None, mask: Mask) -> Tensor:
        exponents = state @ patterns.transpose(-1, -2) * self.head_dim**-0.5 * scale
        return visible_softmax(exponents if bias is None else exponents + bias, mask.visible)

    def extra_repr(self) -> str:
        """Sizes and choices, for printing."""
        return f"{super().extra_repr()}, updates={self.updates}"


@torch.no_grad()
def hopfield_fixed_points(model: nn.Module, *arguments: Any, **options: Any) -> list[FixedPoints]:
    """Where the updates of every query would end, however many it took, layer by layer.

    Args:
        model: a `HopfieldAttention`, or a model that holds some.
        arguments: of one forward pass.
        options: of one forward pass.

    Returns:
        One for each `HopfieldAttention`, in the order they are called; an empty list for a model without.
    """
    found: list[FixedPoints] = []
    attentions = [module for module in model.modules() if isinstance(module, HopfieldAttention)]
    before = [attention.observer for attention in attentions]
    try:
        for attention in attentions:
            attention.observer = found.append
        model(*arguments, **options)
    finally:
        for attention, own in zip(attentions, before, strict=True):
            attention.observer = own
    return found
