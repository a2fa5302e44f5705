"""A small ablation and rows without training, for the tests of ablations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hybrid_attention.ablation.columns import COLUMNS
from hybrid_attention.ablation.grid import Cell
from hybrid_attention.ablation.settings import AblationConfig
from hybrid_attention.config import TrainConfig

TINY = TrainConfig(steps=3, batch=4, dim=8, heads=2, eval_sequences=8)
SMALL = AblationConfig(arms="softmax+bias,position+bias", seeds=2, lengths="4", runs=TINY)


def invented(cell: Cell, ablation: AblationConfig, folder: Path) -> list[dict[str, Any]]:
    """A row without a training run: position gains 0.1, and rates are best at 0.006."""
    del ablation, folder
    loss = 2.0 + 0.01 * cell.seed % 1 - 0.1 * cell.arm.startswith("position") + abs(cell.rate - 0.006)
    known = {name: getattr(cell, name) for name in ("stage", "task", "length", "arm", "sampler", "seed", "rate")}
    return [{name: {**known, "loss": loss, "accuracy": 0.5, "parameters": 100}.get(name) for name in COLUMNS}]
