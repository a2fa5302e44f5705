"""The user's own account and backends, from IBM's own stores; no token is kept, shown or passed on here."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from quantum.jobs.driver import resume
from quantum.jobs.errors import AnswerError, QPUError
from quantum.jobs.journal import Journal
from quantum.jobs.records import Job
from quantum.jobs.service import Answer, Request
from quantum.jobs.terms import Terms

PLACES = "QISKIT_IBM_TOKEN (with QISKIT_IBM_INSTANCE, if wanted) and in ~/.qiskit/qiskit-ibm.json"
"""Where IBM's client looks for an account."""


def require_runtime() -> None:
    """Refuse to go on without IBM's client.

    Raises:
        ImportError: names the extra to install.
    """
    try:
        import qiskit_ibm_runtime  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'IBMSampler takes qiskit-ibm-runtime, which is not installed; pip install "hybrid-attention[ibm]"'
        ) from error


def scrubbed(text: str, service: Any = None) -> str:
    """A message in one line, without any token that could be in it.

    Args:
        text: of an exception of the client.
        service: a `QiskitRuntimeService`, whose token it may show.
    """
    for token in _tokens(service):
        text = text.replace(token, "***")
    return " ".join(text.split())


def open_service(make: Callable[[], Any] | None = None) -> Any:
    """IBM's client with the user's own account.

    Args:
        make: takes the place of `QiskitRuntimeService()`.

    Returns:
        A `qiskit_ibm_runtime.QiskitRuntimeService`.

    Raises:
        ValueError: no account, or one that is refused; says where it is looked for.
        QPUError: the service cannot be reached.
    """
    from qiskit_ibm_runtime import QiskitRuntimeService
    from qiskit_ibm_runtime.exceptions import IBMAccountError, IBMInputValueError, IBMNotAuthorizedError

    # what these exceptions say may quote the account, and that may be its token: none of it is passed on
    failed: Exception
    try:
        return (make or QiskitRuntimeService)()
    except (IBMAccountError, IBMNotAuthorizedError, IBMInputValueError, ValueError) as error:
        failed = ValueError(
            f"no credentials for IBM Quantum that are accepted ({type(error).__name__}); they are looked for in "
            f"{PLACES}; set one, or save an account once with QiskitRuntimeService.save_account(...)"
        )
    except Exception as error:
        failed = QPUError(f"IBM Quantum cannot be reached ({type(error).__name__})")
    raise failed


def find_backend(service: Any, name: str | None) -> Any:
    """A backend by its name.

    Args:
        service: a `QiskitRuntimeService`.
        name: None for the least busy processor.

    Raises:
        ValueError: no such backend, with the names of those there are; or an account that is refused.
        QPUError: the service cannot be reached, or fails.
    """
    from qiskit.providers.exceptions import QiskitBackendNotFoundError
    from qiskit_ibm_runtime.exceptions import IBMNotAuthorizedError

    asked = "the least busy processor" if name is None else repr(name)
    failed: Exception
    try:
        try:
            return service.least_busy(operational=True, simulator=False) if name is None else service.backend(name)
        except QiskitBackendNotFoundError:
            known = ", ".join(_names(service.backends())) or "(none)"
            failed = ValueError(f"backend is {asked}, which this account does not have; choose one of {known}")
    except IBMNotAuthorizedError:
        failed = ValueError(f"the account is refused by IBM Quantum; check {PLACES}")
    except Exception as error:
        text = scrubbed(str(error), service)
        failed = QPUError(f"IBM Quantum does not give backend {asked}: {type(error).__name__}: {text}")
    raise failed


def local_backend(name: str) -> Any:
    """A backend that runs on this machine, or None for the name of a processor.

    Args:
        name: aer_simulator, or one of qiskit-ibm-runtime's fakes, such as fake_jakarta or FakeJakartaV2, which have a
            processor's qubits, gates and noise.

    Raises:
        ImportError: qiskit-ibm-runtime is not installed; names the extra.
        ValueError: no such fake.
    """
    if name == "aer_simulator":
        from qiskit_aer import AerSimulator

        return AerSimulator()
    name = re.sub(r"(?<=[a-z])V2$", "", name)
    if name.startswith("Fake"):  # the name of its class, as FakeJakartaV2
        name = f"fake_{name.removeprefix('Fake').lower()}"
    if not name.startswith("fake_"):
        return None
    require_runtime()
    from qiskit.providers.exceptions import QiskitBackendNotFoundError
    from qiskit_ibm_runtime.fake_provider import FakeProviderForBackendV2

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # one of the fakes says, whenever all are loaded, that it is none
        try:
            return FakeProviderForBackendV2().backend(name)
        except QiskitBackendNotFoundError:
            known = ", ".join(_names(FakeProviderForBackendV2().backends()))
    raise ValueError(f"backend is {name!r}, which is no fake; choose one of {known}")


def list_backends(service: Any = None) -> list[dict[str, Any]]:
    """The account's processors.

    Args:
        service: a `QiskitRuntimeService`; by default one with the user's own account.

    Raises:
        ImportError: qiskit-ibm-runtime is not installed; names the extra.
        ValueError: no credentials.
        QPUError: the service cannot be reached.
    """
    require_runtime()
    service = open_service() if service is None else service
    failed: Exception
    try:
        return [
            {
                "backend": str(backend.name),
                "qubits": int(backend.num_qubits),
                "operational": bool(backend.status().operational),
                "pending_jobs": int(backend.status().pending_jobs),
            }
            for backend in service.backends()
        ]
    except Exception as error:
        text = scrubbed(str(error), service)
        failed = QPUError(f"IBM Quantum does not list backends: {type(error).__name__}: {text}")
    raise failed


def fetch(journal: Journal, backend: str, service: Any = None) -> list[Job]:
    """Answers of a backend's jobs that no process works on any more; nothing is submitted.

    Args:
        journal: of the run.
        backend: its name.
        service: a `QiskitRuntimeService`; by default one with the user's own account.

    Returns:
        The jobs as they stood before.

    Raises:
        ImportError: qiskit-ibm-runtime is not installed; names the extra.
        ValueError: no credentials, or a backend that is not there any more.
        QPUError: the service failed.
    """
    from quantum.ibm.connection import Connection

    require_runtime()
    service = open_service() if service is None else service
    connection = Connection(service, find_backend(service, backend), mode="job")
    try:
        return resume(connection, journal, _whole, Terms("resumed"))
    finally:
        connection.close()


def _whole(answer: Answer, request: Request) -> None:
    """Refuse an answer without bits; the counts of its models are checked when it is used."""
    if not answer.content.get("pubs"):
        raise AnswerError(f"the answer to {request.digest[:12]} has no measured bits; fetch it again")


def _names(backends: Iterable[Any]) -> list[str]:
    return sorted(str(backend.name) for backend in backends)


def _tokens(service: Any) -> list[str]:
    """Secrets that are known here, for as long as a message is cleaned of them."""
    found = [os.environ.get("QISKIT_IBM_TOKEN")]
    account = getattr(service, "active_account", None)
    if account is not None:
        try:
            found.append((account() or {}).get("token"))
        except Exception:  # whatever it is, it must not take the place of what is being reported
            found.append(None)
    return [token for token in found if token]
