"""Results of many submissions as samples of the batch that they were made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from classical.samples import Samples
from quantum.dwave.driver import Result
from quantum.dwave.fields import Fields


def gathered(
    results: Sequence[Result], owners: Sequence[int], shape: tuple[int, int], shots: int, fields: Fields
) -> Samples:
    """Rows of all parts of every model, weighted by how often they occurred.

    w_r = n_r / shots

    Args:
        results: of submissions with one copy.
        owners: which model, counted through the batch, each is a part of.
        shape: (groups, models).
        shots: of every model.
        fields: how outcomes are read.

    Returns:
        Samples with float64 weights and, as diagnostics, `broken_chains`, `ancilla` (None without one), `problem_ids`
        and `qpu_access_time` of every model.
    """
    models = shape[0] * shape[1]
    spins: list[list[np.ndarray]] = [[] for _ in range(models)]
    counts: list[list[np.ndarray]] = [[] for _ in range(models)]
    ids: list[list[str]] = [[] for _ in range(models)]
    broken, held, charged = np.zeros(models), np.zeros(models), np.zeros(models)
    pinned = False
    for result, owner in zip(results, owners, strict=True):
        readout = result.readout
        reads = readout.occurrences.sum()
        outcomes, mean = fields.read(readout.spins[:, 0], readout.occurrences / reads)
        spins[owner].append(outcomes)
        counts[owner].append(readout.occurrences)
        ids[owner].append(result.problem_id)
        broken[owner] += readout.broken[0] * reads / shots
        charged[owner] += readout.timing.get("qpu_access_time", float("nan"))
        if mean is not None:
            pinned = True
            held[owner] += mean * reads / shots
    rows = max((sum(map(len, parts)) for parts in counts), default=0)
    size = spins[0][0].shape[-1] if models else 0
    whole = np.ones((models, rows, size), dtype=np.int8)
    weights = np.zeros((models, rows))
    for model in range(models):
        filled = sum(map(len, counts[model]))
        whole[model, :filled] = np.concatenate(spins[model])
        weights[model, :filled] = np.concatenate(counts[model]) / shots
    diagnostics = {
        "broken_chains": torch.from_numpy(broken).reshape(shape),
        "ancilla": torch.from_numpy(held).reshape(shape) if pinned else None,
        "problem_ids": ids,
        "qpu_access_time": torch.from_numpy(charged).reshape(shape),
    }
    return Samples(
        torch.from_numpy(whole).reshape(*shape, rows, size),
        torch.from_numpy(weights).reshape(*shape, rows),
        shots,
        diagnostics,
    )
