"""SAPI over HTTP on the loopback interface, as D-Wave's client speaks it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence
from http.server import ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.loopback.account import Account
from tests.loopback.chips import chip
from tests.loopback.faults import FaultPlan
from tests.loopback.processors import Boltzmann, Processor
from tests.loopback.requests import Handler

TOKEN = "LOOP-0123456789abcdef0123456789abcdef"
"""What the server takes unless it is told otherwise."""


class LoopbackServer(ThreadingHTTPServer):
    """Solvers behind a socket, for a `with` statement.

    `client()` makes D-Wave's own client for it. The state of jobs is the account's: a server made with the account and
    the port of one that has stopped goes on where it was.

    Args:
        solvers: definitions, as from `chip`; by default one Pegasus P3.
        processor: where samples come from; by default exact Boltzmann samples at β = 1.
        account: jobs and bill; by default new ones.
        faults: what goes wrong.
        token: the one that is let in.
        port: by default a free one.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(
        self,
        solvers: Sequence[dict[str, Any]] | None = None,
        processor: Processor | None = None,
        *,
        account: Account | None = None,
        faults: FaultPlan | None = None,
        token: str = TOKEN,
        port: int = 0,
    ) -> None:
        self.solvers = {one["identity"]["name"]: one for one in (solvers or [chip()])}
        self.processor: Processor = processor or Boltzmann()
        self.account = account or Account()
        self.faults = faults or FaultPlan()
        self.token = token
        self.seen: list[tuple[str, str]] = []
        self.failures: list[Exception] = []
        self._stopped = threading.Event()
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), Handler)
        self.port = int(self.server_address[1])

    @property
    def endpoint(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self.port}/sapi/"

    def client(self, **options: Any) -> Any:
        """D-Wave's own client, with the token of this server and no cache on disk."""
        from dwave.cloud import Client

        defaults = {"endpoint": self.endpoint, "token": self.token, "cache_enabled": False, "poll_wait_time": 5}
        return Client(**{**defaults, **options})

    def count(self, route: str) -> int:
        """How many requests came on a route of `tests.loopback.faults.ROUTES`."""
        return sum(one == route for one, _ in self.seen)

    def start(self) -> Self:
        """Serve from now on, in threads of its own."""
        self._running = [
            threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True),
            threading.Thread(target=self._work, daemon=True),
        ]
        for thread in self._running:
            thread.start()
        return self

    def stop(self) -> None:
        """Close all sockets; what is waiting stays in the account."""
        self._stopped.set()
        with self.account.changed:
            self.account.changed.notify_all()
        self.shutdown()
        self.server_close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._running:
            thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection: clients keep theirs open, and a server that has stopped must not go on serving."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that has ended."""
        self._open.discard(request)
        super().shutdown_request(request)

    def _work(self) -> None:
        while job := self.account.take(self._stopped):
            try:
                self.account.solve(job, self.processor)
            except Exception as error:  # the job has failed, for its user; the test looks here
                self.failures.append(error)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are no news."""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
