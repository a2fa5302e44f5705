"""A small pre-norm Transformer with a choice of attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from classical.random import derive_seeds
from hybrid_attention.cache import Cache
from hybrid_attention.multihead import MultiHeadAttention


class Prediction(NamedTuple):
    """Logits (batch, length, classes) and, if asked for, each layer's weights (batch, heads, queries, keys)."""

    logits: Tensor
    weights: list[Tensor]


class Block(nn.Module):
    """Pre-norm residual block: causal attention, then a two-layer perceptron.

    Args:
        dim: width of the tokens.
        attention: the attention to use.
        width: of the perceptron; four times dim by default.
    """

    def __init__(self, dim: int, attention: MultiHeadAttention, width: int | None = None) -> None:
        super().__init__()
        width = 4 * dim if width is None else width
        self.attention_norm, self.attention = nn.LayerNorm(dim), attention
        self.perceptron_norm = nn.LayerNorm(dim)
        self.perceptron = nn.Sequential(nn.Linear(dim, width), nn.GELU(), nn.Linear(width, dim))

    def forward(self, x: Tensor, seed: int | Tensor, need_weights: bool) -> tuple[Tensor, Tensor | None]:
        """Tokens (batch, length, dim) and the attention's weights."""
        mixed, weights = self.attention(self.attention_norm(x), is_causal=True, need_weights=need_weights, seed=seed)
        x = x + mixed
        return x + self.perceptron(self.perceptron_norm(x)), weights

    def step(self, x: Tensor, cache: Cache, seed: int | Tensor) -> Tensor:
        """`forward` for one more token, (batch, 1, dim)."""
        x = x + self.attention.step(self.attention_norm(x), cache, seed)
        return x + self.perceptron(self.perceptron_norm(x))


class Transformer(nn.Module):
    """Causal Transformer over tokens, with learned positions or with attention that knows the order itself.

    Args:
        vocabulary: number of input tokens.
        classes: number of output classes.
        length: longest sequence, each position with a learned vector of its own; None for sequences of any length,
            whose order the attention knows by its window.
        dim: width of the tokens.
        layers: number of blocks.
        attention: makes the attention of one layer, given its number.
        width: of the perceptrons; four times dim by default.
    """

    def __init__(
        self,
        vocabulary: int,
        classes: int,
        length: int | None,
        dim: int,
        layers: int,
        attention: Callable[[int], MultiHeadAttention],
        width: int | None = None,
    ) -> None:
        super().__init__()
        self.length = length
        self.tokens = nn.Embedding(vocabulary, dim)
        self.positions = None if length is None else nn.Embedding(length, dim)
        nn.init.normal_(self.tokens.weight, std=dim**-0.5)
        if self.positions is not None:
            nn.init.normal_(self.positions.weight, std=dim**-0.5)
        self.blocks = nn.ModuleList(Block(dim, attention(layer), width) for layer in range(layers))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, classes)

    def forward(self, tokens: Tensor, seed: int = 0, need_weights: bool = False) -> Prediction:
        """Predict a class at every position.

        Args:
            tokens: int64 (batch, length).
            seed: fixes the samples of this pass; each layer, head, sequence and query draws its own.
            need_weights: whether to return every layer's attention weights.
        """
        x = self.tokens(tokens)
        if self.positions is not None:
            x = x + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        collected = []
        for layer, block in enumerate(self.blocks):
            x, weights = block(x, derive_seeds(seed, layer), need_weights)
            if weights is not None:
                collected.append(weights)
        return Prediction(self.head(self.norm(x)), collected)

    def new_caches(self) -> list[Cache]:
        """What `step` needs to know of the positions so far: nothing yet."""
        return [attention.new_cache() for attention in self.attentions()]

    def step(self, tokens: Tensor, caches: list[Cache], seed: int | Tensor = 0) -> Tensor:
        """Predict a class at one more position, as the last row of `forward` would for all positions so far.

        Where attention draws samples, a position is sampled once, when it is added: in one layer its query then has the
        samples that `forward` would give it under this seed, and in deeper ones what it hands on stays as it was.

        Args:
            tokens: int64 (batch,).
            caches: from `new_caches`, and then from step to step; the tokens are added to them.
            seed: fixes the samples of this step.

        Returns:
            Logits (batch, classes).

        Raises:
            ValueError: more positions than the model has learned.
        """
        x = self.tokens(tokens).unsqueeze(1)
        if self.positions is not None:
            position = caches[0].position
            if self.length is not None and position >= self.length:
                raise ValueError(
                    f"caches hold {position} positions, and length is {self.length}; start new ones from the last "
                    "positions"
                )
            x = x + self.positions.weight[position]
        for layer, (block, cache) in enumerate(zip(self._layers(), caches, strict=True)):
            x = block.step(x, cache, derive_seeds(seed, layer))
        logits: Tensor = self.head(self.norm(x)).squeeze(1)
        return logits

    def ising_models(self, batch: int, length: int) -> int:
        """How many Ising models one forward pass solves."""
        return sum(attention.ising_models(batch, length) for attention in self.attentions())

    def attentions(self) -> list[MultiHeadAttention]:
        """The attention of every layer."""
        return [block.attention for block in self._layers()]

    def _layers(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def parameter_count(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)
