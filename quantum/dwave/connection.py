"""Posting, waiting and fetching, by D-Wave's own client; each step by itself, and each failure by what it means.

The client retries what may be repeated and never a POST. Whether a POST without a reply was accepted is not known
here: `find` tells, by its label. Everything is done by one thread; make one connection for each.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from quantum.dwave.credentials import scrubbed
from quantum.dwave.encode import Submission
from quantum.jobs.errors import AnswerError, JobError, QPUError, RejectedError, UnknownOutcomeError
from quantum.jobs.service import Answer

AT_ONCE = 20
"""Problems in one POST, as D-Wave's client has it."""

REFUSALS = (400, 401, 403, 404, 413, 422, 429)
"""Statuses after which a post was certainly not accepted; any other, as a timeout of a proxy, says nothing."""

LONGEST_WAIT = 300.0
"""Seconds that a reply may ask to wait."""

_READINGS = 3
"""Times that an answer is fetched before it is called unreadable."""

_MEDIA = {"media_type": "application/vnd.dwave.sapi.problem+json", "accept_version": "~=3.0", "ask_version": "3.0.0"}

T = TypeVar("T")


class Connection:
    """A solver behind D-Wave's SAPI.

    Args:
        client: a `dwave.cloud.Client`; its configuration is used, and with it its token, timeouts and proxies.
        solver: one of its solvers.
        patience: seconds for which statuses and answers are asked for in vain before that is an error.
        poll: seconds for which a status request may wait at the service.
    """

    def __init__(self, client: Any, solver: Any, *, patience: float = 300.0, poll: int = 10) -> None:
        from dwave.cloud.api import Problems

        self._client, self._solver = client, solver
        self._patience, self._poll = patience, poll
        self._problems = Problems.from_config(client.config)

    def __repr__(self) -> str:
        return f"Connection({self._solver.name!r})"

    @property
    def name(self) -> str:
        """Of the solver."""
        return str(self._solver.name)

    @property
    def at_once(self) -> int:
        """Most problems in one POST."""
        return AT_ONCE

    def close(self) -> None:
        """Close the connection; the client stays open."""
        self._problems.close()

    def post(self, payloads: Sequence[Submission], labels: Sequence[str]) -> list[str | RejectedError]:
        """Post up to `AT_ONCE` problems in one request.

        Args:
            payloads: encoded.
            labels: under which they can be found.

        Returns:
            A problem's id for each, or why it alone was not accepted.

        Raises:
            RejectedError: none was accepted.
            UnknownOutcomeError: no reply that can be read: any of them may have been accepted.
        """
        from dwave.cloud.api.models import ProblemJob

        identity = self._solver.identity.dict()
        jobs = [
            ProblemJob(data=one.data(), params=one.parameters, solver=identity, type="ising", label=label)
            for one, label in zip(payloads, labels, strict=True)
        ]
        outer = sys.exception()
        try:
            replies = self._problems.submit_problems(jobs)
        except Exception as error:
            raise self._about_post(error, labels, outer) from None
        if len(replies) != len(jobs):
            raise UnknownOutcomeError(f"{len(jobs)} problems were posted and {len(replies)} confirmed", labels)
        return [
            reply.id
            if hasattr(reply, "id")
            else RejectedError(scrubbed(str(reply.error_msg), self._client), int(reply.error_code))
            for reply in replies
        ]

    def statuses(self, job_ids: Sequence[str]) -> dict[str, str]:
        """How problems stand, as soon as one of them has ended or the poll is over.

        Args:
            job_ids: up to 100.

        Returns:
            PENDING, IN_PROGRESS, COMPLETED, CANCELLED or FAILED, by id; UNKNOWN for those that the service does not
            know.

        Raises:
            QPUError: the service has failed for longer than is waited.
        """
        found = self._repeated(lambda: self._problems.get_problem_statuses(list(job_ids), self._poll), "status")
        known = {one.id: str(getattr(one.status, "value", one.status)) for one in found}
        return {problem_id: known.get(problem_id, "UNKNOWN") for problem_id in job_ids}

    def find(self, label: str) -> list[str]:
        """Ids of problems with a label, newest first; empty if none was accepted.

        Raises:
            QPUError: the service has failed for longer than is waited.
        """
        found = self._repeated(lambda: self._problems.list_problems(label=label), "list of problems")
        return [one.id for one in found if one.label == label]

    def answer(self, job_id: str, read: Callable[[Answer], T]) -> tuple[Answer, T]:
        """Fetch an answer and read it; again where it cannot be read.

        Args:
            job_id: of a completed problem.
            read: makes what is wanted of the answer, or raises an AnswerError.

        Raises:
            AnswerError: it could not be read, time after time.
            JobError: the problem has failed or was cancelled.
            QPUError: the service has failed for longer than is waited.
        """
        for reading in range(_READINGS):
            message = self._repeated(lambda: self._message(job_id), "answer")
            status = message.get("status")
            if status not in ("COMPLETED", None):
                reason = scrubbed(str(message.get("error_message", "")), self._client)
                raise JobError(f"problem {job_id} is {status} {reason}".rstrip(), job_id, str(status))
            try:
                answer = _answer(message)
                return answer, read(answer)
            except AnswerError as error:
                if reading == _READINGS - 1:
                    raise AnswerError(f"problem {job_id}: {error}", job_id) from None
        raise AssertionError("unreachable")

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Ask once that problems which still wait are not run.

        Raises:
            QPUError: the service gave no reply.
        """
        if not job_ids:
            return
        try:
            self._problems.cancel_problems(list(job_ids))
        except Exception as error:
            raise self._failed("cancellation", error) from None

    def _message(self, problem_id: str) -> dict[str, Any]:
        # read as it comes: the client's own model of answers insists on num_occurrences, which raw ones do not have
        session = self._problems.session
        session.set_accept(**_MEDIA)
        try:
            message = json.loads(session.get(problem_id).content)
        finally:
            session.unset_accept()
        if not isinstance(message, dict):
            raise ValueError("the reply is no problem")
        return message

    def _repeated(self, ask: Callable[[], T], what: str) -> T:
        """Ask until there is a reply; asking changes nothing and costs nothing."""
        until, pause = time.monotonic() + self._patience, 0.05
        while True:
            try:
                return ask()
            except Exception as error:
                status = _status(error)
                if status is not None and 400 <= status < 500 and status not in (408, 425, 429):
                    raise self._failed(what, error) from None
                if time.monotonic() + pause > until:
                    raise self._failed(what, error) from None
            time.sleep(pause)
            pause = min(2 * pause, 10.0)

    def _failed(self, what: str, error: Exception) -> QPUError:
        text = scrubbed(str(error), self._client)
        return QPUError(f"{self._solver.name} gives no {what}: {type(error).__name__}: {text}")

    def _about_post(self, error: Exception, labels: Sequence[str], outer: BaseException | None) -> QPUError:
        status, text = _status(error), scrubbed(str(error), self._client)
        if status in REFUSALS:
            said = f"{self._solver.name} does not accept problems ({status}): {text}"
            return RejectedError(said, status, _retry_after(error))
        if _never_connected(error, outer):
            return RejectedError(f"{self._solver.name} cannot be reached: {type(error).__name__}")
        return UnknownOutcomeError(
            f"{self._solver.name} was sent {len(labels)} problems and gave no reply to rely on "
            f"({type(error).__name__}: {text}); they may have been accepted: look their labels up",
            labels,
        )


def _answer(message: dict[str, Any]) -> Answer:
    content = message.get("answer")
    try:
        if not isinstance(content, dict):
            raise TypeError
        charged = float(content["timing"]["qpu_access_time"])
    except (KeyError, TypeError, ValueError):
        raise AnswerError("the answer does not say what it was charged; fetch it again") from None
    return Answer(content, charged)


def _status(error: Exception) -> int | None:
    """HTTP status of a reply that is an error."""
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    return None if status is None or status < 400 else int(status)


def _retry_after(error: Exception) -> float | None:
    """Seconds that a reply asks to wait."""
    try:
        seconds = float(error.response.headers["Retry-After"])  # type: ignore[attr-defined]
    except (KeyError, ValueError):
        return None  # it may also be a date, which nobody sends
    return min(seconds, LONGEST_WAIT) if seconds >= 0 else None


def _never_connected(error: BaseException | None, outer: BaseException | None) -> bool:
    """Whether a request failed before anything was sent; what was being handled before it says nothing of it."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    seen = {id(outer)}
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        reason = getattr(error, "reason", None) or (error.args[0] if error.args else None)
        if isinstance(error, NewConnectionError | ConnectTimeoutError):
            return True
        error = reason if isinstance(reason, BaseException) else error.__cause__ or error.__context__
    return False
