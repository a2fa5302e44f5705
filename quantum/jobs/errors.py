"""What can go wrong between this process and a processor in the cloud, by what it means for the bill.

Wrong arguments are ValueErrors, before anything is sent. These are for what happens afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class QPUError(RuntimeError):
    """A processor, or the way to it, failed."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Whole in another process too, whatever its constructor takes."""
        return _remade, (type(self), self.args, self.__dict__)


class RejectedError(QPUError):
    """The service said no: nothing was accepted and nothing is charged.

    Args:
        text: what it said.
        status: of HTTP, or None where it was never reached.
        retry_after: seconds after which it wants to be asked again, if it said so.
    """

    def __init__(self, text: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.status, self.retry_after = status, retry_after


class UnknownOutcomeError(QPUError):
    """No reply: what was posted may have been accepted, and then it is charged; look its labels up first.

    Args:
        text: what happened.
        labels: of what was posted.
    """

    def __init__(self, text: str, labels: Sequence[str]) -> None:
        super().__init__(text)
        self.labels = tuple(labels)


class JobError(QPUError):
    """An accepted problem ended without an answer.

    Args:
        text: what happened.
        problem_id: which.
        status: FAILED, CANCELLED, or UNKNOWN to the service.
        charged_us: QPU time that it was charged all the same, µs.
    """

    def __init__(self, text: str, problem_id: str, status: str, charged_us: float = 0.0) -> None:
        super().__init__(text)
        self.problem_id, self.status, self.charged_us = problem_id, status, charged_us


class AnswerError(QPUError):
    """An answer that cannot be read. It is paid for and can be fetched again.

    Args:
        text: what is wrong with it.
        problem_id: which, if known.
    """

    def __init__(self, text: str, problem_id: str | None = None) -> None:
        super().__init__(text)
        self.problem_id = problem_id


class UnsuitableError(ValueError):
    """What was asked for cannot be run on this processor as it is; nothing was submitted."""


class BudgetError(QPUError):
    """The next submission would pass the budget; it was not made, and everything paid for is in the journal.

    Args:
        text: what was charged, and what was about to be.
    """


class NotRecordedError(QPUError):
    """A journal that is replayed has no answer to what is asked."""


def _remade(kind: type[QPUError], arguments: tuple[Any, ...], facts: dict[str, Any]) -> QPUError:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    error.__dict__.update(facts)
    return error
