"""Failures on demand: what goes wrong, at which request, and how often."""

from __future__ import annotations

import threading
from dataclasses import dataclass

ROUTES = ("solvers", "submit", "poll", "list", "answer", "cancel")
KINDS = {
    "status": "an error status instead of doing anything",
    "accepted-status": "everything is done as asked, and an error status is sent",
    "drop-before": "the connection is closed before anything is done",
    "drop-after": "everything is done as asked, and the connection is closed without a reply",
    "slow": "the reply comes late",
    "truncated": "the connection is closed in the middle of the reply",
    "not-json": "the reply is no JSON",
    "corrupt": "the reply is JSON, and what it holds is damaged",
}


@dataclass(frozen=True)
class Fault:
    """One failure.

    Args:
        kind: a name in `KINDS`.
        on: which requests, a name in `ROUTES`.
        times: how many of them.
        skip: how many of them pass first.
        status: of the reply, for "status" and "accepted-status".
        retry_after: whole seconds, sent as Retry-After if given.
        seconds: how late, for "slow".
    """

    kind: str
    on: str
    times: int = 1
    skip: int = 0
    status: int = 500
    retry_after: int | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        assert self.kind in KINDS, self.kind
        assert self.on in ROUTES, self.on


class FaultPlan:
    """Faults that are still to come; any thread may ask and add.

    Args:
        faults: those that are planned from the start; the first that fits a request strikes it.
    """

    def __init__(self, *faults: Fault) -> None:
        self._lock = threading.Lock()
        self._left: list[list[int]] = []
        self._faults: list[Fault] = []
        self.struck: list[Fault] = []
        self.add(*faults)

    def add(self, *faults: Fault) -> None:
        """Plan more faults."""
        with self._lock:
            for fault in faults:
                self._faults.append(fault)
                self._left.append([fault.skip, fault.times])

    def clear(self) -> None:
        """Let everything succeed from now on."""
        with self._lock:
            self._faults.clear()
            self._left.clear()

    def strike(self, route: str) -> Fault | None:
        """The fault that a request to a route meets, if any."""
        with self._lock:
            for fault, left in zip(self._faults, self._left, strict=True):
                if fault.on != route or left[1] == 0:
                    continue
                if left[0]:
                    left[0] -= 1
                    continue
                left[1] -= 1
                self.struck.append(fault)
                return fault
        return None
