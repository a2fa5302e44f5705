"""What a journal holds: its tables, a job's row, and sums over them."""

from __future__ import annotations

import json
import sqlite3
import zlib
from dataclasses import dataclass
from typing import Any

FORMAT = "hybrid-attention journal 1"
STATES = ("intended", "accepted", "answered", "failed")
MICROSECONDS = 1e6

TABLES = f"""
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE solvers (
    name TEXT NOT NULL, graph_id TEXT NOT NULL, definition BLOB NOT NULL, seen REAL NOT NULL,
    PRIMARY KEY (name, graph_id)
) STRICT;
CREATE TABLE jobs (
    label TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    solver TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN {STATES}),
    problem_id TEXT,
    models INTEGER NOT NULL,
    reads INTEGER NOT NULL,
    qubits INTEGER NOT NULL,
    estimate_us REAL NOT NULL,
    charged_us REAL,
    owner TEXT NOT NULL,
    intended_at REAL NOT NULL,
    ended_at REAL,
    answer BLOB,
    error TEXT,
    UNIQUE (digest, attempt)
) STRICT;
"""
COLUMNS = (
    "label, digest, attempt, purpose, solver, status, problem_id, models, reads, qubits, estimate_us, charged_us, "
    "owner, intended_at, ended_at, error"
)


@dataclass(frozen=True)
class Job:
    """A row of the journal, without its answer.

    Args:
        label: under which it was, or will be, posted.
        digest: of what is asked.
        attempt: 1, and one more for each that failed.
        purpose: what it is for, such as "calibration".
        solver: its name.
        status: one of `STATES`.
        problem_id: the service's, once it is accepted.
        models: Ising models in it.
        reads: of each.
        qubits: that are programmed.
        estimate_us: QPU time that it was expected to be charged, µs.
        charged_us: QPU time that it was charged, µs; None until it is known.
        owner: the process that works on it.
        intended_at: when it was last about to be posted, seconds since 1970.
        ended_at: when it was answered or had failed, likewise.
        error: why it failed.
    """

    label: str
    digest: str
    attempt: int
    purpose: str
    solver: str
    status: str
    problem_id: str | None
    models: int
    reads: int
    qubits: int
    estimate_us: float
    charged_us: float | None
    owner: str
    intended_at: float
    ended_at: float | None
    error: str | None


@dataclass(frozen=True)
class Totals:
    """Sums over a journal.

    Args:
        charged_us: of all that ended, µs.
        open_us: expected of what is intended or accepted, µs.
        jobs: how many there are, by status.
    """

    charged_us: float
    open_us: float
    jobs: dict[str, int]


def newest(database: sqlite3.Connection, digest: str) -> Job | None:
    """The last attempt at what a digest stands for."""
    found = database.execute(
        f"SELECT {COLUMNS} FROM jobs WHERE digest = ? ORDER BY attempt DESC LIMIT 1", (digest,)
    ).fetchone()
    return None if found is None else Job(*found)


def committed(database: sqlite3.Connection) -> tuple[float, float]:
    """What was charged, and what open jobs are expected to be, µs."""
    charged, expected = database.execute(
        "SELECT coalesce(sum(charged_us), 0), coalesce(sum(CASE WHEN status IN ('intended', 'accepted') THEN "
        "estimate_us ELSE 0 END), 0) FROM jobs"
    ).fetchone()
    return charged, expected * worst_ratio(database)


def worst_ratio(database: sqlite3.Connection) -> float:
    """Most that a charge exceeded its estimate by, as a factor: estimates are corrected by what was seen."""
    ratio = database.execute(
        "SELECT max(charged_us / estimate_us) FROM jobs WHERE status = 'answered' AND estimate_us > 0"
    ).fetchone()[0]
    return max(1.0, ratio or 1.0)


def over_budget(charged: float, expected: float, cost: float, budget: float, solver: str) -> str:
    """Why the next submission is not made, all in µs but the budget, which is in seconds."""
    spent = f"{charged / MICROSECONDS:.6g} s charged"
    if expected:
        spent += f" and {expected / MICROSECONDS:.6g} s in flight"
    return (
        f"the next submission to {solver} would cost {cost / MICROSECONDS:.6g} s of QPU time, which with {spent} "
        f"passes the budget of {budget:g} s; nothing more was submitted"
    )


def packed(content: dict[str, Any]) -> bytes:
    """What JSON can hold, as it is kept."""
    return zlib.compress(json.dumps(content, separators=(",", ":")).encode(), 1)


def unpacked(blob: bytes) -> dict[str, Any]:
    """What `packed` made, back."""
    content: dict[str, Any] = json.loads(zlib.decompress(blob))
    return content
