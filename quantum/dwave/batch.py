"""From a batch of models to submissions of many models each, and what a solver charges for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from classical.ising import IsingModel
from quantum.dwave.encode import Run, Submission, encode
from quantum.dwave.fields import Fields
from quantum.dwave.placement import Placement
from quantum.dwave.reads import no_reversal, spin_reversals, split_reads
from quantum.jobs.service import Request


@dataclass(frozen=True, eq=False)
class Packed:
    """A submission, and whose it is.

    Args:
        submission: encoded.
        first: the first of its models, counted through the batch; the others follow.
    """

    submission: Submission
    first: int

    @property
    def models(self) -> int:
        """How many stand side by side."""
        return self.submission.layout.copies


def pack_batch(
    programmed: IsingModel,
    seeds: torch.Tensor,
    shots: int,
    *,
    placement: Placement,
    fields: Fields,
    run: Run,
    most_reads: int,
    reversals: int,
) -> list[Packed]:
    """Submissions for every model, several to a submission; each in parts where reads or reversals ask for it.

    Args:
        programmed: models, already divided by their temperatures, (groups, models, spins).
        seeds: of every model, (groups, models).
        shots: of every model.
        placement: where they go.
        fields: how fields are given.
        run: anneal, answer mode, chains and flux.
        most_reads: of one submission.
        reversals: choices of spins to turn over, 0 for none.

    Raises:
        ValueError: a value outside the solver's ranges.
    """
    chip = fields.programmed(programmed)
    h, J = chip.fields[:, 0].numpy(), chip.couplings.numpy()
    pinned = chip.spins - 1 if fields.pinned else None
    parts = split_reads(shots, most_reads, max(1, reversals))
    flat, packed, first = seeds.flatten(), [], 0
    for count in placement.shares(programmed.spins, len(h)):
        layout, rows = placement.layout(programmed.spins, count), slice(first, first + count)
        own = flat[rows]
        for part, reads in enumerate(parts):
            gauge = spin_reversals(own, part, chip.spins) if reversals else no_reversal(count, chip.spins)
            key = (*own.tolist(), part)
            submission = encode(layout, h[rows], J[rows], run, reads=reads, gauge=gauge, pinned=pinned, key=key)
            packed.append(Packed(submission, first))
        first += count
    return packed


def timed(packed: Packed, estimate: Callable[..., float], annealing_time: float) -> Request:
    """What is asked of a service, with what it is expected to cost.

    Args:
        packed: a submission.
        estimate: the solver's own timing model, `estimate_qpu_access_time`.
        annealing_time: µs.
    """
    submission = packed.submission
    qubits = len(submission.layout.active)
    cost = estimate(num_qubits=qubits, num_reads=submission.reads, annealing_time=annealing_time)
    return Request(
        submission.digest, submission, packed.models, submission.reads, qubits, float(np.ceil(cost * 1e3)) / 1e3
    )


def timing_model(solver: Any) -> Callable[..., float]:
    """The solver's own timing model, µs; nothing is submitted by asking it.

    Args:
        solver: of D-Wave's client.

    Raises:
        ValueError: a solver that publishes none, so that no budget could be kept.
    """
    estimate: Callable[..., float] = solver.estimate_qpu_access_time
    try:
        estimate(num_qubits=1, num_reads=1, annealing_time=1.0)
    except (KeyError, ValueError) as error:
        raise ValueError(f"solver {solver.name} has no timing model that is known ({error}); choose another") from None
    return estimate
