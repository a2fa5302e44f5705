"""Bracket matching: which closing bracket comes next is decided by one bracket that may be far back."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from hybrid_attention.flags import require
from hybrid_attention.tasks.base import IGNORED, Batch, Task
from hybrid_attention.tasks.split import has_both_sides, is_held_out

if TYPE_CHECKING:
    from hybrid_attention.config import TrainConfig

PAIRS = ("()", "[]", "{}", "<>", "«»", "⟨⟩", "⌈⌉", "⌊⌋", "⟦⟧", "⦃⦄")
VALIDATION_SEQUENCES = 2000
_VALIDATION_SEED = 20_260_612
_VALIDATION_DRAWS = 2**16


class BracketsTask(Task):
    """Balanced sequences over k types of brackets, learned at the closing brackets only.

    A sequence is drawn uniformly from all Dyck words of its length, with uniformly random types. Inputs are a start
    token and all but the last bracket; at every position whose next bracket closes one, the target is its type. Whether
    a sequence is held out is decided by a hash of the sequence itself, so that training and validation never share one.

    Args:
        length: brackets in a sequence, even.
        types: kinds of brackets k, 1 to 10.

    Raises:
        ValueError: an odd or non-positive length, types out of range, or so few sequences that none can be held out.
    """

    title = "Bracket matching"
    counted = "closing brackets"
    has_options = False

    def __init__(self, length: int, types: int = 4) -> None:
        if length < 2 or length % 2:
            raise ValueError(f"length is {length}; balanced brackets need an even length of at least 2")
        if not 1 <= types <= len(PAIRS):
            raise ValueError(f"types is {types}; give 1 to {len(PAIRS)} kinds of brackets")
        self.length, self.types = length, types
        self.vocabulary, self.classes = 2 * types + 1, types
        self.chance = 1 / types
        self._require_both_sets()

    @classmethod
    def check(cls, config: TrainConfig) -> None:
        """Refuse an odd length, a text and options."""
        fix = f"balanced brackets have an even length, try {config.length + 1}"
        require(config.length % 2 == 0, "length", config.length, fix)
        super().check(config)

    @classmethod
    def from_config(cls, config: TrainConfig, state: dict[str, Any] | None) -> Self:
        """As `--length` and `--types` say."""
        return cls(config.length, config.types)

    @classmethod
    def describe(cls, config: TrainConfig) -> str:
        """Name and kinds."""
        return f"brackets, {config.types} kinds"

    @classmethod
    def longest_length(cls, most: int) -> int:
        """The largest even length."""
        return most - most % 2

    @property
    def start(self) -> int:
        """The start token; brackets of type t open with token t and close with token types + t."""
        return 2 * self.types

    def training_batch(self, size: int, seed: int, step: int) -> Batch:
        """Sequences that are not held out, a function of seed and step.

        Args:
            size: number of sequences.
            seed: of the run.
            step: of the training.
        """
        return self._batch(self._draw_training(size, np.random.default_rng((seed, step))))

    def validation(self, most: int | None = None) -> Batch:
        """Held-out sequences, always the same ones, no two alike.

        Args:
            most: number of sequences; by default all, or 2,000 where there are more.
        """
        return self._batch(self._held_out[:most])

    def encode(self, text: str) -> list[int]:
        """Start token and brackets of a prompt.

        Raises:
            ValueError: a character that is no bracket of this task, or brackets that do not match.
        """
        known = self.symbols[:-1]
        tokens, unclosed = [self.start], []
        for position, character in enumerate(text):
            if character not in known:
                raise ValueError(
                    f"--prompt has {character!r} at position {position}, which is not in this run's vocabulary; "
                    f"use only {' '.join(known)}"
                )
            token = known.index(character)
            if token < self.types:
                unclosed.append(token)
            elif not unclosed or unclosed.pop() != token - self.types:
                raise ValueError(f"--prompt has {character!r} at position {position}, which closes no open bracket")
            tokens.append(token)
        return tokens

    @property
    def symbols(self) -> list[str]:
        """A printable character for every token."""
        pairs = PAIRS[: self.types]
        return [p[0] for p in pairs] + [p[1] for p in pairs] + ["⊢"]

    def labels(self, tokens: Tensor) -> list[str]:
        """One printable character for each token of a sequence."""
        return [self.symbols[int(token)] for token in tokens]

    def decode(self, tokens: list[int]) -> str:
        """The brackets of some tokens."""
        return "".join(self.symbols[token] for token in tokens)

    def next_token(self, choice: int) -> int:
        """The closing bracket of a type."""
        return self.types + choice

    def continuation(self, context: list[int], most: int) -> int:
        """As many as close what is open.

        Raises:
            ValueError: more than the length holds.
        """
        opened = sum(token < self.types for token in context)
        closed = sum(self.types <= token < self.start for token in context)
        tokens = min(most, opened - closed)
        if len(context) - 1 + tokens > self.length:
            raise ValueError(
                f"--prompt needs {len(context) - 1 + tokens} brackets to balance, but this run holds {self.length}; "
                "give a shorter prompt"
            )
        return tokens

    def _batch(self, sequences: np.ndarray) -> Batch:
        full = torch.from_numpy(sequences)
        start = torch.full((len(full), 1), self.start)
        closing = full >= self.types
        targets = torch.where(closing, full - self.types, torch.full_like(full, IGNORED))
        return Batch(torch.cat([start, full[:, :-1]], 1), targets)

    def _draw_training(self, size: int, generator: np.random.Generator) -> np.ndarray:
        """Sequences that are not held out, int64 (size, length), by rejection."""
        found = np.empty((0, self.length), dtype=np.int64)
        while len(found) < size:
            drawn = self._uniform(max(2 * size, 64), generator)
            found = np.concatenate([found, drawn[~is_held_out(drawn)]])
        return found[:size]

    @cached_property
    def _held_out(self) -> np.ndarray:
        """Different held-out sequences in random order, at most 2,000; where there are fewer, (almost surely) all."""
        drawn = self._uniform(_VALIDATION_DRAWS, np.random.default_rng(_VALIDATION_SEED))
        drawn = drawn[is_held_out(drawn)]
        _, first = np.unique(drawn, axis=0, return_index=True)
        return drawn[np.sort(first)[:VALIDATION_SEQUENCES]]

    def _uniform(self, size: int, generator: np.random.Generator) -> np.ndarray:
        """Sequences drawn uniformly: each step opens with the share of the completions that start by opening.

        At depth d with m brackets left that share is (d + 2)(m − d) / (2m (d + 1)), a ratio of ballot numbers.
        """
        sequences = np.empty((size, self.length), dtype=np.int64)
        depth = np.zeros(size, dtype=np.int64)
        stack = np.zeros((size, self.length // 2 + 1), dtype=np.int64)
        rows = np.arange(size)
        for position in range(self.length):
            left = self.length - position
            opening = (depth + 2) * (left - depth) / (2 * left * (depth + 1))
            opens = generator.random(size) < opening
            kinds = generator.integers(self.types, size=size)
            closes = stack[rows, np.maximum(depth - 1, 0)]
            sequences[:, position] = np.where(opens, kinds, self.types + closes)
            stack[rows[opens], depth[opens]] = kinds[opens]
            depth += np.where(opens, 1, -1)
        return sequences

    def _require_both_sets(self) -> None:
        """Refuse a task in which chance may leave one side of the split without any sequence."""
        pairs = self.length // 2
        words = math.comb(2 * pairs, pairs) // (pairs + 1) * self.types**pairs
        if words > 1000:
            return
        if not has_both_sides(self._uniform):
            raise ValueError(
                f"length is {self.length} and types {self.types}: of only {words} different sequences none can be "
                "held out for validation; use a longer length or more types"
            )
