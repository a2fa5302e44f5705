"""A cloud in this process that does as it is told: it loses replies, hides jobs, fails them, and keeps a bill."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from quantum.jobs.errors import AnswerError, JobError, QPUError, RejectedError, UnknownOutcomeError
from quantum.jobs.service import Answer, Request

T = TypeVar("T")

ESTIMATE = 10.0
"""µs that a request is expected to be charged."""


@dataclass(frozen=True)
class Post:
    """What becomes of one request that posts jobs, and of the jobs in it.

    Args:
        reply: "accepted"; "rejected" and "busy", where nothing was accepted; "lost before" and "lost after" acceptance;
            "every other" accepts the first, third … of its jobs and is too busy for the others.
        status: of a rejection.
        takes: seconds from the request to its acceptance.
        hidden: seconds from acceptance until jobs are found by their label.
        polls: questions about a job's status until it has ended.
        ends: COMPLETED, FAILED, CANCELLED, or UNKNOWN to the service.
        unreadable: times that an answer cannot be read.
        charge: of a job that completes, µs.
    """

    reply: str = "accepted"
    status: int | None = 401
    takes: float = 0.0
    hidden: float = 0.0
    polls: int = 0
    ends: str = "COMPLETED"
    unreadable: int = 0
    charge: float = ESTIMATE


@dataclass(eq=False)
class Accepted:
    """A job that the cloud has."""

    id: str
    label: str
    payload: Any
    visible_at: float
    post: Post
    polls: int = 0
    readings: int = 0
    cancelled: bool = False

    @property
    def charge(self) -> float:
        """What it costs, µs."""
        return self.post.charge if self.post.ends == "COMPLETED" and not self.cancelled else 0.0


@dataclass
class Cloud:
    """Jobs and bill; several connections, in several threads, may use one.

    Args:
        posts: what becomes of the requests that post, one after the other; those after the last are accepted.
        posted: labels of every such request.
        jobs: accepted ones, by id.
    """

    posts: Sequence[Post] = ()
    posted: list[list[str]] = field(default_factory=list)
    jobs: dict[str, Accepted] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.RLock)

    @property
    def bill(self) -> float:
        """Of all jobs, µs."""
        return sum(job.charge for job in self.jobs.values())

    @property
    def charged(self) -> Counter[Any]:
        """How often each payload was charged."""
        return Counter(job.payload for job in self.jobs.values() if job.charge)

    def sums(self) -> tuple[Counter[Any], float]:
        """What was charged, for other processes."""
        return self.charged, self.bill

    def begun(self, labels: Sequence[str]) -> Post:
        """The script of a request that has come."""
        with self.lock:
            number = len(self.posted)
            self.posted.append(list(labels))
            return self.posts[number] if number < len(self.posts) else Post()

    def accept(self, payload: Any, label: str, post: Post) -> str:
        """A new job."""
        with self.lock:
            job_id = f"job-{len(self.jobs)}"
            self.jobs[job_id] = Accepted(job_id, label, payload, time.monotonic() + post.hidden, post)
            return job_id

    def found(self, label: str) -> list[str]:
        """Ids, newest first."""
        with self.lock:
            now = time.monotonic()
            return [one.id for one in reversed(self.jobs.values()) if one.label == label and now >= one.visible_at]

    def status(self, job_id: str) -> str:
        """How a job stands, as of one more question."""
        with self.lock:
            job = self.jobs[job_id]
            job.polls += 1
            if job.cancelled:
                return "CANCELLED"
            return "IN_PROGRESS" if job.polls <= job.post.polls else job.post.ends

    def read(self, job_id: str) -> tuple[str, float, Any]:
        """How a job has ended, its charge and its answer; None where it is damaged."""
        with self.lock:
            job = self.jobs[job_id]
            job.readings += 1
            ends = "CANCELLED" if job.cancelled else job.post.ends
            return ends, job.charge, job.payload if job.readings > job.post.unreadable else None

    def cancel(self, job_id: str) -> None:
        """A job that has not ended."""
        with self.lock:
            self.jobs[job_id].cancelled = self.jobs[job_id].polls <= self.jobs[job_id].post.polls


class Crash(BaseException):
    """The end of a process, as far as one in this process can be brought about."""


class Double:
    """A connection to a cloud.

    Args:
        cloud: what it is connected to.
        at_once: most jobs in one post.
        crashes: calls during which the process ends, by their number from 0, and whether "before" or "after" the cloud
            has done what it was asked.
        down: calls that fail for want of a network, by their number.
    """

    name = "double"

    def __init__(
        self,
        cloud: Any = None,
        *,
        at_once: int = 1,
        crashes: dict[int, str] | None = None,
        down: Sequence[int] = (),
    ) -> None:
        self.cloud = Cloud() if cloud is None else cloud
        self.at_once = at_once
        self.crashes, self.down = crashes or {}, down
        self.calls: list[str] = []
        self.cancelled: list[str] = []

    def count(self, name: str) -> int:
        """How often a step was taken."""
        return self.calls.count(name)

    def post(self, payloads: Sequence[Any], labels: Sequence[str]) -> list[str | RejectedError]:
        """As the script has it."""
        assert len(labels) <= self.at_once
        with self._call("post"):
            post = self.cloud.begun(labels)
            if post.reply in ("rejected", "busy"):
                raise RejectedError("no", 429 if post.reply == "busy" else post.status, 0.01)
            if post.reply == "lost before":
                raise UnknownOutcomeError("lost", labels)
            time.sleep(post.takes)
            replies: list[str | RejectedError] = [
                RejectedError("full", 429, 0.01)
                if post.reply == "every other" and number % 2
                else self.cloud.accept(payload, label, post)
                for number, (payload, label) in enumerate(zip(payloads, labels, strict=True))
            ]
            if post.reply == "lost after":
                raise UnknownOutcomeError("lost", labels)
        return replies

    def statuses(self, job_ids: Sequence[str]) -> dict[str, str]:
        """How jobs stand."""
        with self._call("statuses"):
            return {job_id: self.cloud.status(job_id) for job_id in job_ids}

    def find(self, label: str) -> list[str]:
        """Ids of jobs with a label, newest first."""
        with self._call("find"):
            found: list[str] = self.cloud.found(label)
        return found

    def answer(self, job_id: str, read: Callable[[Answer], T]) -> tuple[Answer, T]:
        """An answer that says what was asked."""
        with self._call("answer"):
            ends, charge, content = self.cloud.read(job_id)
            if ends != "COMPLETED":
                raise JobError(f"problem {job_id} is {ends}", job_id, ends, charge)
            answer = Answer({"of": content}, charge)
            value = read(answer)
        return answer, value

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Those that have not ended."""
        with self._call("cancel"):
            for job_id in job_ids:
                self.cancelled.append(job_id)
                self.cloud.cancel(job_id)

    @contextmanager
    def _call(self, name: str) -> Iterator[None]:
        number = len(self.calls)
        self.calls.append(name)
        if self.crashes.get(number) == "before":
            raise Crash
        if number in self.down:
            raise QPUError("no network")
        try:
            yield
        finally:
            if self.crashes.get(number) == "after":
                raise Crash


def request(name: str, estimate: float = ESTIMATE) -> Request:
    """One that asks for its own name."""
    return Request(name, name, models=2, reads=3, qubits=4, estimate_us=estimate)


def requests(count: int) -> list[Request]:
    """Different ones."""
    return [request(digest(number)) for number in range(count)]


def digest(number: int) -> str:
    """The one of a request."""
    return hashlib.sha256(str(number).encode()).hexdigest()


def read(answer: Answer, asked: Request) -> str:
    """What an answer says, which has to be what was asked."""
    if answer.content["of"] is None:
        raise AnswerError("damaged")
    assert answer.content["of"] == asked.digest
    return asked.digest
