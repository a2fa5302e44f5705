"""Many jobs through one service and one journal: nothing is paid for twice, and what is paid for is fetched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from quantum.jobs.journal import Journal
from quantum.jobs.records import Job
from quantum.jobs.service import Answer, Request, Service
from quantum.jobs.terms import R, Result, Terms
from quantum.jobs.work import Work


def run(
    service: Service | None,
    requests: Sequence[Request],
    journal: Journal,
    read: Callable[[Answer, Request], R],
    terms: Terms,
) -> list[Result[R]]:
    """Get an answer to every request: from the journal where it has one, else from the service.

    Args:
        service: where jobs are posted; None replays the journal alone.
        requests: what is asked.
        journal: of the run.
        read: makes what is wanted of an answer, or raises an AnswerError.
        terms: budget and limits.

    Returns:
        A result for each request, in their order.

    Raises:
        BudgetError: the next submission would pass the budget; those before it are answered and journaled.
        NotRecordedError: a replay asks for what the journal does not have.
        RejectedError: a job was not accepted, for another reason than a full queue.
        JobError: a job ended without an answer, time after time.
        AnswerError: an answer cannot be read.
        QPUError: the service has failed for too long; jobs in flight can be resumed.
    """
    work = Work(service, journal, read, terms, {one.digest: one for one in requests})
    done = work.run()
    return [done[one.digest] for one in requests]


def resume(service: Service, journal: Journal, read: Callable[[Answer, Request], Any], terms: Terms) -> list[Job]:
    """Bring what was posted by processes that have died to its end; nothing is posted.

    Args:
        service: where the jobs are.
        journal: of the run.
        read: refuses an answer that cannot be read.
        terms: limits.

    Returns:
        The jobs as they stood before.

    Raises:
        QPUError: as `run`.
    """
    left = [
        job
        for job in journal.jobs()
        if job.status in ("intended", "accepted") and job.solver == service.name and journal.owner.may_take(job.owner)
    ]
    requests = {
        job.digest: Request(job.digest, None, job.models, job.reads, job.qubits, job.estimate_us) for job in left
    }
    Work(service, journal, read, terms, requests, may_post=False).run()
    return left
