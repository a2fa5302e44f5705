"""Jobs in the cloud that are never paid for twice: a journal, a budget, and a driver that keeps to both."""

from quantum.jobs.errors import (
    AnswerError,
    BudgetError,
    JobError,
    NotRecordedError,
    QPUError,
    RejectedError,
    UnknownOutcomeError,
    UnsuitableError,
)
from quantum.jobs.journal import Journal

__all__ = [
    "AnswerError",
    "BudgetError",
    "JobError",
    "Journal",
    "NotRecordedError",
    "QPUError",
    "RejectedError",
    "UnknownOutcomeError",
    "UnsuitableError",
]
