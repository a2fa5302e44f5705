"""One request to the loopback server: what is asked, whether a fault strikes it, and the reply."""

from __future__ import annotations

import json
import socket
import struct
import time
import zlib
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit

from tests.loopback.faults import Fault
from tests.loopback.problem import RefusedError

if TYPE_CHECKING:
    from tests.loopback.server import LoopbackServer

_SOLVERS, _SOLVER = "solver-definition-list", "solver-definition"
_PROBLEMS, _PROBLEM, _ANSWER = "problems", "problem", "problem-answer"
_LONGEST_POLL = 30.0


class _DroppedError(Exception):
    """The connection was closed without a reply."""


class Handler(BaseHTTPRequestHandler):
    """SAPI's requests. Every reply of success names the media type that the client asks for, with its version."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """No delays: replies are small, and clients wait for them."""
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def loopback(self) -> LoopbackServer:
        """The server that this request came to."""
        return cast("LoopbackServer", self.server)

    def do_GET(self) -> None:
        """Solvers, statuses and answers."""
        self._serve()

    def do_POST(self) -> None:
        """Problems."""
        self._serve()

    def do_DELETE(self) -> None:
        """Cancellations."""
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing is printed."""

    def _serve(self) -> None:
        body = self._body()
        url = urlsplit(self.path)
        parts = [part for part in url.path.split("/") if part][1:]
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        route = self._route(parts, query)
        self.loopback.seen.append((route, self.path))
        fault = self.loopback.faults.strike(route)
        try:
            if fault is not None:
                self._before(fault)
            if self.headers.get("X-Auth-Token") != self.loopback.token:
                raise RefusedError(401, "Invalid token or access denied")
            media, message = self._reply(route, parts, query, body)
            if fault is not None:
                message = self._after(fault, message)
            data = b"<html>Bad gateway" if fault and fault.kind == "not-json" else json.dumps(message).encode()
            cut = len(data) // 2 if fault and fault.kind == "truncated" else None
            self._send(200, f"application/vnd.dwave.sapi.{media}+json; version=3.0.0", data, cut=cut)
        except RefusedError as refused:
            self._refuse(refused.code, str(refused))
        except _DroppedError:
            self.close_connection = True

    def _route(self, parts: list[str], query: dict[str, str]) -> str:
        if parts[:1] == ["solvers"]:
            return "solvers"
        if self.command == "POST":
            return "submit"
        if self.command == "DELETE":
            return "cancel"
        if len(parts) > 1:
            return "answer"
        return "poll" if "id" in query else "list"

    def _body(self) -> bytes:
        """All of it, however it comes: what is left unread would be taken for the next request."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            data = b"".join(pieces)
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return zlib.decompress(data) if data and self.headers.get("Content-Encoding") == "deflate" else data

    def _reply(self, route: str, parts: list[str], query: dict[str, str], body: bytes) -> tuple[str, Any]:
        account = self.loopback.account
        if route == "solvers":
            return self._solvers(parts, query)
        if route == "submit":
            posted = json.loads(body)
            many = isinstance(posted, list)
            replies = [self._submitted(one) for one in (posted if many else [posted])]
            return _PROBLEMS, replies if many else replies[0]
        if route == "cancel":
            if len(parts) > 1:
                return _PROBLEM, account.cancel(parts[1]).summary()
            return _PROBLEMS, [self._cancelled(one) for one in json.loads(body)]
        if route == "poll":
            seconds = min(float(query.get("timeout", 0)), _LONGEST_POLL)
            return _PROBLEMS, [job.summary() for job in account.wait(query["id"].split(","), seconds)]
        if route == "list":
            return _PROBLEMS, self._listed(query)
        job = account.jobs.get(parts[1])
        if job is None:
            raise RefusedError(404, f"Problem {parts[1]} does not exist or apitoken does not have access")
        done = {"answer": job.answer()} if job.status == "COMPLETED" else {}
        return (_ANSWER, done) if parts[2:] == ["answer"] else (_PROBLEM, {**job.summary(), **done})

    def _solvers(self, parts: list[str], query: dict[str, str]) -> tuple[str, Any]:
        solvers, wanted = self.loopback.solvers, query.get("filter", "all")
        if len(parts) < 3:
            return _SOLVERS, [_filtered(one, wanted) for one in solvers.values()]
        if parts[2] not in solvers:
            raise RefusedError(404, f"Solver {parts[2]} does not exist or apitoken does not have access")
        return _SOLVER, _filtered(solvers[parts[2]], wanted)

    def _submitted(self, body: dict[str, Any]) -> dict[str, Any]:
        try:
            job = self.loopback.account.submit(self.loopback.solvers, body)
        except RefusedError as refused:
            return {"error_code": refused.code, "error_msg": str(refused)}
        return {**job.summary(), "status": "PENDING"}

    def _cancelled(self, job_id: str) -> dict[str, Any]:
        try:
            return self.loopback.account.cancel(job_id).summary()
        except RefusedError as refused:
            return {"error_code": refused.code, "error_msg": str(refused)}

    def _listed(self, query: dict[str, str]) -> list[dict[str, Any]]:
        found = [job.summary() for job in self.loopback.account.listed()]
        for key in ("label", "status"):
            if key in query:
                found = [one for one in found if one.get(key) == query[key]]
        if "solver" in query:
            found = [one for one in found if one["solver"]["name"] == query["solver"]]
        return found[: int(query.get("max_results", 1000))]

    def _before(self, fault: Fault) -> None:
        """What a fault does before the request is looked at."""
        if fault.kind == "status":
            self._refuse(fault.status, "Planned failure", fault.retry_after)
            raise _AnsweredError
        if fault.kind == "drop-before":
            self._hang_up()

    def _after(self, fault: Fault, message: Any) -> Any:
        """What a fault does to the reply of a request that has been served."""
        if fault.kind == "accepted-status":
            self._refuse(fault.status, "Planned failure after acceptance", fault.retry_after)
            raise _AnsweredError
        if fault.kind == "drop-after":
            self._hang_up()
        if fault.kind == "slow":
            time.sleep(fault.seconds)
        return _damaged(message) if fault.kind == "corrupt" else message

    def _hang_up(self) -> None:
        # a reset rather than an orderly end
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        raise _DroppedError

    def _refuse(self, status: int, text: str, retry_after: int | None = None) -> None:
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        data = json.dumps({"error_code": status, "error_msg": text}).encode()
        self._send(status, "application/json", data, headers)

    def _send(
        self, status: int, media: str, data: bytes, headers: dict[str, str] | None = None, cut: int | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(len(data)))
        # solver definitions would be kept on disk otherwise
        self.send_header("Cache-Control", "no-store")
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data[:cut])
        if cut is not None:
            self.close_connection = True


class _AnsweredError(_DroppedError):
    """A reply was sent; nothing else is to be done. The connection is closed after it."""


def _filtered(definition: dict[str, Any], wanted: str) -> dict[str, Any]:
    """What of a definition was asked for, as "all,-status" or "none,+identity"."""
    first, *changes = wanted.split(",")
    kept = set(definition) if first == "all" else set()
    for change in changes:
        # a plus sign in a query may arrive as the space that it stands for
        (kept.discard if change[0] == "-" else kept.add)(change[1:])
    return {key: value for key, value in definition.items() if key in kept}


def _damaged(message: Any) -> Any:
    """A reply whose JSON is sound and whose content is not."""
    if isinstance(message, dict) and "answer" in message:
        answer = message["answer"]
        return {**message, "answer": {**answer, "solutions": answer["solutions"][: len(answer["solutions"]) // 2]}}
    if isinstance(message, list):
        return [{key: value for key, value in one.items() if key != "id"} for one in message]
    return {}
