"""Answers of jobs as samples of the batch that they were made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from classical.ising import IsingModel
from classical.samples import Samples
from quantum.ibm.answer import Bits
from quantum.ibm.batch import Part
from quantum.jobs.terms import Result


def gathered(results: Sequence[Result[list[Bits]]], parts: Sequence[Part], model: IsingModel, shots: int) -> Samples:
    """Distinct outcomes of every model, weighted by how often they occurred.

    w_r = n_r / shots

    Args:
        results: of all jobs.
        parts: the jobs.
        model: the batch.
        shots: of every model.

    Returns:
        Samples with rows padded by weight 0. The diagnostics hold, for every model (groups, models), the id of its
        job, its share of what the job was charged and of what a processor was expected to be charged, in µs, and what
        is known of its circuit.
    """
    count, shape = model.groups * model.models, (model.groups, model.models)
    outcomes: list[NDArray[np.uint8]] = [np.zeros((0, model.spins), np.uint8)] * count
    counts: list[NDArray[np.int64]] = [np.zeros(0, np.int64)] * count
    ids: list[str] = [""] * count
    circuits: list[Any] = [None] * count
    charged, expected = np.zeros(count), np.zeros(count)
    for result, part in zip(results, parts, strict=True):
        models = sum(part.payload.models)
        for bits, owners, (anneal, _) in zip(result.value, part.owners, part.payload.work, strict=True):
            for one, owner in zip(bits, owners.tolist(), strict=True):
                outcomes[owner], counts[owner] = _histogram(one)
                ids[owner], circuits[owner] = result.problem_id, anneal.facts
                charged[owner], expected[owner] = result.charged_us / models, part.estimate_us / models
    rows = max(map(len, counts), default=0)
    spins = np.ones((count, rows, model.spins), dtype=np.int8)
    weights = np.zeros((count, rows))
    for owner in range(count):
        filled = len(counts[owner])
        spins[owner, :filled] = 1 - 2 * outcomes[owner].astype(np.int8)
        weights[owner, :filled] = counts[owner] / shots
    diagnostics = {
        "problem_ids": [ids[group * model.models : (group + 1) * model.models] for group in range(model.groups)],
        "charged_us": torch.from_numpy(charged).reshape(shape),
        "estimated_us": torch.from_numpy(expected).reshape(shape),
        "circuits": [circuits[group * model.models] if model.models else None for group in range(model.groups)],
        "jobs": len(parts),
    }
    return Samples(
        torch.from_numpy(spins).reshape(*shape, rows, model.spins).to(model.fields.device),
        torch.from_numpy(weights).reshape(*shape, rows).to(model.fields.device, model.fields.dtype),
        shots,
        diagnostics,
    )


def _histogram(bits: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Distinct rows, and how often each occurs."""
    packed = np.packbits(bits, axis=-1)
    _, first, occurrences = np.unique(packed, axis=0, return_index=True, return_counts=True)
    return bits[first], occurrences
