"""The way to a backend: IBM's cloud, this machine, or what a journal kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quantum.ibm.account import find_backend, open_service, require_runtime
from quantum.ibm.connection import Connection
from quantum.ibm.device import Device
from quantum.ibm.local import LocalConnection
from quantum.ibm.payload import Primitive
from quantum.jobs.journal import Journal


@dataclass(frozen=True, eq=False)
class Access:
    """A backend, and how jobs get to it.

    Args:
        device: what is known of it.
        backend: a `BackendV2`; None where jobs are only replayed.
        connection: likewise.
    """

    device: Device
    backend: Any
    connection: Connection | LocalConnection | None

    @property
    def local(self) -> bool:
        """Whether jobs run on this machine, for nothing."""
        return isinstance(self.connection, LocalConnection)

    @classmethod
    def open(cls, backend: Any, service: Any, mode: str, primitive: Primitive | None) -> Access:
        """The way to a backend.

        Args:
            backend: a name, a `BackendV2`, or None for the least busy processor.
            service: a `QiskitRuntimeService`; by default, for names, one with the user's own account.
            mode: a name in `quantum.ibm.options.MODES`.
            primitive: makes what runs circuits; by default IBM's own sampler.

        Raises:
            ImportError: qiskit-ibm-runtime is not installed; names the extra.
            ValueError: no credentials, no such backend, or one that open angles do not suit.
            QPUError: the service cannot be reached.
        """
        require_runtime()
        from qiskit.providers import BackendV2
        from qiskit_ibm_runtime import IBMBackend

        named = isinstance(backend, str | None)
        if not named and not isinstance(backend, BackendV2):
            raise ValueError(f"backend is {backend!r}; give a name, a Qiskit BackendV2, or None")
        if named:
            service = open_service() if service is None else service
            backend = find_backend(service, backend)
        elif service is None and isinstance(backend, IBMBackend):
            service = backend.service
        device = Device.of(backend)
        if service is None or getattr(service, "is_local", False):
            return cls(device, backend, LocalConnection(backend, primitive=primitive))
        return cls(device, backend, Connection(service, backend, mode=mode, primitive=primitive))

    @classmethod
    def replayed(cls, journal: Journal, backend: Any) -> Access:
        """A backend as a journal knows it; nothing can be run on it.

        Args:
            journal: of a run that used it.
            backend: its name, or the backend.

        Raises:
            ValueError: no name, or a journal that does not know it.
        """
        if backend is None:
            raise ValueError("backend is None; name the one whose jobs are replayed")
        return cls(Device.recall(journal, str(getattr(backend, "name", backend))), None, None)

    def close(self) -> None:
        """Close what was opened here."""
        if self.connection is not None:
            self.connection.close()
