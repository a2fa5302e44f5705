"""What is known of a backend: enough to refuse models, to name requests and to replay a journal without it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from hashlib import sha256
from json import dumps
from typing import Any

from quantum.jobs.journal import Journal

REP_DELAY = 250e-6
"""Seconds between two shots where a backend does not say; what IBM's processors wait by default."""


@dataclass(frozen=True)
class Device:
    """A backend, as requests and journals know it.

    Args:
        name: the backend's.
        qubits: how many it has.
        connected: how many of them are connected with each other.
        rep_delay: between two shots, seconds.
        variant: tells simulators of one name but different noise apart; empty for processors.
    """

    name: str
    qubits: int
    connected: int
    rep_delay: float = REP_DELAY
    variant: str = ""

    @classmethod
    def of(cls, backend: Any) -> Device:
        """What a backend says of itself.

        Args:
            backend: a Qiskit `BackendV2`.

        Raises:
            ValueError: a backend whose two-qubit gates take angles of a limited range, which open parameters may leave.
        """
        simulated = _simulated(backend)
        names = backend.target.operation_names if backend.target is not None else ()
        if not simulated and "rzz" in names:
            raise ValueError(
                f"backend is {backend.name!r} with fractional gates, whose angles are limited to 0 … π/2; look it up "
                "without use_fractional_gates=True"
            )
        coupling = backend.coupling_map
        qubits = int(backend.num_qubits)
        connected = qubits if coupling is None else max(map(_size, coupling.connected_components()), default=0)
        delay = getattr(backend, "default_rep_delay", None)
        return cls(
            str(backend.name), qubits, connected, REP_DELAY if delay is None else float(delay), _variant(backend)
        )

    @classmethod
    def recall(cls, journal: Journal, name: str) -> Device:
        """A device as a journal knows it.

        Raises:
            ValueError: the journal has no such device.
        """
        kept = journal.solver(name)
        if kept is None:
            raise ValueError(f"journal {journal.path} has no backend {name!r} to replay; name the journal of a run")
        return cls(**kept)

    def remember(self, journal: Journal) -> None:
        """Keep it in a journal, for replays."""
        journal.keep_solver(self.name, self.variant, asdict(self))


def _size(component: Any) -> int:
    return int(component.size())


def _simulated(backend: Any) -> bool:
    from qiskit_aer.backends.aerbackend import AerBackend

    return isinstance(backend, AerBackend)


def _variant(backend: Any) -> str:
    if not _simulated(backend):
        return ""
    noise = getattr(backend.options, "noise_model", None)
    method = str(getattr(backend.options, "method", ""))
    if noise is None:
        return method
    text = dumps(noise.to_dict(serializable=True), sort_keys=True, default=str)
    return f"{method} noise {sha256(text.encode()).hexdigest()}"
