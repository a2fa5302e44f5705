"""From an answer's bits to spins of models: chains read by majority, reversals undone, occurrences kept."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum.dwave.encode import Submission
from quantum.jobs.errors import AnswerError

Spins = NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Readout:
    """What came back for the copies of one submission.

    Args:
        spins: (rows, copies, spins) int8.
        occurrences: how often each row was read, (rows,) int64; their sum is the number of reads.
        broken: share of chains whose qubits disagreed, over reads and spins, (copies,).
        timing: as the service reports it, µs.
    """

    spins: Spins
    occurrences: NDArray[np.int64]
    broken: NDArray[np.float64]
    timing: dict[str, float]


def decode(answer: dict[str, Any], submission: Submission) -> Readout:
    """Read an answer in either mode.

    s_j = g_j sign Σ_{q in chain j} s_q, a toss where the sum is zero

    Args:
        answer: in SAPI's `qp` format, as JSON.
        submission: what was posted.

    Raises:
        AnswerError: what is not a whole answer to this submission.
    """
    layout = submission.layout
    qubits, occurrences = _qubits(answer, submission)
    chains = qubits[:, layout.by_chain]
    shape = (len(qubits), layout.copies, layout.spins)
    if layout.longest_chain == 1:
        broken = np.zeros(layout.copies)
        spins = chains.reshape(shape)
    else:
        lengths = np.diff(np.append(layout.starts, len(layout.by_chain)))
        total = np.add.reduceat(chains, layout.starts, axis=1, dtype=np.int16)
        disagree = (np.abs(total) < lengths).reshape(shape)
        broken = (occurrences @ disagree.mean(-1)) / occurrences.sum()
        tied = total == 0
        if tied.any():
            toss = np.random.default_rng(submission.tie_seed).integers(2, size=int(tied.sum()), dtype=np.int16)
            total[tied] = 2 * toss - 1
        spins = np.sign(total).astype(np.int8).reshape(shape)
    timing = answer.get("timing") or {}
    return Readout(spins * submission.gauge, occurrences, broken, dict(timing))


def require_whole(answer: dict[str, Any], qubits: int, reads: int) -> None:
    """Refuse an answer that is not whole, where it is not known what was posted.

    Args:
        answer: in SAPI's `qp` format, as JSON.
        qubits: that were programmed.
        reads: that were asked for.

    Raises:
        AnswerError: says what is wrong with it.
    """
    _rows(answer, qubits, reads)


def _qubits(answer: dict[str, Any], submission: Submission) -> tuple[Spins, NDArray[np.int64]]:
    """Values of used qubits in the layout's order, (rows, active), and how often each row occurred."""
    layout = submission.layout
    expected = layout.limits.qubits[layout.active]
    variables, bits, occurrences = _rows(answer, len(expected), submission.reads)
    if not np.array_equal(np.sort(variables), np.sort(expected)):
        raise AnswerError(f"the answer is for {len(variables)} qubits, which are not those of the problem")
    values = np.unpackbits(bits, axis=1, count=len(variables))
    spins = (2 * values.astype(np.int8) - 1).astype(np.int8)
    if not np.array_equal(variables, expected):
        place = np.empty(layout.limits.num_qubits, dtype=np.int64)
        place[variables] = np.arange(len(variables))
        spins = spins[:, place[expected]]
    return spins, occurrences


def _rows(
    answer: dict[str, Any], qubits: int, reads: int
) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]:
    """Qubits, packed values (rows, bytes) and occurrences of an answer that is whole."""
    if not isinstance(answer, dict) or answer.get("format") != "qp":
        raise AnswerError("the answer is in no format that is known; fetch it again")
    variables = _numbers(answer, "active_variables", "<i4").astype(np.int64)
    if len(variables) != qubits:
        raise AnswerError(f"the answer is for {len(variables)} qubits, which are not those of the problem")
    rows = len(_numbers(answer, "energies", "<f8"))
    bits = _numbers(answer, "solutions", "u1")
    width = -(-len(variables) // 8)
    if len(bits) != rows * width:
        raise AnswerError(f"the answer has {len(bits)} bytes of configurations where {rows * width} belong")
    occurrences = np.ones(rows, dtype=np.int64)  # a raw answer has none
    if "num_occurrences" in answer:
        occurrences = _numbers(answer, "num_occurrences", "<i4").astype(np.int64)
    if len(occurrences) != rows or (occurrences < 1).any() or occurrences.sum() != reads:
        raise AnswerError(f"the answer counts {occurrences.sum()} reads in {rows} rows; {reads} were asked")
    return variables, bits.reshape(rows, width), occurrences


def _numbers(answer: dict[str, Any], name: str, kind: str) -> NDArray[Any]:
    try:
        return np.frombuffer(base64.b64decode(answer[name], validate=True), dtype=kind)
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise AnswerError(f"{name} of the answer cannot be read; fetch it again") from None
