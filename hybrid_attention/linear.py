"""Attention whose cost is linear in the length: weights that factorize into features of query and key."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from classical.sampler import Seed
from hybrid_attention.cache import Cache, KeyCache, StateCache
from hybrid_attention.inputs import Inputs
from hybrid_attention.masks import combine_masks
from hybrid_attention.multihead import MultiHeadAttention
from hybrid_attention.priors import MatrixPrior, Prior
from hybrid_attention.readout import FREE_ENERGY, weighting
from hybrid_attention.recurrence import RecurrentPrior, factorized_weights

READOUTS = ("mean", FREE_ENERGY)
_FIRST_HALVINGS = 2


class LinearAttention(MultiHeadAttention):
    """Linear attention, or a gated linear recurrence, with normalized weights.

        w_ij = f_ij / Σ_j f_ij,   f_ij = φ(q_i) · φ(k_j) Π_{l=j+1..i} γ_l,   φ(x) = elu(x) + 1

    γ = 1 without gates; with them γ_l = σ(W_γ x_l + c), one number for each head, at the start 1 − 2^{−2−head} for
    every token. Causal attention, and attention without gates to all keys, is a recurrence in O(length) of time and
    memory, padding included. An attn_mask takes the quadratic form, which also gives the weights where they are asked
    for. Where a gated query sees keys ahead of it, these fade with their distance too. A finite addition in a mask
    multiplies f by its exponential.

    Args:
        embed_dim: width of the tokens, divisible by num_heads.
        num_heads: number of heads.
        max_length: longest sequence.
        readout: "mean" or "free-energy".
        gated: whether a learnable gate makes the past fade.

    Raises:
        ValueError: sizes that do not fit, or an unknown read-out.

    Reference:
        A. Katharopoulos et al., "Transformers are RNNs", ICML 2020; S. Yang et al., "Gated linear attention
        Transformers", ICML 2024.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, max_length: int, readout: str = "mean", gated: bool = False
    ) -> None:
        weighting(readout, READOUTS)
        super().__init__(embed_dim, num_heads, max_length, free_energy=readout == FREE_ENERGY)
        self.gated = gated
        if gated:  # without random numbers: other arms start from the same other parameters
            forgotten = 0.5 ** (_FIRST_HALVINGS + torch.arange(num_heads, dtype=torch.float64))
            self.gate_weight = nn.Parameter(torch.zeros(num_heads, embed_dim))
            self.gate_bias = nn.Parameter(torch.log((1 - forgotten) / forgotten).to(self.in_proj_bias.dtype))

    def weights(self, inputs: Inputs, seed: Seed | None) -> Prior:
        """Normalized weights, as a recurrence where the masks allow."""
        batch, queries, keys = len(inputs.query), inputs.query.shape[1], inputs.key.shape[1]
        if self.gated and queries != keys:
            raise ValueError(f"key has length {keys} and query {queries}; gates need as many keys as queries")
        wide = torch.float64 if inputs.q.dtype == torch.float64 else torch.float32
        with torch.autocast(inputs.q.device.type, enabled=False):
            q, k = features(inputs.q.to(wide)), features(inputs.k.to(wide))
            padding = combine_masks(
                None,
                inputs.key_padding_mask,
                False,
                batch=batch,
                heads=self.num_heads,
                queries=1,
                keys=keys,
                device=q.device,
                dtype=wide,
            )
            decay = self._decay(inputs.key.to(wide)) if self.gated else None
            if padding.visible is not None:  # a key that is not there has no features, and makes nothing fade
                seen = padding.visible.squeeze(-2)
                k = k.masked_fill(~seen.unsqueeze(-1), 0.0)
                decay = None if decay is None else decay.masked_fill(~seen, 0.0)
            ordered = queries == keys if inputs.is_causal else decay is None
            if inputs.attn_mask is None and padding.addition is None and ordered:
                return RecurrentPrior(q, k, decay, inputs.is_causal)
            weights = factorized_weights(q, k, decay, causal=False)
            mask = inputs.mask()
            if mask.addition is not None:
                addition = mask.addition.to(wide).expand_as(weights)
                if mask.visible is not None:  # only what is seen counts for the reference
                    addition = addition.masked_fill(~mask.visible, torch.finfo(wide).min / 4)
                weights = weights * (addition - addition.amax(-1, keepdim=True)).exp()
            if mask.visible is not None:
                weights = weights.masked_fill(~mask.visible, 0.0)
            total = weights.sum(-1, keepdim=True)
            return MatrixPrior(weights / total.masked_fill(total == 0, 1.0))

    def new_cache(self) -> Cache:
        """A state of fixed size; keys are kept where a free energy has to know them one by one."""
        return StateCache() if self.free_energy is None else KeyCache()

    def _recall(self, q: Tensor, token: Tensor, cache: Cache, seed: Seed | None) -> tuple[Prior, Tensor]:
        """One value, the weighted mean of all so far; under the free-energy read every value and its weight."""
        wide = torch.float64 if q.dtype == torch.float64 else torch.float32
        with torch.autocast(q.device.type, enabled=False):
            query = features(q.to(wide))
            if isinstance(cache, StateCache):
                key, value = cache.newest
                kept = (-self._decay(token.to(wide))).exp().unsqueeze(-1) if self.gated else None
                return MatrixPrior(torch.ones_like(query[..., :1])), cache.update(
                    query, features(key.to(wide)), kept, value
                )
            assert isinstance(cache, KeyCache)
            k, v, tokens = cache.seen()
            weights = query @ features(k.to(wide)).transpose(-1, -2)
            if self.gated:
                past = self._decay(tokens.to(wide)).cumsum(-1).unsqueeze(-2)
                weights = weights * (past - past[..., -1:]).exp()
            total = weights.sum(-1, keepdim=True)
            return MatrixPrior(weights / total.masked_fill(total == 0, 1.0)), v

    def _decay(self, keys: Tensor) -> Tensor:
        """−log γ, (batch, heads, keys)."""
        scores = F.linear(keys, self.gate_weight.to(keys.dtype), self.gate_bias.to(keys.dtype))
        return -F.logsigmoid(scores).transpose(1, 2)

    def extra_repr(self) -> str:
        """Sizes and choices, for printing."""
        return f"{super().extra_repr()}, gated={self.gated}"


def features(x: Tensor) -> Tensor:
    """φ(x) = elu(x) + 1, with all digits where it is small.

    Args:
        x: any shape.
    """
    return torch.where(x > 0, x + 1, x.clamp(max=0.0).exp())
