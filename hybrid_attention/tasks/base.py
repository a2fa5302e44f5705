"""The contract of a task."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from torch import Tensor

IGNORED = -100
"""Target of positions that are neither trained nor counted (the default of PyTorch's cross-entropy)."""


class Batch(NamedTuple):
    """Input tokens and target classes, both int64 (batch, length)."""

    tokens: Tensor
    targets: Tensor


class Task(Protocol):
    """A source of batches that are a function of a seed and a step alone, so that a run can resume anywhere."""

    name: str
    vocabulary: int
    classes: int
    length: int
    chance: float | None
    """Accuracy of a guess among equally likely classes, where that is a fair yardstick."""

    def training_batch(self, size: int, seed: int, step: int) -> Batch:
        """Sequences to train on in one step."""
        ...

    def validation(self, most: int | None = None) -> Batch:
        """Held-out sequences, always the same: all that there are, or `most` of them."""
        ...

    def encode(self, text: str) -> list[int]:
        """Tokens of a prompt; ValueError names what the vocabulary lacks."""
        ...

    def labels(self, tokens: Tensor) -> list[str]:
        """Readable labels of one sequence of tokens."""
        ...

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold to rebuild the vocabulary without the data, as JSON."""
        ...
