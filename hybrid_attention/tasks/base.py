"""The contract of a task: what a user's own class gives, and what it may leave to its base."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from torch import Tensor

from hybrid_attention.flags import require

if TYPE_CHECKING:
    from hybrid_attention.config import TrainConfig

IGNORED = -100
"""Target of positions that are neither trained nor counted (the default of PyTorch's cross-entropy)."""


class Batch(NamedTuple):
    """Input tokens and target classes, both int64 (batch, length)."""

    tokens: Tensor
    targets: Tensor


class Task(ABC):
    """A source of batches that are a function of a seed and a step alone, so that a run can resume anywhere.

    A class of one's own sets `vocabulary`, `classes` and `length` as it is made, and gives `training_batch` and
    `validation`. All else has a default.
    """

    vocabulary: int
    """Number of input tokens; they are 0 … vocabulary − 1."""
    classes: int
    """Number of output classes."""
    length: int
    """Positions of an input: those of `--length`."""
    chance: float | None = None
    """Accuracy of a guess among equally likely classes, where that is a fair yardstick."""

    title: ClassVar[str] = ""
    """What is learned, for the head of a report; the class's name by default."""
    counted: ClassVar[str] = "targets"
    """What the accuracy is a share of."""
    bits_per: ClassVar[str] = ""
    """What a target is, where the loss is also wanted in bits for each."""
    from_text: ClassVar[bool] = False
    """Whether `--text` is for this task."""
    has_options: ClassVar[bool] = True
    """Whether arguments of the class besides `length` are set by `--task-options`."""

    @abstractmethod
    def training_batch(self, size: int, seed: int, step: int) -> Batch:
        """Sequences to train on in one step, a function of the arguments alone.

        Args:
            size: number of sequences.
            seed: of the run.
            step: of the training.
        """

    @abstractmethod
    def validation(self, most: int | None = None) -> Batch:
        """Held-out sequences, always the same, and at least one of them counted.

        Args:
            most: number of sequences; all that there are by default.
        """

    @classmethod
    def check(cls, config: TrainConfig) -> None:
        """Refuse settings that cannot work, before anything is read or built.

        Args:
            config: the run's settings.

        Raises:
            InputError: names the flag, its value and the fix.
        """
        from hybrid_attention.tasks.options import parse_options

        require(cls.from_text or config.text == "", "text", config.text, "it goes with --task text")
        fix = f"--task {config.task} has none; leave it out"
        require(cls.has_options or config.task_options == "", "task_options", config.task_options, fix)
        parse_options(cls, config)

    @classmethod
    def from_config(cls, config: TrainConfig, state: dict[str, Any] | None) -> Self:
        """The task of a run: by default the class with `--length` and what `--task-options` say.

        Args:
            config: the run's settings.
            state: what `state` gave when the run's checkpoint was made, or None where there is none.

        Raises:
            ValueError: settings that the task cannot use; the message begins with the argument's name.
        """
        from hybrid_attention.tasks.options import parse_options

        return cls(config.length, **parse_options(cls, config))  # type: ignore[call-arg]

    @classmethod
    def without_data(cls, config: TrainConfig, state: dict[str, Any]) -> Self:
        """A task that can encode and decode, as `from_config` where the data may be gone; by default the same.

        Args:
            config: the run's settings.
            state: of the run's checkpoint.
        """
        return cls.from_config(config, state)

    @classmethod
    def describe(cls, config: TrainConfig) -> str:
        """The task and its settings in a few words, for a report.

        Args:
            config: the run's settings.
        """
        return ", ".join(part for part in (config.task, config.task_options.replace(",", ", ")) if part)

    @classmethod
    def longest_length(cls, most: int) -> int:
        """The largest length of at most so many positions that the task can have.

        Args:
            most: positions.
        """
        return most

    def state(self) -> dict[str, Any]:
        """What tells this task's data and vocabulary from others', as JSON; nothing by default.

        Checkpoints keep it, and a run is only gone on with where it is the same.
        """
        return {}

    def require_state(self, state: dict[str, Any]) -> None:
        """Refuse to go on where the data are not those that the run was trained on.

        Args:
            state: of the run's checkpoint.

        Raises:
            ValueError: names what differs.
        """
        own = json.loads(json.dumps(self.state()))
        differing = sorted(key for key in own.keys() | state.keys() if own.get(key) != state.get(key))
        if differing:
            key = differing[0]
            raise ValueError(
                f"its state differs from that which this run was trained with: {key} is {own.get(key)!r}, and was "
                f"{state.get(key)!r}; restore what it was, or train in a new --out"
            )

    def optimal(self, tokens: Tensor) -> Tensor | None:
        """Logarithms of the best possible prediction's probabilities, where they can be computed.

        Args:
            tokens: int64 (batch, length).

        Returns:
            (batch, length, classes), or None.
        """
        return None

    def labels(self, tokens: Tensor) -> list[str]:
        """Readable labels of one sequence of tokens; their numbers by default.

        Args:
            tokens: int64 (length).
        """
        return [str(int(token)) for token in tokens]

    def encode(self, text: str) -> list[int]:
        """Tokens of a prompt, for `generate`.

        Args:
            text: the prompt.

        Raises:
            ValueError: names what the vocabulary lacks.
        """
        raise ValueError(f"--prompt cannot be gone on from: {type(self).__name__} has no encode and no decode")

    def decode(self, tokens: list[int]) -> str:
        """The text of some tokens, for `generate`.

        Args:
            tokens: to write out.
        """
        raise ValueError(f"--prompt cannot be gone on from: {type(self).__name__} has no decode")

    def next_token(self, choice: int) -> int:
        """The token that a predicted class stands for, for `generate`; the same number by default.

        Args:
            choice: class.
        """
        return choice

    def continuation(self, context: list[int], most: int) -> int:
        """How many tokens may follow a prompt, for `generate`.

        Args:
            context: the prompt's tokens.
            most: what was asked for, and the default.

        Raises:
            ValueError: a prompt that cannot be gone on from.
        """
        return most
