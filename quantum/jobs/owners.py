"""Which process works on which job: a lock file for each process, that the system frees when it dies."""

from __future__ import annotations

import contextlib
import uuid
import weakref
from pathlib import Path

from filelock import FileLock, Timeout


class Owner:
    """This process, as others that use the same journal see it. It is known from its first claim on.

    Args:
        folder: where the locks of all of them are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = uuid.uuid4().hex
        self._lock: FileLock | None = None

    @property
    def name(self) -> str:
        """Its own; asking for it takes the lock that goes with it."""
        if self._lock is None:
            self._folder.mkdir(exist_ok=True)
            lock = FileLock(self._file(self._name), thread_local=False)
            lock.acquire()
            self._lock = lock
            # also when the process ends, unless it is killed; then the system frees the lock
            self._let_go = weakref.finalize(self, _let_go, lock, self._file(self._name), self._folder)
        return self._name

    def may_take(self, other: str) -> bool:
        """Whether a job of that name is this process's own, or of one that has died."""
        if other == self._name:
            return True
        lock = FileLock(self._file(other), thread_local=False)
        try:
            with lock.acquire(timeout=0):
                pass
        except Timeout:
            return False
        self._file(other).unlink(missing_ok=True)
        return True

    def release(self) -> None:
        """Be dead to the others."""
        if self._lock is not None:
            self._let_go()
            self._lock = None
            self._name = uuid.uuid4().hex

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.lock"


def _let_go(lock: FileLock, file: Path, folder: Path) -> None:
    lock.release()
    file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # others have theirs in it
        folder.rmdir()
