"""Character-level language modelling on any UTF-8 text."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from hybrid_attention.tasks.base import Batch, Task

if TYPE_CHECKING:
    from hybrid_attention.config import TrainConfig

TRAINING_SHARE = 0.9


class TextTask(Task):
    """Predict the next character; the first 90 % of the text train, the last 10 % validate.

    Args:
        text: the whole text.
        length: characters of context.
        vocabulary: characters in the order of their tokens; those of the text by default.

    Raises:
        ValueError: a length below 1, or a text with characters outside a given vocabulary.
    """

    title = "Next characters of a text"
    counted = "next characters"
    bits_per = "character"
    from_text = True
    has_options = False

    def __init__(self, text: str, length: int, vocabulary: str | None = None) -> None:
        if length < 1:
            raise ValueError(f"length is {length}; it must be at least 1")
        self.length = length
        self._path = ""
        self.characters = "".join(sorted(set(text))) if vocabulary is None else vocabulary
        self.vocabulary = self.classes = len(self.characters)
        self.digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        self._token = {character: token for token, character in enumerate(self.characters)}
        unknown = sorted(set(text) - set(self.characters))
        if unknown:
            raise ValueError(
                f"--text has the character {unknown[0]!r}, which is not in the run's vocabulary of "
                f"{self.vocabulary} characters; take it out"
            )
        tokens = torch.tensor([self._token[character] for character in text], dtype=torch.int64)
        cut = int(TRAINING_SHARE * len(tokens))
        self._training, self._validation = tokens[:cut], tokens[cut:]

    @classmethod
    def from_file(cls, path: str | Path, length: int, vocabulary: str | None = None) -> Self:
        """Read a UTF-8 file, or the English text inside Python itself where the path is empty.

        Args:
            path: the file, or "".
            length: characters of context.
            vocabulary: as for the class.

        Raises:
            ValueError: a file that is missing, empty, not UTF-8 or shorter than one context.
        """
        text = built_in_text() if str(path) == "" else _read(Path(path))
        shortest = 10 * (length + 1)  # a tenth is held out, and must hold one context and its target
        if len(text) < shortest:
            raise ValueError(
                f"--text {path} has {len(text)} characters; a context of --length {length} needs at least {shortest} "
                "(a tenth of the text is held out): use a longer text or a smaller --length"
            )
        task = cls(text, length, vocabulary)
        task._path = str(path)
        return task

    @classmethod
    def from_config(cls, config: TrainConfig, state: dict[str, Any] | None) -> Self:
        """The text of `--text`, in the vocabulary of the run where there is one."""
        return cls.from_file(config.text, config.length, (state or {}).get("characters"))

    @classmethod
    def without_data(cls, config: TrainConfig, state: dict[str, Any]) -> Self:
        """The vocabulary of the run alone."""
        return cls.without_text(config.length, state["characters"])

    @classmethod
    def describe(cls, config: TrainConfig) -> str:
        """Name and file."""
        return "text, " + (Path(config.text).name if config.text else "Python's own help texts")

    @classmethod
    def without_text(cls, length: int, vocabulary: str) -> Self:
        """A task that can encode and decode but has nothing to train on or to validate with.

        Args:
            length: characters of context.
            vocabulary: characters in the order of their tokens.
        """
        return cls("", length, vocabulary)

    def training_batch(self, size: int, seed: int, step: int) -> Batch:
        """Windows at random places of the training part, a function of seed and step.

        Args:
            size: number of windows.
            seed: of the run.
            step: of the training.
        """
        generator = np.random.default_rng((seed, step))
        starts = generator.integers(len(self._training) - self.length, size=size)
        return self._windows(self._training, torch.from_numpy(starts))

    def validation(self, most: int | None = None) -> Batch:
        """Windows side by side over the held-out part, every one, or `most` of them evenly spread.

        Args:
            most: number of windows.
        """
        starts = torch.arange(0, len(self._validation) - self.length, self.length)
        if most is not None and most < len(starts):
            starts = starts[torch.linspace(0, len(starts) - 1, most).round().long()]
        return self._windows(self._validation, starts)

    def encode(self, text: str) -> list[int]:
        """Tokens of a prompt.

        Raises:
            ValueError: an empty prompt or a character that the vocabulary lacks.
        """
        if not text:
            raise ValueError("--prompt is empty; give at least one character to go on from")
        for position, character in enumerate(text):
            if character not in self._token:
                raise ValueError(
                    f"--prompt has {character!r} at position {position}, which is not in this run's vocabulary of "
                    f"{self.vocabulary} characters; leave it out"
                )
        return [self._token[character] for character in text]

    def labels(self, tokens: Tensor) -> list[str]:
        """One visible character for each token of a sequence."""
        visible = {" ": "␣", "\n": "↵", "\t": "⇥"}
        return [visible.get(c, c) for c in (self.characters[int(token)] for token in tokens)]

    def decode(self, tokens: list[int]) -> str:
        """The text of some tokens."""
        return "".join(self.characters[token] for token in tokens)

    def state(self) -> dict[str, Any]:
        """The characters in the order of their tokens, and a digest that tells this text from another."""
        return {"characters": self.characters, "sha256": self.digest}

    def require_state(self, state: dict[str, Any]) -> None:
        """Refuse another text than the run's.

        Raises:
            ValueError: another SHA-256.
        """
        if state["sha256"] != self.digest:
            raise ValueError(
                f"--text {self._path or '(the text inside Python)'} is not the text that this run was trained on "
                "(another SHA-256); restore it, or train on this one in a new --out"
            )

    def _windows(self, part: Tensor, starts: Tensor) -> Batch:
        window = part[starts.unsqueeze(-1) + torch.arange(self.length + 1)]
        return Batch(window[:, :-1], window[:, 1:])


def built_in_text() -> str:
    """The help texts on Python's own language topics, English prose that every interpreter carries."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name] for name in sorted(topics))


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"--text {path} does not exist; give a UTF-8 text file") from None
    except OSError as error:
        raise ValueError(f"--text {path} cannot be read ({error.strerror}); give a UTF-8 text file") from None
    if not data:
        raise ValueError(f"--text {path} is empty; give a UTF-8 text file with something in it")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"--text {path} is not UTF-8 (byte {data[error.start]:#04x} at position {error.start}); convert it to UTF-8"
        ) from None
