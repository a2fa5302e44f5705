"""Training runs of a study: one row each."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from classical import PerfectSamples, Sampler
from hybrid_attention.evaluate import evaluate_run, load_run
from hybrid_attention.qpu import Access
from hybrid_attention.qpu_settings import QPUS
from hybrid_attention.run import RunFolder
from hybrid_attention.samplers import build_sampler
from hybrid_attention.study.columns import COLUMNS
from hybrid_attention.study.grid import Cell
from hybrid_attention.study.measure import circuit_columns, setting_columns
from hybrid_attention.study.settings import StudyConfig
from hybrid_attention.train import train


def train_cell(cell: Cell, study: StudyConfig, folder: Path, access: Access | None = None) -> list[dict[str, Any]]:
    """Train one run, or go on with one that was interrupted, and evaluate it with exact sums.

    Args:
        cell: one combination of settings.
        study: the study's settings.
        folder: of the run.
        access: journal and budget, for quantum processors.

    Returns:
        One row, with every column of `COLUMNS`.
    """
    config = cell.train_config(study).resolved().with_absolute_paths()
    run = RunFolder(folder)
    start, interrupted = time.perf_counter(), run.exists()
    latest = run.latest()
    if latest is None or not latest.name.endswith(f"{config.steps:08d}"):
        sampler: Sampler | None = PerfectSamples() if cell.setting.sampler == "exact" else None
        if config.sampler in QPUS:
            sampler = build_sampler(config.validate(), access)  # whose jobs are the study's
        train(config, run, resume=run.exists(), progress=False, sampler=sampler)
    found = evaluate_run(load_run(folder, sampler="exact"), progress=False)
    row = {
        **setting_columns(cell, study),
        **circuit_columns(cell),
        "shots": config.shots,
        "seed": cell.seed,
        "task": study.train,
        "training_steps": config.steps,
        "loss": found["loss"],
        "loss_error": found["loss_error"],
        "accuracy": found["accuracy"],
        "seconds": None if interrupted else time.perf_counter() - start,
    }
    return [{name: row.get(name) for name in COLUMNS}]
