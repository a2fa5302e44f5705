"""What was asked of a processor in the cloud, what it answered and what that cost: one SQLite file for each run.

Every job goes through these states, each durable before the next step is taken:

    intended   its label is written; it may or may not have been posted
    accepted   the service gave it an id; it is charged, or will be
    answered   its answer and its charge are here
    failed     it ended without an answer; the next attempt has a label of its own

A job is known by the digest of what is asked. The same request, in the same run or when it is resumed or replayed,
finds the answer that was paid for; it is never posted again. A label is the digest behind the run's own prefix, so that
no other run's jobs are found under it.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
import uuid
import weakref
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

from quantum.jobs.errors import AnswerError, BudgetError
from quantum.jobs.owners import Owner
from quantum.jobs.records import (
    COLUMNS,
    FORMAT,
    MICROSECONDS,
    TABLES,
    Job,
    Totals,
    committed,
    newest,
    over_budget,
    packed,
    unpacked,
    worst_ratio,
)
from quantum.jobs.service import Answer, Request

_SQLITE, _WITH_LOG_AT, _WITH_LOG = b"SQLite format 3\0", 18, 2
"""Of a file's head: a database with a write-ahead log is not ours, and even reading it would leave files beside it."""


class Journal:
    """One run's jobs on disk; several processes may use one at a time.

    The file is made with the first job.

    Args:
        path: of the file.
        run: what tells the run from others; a journal that was made for another one is refused. None takes any.

    Raises:
        ValueError: a file that is no journal, or another run's.
    """

    def __init__(self, path: Path, *, run: str | None = None) -> None:
        self.path, self._run = path, run
        self.owner = Owner(path.with_name(f"{path.name}.owners"))
        self._prefix: str | None = None
        if self._begun():
            self._require_own()
            with self._transaction():
                pass

    def __repr__(self) -> str:
        return f"Journal({str(self.path)!r})"

    def close(self) -> None:
        """Let other processes take over what this one has not finished."""
        self.owner.release()

    def jobs(self) -> list[Job]:
        """All jobs, in the order in which they were intended first."""
        with self._reading() as database:
            rows = database.execute(f"SELECT {COLUMNS} FROM jobs ORDER BY rowid") if database else ()
            return [Job(*row) for row in rows]

    def job(self, digest: str) -> Job | None:
        """The newest attempt at what a digest stands for."""
        with self._reading() as database:
            return newest(database, digest) if database else None

    def answer(self, digest: str) -> Answer | None:
        """The answer to what a digest stands for, if there is one.

        Raises:
            AnswerError: it is damaged.
        """
        with self._reading() as database:
            if database is None:
                return None
            found = database.execute(
                "SELECT answer, charged_us FROM jobs WHERE digest = ? AND status = 'answered' ORDER BY attempt LIMIT 1",
                (digest,),
            ).fetchone()
        if found is None:
            return None
        try:
            return Answer(unpacked(found[0]), found[1])
        except (zlib.error, ValueError):
            raise AnswerError(f"the answer to {digest[:12]} in journal {self.path} is damaged") from None

    def totals(self) -> Totals:
        """What was charged, and what is about to be."""
        with self._reading() as database:
            if database is None:
                return Totals(0.0, 0.0, {})
            counts = dict(database.execute("SELECT status, count(*) FROM jobs GROUP BY status"))
            return Totals(*committed(database), counts)

    def priced(self, solver: str) -> bool:
        """Whether a charge of a solver is known, so that its estimates can be corrected."""
        with self._reading() as database:
            if database is None:
                return False
            query = "SELECT 1 FROM jobs WHERE solver = ? AND status = 'answered' LIMIT 1"
            return database.execute(query, (solver,)).fetchone() is not None

    def claim(
        self, requests: Sequence[Request], *, solver: str, purpose: str, budget: float | None
    ) -> list[tuple[Job, bool]]:
        """Make this process the one that works on some requests; those without a job get one, if the budget allows.

        Jobs of other processes that still run stay theirs.

        Args:
            requests: what is asked.
            solver: its name.
            purpose: what it is for.
            budget: most QPU time that all jobs of the journal may come to, seconds; None for no limit.

        Returns:
            For each the newest attempt, and whether it is new. Fewer than were asked for where the budget ends.

        Raises:
            BudgetError: not even the first of them fits the budget.
        """
        claimed: list[tuple[Job, bool]] = []
        with self._transaction() as database:
            charged, expected = committed(database)
            ratio = worst_ratio(database)
            for request in requests:
                job = newest(database, request.digest)
                if job is not None and job.status in ("intended", "accepted") and self.owner.may_take(job.owner):
                    database.execute("UPDATE jobs SET owner = ? WHERE label = ?", (self.owner.name, job.label))
                    job = newest(database, request.digest)
                if job is not None and job.status != "failed":
                    claimed.append((job, False))
                    continue
                cost = request.estimate_us * ratio
                if budget is not None and charged + expected + cost > budget * MICROSECONDS:
                    if claimed:
                        break
                    raise BudgetError(over_budget(charged, expected, cost, budget, solver))
                expected += cost
                claimed.append((self._intend(database, request, job, solver, purpose), True))
        return claimed

    def refresh(self, labels: Iterable[str]) -> None:
        """Note that jobs are about to be posted now, by this process."""
        with self._transaction() as database:
            database.executemany(
                "UPDATE jobs SET intended_at = ?, owner = ? WHERE label = ?",
                [(time.time(), self.owner.name, label) for label in labels],
            )

    def accepted(self, problem_ids: Mapping[str, str]) -> None:
        """Note the service's ids of jobs, by label."""
        with self._transaction() as database:
            database.executemany(
                "UPDATE jobs SET status = 'accepted', problem_id = ? WHERE label = ? AND status = 'intended'",
                [(problem_id, label) for label, problem_id in problem_ids.items()],
            )

    def retract(self, labels: Iterable[str]) -> None:
        """Take back jobs that are known not to have been accepted."""
        with self._transaction() as database:
            database.executemany(
                "DELETE FROM jobs WHERE label = ? AND status = 'intended'", [(label,) for label in labels]
            )

    def answered(self, label: str, answer: Answer) -> None:
        """Keep an answer and its charge."""
        with self._transaction() as database:
            database.execute(
                "UPDATE jobs SET status = 'answered', answer = ?, charged_us = ?, ended_at = ? WHERE label = ?",
                (packed(answer.content), answer.charged_us, time.time(), label),
            )

    def failed(self, label: str, error: str, charged_us: float = 0.0) -> None:
        """Note that a job ended without an answer."""
        with self._transaction() as database:
            database.execute(
                "UPDATE jobs SET status = 'failed', error = ?, charged_us = ?, ended_at = ? WHERE label = ? AND "
                "status IN ('intended', 'accepted')",
                (error, charged_us, time.time(), label),
            )

    def unreadable(self, label: str) -> None:
        """Let an answer that cannot be read be fetched again, for it is paid for; what is here stays until then."""
        with self._transaction() as database:
            database.execute(
                "UPDATE jobs SET status = 'accepted', owner = ? WHERE label = ? AND status = 'answered'",
                (self.owner.name, label),
            )

    def keep_solver(self, name: str, graph_id: str, definition: dict[str, Any]) -> None:
        """Keep a solver's properties, so that answers can be replayed without asking for them."""
        with self._transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO solvers VALUES (?, ?, ?, ?)", (name, graph_id, packed(definition), time.time())
            )

    def solver(self, name: str | None = None) -> dict[str, Any] | None:
        """Properties of a solver as they were last kept, or None.

        Args:
            name: None for the last one of any name.
        """
        with self._reading() as database:
            if database is None:
                return None
            found = database.execute(
                "SELECT definition FROM solvers WHERE ? IS NULL OR name = ? ORDER BY seen DESC, rowid DESC LIMIT 1",
                (name, name),
            ).fetchone()
        return None if found is None else unpacked(found[0])

    def _intend(
        self, database: sqlite3.Connection, request: Request, last: Job | None, solver: str, purpose: str
    ) -> Job:
        attempt = 1 if last is None else last.attempt + 1
        job = Job(
            label=f"hybrid-attention-{self._prefix}-{request.digest[:40]}-{attempt}",
            digest=request.digest,
            attempt=attempt,
            purpose=purpose,
            solver=solver,
            status="intended",
            problem_id=None,
            models=request.models,
            reads=request.reads,
            qubits=request.qubits,
            estimate_us=request.estimate_us,
            charged_us=None,
            owner=self.owner.name,
            intended_at=time.time(),
            ended_at=None,
            error=None,
        )
        row = astuple(job)
        database.execute(f"INSERT INTO jobs ({COLUMNS}) VALUES ({', '.join('?' * len(row))})", row)
        return job

    def _opened(self, database: sqlite3.Connection) -> str:
        """The prefix of this run's labels, after what is needed is made or checked."""
        run = self._run
        if not database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            for statement in filter(str.strip, TABLES.split(";")):
                database.execute(statement)
            facts = {"format": FORMAT, "prefix": uuid.uuid4().hex[:12], "run": run or ""}
            database.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
        found = dict(database.execute("SELECT name, value FROM facts"))
        if found.get("format") != FORMAT:
            raise ValueError(f"journal {self.path} has format {found.get('format')!r}, not {FORMAT!r}; name another")
        if run is not None and found["run"] not in ("", run):
            raise ValueError(
                f"journal {self.path} belongs to another run, with other settings; move it away, or replay it with "
                "--journal FILE --replay"
            )
        if run is not None and not found["run"]:
            database.execute("UPDATE facts SET value = ? WHERE name = 'run'", (run,))
        return str(found["prefix"])

    def _begun(self) -> bool:
        """Whether anything was written yet: a first transaction that was taken back leaves an empty file."""
        return self.path.exists() and self.path.stat().st_size > 0

    def _require_own(self) -> None:
        """Refuse a file of another program, and leave it as it is."""
        try:
            with self.path.open("rb") as file:
                head = file.read(_WITH_LOG_AT + 1)
        except OSError as error:
            raise ValueError(f"journal {self.path} cannot be used ({error.strerror}); name another") from None
        if head.startswith(_SQLITE) and head[_WITH_LOG_AT] == _WITH_LOG:
            raise ValueError(f"journal {self.path} cannot be used (it is another program's); name another")
        try:
            # not read-only: a process that was killed may have left a transaction to be taken back first
            address = f"{self.path.absolute().as_uri()}?mode=rw"
            with closing(sqlite3.connect(address, uri=True, timeout=60.0)) as database:
                found = database.execute("SELECT value FROM facts WHERE name = 'format'").fetchone()
        except sqlite3.DatabaseError as error:
            raise ValueError(f"journal {self.path} cannot be used ({error}); move it away or name another") from None
        if found != (FORMAT,):
            raise ValueError(f"journal {self.path} has format {found and found[0]!r}, not {FORMAT!r}; name another")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, alone, and on the disk when it ends."""
        with self._connected() as database:
            database.execute("BEGIN IMMEDIATE")
            before = self._prefix
            try:
                if self._prefix is None:
                    self._prefix = self._opened(database)
                yield database
                database.commit()
            except BaseException:
                self._prefix = before
                database.rollback()
                raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """None where nothing was written yet."""
        if self._prefix is None and not self._begun():
            yield None
            return
        with self._connected() as database:
            yield database

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            # no write-ahead log, which network file systems do not bear; a rollback journal that is overwritten rather
            # than removed, since then FULL means that what is committed outlasts a power cut
            with closing(sqlite3.connect(self.path, timeout=60.0, isolation_level=None)) as database:
                database.execute("PRAGMA journal_mode = PERSIST")
                database.execute("PRAGMA synchronous = FULL")
                yield database
        except sqlite3.DatabaseError as error:
            raise ValueError(f"journal {self.path} cannot be used ({error}); move it away or name another") from None


def passing_journal(user: object) -> Journal:
    """A journal that goes when what uses it goes.

    Args:
        user: what must not outlive its journal.
    """
    folder = tempfile.TemporaryDirectory(prefix="hybrid-attention-")
    weakref.finalize(user, folder.cleanup)
    return Journal(Path(folder.name) / "journal.sqlite")
