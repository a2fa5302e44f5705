"""Boltzmann attention: which keys a query attends to is a configuration of interacting spins."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor

from classical import ExactSampler, Sampler
from classical.random import derive_seeds
from classical.sampler import ExactMoments, Seed, require_shots
from hybrid_attention.compiling import outside_graphs
from hybrid_attention.couplings import COUPLINGS, WindowContentCouplings, build_couplings
from hybrid_attention.energy import Pattern, PatternObserver
from hybrid_attention.estimators import require_estimator
from hybrid_attention.field_attention import FieldAttention
from hybrid_attention.visibility import masked_probability
from hybrid_attention.window_models import window_probability
from hybrid_attention.windows import Window

Observer = Callable[[Tensor, Tensor, Tensor], None]
"""Is shown h (batch, heads, queries, keys), J (heads, keys, keys) or (batch, heads, keys, keys), and P(s_j = +1)
(batch, heads, queries, keys) of every forward pass, all inside the autograd graph. Under a window, slots take the place
of keys, and content couplings are (batch, heads, queries, slots, slots)."""


class BoltzmannAttention(FieldAttention):
    """Multi-head attention whose pattern is an interacting Ising model.

    P(s_1 … s_n) ∝ exp(Σ_j h_j s_j + Σ_{j<k} J_jk s_j s_k),  a_j = P(s_j = +1)

    For every query, spin s_j = +1 attends to key j and −1 does not; h_j = q·k_j/√d_head, J is learnable. The values are
    mixed with weights a_j / Σ a_j ("mean") or a_j ("sum"), or read by their free energy under a_j / Σ a_j. The
    probabilities come from a sampler, exact or not; with samples, gradients are estimated from them (`boltzmann_mean`).

    Args:
        embed_dim: width of the tokens, divisible by num_heads.
        num_heads: number of heads.
        max_length: longest sequence, and without a meaning under a window; a query's model has as many spins as keys it
            sees.
        couplings: "position" (one for every pair of key positions), "relative" (every distance), "content" (from the
            tokens), "fixed" (random, not trained) or "none". Under a window, "position" has one for every pair of slots
            (`hybrid_attention.couplings`).
        position_bias: add a learnable number to the field of every (head, query position, key position).
        readout: "mean", "sum" or "free-energy".
        sampler: gives the spin statistics; exact by default. Deep copies of the module share it.
        shots: samples for each model where the sampler draws samples.
        seed: where forward is given no seed, fixes the samples together with a count of the calls made; also fixes
            "fixed" couplings.
        estimator: how samples become values and gradients, a name in `hybrid_attention.estimators.ESTIMATORS`.
        independent_halves: take values from one half of the shots and gradients from the other.
        window: as for `MultiHeadAttention`; its slots are the spins.
        field_limit: c, as for `FieldAttention`: fields become c tanh(h / c).

    Raises:
        ValueError: sizes that do not fit, an unknown name, shots below 2 (4 for two halves), a max_length or window
            that the sampler cannot hold, or an estimator that the sampler does not serve.

    Reference:
        Kim and Park, arXiv:2606.12478 (2026), where attention of this kind was proposed.
    """

    calls: Tensor
    first_row: int
    """The row of the batch that the first sequence of a call is, where the others are elsewhere; fixes its samples."""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        max_length: int,
        couplings: str = "position",
        position_bias: bool = False,
        readout: str = "mean",
        sampler: Sampler | None = None,
        shots: int = 256,
        seed: int = 0,
        estimator: str = "covariance",
        independent_halves: bool = False,
        window: Window | None = None,
        field_limit: float | None = None,
    ) -> None:
        super().__init__(embed_dim, num_heads, max_length, position_bias, readout, window, field_limit)
        if couplings not in COUPLINGS:
            raise ValueError(f"couplings is {couplings!r}; use one of {', '.join(COUPLINGS)}")
        require_shots(shots, least=2)
        self.sampler: Sampler = ExactSampler() if sampler is None else sampler
        spins = max_length if window is None else window.slots
        held = getattr(self.sampler, "max_spins", spins)
        if spins > held:
            name = "max_length" if window is None else "window with its global keys"
            raise ValueError(
                f"{name} is {spins}, but {type(self.sampler).__name__} holds at most {held} spins; use a {name} of at "
                f"most {held} or another sampler"
            )
        require_estimator(estimator, self.sampler, spins, shots, independent_halves)
        self.coupling_kind, self.shots, self.seed = couplings, shots, seed
        self.estimator, self.independent_halves = estimator, independent_halves
        self.couplings = build_couplings(couplings, embed_dim, num_heads, max_length, seed, window)
        self.first_row = 0
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.observer: Observer | None = None
        self.pattern_observer: PatternObserver | None = None

    def weigh(self, fields: Tensor, visible: Tensor | None, keys: Tensor, seed: Seed | None, first: int = 0) -> Tensor:
        """Probability that each key is attended, read out; sums are kept in float32 or float64 under autocast."""
        with torch.autocast(fields.device.type, enabled=False):
            wide = torch.float64 if fields.dtype == torch.float64 else torch.float32
            couplings = self._coupled(keys.to(wide), fields)
            fields = fields.to(wide)
            attended = self._attended(fields, couplings, visible, seed, first)
            if self.observer is not None or self.pattern_observer is not None:
                apart = self.couplings.per_sequence and self.window is None
                shaped = couplings.unflatten(0, (len(fields), -1)) if apart else couplings
                if self.observer is not None:
                    self.observer(fields, shaped, attended)
                if self.pattern_observer is not None:
                    self.pattern_observer(Pattern(fields, shaped, attended, visible))
            return self.readout(attended)

    def _coupled(self, keys: Tensor, fields: Tensor) -> Tensor:
        """Couplings in the dtype of the keys."""
        if self.window is not None:
            if isinstance(self.couplings, WindowContentCouplings) and keys.shape[1] != fields.shape[2]:
                return self.couplings.of_query(keys).to(keys.dtype)
            if not self.couplings.per_sequence:
                keys = keys[:, : fields.shape[-1]]  # as many as there are slots, whatever stands in them
        couplings: Tensor = self.couplings(keys)
        return couplings.to(keys.dtype)

    @outside_graphs
    def _attended(
        self, fields: Tensor, couplings: Tensor, visible: Tensor | None, seed: Seed | None, first: int = 0
    ) -> Tensor:
        """P(s_j = +1), (batch, heads, queries, keys), from one batch of Ising models."""
        batch, heads, queries, _ = fields.shape
        seeds: Seed = 0
        if not isinstance(self.sampler, ExactMoments):
            seeds = self._seeds(batch, queries, seed, fields.device, first)
        probability = partial(
            masked_probability,
            sampler=self.sampler,
            shots=self.shots,
            estimator=self.estimator,
            independent_halves=self.independent_halves,
        )
        if self.window is not None:
            return window_probability(fields, couplings, probability, seeds, first, visible)
        if self.couplings.per_sequence:
            # a group is one head of one sequence, its models the queries
            if visible is not None and visible.shape[:2] != (1, 1):
                visible = visible.expand(batch, heads, -1, -1)
            attended = probability(
                fields.flatten(0, 1),
                couplings,
                None if visible is None else visible.flatten(0, 1),
                seed=seeds.flatten(0, 1) if isinstance(seeds, Tensor) else seeds,
            )
            return attended.unflatten(0, (batch, heads))
        # a group is one head, its models the queries of all sequences
        if visible is not None:
            visible = visible.expand(batch, -1, -1, -1).transpose(0, 1).flatten(1, 2)
        attended = probability(
            fields.transpose(0, 1).flatten(1, 2),
            couplings,
            visible,
            seed=seeds.transpose(0, 1).flatten(1, 2) if isinstance(seeds, Tensor) else seeds,
        )
        return attended.unflatten(1, (batch, queries)).transpose(0, 1)

    def _seeds(self, batch: int, queries: int, seed: Seed | None, device: torch.device, first: int) -> Tensor:
        """A seed for every model, (batch, heads, queries), from its head, row and query."""
        if seed is None:
            seed = derive_seeds(self.seed, self.calls)
            self.calls += 1
        row = torch.arange(self.first_row, self.first_row + batch, device=device)[:, None, None]
        head = torch.arange(self.num_heads, device=device)[:, None]
        return derive_seeds(seed, head, row, torch.arange(first, first + queries, device=device))

    def ising_models(self, batch: int, queries: int) -> int:
        """How many Ising models one forward pass solves."""
        return batch * self.num_heads * queries

    def __deepcopy__(self, memo: dict[int, Any]) -> BoltzmannAttention:
        """A copy that shares the sampler: it may hold a connection, and a budget that must not be doubled."""
        memo[id(self.sampler)] = self.sampler
        memo[id(self)] = copied = type(self).__new__(type(self))
        copied.__setstate__(deepcopy(self.__dict__, memo))
        return copied

    def extra_repr(self) -> str:
        """Sizes and choices, for printing."""
        return (
            f"{super().extra_repr()}, couplings={self.coupling_kind!r}, readout={self.readout.__name__}, "
            f"sampler={type(self.sampler).__name__}, shots={self.shots}, estimator={self.estimator!r}"
        )
