"""Processors that an account has, and the jobs that a journal left with them, whoever's they are."""

from __future__ import annotations

from typing import Any

from quantum.jobs.journal import Journal
from quantum.jobs.records import Job


def solver_rows(sampler: str) -> list[dict[str, Any]]:
    """What there is, one dictionary for each processor.

    Args:
        sampler: "dwave" or "ibm".

    Raises:
        ValueError: no credentials.
        ImportError: a library that is not installed.
        QPUError: the service cannot be reached.
    """
    if sampler == "dwave":
        from quantum.dwave.account import list_solvers

        return list_solvers()
    from quantum.ibm.account import list_backends

    return list_backends()


def fetch_left_behind(journal: Journal) -> list[Job]:
    """Answers of jobs that no process works on any more; nothing is submitted.

    Args:
        journal: of the run.

    Returns:
        The jobs as they stood before.

    Raises:
        ValueError: no credentials, or a solver that is not there any more.
        QPUError: the service failed.
    """
    found: list[Job] = []
    for name in sorted({job.solver for job in journal.jobs() if job.status in ("intended", "accepted")}):
        properties = (journal.solver(name) or {}).get("properties", {})
        if "emulation" in properties:
            continue  # what was emulated went with its process, and cost nothing
        if properties:
            from quantum.dwave import account as dwave

            found += dwave.fetch(journal, name)
        else:
            from quantum.ibm import account as ibm

            found += ibm.fetch(journal, name)
    return found
