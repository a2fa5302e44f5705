"""What every kind of attention here shares: projections, fields, masks and the mixing of values."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from classical.sampler import Seed
from hybrid_attention.cache import Cache, KeyCache
from hybrid_attention.free_energy import FreeEnergyRead
from hybrid_attention.inputs import Inputs
from hybrid_attention.nested import Padded, pad, require_plain, unpad
from hybrid_attention.priors import Prior
from hybrid_attention.windows import Window, slot_scores


class MultiHeadAttention(nn.Module, ABC):
    """Multi-head attention that leaves open where its weights come from.

    y_i = W_o Σ_j w_ij v_j, or y_i = W_o out_i with the free-energy read (`FreeEnergyRead`)

    Parameters carry the names of `torch.nn.MultiheadAttention`, whose place it can take in PyTorch's Transformer layers
    (built with batch_first=True); their fused inference, which is softmax attention whatever the module, leaves it
    alone. Tensors are batch first.

    Args:
        embed_dim: width of the tokens, divisible by num_heads.
        num_heads: number of heads.
        max_length: most queries, and most keys, of a sequence; without a meaning under a window.
        position_bias: add a learnable number to the field of every (head, query position, key position); under a
            window, of every (head, slot).
        free_energy: read the values by their free energy under the weights, instead of their weighted sum.
        window: let every query see its last keys and a few global ones alone; it makes attention causal. Slot s has a
            learnable vector r_s, 0 at the start, and the key in it counts as k + r_s.

    Raises:
        ValueError: sizes that are not positive or do not divide, or a window that is none.

    Reference:
        P. Shaw, J. Uszkoreit and A. Vaswani, NAACL 2018, arXiv:1803.02155, for r_s.
    """

    _qkv_same_embed_dim = False
    """PyTorch's encoder and its layers read this before they hand parameters to their fused softmax attention, and call
    the module itself where it is False. (There it tells whether the three projections share one matrix.)"""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        max_length: int,
        position_bias: bool = False,
        free_energy: bool = False,
        window: Window | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("embed_dim", embed_dim), ("num_heads", num_heads), ("max_length", max_length)):
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        if not (window is None or isinstance(window, Window)):
            raise ValueError(f"window is {window!r}; give a Window, as Window(16), or None")
        if embed_dim % num_heads:
            raise ValueError(f"embed_dim is {embed_dim} and num_heads {num_heads}; num_heads must divide embed_dim")
        self.embed_dim, self.num_heads, self.max_length = embed_dim, num_heads, max_length
        self.head_dim = embed_dim // num_heads
        self.batch_first = True
        self.in_proj_weight = nn.Parameter(torch.empty(3 * embed_dim, embed_dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * embed_dim))
        self.out_proj = nn.Linear(embed_dim, embed_dim)
        self.window = window
        pairs = (max_length, max_length) if window is None else (window.slots,)
        self.position_bias = nn.Parameter(torch.zeros(num_heads, *pairs)) if position_bias else None
        self.slot_keys = None if window is None else nn.Parameter(torch.zeros(num_heads, window.slots, self.head_dim))
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)
        self.free_energy = FreeEnergyRead(embed_dim, num_heads) if free_energy else None

    @abstractmethod
    def weights(self, inputs: Inputs, seed: Seed | None) -> Prior:
        """Numbers that multiply the values, zero at hidden keys.

        Args:
            inputs: projections, tokens and masks.
            seed: fixes the samples, where there are any.
        """

    def ising_models(self, batch: int, queries: int) -> int:
        """How many Ising models one forward pass solves."""
        del batch, queries
        return 0

    def new_cache(self) -> Cache:
        """What `step` needs to know of the positions so far: nothing yet."""
        return KeyCache(self.window)

    def step(self, token: Tensor, cache: Cache, seed: Seed | None = None) -> Tensor:
        """Attend from one more position, causally: the last row of `forward` for all positions so far.

        Args:
            token: (batch, 1, embed_dim), at the position that follows those of the cache.
            cache: from `new_cache`, and then from step to step; the token is added to it.
            seed: as for `forward`.

        Returns:
            (batch, 1, embed_dim).

        Raises:
            ValueError: a token of the wrong shape, or more positions than max_length where there is no window.
        """
        self._require_shapes(token, token, token)
        if self.window is None and cache.position >= self.max_length:
            raise ValueError(
                f"cache holds {cache.position} positions, and max_length is {self.max_length}; start a new one from "
                "the last positions"
            )
        q, k, v = self._project(token, token, token)
        cache.append(token, k, v)
        prior, values = self._recall(q, token, cache, seed)
        return self._read(prior, values, token)

    def _recall(self, q: Tensor, token: Tensor, cache: Cache, seed: Seed | None) -> tuple[Prior, Tensor]:
        """Weights of one query over what a cache holds, and the values that they are for."""
        assert isinstance(cache, KeyCache)
        k, v, tokens = cache.seen()
        return self.weights(Inputs(q, k, v, token, tokens, None, None, False, cache.position - 1), seed), v

    def _read(self, prior: Prior, values: Tensor, tokens: Tensor) -> Tensor:
        """The output, from weights, values and the queries' tokens."""
        if self.free_energy is None:
            return self.out_proj(prior.mix(values).transpose(1, 2).flatten(2))
        return self.out_proj(self.free_energy(prior, values, tokens))

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = False,
        is_causal: bool = False,
        seed: Seed | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from every query to the keys it may see.

        Args:
            query: (batch, queries, embed_dim); or, for attention to itself without masks, a nested tensor of such
                sequences.
            key: (batch, keys, embed_dim); the query by default.
            value: (batch, keys, embed_dim); the key by default.
            key_padding_mask: (batch, keys), True or −∞ at keys that no query may see, or an addition to the fields.
            need_weights: whether to return the weights.
            attn_mask: (queries, keys) or (batch · heads, queries, keys), True or −∞ at hidden keys, or an addition to
                the fields. The two masks may be of different kinds.
            average_attn_weights: return the weights' mean over heads, (batch, queries, keys).
            is_causal: query i sees keys 0 … i only, counted from the first of each also where there are more queries
                than keys or fewer, whether or not an attn_mask says so too.
            seed: fixes the samples of this call, where there are any.

        Returns:
            Output (batch, queries, embed_dim) and weights (batch, heads, queries, keys): the numbers that multiply the
            values, or under the free-energy read those whose mean and free energy are taken; or None. A query that sees
            no key has weights 0 and reads nothing: its output is the bias of `out_proj`. For nested queries the output
            is nested too and the weights are padded.

        Raises:
            ValueError: shapes that do not fit together, sequences longer than max_length, or masks of the wrong shape,
                dtype or device.
        """
        if any(tokens is not None and tokens.is_nested for tokens in (query, key, value)):
            require_plain(query, key, value, attn_mask, key_padding_mask)
            tokens, hidden = pad(query)
            output, weights = self.forward(
                tokens, None, None, hidden, need_weights, None, average_attn_weights, is_causal, seed
            )
            return unpad(Padded(output, hidden)), weights
        key = query if key is None else key
        value = key if value is None else value
        self._require_shapes(query, key, value)
        q, k, v = self._project(query, key, value)
        prior = self.weights(Inputs(q, k, v, query, key, attn_mask, key_padding_mask, is_causal), seed)
        output = self._read(prior, v, query)
        if not need_weights:
            return output, None
        weights = prior.matrix()
        return output, weights.mean(1) if average_attn_weights else weights

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        """Queries, keys and values, each (batch, heads, length, head_dim)."""
        if query is key and key is value:
            parts = F.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        else:
            weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
            tokens = (query, key, value)
            parts = tuple(F.linear(x, w, b) for x, w, b in zip(tokens, weights, biases, strict=True))
        return [part.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2) for part in parts]

    def _require_shapes(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        for name, tokens in (("query", query), ("key", key), ("value", value)):
            if tokens.ndim != 3 or tokens.shape[-1] != self.embed_dim or tokens.shape[0] != query.shape[0]:
                raise ValueError(
                    f"{name} has shape {tuple(tokens.shape)}; it must be (batch, length, embed_dim) with the query's "
                    f"batch and embed_dim = {self.embed_dim}"
                )
            if self.window is None and tokens.shape[1] > self.max_length:
                raise ValueError(
                    f"{name} has length {tokens.shape[1]}, but max_length is {self.max_length}; build the attention "
                    "with a larger max_length"
                )
        if key.shape[1] != value.shape[1]:
            raise ValueError(f"key has length {key.shape[1]} and value {value.shape[1]}; they must be equal")
        if self.window is not None and key.shape[1] != query.shape[1]:
            raise ValueError(
                f"key has length {key.shape[1]} and query {query.shape[1]}; a window needs as many keys as queries"
            )

    def _slot_scores(self, inputs: Inputs, queries: Tensor, keys: Tensor) -> Tensor:
        """q · (k + r_s) in the slots of a window, (batch, heads, queries, slots)."""
        assert self.window is not None
        assert self.slot_keys is not None
        step = inputs.step is not None
        scores = queries @ keys.transpose(-1, -2) if step else slot_scores(queries, keys, self.window)
        return scores + queries @ self.slot_keys[:, : scores.shape[-1]].to(queries.dtype).transpose(-1, -2)

    def _bias(self, inputs: Inputs, keys: int) -> Tensor | None:
        """The position bias of these queries and keys or slots, (heads, queries or 1, keys)."""
        if self.position_bias is None:
            return None
        if self.window is not None:
            return self.position_bias[:, None, :keys]
        return self.position_bias[:, inputs.first : inputs.first + inputs.q.shape[2], :keys]

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        bias = self.position_bias is not None
        sizes = f"{self.embed_dim}, num_heads={self.num_heads}, max_length={self.max_length}, position_bias={bias}"
        return sizes if self.window is None else f"{sizes}, window={self.window.size}+{self.window.global_keys}"
