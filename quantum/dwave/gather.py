"""Results of many submissions as samples of the batch that they were made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from classical.samples import Samples
from quantum.dwave.batch import Packed
from quantum.dwave.decode import Readout
from quantum.dwave.fields import Fields
from quantum.jobs.terms import Result


def gathered(
    results: Sequence[Result[Readout]], packed: Sequence[Packed], shape: tuple[int, int], shots: int, fields: Fields
) -> Samples:
    """Rows of all parts of every model, weighted by how often they occurred.

    w_r = n_r / shots

    Args:
        results: of the submissions.
        packed: the submissions, and whose they are.
        shape: (groups, models).
        shots: of every model.
        fields: how outcomes are read.

    Returns:
        Samples with float64 weights and, as diagnostics of every model, `broken_chains`, `ancilla` (None without one),
        `problem_ids`, and `qpu_access_time`, its share of what its submissions were charged, µs.
    """
    models = shape[0] * shape[1]
    size = packed[0].submission.layout.spins - fields.extra if packed else 0
    filled = np.zeros(models, dtype=np.int64)
    for result, one in zip(results, packed, strict=True):
        filled[one.first : one.first + one.models] += len(result.value.occurrences)
    rows = int(filled.max(initial=0))
    spins = np.ones((models, rows, size), dtype=np.int8)
    weights = np.zeros((models, rows))
    ids: list[list[str]] = [[] for _ in range(models)]
    broken, held, charged = np.zeros(models), np.zeros(models), np.zeros(models)
    filled[:] = 0
    pinned = False
    for result, one in zip(results, packed, strict=True):
        readout, mine = result.value, slice(one.first, one.first + one.models)
        reads = readout.occurrences.sum()
        outcomes, mean = fields.read(readout.spins, readout.occurrences / reads)
        start = filled[one.first]
        here = slice(start, start + len(outcomes))
        spins[mine, here] = outcomes.transpose(1, 0, 2)
        weights[mine, here] = readout.occurrences / shots
        filled[mine] += len(outcomes)
        broken[mine] += readout.broken * reads / shots
        charged[mine] += result.charged_us / one.models
        for model in range(mine.start, mine.stop):
            ids[model].append(result.problem_id)
        if mean is not None:
            pinned = True
            held[mine] += mean * reads / shots
    diagnostics = {
        "broken_chains": torch.from_numpy(broken).reshape(shape),
        "ancilla": torch.from_numpy(held).reshape(shape) if pinned else None,
        "problem_ids": ids,
        "qpu_access_time": torch.from_numpy(charged).reshape(shape),
    }
    return Samples(
        torch.from_numpy(spins).reshape(*shape, rows, size),
        torch.from_numpy(weights).reshape(*shape, rows),
        shots,
        diagnostics,
    )
