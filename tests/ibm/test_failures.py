"""What an exception of IBM's own HTTP client means for the bill."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from quantum.jobs.errors import QPUError, RejectedError, UnknownOutcomeError

pytest.importorskip("qiskit_ibm_runtime", reason='needs qiskit-ibm-runtime: pip install "hybrid-attention[ibm]"')


@contextmanager
def server(status: int | None) -> Iterator[str]:
    """Answers every POST with a status, or hangs up."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if status is None:
                self.close_connection = True
                self.connection.close()
                return
            self.send_response(status)
            self.send_header("Retry-After", "7")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}"
    finally:
        running.shutdown()
        running.server_close()
        thread.join()


def submitted(url: str) -> QPUError:
    """A submission by IBM's session, wrapped as its service wraps it."""
    from qiskit_ibm_runtime.api.exceptions import RequestsApiError
    from qiskit_ibm_runtime.api.session import RetrySession
    from qiskit_ibm_runtime.exceptions import IBMRuntimeError

    from quantum.ibm.failures import about_post

    session = RetrySession(url, retries_total=0, retries_connect=0)
    try:
        try:
            session.post("/jobs", json={})
        except RequestsApiError as error:
            raise IBMRuntimeError(f"Failed to run program: {error}") from None
    except Exception as error:
        return about_post(error, "ibm_any", ["label"])
    raise AssertionError("nothing failed")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429])
def test_a_refusal_is_certain(status: int) -> None:
    with server(status) as url:
        found = submitted(url)
    assert isinstance(found, RejectedError)
    assert found.status == status
    if status == 429:
        assert found.retry_after == 7.0


@pytest.mark.parametrize("status", [408, 500, 503, None])
def test_after_anything_else_the_job_may_exist(status: int | None) -> None:
    with server(status) as url:
        found = submitted(url)
    assert isinstance(found, UnknownOutcomeError)
    assert found.labels == ("label",)


def test_without_a_connection_nothing_was_sent() -> None:
    with server(200) as url:
        pass
    found = submitted(url)
    assert isinstance(found, RejectedError)
    assert found.status is None


def test_other_questions_around_a_submission_are_no_refusal_of_it() -> None:
    from qiskit_ibm_runtime.api.exceptions import RequestsApiError

    from quantum.ibm.failures import about_post

    assert isinstance(about_post(RequestsApiError("usage", 404), "ibm_any", ["label"]), UnknownOutcomeError)
    assert isinstance(about_post(KeyError("id"), "ibm_any", ["label"]), UnknownOutcomeError)


def test_what_the_client_refuses_by_itself_was_never_sent() -> None:
    from qiskit.transpiler import TranspilerError
    from qiskit_ibm_runtime.exceptions import IBMInputValueError
    from samplomatic.exceptions import SamplexInputError

    from quantum.ibm.failures import about_post

    for error in (IBMInputValueError("no ISA circuit"), TranspilerError("no duration"), SamplexInputError("no box")):
        found = about_post(error, "ibm_any", ["label"])
        assert isinstance(found, RejectedError)
        assert found.status == 400
