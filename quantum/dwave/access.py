"""The way to a solver: D-Wave's client, a connection that is given, or the properties that a journal kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quantum.dwave.connection import Connection
from quantum.dwave.credentials import find_solver, open_client
from quantum.jobs.journal import Journal
from quantum.jobs.service import Service


@dataclass(frozen=True, eq=False)
class Access:
    """A solver, and how jobs get to it.

    Args:
        solver: with the properties of one of `dwave.cloud.Client`'s.
        service: None where jobs are only replayed.
        owned: clients and connections to close in the end.
    """

    solver: Any
    service: Service | None
    owned: tuple[Any, ...] = ()

    @classmethod
    def open(cls, solver: Any, client: Any = None, service: Service | None = None) -> Access:
        """The way to a solver in the cloud, or the one that is given.

        Args:
            solver: a name, a solver of `dwave.cloud.Client`, or None for the configured or least busy one.
            client: a `dwave.cloud.Client`, which stays open; by default one of the user's own configuration.
            service: takes the place of a connection to D-Wave; it needs a solver.

        Raises:
            ValueError: no credentials, or no such solver.
            QPUError: the service cannot be reached.
        """
        named = isinstance(solver, str | None)
        if not named and not hasattr(solver, "properties"):
            raise ValueError(f"solver is {solver!r}; give a name, a solver of dwave.cloud.Client, or None")
        if service is not None:
            if named:
                raise ValueError(f"solver is {solver!r}, but a service was given; give the solver that it serves")
            return cls(solver, service)
        own = None
        if named and client is None:
            client = own = open_client()
        try:
            if named:
                solver = find_solver(client, solver)
            connection = Connection(solver.client if client is None else client, solver)
        except BaseException:
            if own is not None:  # the caller gets nothing to close
                own.close(wait=False)
            raise
        return cls(solver, connection, (connection,) if own is None else (connection, own))

    @classmethod
    def replayed(cls, journal: Journal, solver: Any = None) -> Access:
        """A solver as a journal knows it; nothing can be submitted to it.

        Args:
            journal: of a run that used it.
            solver: its name, or None for the last one.

        Raises:
            ValueError: the journal has no such solver.
        """
        from dwave.cloud.solver import StructuredSolver

        definition = journal.solver(solver if isinstance(solver, str | None) else solver.name)
        if definition is None or "properties" not in definition:
            named = "" if solver is None else f" named {solver!r}"
            raise ValueError(f"journal {journal.path} has no solver{named} to replay; name the journal of a run")
        return cls(StructuredSolver(client=None, data=definition), None)

    def remember(self, journal: Journal) -> None:
        """Keep the solver's properties in a journal, for replays."""
        if self.service is not None:
            solver = self.solver
            journal.keep_solver(str(solver.name), str(getattr(solver, "graph_id", None) or ""), _definition(solver))

    def close(self) -> None:
        """Close what was opened here; what was given stays open."""
        for one in self.owned:
            if isinstance(one, Connection):
                one.close()
            else:
                one.close(wait=False)


def _definition(solver: Any) -> dict[str, Any]:
    """What makes the solver again: nothing of the client, which knows a token."""
    identity = solver.identity.dict() if hasattr(solver.identity, "dict") else dict(solver.identity)
    return {"identity": identity, "description": "", "status": "ONLINE", "properties": dict(solver.properties)}
