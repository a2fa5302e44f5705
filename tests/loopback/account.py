"""What a user has on the loopback server: jobs, their answers, and the bill. It outlasts the server."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.loopback.problem import Programmed, RefusedError, answer, read_problem
from tests.loopback.processors import Processor
from tests.loopback.timing import DECIMALS, timing
from tests.loopback.validation import check_parameters, check_values

QUEUE_LIMIT = 1000
"""Problems that may wait at a time; SAPI rejects more."""

ONGOING = ("PENDING", "IN_PROGRESS")


@dataclass(eq=False)
class Job:
    """A problem that was accepted.

    Args:
        id: made by the server.
        solver: its definition.
        programmed: what stands on the chip.
        parameters: as posted.
        label: as posted, or None.
        body: the whole problem as posted.
        status: PENDING, IN_PROGRESS, COMPLETED, CANCELLED or FAILED.
        accepted_at: seconds of the server's clock.
        spins: of all reads in their order, (reads, active), once it is completed.
        timing: of the answer, µs.
        charge: what it cost, µs; 0 until it is completed.
    """

    id: str
    solver: dict[str, Any]
    programmed: Programmed
    parameters: dict[str, Any]
    label: str | None
    body: dict[str, Any]
    status: str = "PENDING"
    submitted_on: str = field(default_factory=lambda: _now())
    accepted_at: float = field(default_factory=time.monotonic)
    solved_on: str | None = None
    spins: NDArray[np.int8] | None = None
    timing: dict[str, float] = field(default_factory=dict)
    charge: float = 0.0

    @property
    def reads(self) -> int:
        """How many were asked for."""
        return int(self.parameters.get("num_reads", 1))

    def summary(self) -> dict[str, Any]:
        """What a status request says."""
        message = {
            "id": self.id,
            "type": "ising",
            "solver": self.solver["identity"],
            "status": self.status,
            "submitted_on": self.submitted_on,
        }
        if self.label is not None:
            message["label"] = self.label
        if self.solved_on is not None:
            message["solved_on"] = self.solved_on
        return message

    def answer(self) -> dict[str, Any]:
        """Of a completed job."""
        assert self.spins is not None
        mode = self.parameters.get("answer_mode", "histogram")
        return answer(self.programmed, self.spins, mode, self.solver["properties"]["num_qubits"], self.timing)


class Account:
    """Jobs in the order in which they were accepted; any thread may ask.

    Args:
        queue_limit: problems that may wait at a time.
        listed_after: seconds after which a problem that was accepted is found by its label.
    """

    def __init__(self, queue_limit: int = QUEUE_LIMIT, listed_after: float = 0.0) -> None:
        self.queue_limit, self.listed_after = queue_limit, listed_after
        self.jobs: dict[str, Job] = {}
        self.changed = threading.Condition()
        self.held = False

    @property
    def bill(self) -> float:
        """All charges so far, µs."""
        with self.changed:
            return round(sum(job.charge for job in self.jobs.values()), DECIMALS)

    def hold(self) -> None:
        """Leave problems waiting from now on."""
        with self.changed:
            self.held = True

    def release(self) -> None:
        """Work on waiting problems again."""
        with self.changed:
            self.held = False
            self.changed.notify_all()

    def submit(self, solvers: dict[str, dict[str, Any]], body: dict[str, Any]) -> Job:
        """Accept a problem.

        Raises:
            RefusedError: what SAPI says otherwise; nothing was accepted then.
        """
        identity, parameters = body.get("solver"), body.get("params", {})
        name = identity.get("name") if isinstance(identity, dict) else identity
        if name not in solvers:
            raise RefusedError(404, f"Solver {name} does not exist or apitoken does not have access")
        if body.get("type") != "ising":
            raise RefusedError(400, f"Unsupported problem type {body.get('type')!r}")
        solver = solvers[name]
        check_parameters(solver["properties"], parameters)
        programmed = read_problem(solver["properties"], body["data"], parameters)
        programmed = check_values(solver["properties"], parameters, programmed)
        with self.changed:
            if sum(job.status in ONGOING for job in self.jobs.values()) >= self.queue_limit:
                raise RefusedError(429, f"Number of queued problems exceeds the limit of {self.queue_limit}")
            job = Job(str(uuid.uuid4()), solver, programmed, parameters, body.get("label"), body)
            self.jobs[job.id] = job
            self.changed.notify_all()
        return job

    def listed(self) -> list[Job]:
        """Problems that can be found, newest first."""
        with self.changed:
            latest = time.monotonic() - self.listed_after
            return [job for job in reversed(self.jobs.values()) if job.accepted_at <= latest]

    def cancel(self, job_id: str) -> Job:
        """Cancel a problem that still waits; others stay as they are.

        Raises:
            RefusedError: no such problem.
        """
        with self.changed:
            if job_id not in self.jobs:
                raise RefusedError(404, f"Problem {job_id} does not exist or apitoken does not have access")
            job = self.jobs[job_id]
            if job.status == "PENDING":
                job.status, job.solved_on = "CANCELLED", _now()
                self.changed.notify_all()
        return job

    def take(self, stopped: threading.Event) -> Job | None:
        """The next waiting job, as soon as there is one, or None once the server stops."""
        with self.changed:
            while not stopped.is_set():
                waiting = None if self.held else next((j for j in self.jobs.values() if j.status in ONGOING), None)
                if waiting is not None:
                    waiting.status = "IN_PROGRESS"
                    return waiting
                self.changed.wait()
        return None

    def solve(self, job: Job, processor: Processor) -> None:
        """Sample a job, and charge for it."""
        try:
            spins = processor(job.programmed, job.parameters, job.reads, seed_of(job.body))
        except Exception:
            with self.changed:
                job.status = "FAILED"
                self.changed.notify_all()
            raise
        times = timing(job.solver["properties"], job.parameters, len(job.programmed.qubits), job.reads)
        with self.changed:
            job.spins, job.timing, job.charge = spins, times, times["qpu_access_time"]
            job.status, job.solved_on = "COMPLETED", _now()
            self.changed.notify_all()

    def wait(self, ids: list[str], seconds: float) -> list[Job]:
        """The known ones of some jobs, as soon as one has ended or the time is over."""
        with self.changed:
            known = [self.jobs[job_id] for job_id in ids if job_id in self.jobs]
            self.changed.wait_for(lambda: any(job.status not in ONGOING for job in known), seconds if known else 0)
            return known


def seed_of(body: dict[str, Any]) -> int:
    """A seed from all that was posted: the same request gives the same samples.

    Of a journal's label only the digest counts, so that two runs which ask for the same can be compared.
    """
    label = re.sub(r"^hybrid-attention-[0-9a-f]{12}-([0-9a-f]+)-\d+$", r"\1", str(body.get("label")))
    text = json.dumps({**body, "label": label}, sort_keys=True).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little") >> 1


def _now() -> str:
    return datetime.now(UTC).isoformat()
