"""A whole training step: exact Boltzmann attention against softmax attention.

    python -m benchmarks.training_step

One layer, dim 32, 4 heads, batch 64 of text: forward, backward, clipping and the AdamW update.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from benchmarks.timing import best_times, table
from classical import ExactSampler
from hybrid_attention.build import build_model
from hybrid_attention.config import TrainConfig
from hybrid_attention.tasks import TextTask
from hybrid_attention.tasks.text import built_in_text
from hybrid_attention.train import build_optimizer
from hybrid_attention.transformer import Transformer

ARMS = {
    "softmax": {"attention": "softmax"},
    "sigmoid": {"attention": "sigmoid"},
    "Boltzmann, position couplings": {"couplings": "position"},
    "Boltzmann, position couplings + bias": {"couplings": "position", "position_bias": True},
    "Boltzmann, content couplings": {"couplings": "content"},
}


def step_of(
    config: TrainConfig, task: TextTask, changed: Callable[[Transformer, TrainConfig], Transformer] | None = None
) -> Callable[[], None]:
    """A training step on one batch, ready to be repeated; `changed` may put something else into the model."""
    model = build_model(config, task, ExactSampler())
    if changed is not None:
        model = changed(model, config)
    optimizer = build_optimizer(model, config)
    batch = task.training_batch(config.batch, seed=0, step=0)

    def step() -> None:
        logits = model(batch.tokens).logits
        loss = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def main() -> None:
    """Print one table for each length."""
    text = built_in_text()[:100_000]
    for length in (8, 14):
        task = TextTask(text, length)
        steps = {name: step_of(TrainConfig(task="text", length=length, **arm), task) for name, arm in ARMS.items()}
        print(f"length {length}, batch 64")
        print(table(best_times(steps, rounds=30), 1, "steps", "softmax"), flush=True)


if __name__ == "__main__":
    main()
