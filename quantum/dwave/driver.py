"""Many submissions through one connection: several in flight, answers as they come, queues not flooded.

Nothing is remembered here. A journal that must survive a crash takes the same steps and writes each down.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from quantum.dwave.connection import AT_ONCE, ONGOING, POLLED, Connection
from quantum.dwave.decode import Readout, decode
from quantum.dwave.encode import Submission
from quantum.dwave.errors import DWaveError, JobError, RejectedError

_BUSY = 429
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 30.0


@dataclass(frozen=True, eq=False)
class Result:
    """An answered submission.

    Args:
        problem_id: the service's.
        readout: the answer.
    """

    problem_id: str
    readout: Readout


def run_all(connection: Connection, submissions: Sequence[Submission], in_flight: int) -> list[Result]:
    """Post submissions, wait for them and read their answers.

    Args:
        connection: to the solver.
        submissions: encoded.
        in_flight: most of them that may wait at the service at a time.

    Returns:
        A result for each, in their order.

    Raises:
        RejectedError: one was not accepted, for another reason than a full queue.
        UnknownOutcomeError: it is not known whether some were accepted.
        JobError: one has failed or was cancelled.
        AnswerError: one's answer cannot be read.
        DWaveError: the service has failed for too long.
    """
    results: list[Result | None] = [None] * len(submissions)
    waiting, running = deque(range(len(submissions))), dict[str, int]()
    pause, not_before = _FIRST_PAUSE, 0.0
    try:
        while waiting or running:
            while waiting and len(running) < in_flight and time.monotonic() >= not_before:
                count = min(AT_ONCE, in_flight - len(running), len(waiting))
                wanted = _post(connection, submissions, waiting, running, count)
                if wanted is not None:
                    # the queue is full, or we are too quick
                    not_before = time.monotonic() + max(wanted, pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
                    continue
                pause = _FIRST_PAUSE
            if not running:
                time.sleep(max(0.0, not_before - time.monotonic()))
                continue
            for problem_id, status in connection.statuses(list(running)[:POLLED]).items():
                if status in ONGOING:
                    continue
                place = running[problem_id]
                if status != "COMPLETED":
                    raise JobError(f"problem {problem_id} is {status}", problem_id, status)
                submission = submissions[place]
                readout = connection.answer(problem_id, partial(decode, submission=submission))
                results[place] = Result(problem_id, readout)
                del running[problem_id]
    except BaseException:
        # what still waits would be charged for and read by nobody
        with contextlib.suppress(DWaveError):
            connection.cancel(list(running))
        raise
    return [result for result in results if result is not None]


def _post(
    connection: Connection, submissions: Sequence[Submission], waiting: deque[int], running: dict[str, int], count: int
) -> float | None:
    """Post the next ones; those that found no room wait again, for as many seconds as are returned or longer."""
    places = [waiting.popleft() for _ in range(count)]
    try:
        replies = connection.post([submissions[place] for place in places])
    except RejectedError as error:
        if error.status != _BUSY:
            raise
        waiting.extendleft(reversed(places))
        return error.retry_after or 0.0
    refused: list[int] = []
    failure: RejectedError | None = None
    for place, reply in zip(places, replies, strict=True):
        if isinstance(reply, str):
            running[reply] = place
        elif reply.status == _BUSY:
            refused.append(place)
        else:
            failure = failure or reply
    if failure is not None:
        raise failure
    waiting.extendleft(reversed(refused))
    return 0.0 if refused else None
