"""Posting, waiting and fetching, by IBM's own client; each step by itself, and each failure by what it means.

The client repeats a submission only where IBM says that this is safe. Whether one without a reply was accepted is not
known here: `find` tells, by its tag. Everything is done by one thread; make one connection for each.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from quantum.ibm.account import scrubbed
from quantum.ibm.answer import packed
from quantum.ibm.failures import about_post, may_pass, status_of
from quantum.ibm.payload import Payload, Primitive, default_primitive
from quantum.jobs.errors import AnswerError, JobError, QPUError, RejectedError
from quantum.jobs.records import MICROSECONDS
from quantum.jobs.service import ONGOING, Answer

STATUSES = {
    "INITIALIZING": "PENDING",
    "QUEUED": "PENDING",
    "RUNNING": "IN_PROGRESS",
    "DONE": "COMPLETED",
    "ERROR": "FAILED",
    "CANCELLED": "CANCELLED",
}
"""IBM's statuses, and what the driver calls them."""

_READINGS = 3
"""Times that an answer is fetched before it is called unreadable."""

_PAUSE = 0.5
"""Seconds between looks at a job."""

T = TypeVar("T")


class Connection:
    """A processor behind IBM Quantum.

    Args:
        service: a `qiskit_ibm_runtime.QiskitRuntimeService`, or anything with its `job` and `jobs`.
        backend: one of its backends.
        mode: a name in `quantum.ibm.options.MODES`; a batch or session is opened by the first job.
        primitive: makes what runs circuits; by default IBM's own sampler.
        patience: seconds for which statuses and answers are asked for in vain before that is an error.
        poll: most seconds that a question about statuses waits for a job to end.
        usage_patience: seconds after a job's end in which its usage is waited for.
    """

    def __init__(
        self,
        service: Any,
        backend: Any,
        *,
        mode: str = "job",
        primitive: Primitive | None = None,
        patience: float = 300.0,
        poll: float = 10.0,
        usage_patience: float = 60.0,
    ) -> None:
        self._service, self._backend, self._mode, self._primitive = service, backend, mode, primitive
        self._patience, self._poll, self._usage_patience = patience, poll, usage_patience
        self._opened: Any = None
        self._jobs: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Connection({self.name!r})"

    @property
    def name(self) -> str:
        """Of the backend."""
        return str(self._backend.name)

    @property
    def at_once(self) -> int:
        """Most jobs in one `post`: each is a request of its own, and each may fail by itself."""
        return 1

    def close(self) -> None:
        """Close the batch or session that was opened here; what waits in it is still run."""
        opened, self._opened = self._opened, None
        if opened is not None:
            failed = None
            try:
                opened.close()
            except Exception as error:
                failed = self._failed("end of the " + self._mode, error)
            if failed is not None:
                raise failed

    def post(self, payloads: Sequence[Payload], labels: Sequence[str]) -> list[str | RejectedError]:
        """Post one job.

        Args:
            payloads: one.
            labels: the tag under which it can be found.

        Returns:
            Its id.

        Raises:
            RejectedError: it was not accepted.
            UnknownOutcomeError: no reply to rely on: it may have been accepted.
        """
        (payload,), (label,) = payloads, labels
        primitive = self._ready(payload, label)
        failed: QPUError
        outer = sys.exception()
        try:
            job = primitive.run(payload.pubs(), shots=payload.shots)
            job_id = str(job.job_id())
        except Exception as error:
            failed = about_post(error, self.name, labels, self._service, outer)
        else:
            self._jobs[job_id] = job
            return [job_id]
        raise failed

    def statuses(self, job_ids: Sequence[str]) -> dict[str, str]:
        """How jobs stand, as soon as one of them has ended or the poll is over.

        Args:
            job_ids: ids.

        Returns:
            PENDING, IN_PROGRESS, COMPLETED, CANCELLED or FAILED, by id; UNKNOWN for those that IBM does not know.

        Raises:
            QPUError: the service has failed for longer than is waited.
        """
        until = time.monotonic() + self._poll
        while True:
            found = {job_id: self._status(job_id) for job_id in job_ids}
            if time.monotonic() >= until or any(status not in ONGOING for status in found.values()):
                return found
            time.sleep(min(_PAUSE, self._poll))

    def find(self, label: str) -> list[str]:
        """Ids of jobs with a tag, newest first; empty if none was accepted.

        Raises:
            QPUError: the service has failed for longer than is waited.
        """
        instance = getattr(self._backend, "_instance", None)  # the service asks the one that it used last otherwise
        found = self._repeated(
            lambda: self._service.jobs(limit=None, job_tags=[label], instance=instance), "list of jobs"
        )
        jobs = {str(job.job_id()): job for job in found if label in (job.tags or ())}
        self._jobs.update(jobs)
        return list(jobs)

    def answer(self, job_id: str, read: Callable[[Answer], T]) -> tuple[Answer, T]:
        """Fetch an answer and read it; again where it cannot be read.

        Args:
            job_id: of a job that is done.
            read: makes what is wanted of the answer, or raises an AnswerError.

        Raises:
            AnswerError: it could not be read, time after time, or does not say what it was charged.
            JobError: the job has failed or was cancelled.
            QPUError: the service has failed for longer than is waited.
        """
        for reading in range(_READINGS):
            unreadable = None
            try:
                answer = self._answer(job_id)
                return answer, read(answer)
            except AnswerError as error:
                unreadable = str(error)
            if reading == _READINGS - 1:
                raise AnswerError(f"job {job_id}: {unreadable}", job_id)
            self._jobs.pop(job_id, None)  # look it up again
        raise AssertionError("unreachable")

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Ask once that jobs which still wait are not run.

        Raises:
            QPUError: the service gave no reply for one of them.
        """
        from qiskit_ibm_runtime.exceptions import RuntimeInvalidStateError

        failed = None
        for job_id in job_ids:
            try:
                self._job(job_id).cancel()
            except RuntimeInvalidStateError:
                continue  # it has ended
            except Exception as error:
                failed = self._failed("cancellation", error)
        if failed is not None:
            raise failed

    def _ready(self, payload: Payload, label: str) -> Any:
        """What will run the job; nothing has been posted if this fails."""
        options = {
            **payload.options,
            "environment": {"job_tags": [label]},
            "simulator": {"seed_simulator": payload.seed},
        }
        try:
            return (self._primitive or default_primitive())(mode=self._open_mode(), options=options)
        except Exception as error:
            text = f"{self.name} opens no {self._mode}: {type(error).__name__}: {scrubbed(str(error), self._service)}"
            failed = RejectedError(text, status_of(error))
        raise failed

    def _open_mode(self) -> Any:
        if self._mode == "job":
            return self._backend
        if self._opened is None:
            from qiskit_ibm_runtime import Batch, Session

            self._opened = {"batch": Batch, "session": Session}[self._mode](backend=self._backend)
        return self._opened

    def _job(self, job_id: str) -> Any:
        if job_id not in self._jobs:
            self._jobs[job_id] = self._service.job(job_id)
        return self._jobs[job_id]

    def _status(self, job_id: str) -> str:
        from qiskit_ibm_runtime.exceptions import RuntimeJobNotFound

        def ask() -> str:
            try:
                return str(self._job(job_id).status())
            except RuntimeJobNotFound:
                return "UNKNOWN"

        said = self._repeated(ask, "status")
        return STATUSES.get(said, "UNKNOWN" if said == "UNKNOWN" else "IN_PROGRESS")

    def _answer(self, job_id: str) -> Answer:
        status = self._status(job_id)
        if status != "COMPLETED":
            reason = "" if status == "UNKNOWN" else self._repeated(lambda: self._job(job_id).error_message(), "reason")
            said = scrubbed(str(reason or ""), self._service)
            raise JobError(
                f"job {job_id} is {status} {said}".rstrip(), job_id, status, self._charged_for_nothing(job_id)
            )
        result = self._repeated(lambda: self._job(job_id).result(), "answer")
        usage, timestamps = self._usage(job_id)
        charged, final = _charge(usage)
        if charged is None or not final:
            # the service still counts: its own estimate, or what it has counted, whichever is more
            expected = self._repeated(lambda: self._job(job_id).usage_estimation, "estimate") or {}
            known = [x for x in (charged, expected.get("quantum_seconds")) if x is not None]
            if not known:
                raise AnswerError("the service does not say what it was charged; fetch it again")
            charged = max(map(float, known))
        content = packed(result, {"usage": usage, "usage_is_final": final, "timestamps": timestamps})
        return Answer(content, charged * MICROSECONDS)

    def _charged_for_nothing(self, job_id: str) -> float:
        """What a job without an answer was charged, µs: processors are paid for until a job fails or is cancelled."""
        if job_id not in self._jobs:
            return 0.0
        metrics = self._repeated(lambda: self._job(job_id).metrics(), "usage") or {}
        return float(_charge(dict(metrics.get("usage") or {}))[0] or 0.0) * MICROSECONDS

    def _usage(self, job_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the job was charged, as soon as that is final."""
        until = time.monotonic() + self._usage_patience
        while True:
            metrics = self._repeated(lambda: self._job(job_id).metrics(), "usage") or {}
            usage = dict(metrics.get("usage") or {})
            if _charge(usage)[1] or time.monotonic() >= until:
                return usage, dict(metrics.get("timestamps") or {})
            time.sleep(min(_PAUSE, self._usage_patience))

    def _repeated(self, ask: Callable[[], T], what: str) -> T:
        """Ask until there is a reply; asking changes nothing and costs nothing."""
        until, pause = time.monotonic() + self._patience, 0.05
        while True:
            try:
                return ask()
            except (AnswerError, JobError):
                raise
            except Exception as error:
                failed = self._failed(what, error)
                final = not may_pass(error)
            if final or time.monotonic() + pause > until:
                raise failed
            time.sleep(pause)
            pause = min(2 * pause, 10.0)

    def _failed(self, what: str, error: Exception) -> QPUError:
        text = scrubbed(str(error), self._service)
        return QPUError(f"{self.name} gives no {what}: {type(error).__name__}: {text}")


def _charge(usage: dict[str, Any]) -> tuple[float | None, bool]:
    """Seconds of QPU time that a job was charged so far, and whether that is final."""
    seconds = usage.get("qpu_charge_time_seconds")
    if seconds is None:
        older = usage.get("quantum_seconds")
        return (None, False) if older is None else (float(older), usage.get("status", "complete") != "pending")
    return float(seconds), usage.get("status", "pending") != "pending"
