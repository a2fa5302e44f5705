"""From a batch of models to submissions of many models each, and what a solver charges for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

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
    model: IsingModel,
    seeds: torch.Tensor,
    shots: int,
    shares: Sequence[tuple[int, ...]],
    factors: NDArray[np.float64],
    *,
    placement: Placement,
    fields: Fields,
    run: Run,
    most_reads: int,
    reversals: int,
) -> list[Packed]:
    """Submissions for every model, several to a submission; each in parts where reads or reversals ask for it.

    Args:
        model: (groups, models, spins), float64.
        seeds: of every model, (groups, models).
        shots: of every model.
        shares: copies that each submission uses, for the models in their order.
        factors: what multiplies fields and couplings on every kind of copy, (kinds, 2).
        placement: where copies are.
        fields: how fields are given.
        run: anneal, answer mode, chains and flux.
        most_reads: of one submission.
        reversals: choices of spins to turn over, 0 for none.

    Raises:
        UnsuitableError: a value outside the solver's ranges.
    """
    kinds = np.array(placement.kinds(model.spins))
    own = torch.from_numpy(factors[kinds[[copy for copies in shares for copy in copies]]])
    h = model.fields.reshape(-1, 1, model.spins) * own[:, :1, None]
    J = model.couplings.repeat_interleave(model.models, 0) * own[:, 1, None, None]
    chip = fields.programmed(IsingModel(h, J))
    lin, quad = chip.fields[:, 0].numpy(), chip.couplings.numpy()
    pinned = chip.spins - 1 if fields.pinned else None
    parts = split_reads(shots, most_reads, max(1, reversals))
    flat, packed, first = seeds.flatten(), [], 0
    for copies in shares:
        layout, rows = placement.layout(model.spins, copies), slice(first, first + len(copies))
        mine = flat[rows]
        for part, reads in enumerate(parts):
            gauge = spin_reversals(mine, part, chip.spins) if reversals else no_reversal(len(copies), chip.spins)
            key = (*mine.tolist(), part)
            submission = encode(layout, lin[rows], quad[rows], run, reads=reads, gauge=gauge, pinned=pinned, key=key)
            packed.append(Packed(submission, first))
        first += len(copies)
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
