"""How parameters are updated, and how fast."""

from __future__ import annotations

import math

import torch

from hybrid_attention.config import TrainConfig
from hybrid_attention.transformer import Transformer

LARGEST_NORM = 1.0
"""Gradients with a larger norm are scaled down to it."""
_WEIGHT_DECAY = 0.01


def learning_rate_factor(step: int, steps: int) -> float:
    """Share of the peak learning rate in the update that follows `step` updates.

    Linear warm-up over min(50, steps/20) updates, then half a cosine to zero.

    Args:
        step: updates made so far.
        steps: updates in all.
    """
    warm_up = max(1, min(50, steps // 20))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def build_optimizer(model: Transformer, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with a learning rate of its own for the couplings.

    Args:
        model: what to train, on its device.
        config: gives the learning rates.
    """
    couplings = [p for name, p in model.named_parameters() if ".couplings." in name]
    others = [p for name, p in model.named_parameters() if ".couplings." not in name]
    groups = [{"params": others, "peak": config.lr}, {"params": couplings, "peak": config.coupling_rate}]
    return torch.optim.AdamW(
        [g for g in groups if g["params"]],
        lr=config.lr,
        weight_decay=_WEIGHT_DECAY,
        fused=True,  # one kernel in place of a dozen for every parameter: a tenth of a small model's step
    )
