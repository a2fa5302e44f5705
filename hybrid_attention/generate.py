"""Continue a prompt with a trained model."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from classical.random import derive_seeds
from hybrid_attention.cache import Cache
from hybrid_attention.config import LARGEST_SEED
from hybrid_attention.errors import InputError
from hybrid_attention.evaluate import LoadedRun
from hybrid_attention.transformer import Transformer

GENERATION_SEED = 2


@torch.no_grad()
def generate(run: LoadedRun, prompt: str, tokens: int, temperature: float = 1.0, seed: int = 0) -> Iterator[str]:
    """Continue a prompt, one character at a time.

    Text goes on for as many characters as asked for. A run with a window goes on at a constant cost for each; any other
    predicts each from the last `length` characters, and beyond these reads them anew every time. Brackets are closed,
    each by the model's choice of type, until as many are closed as were open. Other tasks go on where they say how
    (`Task.encode`, `decode`, `next_token`, `continuation`).

    Args:
        run: the trained run.
        prompt: what to go on from.
        tokens: most characters to add.
        temperature: divides the logits; 0 takes the most likely character every time.
        seed: fixes the characters and the samples.

    Yields:
        The new characters.

    Raises:
        InputError: a prompt the vocabulary cannot express, a task that takes none, or numbers out of range.
    """
    if tokens < 1:
        raise InputError(f"--tokens is {tokens}; give at least 1")
    if not 0 <= temperature < float("inf"):
        raise InputError(f"--temperature is {temperature}; give 0 or a positive number")
    if not 0 <= seed < LARGEST_SEED:
        raise InputError(f"--seed is {seed}; give 0 or more and less than {LARGEST_SEED}")
    try:
        context = run.task.encode(prompt)
        run.task.decode(context)
        tokens = run.task.continuation(context, tokens)
    except ValueError as error:
        raise InputError(str(error)) from None
    if not context:
        raise InputError("--prompt is empty; give something to go on from")
    return _continue(run, context, tokens, temperature, seed)


def _continue(run: LoadedRun, context: list[int], tokens: int, temperature: float, seed: int) -> Iterator[str]:
    generator = torch.Generator().manual_seed(seed)
    reader = _Reader(run.model)
    for number in range(tokens):
        logits = reader.logits(context, derive_seeds(seed, GENERATION_SEED, number))
        if temperature == 0:
            choice = int(logits.argmax())
        else:
            choice = int(torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator))
        context.append(run.task.next_token(choice))
        yield run.task.decode(context[-1:])


class _Reader:
    """Reads a text that grows, every token once where the model's positions allow it.

    Args:
        model: the model.
    """

    def __init__(self, model: Transformer) -> None:
        self.model = model
        self._caches: list[Cache] = model.new_caches()

    def logits(self, context: list[int], seed: Tensor) -> Tensor:
        """Logits (classes) after the last token; tokens seen before must be the same."""
        longest = self.model.length
        if longest is not None and len(context) > longest:
            logits: Tensor = self.model(torch.tensor([context[-longest:]]), seed=seed).logits[0, -1]
            return logits
        for token in context[self._caches[0].position :]:
            logits = self.model.step(torch.tensor([token]), self._caches, seed)[0]
        return logits
