"""What a cloud service has to offer so that its jobs can be journaled: five steps, each of which may fail by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from quantum.jobs.errors import RejectedError

ONGOING = ("PENDING", "IN_PROGRESS")
"""Statuses of jobs that have not ended; the others are COMPLETED, FAILED, CANCELLED, and UNKNOWN to the service."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Request:
    """One job as it is asked for.

    Args:
        digest: of solver, values, parameters and seeds: the same for the same job, whichever run it is part of.
        payload: what the service posts.
        models: Ising models in it.
        reads: of each.
        qubits: that are programmed.
        estimate_us: QPU time that it is expected to be charged, µs.
    """

    digest: str
    payload: Any = field(repr=False)
    models: int
    reads: int
    qubits: int
    estimate_us: float


@dataclass(frozen=True, eq=False)
class Answer:
    """What a completed job came back with.

    Args:
        content: what JSON can hold; everything that the result is read from.
        charged_us: QPU time that it was charged, µs.
    """

    content: dict[str, Any] = field(repr=False)
    charged_us: float


class Service(Protocol):
    """A solver behind a network. Only `post` ever costs anything."""

    @property
    def name(self) -> str:
        """Of the solver."""
        ...

    @property
    def at_once(self) -> int:
        """Most jobs in one `post`."""
        ...

    def post(self, payloads: Sequence[Any], labels: Sequence[str]) -> list[str | RejectedError]:
        """Post jobs under their labels.

        Returns:
            An id for each, or why it alone was not accepted.

        Raises:
            RejectedError: none was accepted.
            UnknownOutcomeError: any of them may have been accepted.
        """
        ...

    def statuses(self, job_ids: Sequence[str]) -> dict[str, str]:
        """How jobs stand, by id; may wait a while for one of them to end.

        Raises:
            QPUError: the service has failed for longer than is waited.
        """
        ...

    def find(self, label: str) -> list[str]:
        """Ids of jobs with a label; empty if none was accepted.

        Raises:
            QPUError: the service has failed for longer than is waited.
        """
        ...

    def answer(self, job_id: str, read: Callable[[Answer], T]) -> tuple[Answer, T]:
        """Fetch an answer, and what is read from it; again where it cannot be read.

        Raises:
            AnswerError: it could not be read, time after time.
            JobError: the job has failed or was cancelled.
            QPUError: the service has failed for longer than is waited.
        """
        ...

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Ask once that jobs which still wait are not run.

        Raises:
            QPUError: the service gave no reply.
        """
        ...
