"""A task of one's own: a random word over and over, whose next letter is to be told."""

import numpy as np
import torch

from hybrid_attention.tasks import IGNORED, Batch, Task
from hybrid_attention.tasks.split import is_held_out

LETTERS = "abcdefgh"


class RepeatTask(Task):
    title = "The next letter of a repeated word"
    counted = "letters"
    chance = 1 / len(LETTERS)

    def __init__(self, length: int, period: int = 3):
        if not 2 <= period <= length:
            raise ValueError(f"period is {period}; give 2 to {length}, which is --length")
        self.length, self.period = length, period
        self.vocabulary = self.classes = len(LETTERS)

    def training_batch(self, size, seed, step):
        return self._batch(size, (seed, step), held_out=False)

    def validation(self, most=None):
        return self._batch(500 if most is None else min(most, 500), 0, held_out=True)

    def _batch(self, size, seed, held_out):
        drawn = np.random.default_rng(seed).integers(len(LETTERS), size=(20 * size + 200, self.period))
        words = torch.from_numpy(drawn[is_held_out(drawn) == held_out][:size])
        series = words[:, torch.arange(self.length + 1) % self.period]
        targets = series[:, 1:].clone()
        targets[:, : self.period - 1] = IGNORED  # letters that no one can know yet
        return Batch(series[:, :-1], targets)

    # for `generate` and readable reports

    def encode(self, text):
        for position, character in enumerate(text):
            if character not in LETTERS:
                raise ValueError(f"--prompt has {character!r} at position {position}; use only {LETTERS}")
        return [LETTERS.index(character) for character in text]

    def decode(self, tokens):
        return "".join(LETTERS[token] for token in tokens)

    def labels(self, tokens):
        return [LETTERS[int(token)] for token in tokens]
