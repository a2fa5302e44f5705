"""Jobs that run here, on a simulator or a fake backend, in the same five steps."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from quantum.ibm.answer import packed
from quantum.ibm.payload import Payload, Primitive, default_primitive
from quantum.jobs.errors import AnswerError, JobError, RejectedError
from quantum.jobs.service import Answer

T = TypeVar("T")


class LocalConnection:
    """IBM's local testing mode. Nothing is charged.

    Jobs live as long as this object, or until their answer is read. One that is not there has failed: unlike one in
    the cloud it can be run again and gives the same samples.

    Args:
        backend: an `AerSimulator`, or a fake backend of `qiskit_ibm_runtime.fake_provider`.
        primitive: makes what runs circuits; by default IBM's own sampler.
    """

    def __init__(self, backend: Any, *, primitive: Primitive | None = None) -> None:
        self._backend, self._primitive = backend, primitive
        self._jobs: dict[str, tuple[str, Any]] = {}

    def __repr__(self) -> str:
        return f"LocalConnection({self.name!r})"

    @property
    def name(self) -> str:
        """Of the backend."""
        return str(self._backend.name)

    @property
    def at_once(self) -> int:
        """Most jobs in one `post`."""
        return 1

    def close(self) -> None:
        """Forget all jobs."""
        self._jobs.clear()

    def post(self, payloads: Sequence[Payload], labels: Sequence[str]) -> list[str | RejectedError]:
        """Run one job.

        Raises:
            RejectedError: it cannot be run.
        """
        (payload,), (label,) = payloads, labels
        options = {
            **payload.options,
            "environment": {"job_tags": [label]},
            "simulator": {"seed_simulator": payload.seed},
        }
        try:
            primitive = (self._primitive or default_primitive())(mode=self._backend, options=options)
            job = primitive.run(payload.pubs(), shots=payload.shots)
        except Exception as error:
            failed = RejectedError(f"{self.name} does not take this job: {type(error).__name__}: {error}", 400)
        else:
            job_id = f"local-{uuid.uuid4().hex}"
            self._jobs[job_id] = label, job
            return [job_id]
        raise failed

    def statuses(self, job_ids: Sequence[str]) -> dict[str, str]:
        """COMPLETED for jobs that are here, FAILED for others."""
        return {job_id: "COMPLETED" if job_id in self._jobs else "FAILED" for job_id in job_ids}

    def find(self, label: str) -> list[str]:
        """Ids of jobs with a label, newest first."""
        return [job_id for job_id, (other, _) in reversed(self._jobs.items()) if other == label]

    def answer(self, job_id: str, read: Callable[[Answer], T]) -> tuple[Answer, T]:
        """Wait for an answer and read it; then the job is forgotten.

        Raises:
            AnswerError: it cannot be read.
            JobError: the simulation failed.
        """
        if job_id not in self._jobs:
            raise JobError(f"job {job_id} is not here", job_id, "FAILED")
        try:
            result = self._jobs[job_id][1].result()
        except Exception as error:
            raise JobError(f"job {job_id} failed: {type(error).__name__}: {error}", job_id, "FAILED") from error
        try:
            answer = Answer(packed(result, {"usage": {}, "usage_is_final": True, "timestamps": {}}), 0.0)
            value = read(answer)
        except AnswerError as error:
            raise AnswerError(f"job {job_id}: {error}", job_id) from None
        del self._jobs[job_id]
        return answer, value

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Forget jobs."""
        for job_id in job_ids:
            self._jobs.pop(job_id, None)
