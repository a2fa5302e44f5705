"""Modern Hopfield attention: a query moves among the keys before it reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from classical.sampler import Seed
from hybrid_attention.fixed_points import FixedPoints, find_fixed_points
from hybrid_attention.inputs import Inputs
from hybrid_attention.multihead import MultiHeadAttention
from hybrid_attention.priors import MatrixPrior, Prior
from hybrid_attention.readout import FREE_ENERGY, weighting
from hybrid_attention.softmax import visible_softmax
from hybrid_attention.window_prior import WindowPrior
from hybrid_attention.windows import Window, gather_slots, slot_mix

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
        window: as for `MultiHeadAttention`; a query's patterns are the keys in its slots, k + r_s.

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
        window: Window | None = None,
    ) -> None:
        weighting(readout, READOUTS)
        if updates < 1:
            raise ValueError(f"updates is {updates}; it must be at least 1")
        super().__init__(embed_dim, num_heads, max_length, position_bias, readout == FREE_ENERGY, window)
        self.updates = updates
        self.log_scale = nn.Parameter(torch.zeros(num_heads))
        self.observer: Callable[[FixedPoints], None] | None = None

    @property
    def beta(self) -> Tensor:
        """Inverse temperature of every head, (heads,)."""
        return self.head_dim**-0.5 * self.log_scale.exp()

    def weights(self, inputs: Inputs, seed: Seed | None) -> Prior:
        """Weights of the last update, (batch, heads, queries, keys)."""
        mask = inputs.mask(self.window)
        with torch.autocast(inputs.q.device.type, enabled=False):
            wide = torch.float64 if inputs.q.dtype == torch.float64 else torch.float32
            state, patterns, bias = inputs.q.to(wide), inputs.k.to(wide), self._bias(inputs, self._keys(inputs))
            bias = bias if mask.addition is None else mask.addition if bias is None else bias + mask.addition
            if self.observer is not None:
                self.observer(self._fixed_points(inputs, state, patterns, bias, mask.visible))
            for _ in range(self.updates - 1):
                state = self._recalled(inputs, self._softmax(inputs, state, patterns, bias, mask.visible), patterns)
            weights = self._softmax(inputs, state, patterns, bias, mask.visible)
            if self.window is None or inputs.step is not None:
                return MatrixPrior(weights)
            return WindowPrior(weights, self.window)

    def _keys(self, inputs: Inputs) -> int:
        """Most keys that a query sees."""
        keys = inputs.k.shape[2]
        return keys if self.window is None else min(keys, self.window.slots)

    def _softmax(
        self, inputs: Inputs, state: Tensor, patterns: Tensor, bias: Tensor | None, visible: Tensor | None
    ) -> Tensor:
        """Weights of the patterns at a state."""
        scale = self.log_scale.to(state.dtype).exp().view(-1, 1, 1) * self.head_dim**-0.5
        scores = (
            state @ patterns.transpose(-1, -2) if self.window is None else self._slot_scores(inputs, state, patterns)
        )
        exponents = scores * scale
        return visible_softmax(exponents if bias is None else exponents + bias, visible)

    def _recalled(self, inputs: Inputs, weights: Tensor, patterns: Tensor) -> Tensor:
        """Σ_j w_j k_j."""
        if self.window is None:
            return weights @ patterns
        assert self.slot_keys is not None
        mixed = weights @ patterns if inputs.step is not None else slot_mix(weights, patterns, self.window)
        return mixed + weights @ self.slot_keys[:, : weights.shape[-1]].to(weights.dtype)

    def _fixed_points(
        self, inputs: Inputs, state: Tensor, patterns: Tensor, bias: Tensor | None, visible: Tensor | None
    ) -> FixedPoints:
        """Where the updates would end; under a window every query is a network of its own."""
        state, patterns, beta = state.detach(), patterns.detach(), self.beta.detach().view(-1, 1, 1)
        if self.window is None:
            return find_fixed_points(patterns, state, beta, bias, visible)
        assert self.slot_keys is not None
        stored = patterns.unsqueeze(2) if inputs.step is not None else gather_slots(patterns, self.window)
        stored = stored + self.slot_keys[:, None, : stored.shape[-2]].detach()
        each = find_fixed_points(
            stored.transpose(1, 2).flatten(0, 1),
            state.transpose(1, 2).flatten(0, 1).unsqueeze(2),
            beta,
            _query_by_query(bias, len(state), state.shape[2]),
            _query_by_query(visible, len(state), state.shape[2]),
        )
        shape = (len(state), state.shape[2], self.num_heads)
        needed, seen, updates, converged = (
            part.view(shape).transpose(1, 2) for part in (each.needed, each.visible, each.updates, each.converged)
        )
        return FixedPoints(needed, seen, updates, converged)

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


def _query_by_query(part: Tensor | None, batch: int, queries: int) -> Tensor | None:
    """(batch or 1, heads or 1, queries or 1, slots), or fewer axes, as (batch · queries, heads or 1, 1, slots)."""
    if part is None:
        return None
    shaped = part.detach().view((1,) * (4 - part.ndim) + part.shape)
    return shaped.expand(batch, -1, queries, -1).transpose(1, 2).flatten(0, 1).unsqueeze(2)
