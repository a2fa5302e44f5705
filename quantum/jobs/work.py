"""The state of jobs under way: each step is written down before the next is taken.

A job is posted only if the journal has no answer to it, no process that still runs works on it, and no job of its label
is found at the service. So whatever is lost on the way, a reply, a connection or this process, nothing is paid for
twice, and what is paid for is fetched.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic

from quantum.jobs.errors import (
    AnswerError,
    BudgetError,
    JobError,
    NotRecordedError,
    QPUError,
    RejectedError,
    UnknownOutcomeError,
)
from quantum.jobs.journal import Journal
from quantum.jobs.records import Job
from quantum.jobs.service import ONGOING, Answer, Request, Service
from quantum.jobs.terms import R, Result, Terms

POLLED = 100
"""Jobs in one question about statuses."""

ATTEMPTS = 3
"""Times that a job which ends without an answer is asked for."""

_POSTS = 6
"""Times that a post without effect is repeated before that is an error."""

_BUSY = 429
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 30.0
_LOOKS = 5
"""Times that a label is looked up before it counts as not accepted."""

_OTHERS = 0.2
"""Seconds between looks at what another process has done."""


class DuplicateWarning(UserWarning):
    """The service has two jobs of one label; both are charged."""


@dataclass
class Work(Generic[R]):
    """What is left to do, by digest."""

    service: Service | None
    journal: Journal
    read: Callable[[Answer, Request], R]
    terms: Terms
    requests: dict[str, Request]
    may_post: bool = True
    done: dict[str, Result[R]] = field(default_factory=dict)
    waiting: deque[str] = field(default_factory=deque)
    refused: dict[str, Job] = field(default_factory=dict)  # known not to have been accepted: post again
    unknown: dict[str, tuple[Job, float]] = field(default_factory=dict)  # look up, until the time that settles it
    running: dict[str, Job] = field(default_factory=dict)  # by problem id
    others: dict[str, Job] = field(default_factory=dict)  # of another process
    posts: dict[str, int] = field(default_factory=dict)
    missing: dict[str, float] = field(default_factory=dict)  # problem ids that the service does not know yet
    priced: bool = False
    stopped: QPUError | None = None
    pause: float = _FIRST_PAUSE
    not_before: float = 0.0
    look_at: float = 0.0

    def run(self) -> dict[str, Result[R]]:
        """Until everything has an answer, or nothing more is posted and all that was is answered."""
        self._recall()
        if self.service is None:
            self._require_all()
            return self.done
        try:
            while self._left():
                self._post()
                self._look_up()
                self._collect()
                self._see_others()
        except BaseException:
            self._give_up()
            raise
        if self.stopped is not None:
            self.journal.retract(job.label for job in self.refused.values())
            self.journal.owner.release()
            raise self.stopped
        return self.done

    @property
    def solver(self) -> Service:
        """The service, where there is one."""
        assert self.service is not None
        return self.service

    def _left(self) -> bool:
        in_flight = bool(self.running or self.unknown)
        return in_flight if self.stopped is not None else in_flight or bool(self.waiting or self.refused or self.others)

    def _recall(self) -> None:
        """Answers that the journal has; what was begun before comes first, whatever becomes of the budget."""
        for digest in self.requests:
            if self._recalled(digest):
                continue
            job = self.journal.job(digest)
            if job is not None and job.status in ("intended", "accepted"):
                self.waiting.appendleft(digest)
            else:
                self.waiting.append(digest)

    def _recalled(self, digest: str) -> bool:
        job = self.journal.job(digest)
        if job is None or job.status != "answered":
            return False
        assert job.problem_id is not None
        try:
            answer = self.journal.answer(digest)
            assert answer is not None
            value = self.read(answer, self.requests[digest])
        except AnswerError:
            if self.service is None:
                raise
            self.journal.unreadable(job.label)  # it is paid for: fetch it again
            return False
        self.done[digest] = Result(job.problem_id, answer.charged_us, value)
        return True

    def _require_all(self) -> None:
        if self.waiting:
            raise NotRecordedError(
                f"journal {self.journal.path} has no answer to {len(self.waiting)} of {len(self.requests)} submissions "
                "that are asked for; a replay submits nothing: ask with the settings that the journal was made with, "
                "or leave --replay out"
            )

    def _post(self) -> None:
        """The next jobs, as long as there is room for them."""
        while self.stopped is None and (self.waiting or self.refused) and time.monotonic() >= self.not_before:
            room = self._room()
            if room <= 0:
                return
            count = min(room, self.solver.at_once)
            jobs = [self.refused.pop(digest) for digest in list(self.refused)[:count]]
            if jobs:
                self.journal.refresh(job.label for job in jobs)
            else:
                jobs = self._claim(count)
            if jobs:
                self._send(jobs)

    def _room(self) -> int:
        """Jobs that may still be sent; under a budget one alone, until it is known what the solver really charges."""
        most = self.terms.in_flight
        if self.terms.budget is not None and not self.priced:
            self.priced = self.journal.priced(self.solver.name)
            most = most if self.priced else 1
        return most - len(self.running) - len(self.unknown)

    def _claim(self, count: int) -> list[Job]:
        """Jobs that are to be posted; what else was found of the next requests goes where it belongs."""
        digests = list(self.waiting)[:count]
        try:
            claimed = self.journal.claim(
                [self.requests[digest] for digest in digests],
                solver=self.solver.name,
                purpose=self.terms.purpose,
                budget=self.terms.budget,
            )
        except BudgetError as error:
            self.stopped = error
            return []
        new = []
        for job, is_new in claimed:
            self.waiting.popleft()
            if is_new and not self.may_post:
                self.journal.retract([job.label])
            elif is_new:
                new.append(job)
            else:
                self._take_on(job)
        return new

    def _take_on(self, job: Job) -> None:
        """A job that was begun before, by this process or another."""
        if job.status == "answered":
            if not self._recalled(job.digest):
                self.waiting.append(job.digest)
        elif job.owner != self.journal.owner.name:
            self.others[job.digest] = job
        elif job.status == "accepted":
            assert job.problem_id is not None
            self.running[job.problem_id] = job
        else:
            # its post may have ended only just now, long after it was intended
            self.unknown[job.digest] = job, time.monotonic() + self.terms.settle

    def _send(self, jobs: list[Job]) -> None:
        for job in jobs:
            self.posts[job.digest] = self.posts.get(job.digest, 0) + 1
        labels = [job.label for job in jobs]
        try:
            replies = self.solver.post([self.requests[job.digest].payload for job in jobs], labels)
        except RejectedError as error:
            replies = [error] * len(jobs)
        except UnknownOutcomeError as error:
            until = time.monotonic() + self.terms.settle
            self.unknown.update({job.digest: (job, until) for job in jobs})
            self._stop_after_too_many(jobs, error)
            self._wait(0.0)
            return
        ids = {job.label: reply for job, reply in zip(jobs, replies, strict=True) if isinstance(reply, str)}
        if ids:
            self.journal.accepted(ids)
            self.pause = _FIRST_PAUSE
        for job, reply in zip(jobs, replies, strict=True):
            if isinstance(reply, str):
                self.running[reply] = job
            else:
                self._rejected(job, reply)

    def _rejected(self, job: Job, error: RejectedError) -> None:
        """A full queue passes; anything else does not, and a lost connection has been tried for by the client."""
        if error.status == _BUSY:
            self.posts[job.digest] -= 1  # a full queue is no failure
            self.refused[job.digest] = job
            self._wait(error.retry_after or 0.0)
        else:
            self.journal.retract([job.label])
            self.stopped = self.stopped or error

    def _stop_after_too_many(self, jobs: list[Job], error: QPUError) -> None:
        if max(self.posts[job.digest] for job in jobs) >= _POSTS:
            self.stopped = self.stopped or error

    def _wait(self, wanted: float) -> None:
        until = time.monotonic() + max(wanted, self.pause)
        if until > self.not_before:
            self.not_before = until
            self.pause = min(2 * self.pause, _LONGEST_PAUSE)

    def _look_up(self) -> None:
        """Whether jobs without a reply were accepted; a job that is not there when it must be was not."""
        if not self.unknown or time.monotonic() < self.look_at:
            return
        now = time.monotonic()  # one for all, so that those of one post go out together again
        for digest, (job, until) in list(self.unknown.items()):
            settled = now >= until
            found = self.solver.find(job.label)
            if found:
                if len(found) > 1:
                    warnings.warn(
                        f"{self.solver.name} has {len(found)} jobs with the label {job.label} ({', '.join(found)})",
                        DuplicateWarning,
                        stacklevel=2,
                    )
                self.journal.accepted({job.label: found[-1]})
                self.running[found[-1]] = job
                del self.unknown[digest]
            elif settled:
                self.journal.retract([job.label])
                del self.unknown[digest]
                if self.may_post:
                    self.waiting.append(digest)
        interval = max(0.02, self.terms.settle / _LOOKS)
        self.look_at = time.monotonic() + interval
        if self.unknown and not self.running:
            time.sleep(interval)

    def _collect(self) -> None:
        """Answers of jobs that have ended; waits where there is nothing else to do."""
        if not self.running:
            if not self.unknown and self.stopped is None and (self.waiting or self.refused):
                time.sleep(max(0.0, min(1.0, self.not_before - time.monotonic())))
            return
        for problem_id, status in self.solver.statuses(list(self.running)[:POLLED]).items():
            if status in ONGOING:
                continue
            if status == "UNKNOWN" and time.monotonic() < self._given(problem_id):
                continue
            job = self.running.pop(problem_id)
            if status == "UNKNOWN":
                self.stopped = self.stopped or JobError(
                    f"{self.solver.name} does not know problem {problem_id} any more, so that its answer is lost; give "
                    f"it up by `qpu resume --forget {job.label}`, and it is asked for, and paid for, again",
                    problem_id,
                    status,
                )
            else:
                self._fetch(job, problem_id)

    def _given(self, problem_id: str) -> float:
        """Until when a problem that was accepted may be unknown to the part of the service that is asked."""
        if problem_id not in self.missing:
            self.missing[problem_id] = time.monotonic() + self.terms.settle
        else:
            time.sleep(max(0.02, self.terms.settle / _LOOKS))
        return self.missing[problem_id]

    def _fetch(self, job: Job, problem_id: str) -> None:
        request = self.requests[job.digest]
        try:
            answer, value = self.solver.answer(problem_id, lambda one: self.read(one, request))
        except AnswerError as error:
            self.stopped = self.stopped or error
        except JobError as error:
            self._ended(job, error)
        else:
            self.journal.answered(job.label, answer)
            self.done[job.digest] = Result(problem_id, answer.charged_us, value)

    def _ended(self, job: Job, error: JobError) -> None:
        """A job without an answer, which is asked for again a few times."""
        self.journal.failed(job.label, str(error), error.charged_us)
        if job.attempt < ATTEMPTS and self.may_post:
            self.waiting.append(job.digest)
        elif self.may_post:
            self.stopped = self.stopped or error

    def _see_others(self) -> None:
        """What another process works on: take its answer, or its work where it has died."""
        if not self.others or self.stopped is not None:
            return
        for digest, job in list(self.others.items()):
            now = self.journal.job(digest)
            if now is None or now.status in ("answered", "failed") or self.journal.owner.may_take(job.owner):
                del self.others[digest]
                self.waiting.append(digest)
        if self.others and not (self.running or self.unknown or self.waiting):
            time.sleep(_OTHERS)

    def _give_up(self) -> None:
        """What still waits would be charged for, and read by nobody unless the journal stays."""
        if self.terms.cancel and self.running:
            with contextlib.suppress(QPUError):
                self.solver.cancel(list(self.running))
        self.journal.owner.release()  # whoever comes next may go on with them
