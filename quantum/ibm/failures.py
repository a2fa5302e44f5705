"""What an exception of IBM's client means for the bill.

The client wraps what it gets: the HTTP status that matters is somewhere in the chain of causes and contexts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from quantum.ibm.account import scrubbed
from quantum.jobs.errors import QPUError, RejectedError, UnknownOutcomeError

_REFUSALS = (400, 401, 402, 403, 404, 413, 422, 429)
"""Statuses after which a submission was certainly not accepted; any other, as a timeout of a proxy, says nothing."""


def status_of(error: BaseException, outer: BaseException | None = None) -> int | None:
    """HTTP status of the reply that an exception is about, or None where there was none."""
    for one in _chain(error, outer):
        status = getattr(one, "status_code", None)
        if not isinstance(status, int):
            status = getattr(getattr(one, "response", None), "status_code", None)
        if isinstance(status, int) and status >= 400:
            return status
    return None


def may_pass(error: BaseException) -> bool:
    """Whether asking again may help: not where the service said that the question is wrong."""
    status = status_of(error)
    return status is None or not 400 <= status < 500 or status in (408, 425, 429)


def about_post(
    error: Exception, name: str, labels: Sequence[str], service: Any = None, outer: BaseException | None = None
) -> QPUError:
    """What a failed submission leaves behind.

    A job was certainly not accepted if the client refused it before it sent anything, if the reply to the submission
    itself was a refusal, or if no connection was made. After everything else it may exist.

    Args:
        error: that submitting raised.
        name: of the backend.
        labels: of what was submitted.
        service: whose token the exception may show.
        outer: what was being handled when the job was submitted, which says nothing of it.

    Returns:
        A RejectedError or an UnknownOutcomeError, without the exception attached.
    """
    from qiskit_ibm_runtime.exceptions import IBMNotAuthorizedError, IBMRuntimeError

    status, text = status_of(error, outer), scrubbed(str(error), service)
    if _of_preparation(error):
        return RejectedError(f"{name} does not take this job: {text}", 400)
    # the client wraps a reply to the submission in these; other exceptions may come from questions after it
    answered = isinstance(error, IBMRuntimeError | IBMNotAuthorizedError)
    if isinstance(error, IBMNotAuthorizedError) and status is None:
        status = 401
    if answered and status in _REFUSALS:
        return RejectedError(f"{name} does not accept jobs ({status}): {text}", status, _retry_after(error))
    if _never_connected(error, outer):
        return RejectedError(f"{name} cannot be reached: {type(error).__name__}")
    return UnknownOutcomeError(
        f"{name} was sent {len(labels)} jobs and gave no reply to rely on ({type(error).__name__}: {text}); they may "
        "have been accepted: look their labels up",
        labels,
    )


def _of_preparation(error: Exception) -> bool:
    """Whether the client refused a job before it sent anything."""
    from qiskit.circuit import CircuitError
    from qiskit.transpiler import TranspilerError
    from qiskit_ibm_runtime.exceptions import IBMInputValueError

    # what twirls circuits raises exceptions that have no class in common, and knows no network
    own = type(error).__module__.partition(".")[0] == "samplomatic"
    return own or isinstance(error, IBMInputValueError | CircuitError | TranspilerError)


def _retry_after(error: BaseException) -> float | None:
    """Seconds that a reply asks to wait."""
    for one in _chain(error):
        headers = getattr(getattr(one, "response", None), "headers", None)
        if headers is not None:
            try:
                return float(headers["Retry-After"])
            except (KeyError, ValueError):
                return None
    return None


def _never_connected(error: BaseException, outer: BaseException | None) -> bool:
    """Whether a request failed before anything was sent."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    return any(isinstance(one, NewConnectionError | ConnectTimeoutError) for one in _chain(error, outer))


def _chain(error: BaseException, outer: BaseException | None = None) -> Iterator[BaseException]:
    """An exception, and those that it came of, up to one that was there before."""
    seen = {id(outer)}
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = [getattr(one, "reason", None), *one.args]
        waiting += [one.__context__, one.__cause__, *(x for x in inner if isinstance(x, BaseException))]
