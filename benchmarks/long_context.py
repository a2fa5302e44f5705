"""Long contexts: what a window costs in training and in generation, from length 128 to 1,024.

    python -m benchmarks.long_context

One layer, dim 32, 4 heads, window 16, text. Training is the whole step, batch 4: forward, backward, clipping and the
AdamW update. Generation is one more character at the end of a full context: a step from the cache, or, for the last
line, the forward pass over the context that it replaces. Times are those of the processor, spent by one thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from time import process_time

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.timing import one_thread
from benchmarks.training_step import step_of
from classical import ExactSampler
from hybrid_attention.build import build_model
from hybrid_attention.config import TrainConfig
from hybrid_attention.inputs import Inputs
from hybrid_attention.multihead import MultiHeadAttention
from hybrid_attention.priors import MatrixPrior, Prior
from hybrid_attention.tasks import TextTask
from hybrid_attention.tasks.text import built_in_text
from hybrid_attention.transformer import Transformer

LENGTHS = (128, 256, 512, 1024)
BATCH, ROUNDS, CHARACTERS = 4, 5, 20
WINDOWED = {"Boltzmann, window 16": {}, "softmax, window 16": {"attention": "softmax"}}
REFERENCE = "softmax, window 16"


class FusedSoftmax(MultiHeadAttention):
    """Full causal softmax attention by PyTorch's fused kernel, as fast as it comes."""

    def weights(self, inputs: Inputs, seed: object) -> Prior:
        """The mixture itself, under weights that pass it on."""
        mixed = F.scaled_dot_product_attention(inputs.q, inputs.k, inputs.v, is_causal=True)
        return _Mixed(mixed)


class _Mixed(MatrixPrior):
    def mix(self, values: Tensor) -> Tensor:
        return self.weights


def configs(length: int) -> dict[str, TrainConfig]:
    """Runs to compare, by name."""
    common = {"task": "text", "length": length, "batch": BATCH}
    runs = {name: TrainConfig(**common, window=16, **arm).validate() for name, arm in WINDOWED.items()}
    return runs | {"softmax, all keys": TrainConfig(**common, attention="softmax").validate()}


def fused(model: Transformer, config: TrainConfig) -> Transformer:
    """The same model with the fused kernel in its attention."""
    for block in model.blocks:
        own = FusedSoftmax(config.dim, config.heads, config.length)
        own.load_state_dict(block.attention.state_dict())
        block.attention = own
    return model


def training(config: TrainConfig, task: TextTask) -> dict[str, Callable[[], object]]:
    """One step, and for full attention another with the fused kernel."""
    steps: dict[str, Callable[[], object]] = {"": step_of(config, task)}
    if config.window is None:
        steps[", fused"] = step_of(config, task, fused)
    return steps


@torch.no_grad()
def generation(config: TrainConfig, task: TextTask) -> dict[str, Callable[[], object]]:
    """Characters at the end of a full context; for full attention also without the cache."""
    model = build_model(config, task, ExactSampler())
    tokens = task.training_batch(1, seed=0, step=0).tokens[0]
    caches = model.new_caches()
    for token in tokens[:-CHARACTERS]:
        model.step(token[None], caches)

    def without_cache() -> None:
        for _ in range(CHARACTERS):
            model(tokens[None])

    def steps() -> None:
        held = [_Rewound(cache) for cache in caches]
        for token in tokens[-CHARACTERS:]:
            model.step(token[None], caches)
        for one in held:
            one.rewind()

    made: dict[str, Callable[[], object]] = {"": steps}
    if config.window is None:
        made[", no cache"] = without_cache
    return made


class _Rewound:
    """What a cache held, to begin a round anew; its tensors are never changed in place."""

    def __init__(self, cache: object) -> None:
        self.cache, self.kept = cache, dict(vars(cache))

    def rewind(self) -> None:
        vars(self.cache).update(self.kept)


def best_seconds(candidates: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Processor seconds of each, the best of several rounds in which all take turns."""
    best = dict.fromkeys(candidates, math.inf)
    with one_thread():
        for turn in range(ROUNDS + 1):
            for name, call in candidates.items():
                started = process_time()
                call()
                if turn:
                    best[name] = min(best[name], process_time() - started)
    return best


def exponent(seconds: dict[int, float]) -> float:
    """Slope of log time against log length, by least squares."""
    x = torch.tensor([math.log(length) for length in seconds], dtype=torch.float64)
    y = torch.tensor([math.log(value) for value in seconds.values()], dtype=torch.float64)
    x = x - x.mean()
    return float((x * y).sum() / x.square().sum())


def show(title: str, tokens: Callable[[int], int], made: Callable[[TrainConfig, TextTask], dict]) -> None:
    """Time everything at every length, in turns, and print tokens per second, ratios and exponents."""
    text = built_in_text()[:200_000]
    seconds: dict[str, dict[int, float]] = {}
    candidates = {}
    for length in LENGTHS:
        task = TextTask(text, length)
        for name, config in configs(length).items():
            candidates |= {f"{name}{more}|{length}": call for more, call in made(config, task).items()}
    with torch.set_grad_enabled(title == "training"):
        for key, value in best_seconds(candidates).items():
            name, length = key.split("|")
            seconds.setdefault(name, {})[int(length)] = value
    print(f"{title}, tokens/s (times as long as {REFERENCE})")
    print(f"  {'':32}" + "".join(f"{length:>18,}" for length in LENGTHS) + "   time ~ length^")
    for name, times in seconds.items():
        cells = [
            f"{tokens(length) / value:>10,.0f} ({value / seconds[REFERENCE][length]:>4.1f})"
            for length, value in times.items()
        ]
        print(f"  {name:32}" + "".join(f"{cell:>18}" for cell in cells) + f"   {exponent(times):.2f}", flush=True)


def main() -> None:
    """Print both tables."""
    show("training", lambda length: BATCH * length, training)
    show("generation", lambda _: CHARACTERS, generation)


if __name__ == "__main__":
    main()
