"""A double of IBM's service: jobs with tags and usage, which run on a simulator, and faults on request."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

TOKEN = "planted-token-0123456789"
"""Of the double's account; it must show up nowhere."""

SECONDS = 2.25
"""QPU time that a job is charged."""


@dataclass
class DoubleJob:
    """A job as `qiskit_ibm_runtime.RuntimeJobV2` shows it.

    Args:
        number: makes its id.
        tags: under which it is found.
        ran: the simulator's job.
        waits: statuses before it is done.
        ends: DONE, ERROR or CANCELLED.
        usage_waits: questions about its usage before that is final.
    """

    number: int
    tags: list[str]
    ran: Any
    waits: list[str]
    ends: str = "DONE"
    usage_waits: int = 0
    cancelled: bool = False

    def job_id(self) -> str:
        return f"double-{self.number}"

    def status(self) -> str:
        return self.waits.pop(0) if self.waits else self.ends

    def error_message(self) -> str | None:
        return f"it broke, said {TOKEN}" if self.ends == "ERROR" else None

    def result(self) -> Any:
        return self.ran.result()

    def metrics(self) -> dict[str, Any]:
        final = self.usage_waits <= 0
        self.usage_waits -= 1
        usage = {"qpu_charge_time_seconds": SECONDS if final else 0, "status": "complete" if final else "pending"}
        return {"usage": usage, "timestamps": {"created": "2026-01-01T00:00:00Z"}}

    @property
    def usage_estimation(self) -> dict[str, float]:
        return {"quantum_seconds": 3.5}

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class DoubleService:
    """An account with one backend.

    Args:
        backend_object: what it has.
        faults: taken one for each submission: called with whether the job is already accepted, before and after.
        seen_after: how many look-ups by tag do not see a new job yet.
    """

    backend_object: Any
    faults: list[Callable[[bool], None] | None] = field(default_factory=list)
    seen_after: int = 0
    accepted: list[DoubleJob] = field(default_factory=list)
    submissions: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0
    waits: tuple[str, ...] = ("QUEUED", "RUNNING")
    ends: list[str] = field(default_factory=list)
    usage_waits: int = 0
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    def active_account(self) -> dict[str, str]:
        return {"token": TOKEN, "channel": "ibm_quantum_platform"}

    def backends(self) -> list[Any]:
        return [self.backend_object]

    def backend(self, name: str) -> Any:
        from qiskit.providers.exceptions import QiskitBackendNotFoundError

        self.asked += 1
        if name != self.backend_object.name:
            raise QiskitBackendNotFoundError("No backend matches the criteria.")
        return self.backend_object

    def least_busy(self, **options: Any) -> Any:
        self.asked += 1
        return self.backend_object

    def job(self, job_id: str) -> DoubleJob:
        from qiskit_ibm_runtime.exceptions import RuntimeJobNotFound

        self.asked += 1
        for job in self.accepted:
            if job.job_id() == job_id:
                return job
        raise RuntimeJobNotFound(f"Job not found: {job_id}")

    def jobs(self, limit: int | None = 10, job_tags: list[str] | None = None, **options: Any) -> list[DoubleJob]:
        self.asked += 1
        if self.seen_after > 0:
            self.seen_after -= 1
            return []
        return [job for job in reversed(self.accepted) if set(job_tags or ()) <= set(job.tags)][:limit]

    def primitive(self, mode: Any, options: dict[str, Any]) -> DoublePrimitive:
        """What `IBMSampler(primitive=...)` takes."""
        return DoublePrimitive(self, mode, options)


@dataclass
class DoublePrimitive:
    """Stands for `qiskit_ibm_runtime.executor_sampler.Sampler`."""

    service: DoubleService
    mode: Any
    options: dict[str, Any]

    def run(self, pubs: list[Any], *, shots: int) -> DoubleJob:
        from qiskit_ibm_runtime.executor_sampler import Sampler

        service = self.service
        fault = service.faults.pop(0) if service.faults else None
        service.submissions.append({"pubs": pubs, "shots": shots, "options": self.options, "mode": self.mode})
        if fault is not None:
            fault(False)
        ran = Sampler(mode=service.backend_object, options=self.options).run(pubs, shots=shots)
        job = DoubleJob(
            next(service.numbers),
            list(self.options["environment"]["job_tags"]),
            ran,
            list(service.waits),
            service.ends.pop(0) if service.ends else "DONE",
            service.usage_waits,
        )
        service.accepted.append(job)
        if fault is not None:
            fault(True)
        return job


def refused(status: int) -> Callable[[bool], None]:
    """A reply that says no, wrapped as IBM's client wraps it."""
    from qiskit_ibm_runtime.api.exceptions import RequestsApiError
    from qiskit_ibm_runtime.exceptions import IBMRuntimeError

    def fault(accepted: bool) -> None:
        try:
            raise RequestsApiError(f"{status} Client Error for token {TOKEN}", status)
        except RequestsApiError as error:
            raise IBMRuntimeError(f"Failed to run program: {error}") from None

    return fault


def lost(after: bool) -> Callable[[bool], None]:
    """A connection that breaks before the job is accepted, or after."""
    from qiskit_ibm_runtime.api.exceptions import RequestsApiError
    from qiskit_ibm_runtime.exceptions import IBMRuntimeError

    def fault(accepted: bool) -> None:
        if accepted is not after:
            return
        try:
            raise RequestsApiError(f"Connection aborted, Authorization: Bearer {TOKEN}")
        except RequestsApiError as error:
            raise IBMRuntimeError(f"Failed to run program: {error}") from None

    return fault
