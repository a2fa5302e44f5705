"""Batches on their way to Aer, and its histograms on their way back."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from classical.ising import IsingModel
from quantum.trotter import Template

Piece = tuple[Template, NDArray[np.float64]]
"""A circuit, and the values of its parameters for some models, (parameters, models)."""


def shares(circuit: Template, values: NDArray[np.float64], count: int, numbers: int, limit: int) -> Iterator[Piece]:
    """Consecutive models in so many shares, or more where one would be larger than the limit.

    Args:
        circuit: of all these models.
        values: (parameters, models).
        count: how many shares.
        numbers: what Aer returns for one model.
        limit: most numbers, of parameters and results, in one share.
    """
    models = values.shape[1]
    largest = max(1, limit // (len(values) + numbers))
    for share in np.array_split(values, min(models, max(count, -(-models // largest))), axis=1):
        yield circuit, share


def calls(pieces: Iterator[Piece], numbers: int, limit: int) -> Iterator[list[Piece]]:
    """Pieces in as few calls as the limit allows.

    Args:
        pieces: in the order of the batch.
        numbers: what Aer returns for one model.
        limit: most numbers, of circuits, parameters and results, in one call.
    """
    call: list[Piece] = []
    load = 0
    for circuit, values in pieces:
        size = circuit.fixed + values.size + values.shape[1] * numbers
        if call and load + size > limit:
            yield call
            call, load = [], 0
        call.append((circuit, values))
        load += size
    if call:
        yield call


def histograms(counts: list[dict[str, int]], model: IsingModel, shots: int) -> tuple[Tensor, Tensor]:
    """Aer's histograms as spins and weights, padded to one length with weight 0.

    Args:
        counts: for every model, occurrences of outcomes in hexadecimal; bit i is spin i, bit 0 is +1.
        model: the batch.
        shots: of every model.

    Returns:
        Spins (groups, models, rows, spins) int8, and weights (groups, models, rows) in the dtype of the fields.
    """
    width = max((len(count) for count in counts), default=0)
    size = -(-model.spins // 8)  # an outcome in bytes: more spins than an int64 has bits are no exception
    outcomes = np.zeros((len(counts), width, size), dtype=np.uint8)
    weights = np.zeros((len(counts), width))
    for row, count in enumerate(counts):
        packed = b"".join(int(key, 16).to_bytes(size, "little") for key in count)
        outcomes[row, : len(count)] = np.frombuffer(packed, dtype=np.uint8).reshape(-1, size)
        weights[row, : len(count)] = list(count.values())
    bits = np.unpackbits(outcomes, axis=-1, count=model.spins, bitorder="little")
    spins = torch.from_numpy(1 - 2 * bits.astype(np.int8)).reshape(model.groups, model.models, width, model.spins)
    shape = (model.groups, model.models, width)
    return spins, torch.from_numpy(weights / shots).to(model.fields.dtype).reshape(shape)


def processors() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
