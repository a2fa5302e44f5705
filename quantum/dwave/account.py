"""What an account at D-Wave has: solvers, and the jobs that a journal left with them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from quantum.dwave.connection import Connection
from quantum.dwave.credentials import ENVIRONMENT, open_client, scrubbed
from quantum.dwave.decode import require_whole
from quantum.dwave.solver_limits import SolverLimits
from quantum.jobs.driver import resume
from quantum.jobs.errors import QPUError
from quantum.jobs.journal import Journal
from quantum.jobs.records import Job
from quantum.jobs.service import Answer, Request
from quantum.jobs.terms import Terms


def list_solvers(client: Any = None) -> list[dict[str, Any]]:
    """The account's QPUs: name, graph, and what they take.

    Args:
        client: a `dwave.cloud.Client`; by default one of the user's own configuration.

    Raises:
        ValueError: no credentials, or a token that is refused.
        QPUError: the service cannot be reached.
    """
    from requests.exceptions import RequestException

    own = client is None
    client = open_client() if own else client
    try:
        _require_token(client)
        return [_row(solver) for solver in client.get_solvers(qpu=True)]
    except (RequestException, OSError) as error:
        raise QPUError(f"cannot list solvers of {client.config.endpoint}: {scrubbed(str(error), client)}") from None
    finally:
        if own:
            client.close(wait=False)


def fetch(journal: Journal, solver: str, client: Any = None) -> list[Job]:
    """Answers of a solver's jobs that no process works on any more; nothing is submitted.

    Args:
        journal: of the run.
        solver: its name.
        client: a `dwave.cloud.Client`; by default one of the user's own configuration.

    Returns:
        The jobs as they stood before.

    Raises:
        ValueError: no credentials.
        QPUError: the service failed.
    """
    own = client is None
    client = open_client() if own else client
    try:
        # by its name alone: what was paid for can be fetched from a solver that is offline, or gone
        _require_token(client)
        connection = Connection(client, SimpleNamespace(name=solver))
        try:
            return resume(connection, journal, _read, Terms("resumed"))
        finally:
            connection.close()
    finally:
        if own:
            client.close(wait=False)


def _require_token(client: Any) -> None:
    """Refuse a token that is not let in, by a question that changes nothing.

    Raises:
        ValueError: says by whom it is refused.
        QPUError: the service cannot be reached.
    """
    from dwave.cloud.api import Problems
    from dwave.cloud.api.exceptions import ResourceAuthenticationError

    endpoint = client.config.endpoint
    try:
        with Problems.from_config(client.config) as problems:
            problems.list_problems(max_results=1)
    except ResourceAuthenticationError:
        raise ValueError(
            f"the token is refused by {endpoint}; check {ENVIRONMENT[0]} and the configuration file"
        ) from None
    except OSError as error:  # what requests and the client raise are all of it
        raise QPUError(f"{endpoint} does not answer: {scrubbed(str(error), client)}") from None


def _read(answer: Answer, request: Request) -> None:
    require_whole(answer.content, request.qubits, request.reads)


def _row(solver: Any) -> dict[str, Any]:
    limits = SolverLimits.of(solver)
    fast = limits.fast_anneal_time_range
    return {
        "solver": limits.name,
        "topology": limits.topology,
        "qubits": len(limits.qubits),
        "couplers": len(limits.couplers),
        "fast_anneal_ns": None if fast is None else f"{1000 * fast[0]:g} to {1000 * fast[1]:g}",
        "standard_anneal_us": "{:g} to {:g}".format(*limits.annealing_time_range),
        "reads": "{} to {}".format(*limits.num_reads_range),
        "flux_biases": "flux_biases" in limits.parameters,
        "online": bool(solver.online),
    }
