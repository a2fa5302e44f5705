"""What the journal keeps, for whom, and against whom."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from quantum.jobs import BudgetError, Journal
from quantum.jobs.records import STATES, Job
from quantum.jobs.service import Answer, Request
from tests.jobs.double import digest, request, requests
from tests.jobs.processes import CONTEXT

ANSWER = Answer({"bits": [1, 0, 1], "text": "ü"}, 12.5)
ONE = request("a" * 64)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    journal = Journal(path)
    yield journal
    journal.close()


def claim(journal: Journal, *asked: Request, budget: float | None = None) -> list[tuple[Job, bool]]:
    return journal.claim(asked, solver="chip", purpose="sampling", budget=budget)


def intend(journal: Journal, asked: Request = ONE) -> str:
    ((job, is_new),) = claim(journal, asked)
    assert is_new
    return job.label


STEPS: dict[str, Callable[[Journal, str], None]] = {
    "accepted": lambda journal, label: journal.accepted({label: "id-1"}),
    "retracted": lambda journal, label: journal.retract([label]),
    "answered": lambda journal, label: journal.answered(label, ANSWER),
    "failed": lambda journal, label: journal.failed(label, "no", 3.0),
    "unreadable": lambda journal, label: journal.unreadable(label),
}
WAY = {
    "intended": (),
    "accepted": ("accepted",),
    "answered": ("accepted", "answered"),
    "failed": ("accepted", "failed"),
}


def brought_to(status: str, journal: Journal) -> str:
    label = intend(journal)
    for step in WAY[status]:
        STEPS[step](journal, label)
    return label


@pytest.mark.parametrize("status", STATES)
def test_every_state_outlasts_the_process(path: Path, journal: Journal, status: str) -> None:
    label = brought_to(status, journal)
    (job,) = journal.jobs()
    journal.close()
    again = Journal(path)
    assert again.jobs() == [job]
    assert again.job(ONE.digest) == job
    assert job.label == label
    assert (job.status, job.attempt, job.purpose, job.solver) == (status, 1, "sampling", "chip")
    assert (job.models, job.reads, job.qubits, job.estimate_us) == (2, 3, 4, 10.0)
    assert job.problem_id == (None if status == "intended" else "id-1")
    assert job.charged_us == {"answered": 12.5, "failed": 3.0}.get(status)
    assert job.error == ("no" if status == "failed" else None)
    assert (job.ended_at is not None) == (status in ("answered", "failed"))
    answer = again.answer(ONE.digest)
    if status == "answered":
        assert answer is not None
        assert (answer.content, answer.charged_us) == (ANSWER.content, ANSWER.charged_us)
    else:
        assert answer is None


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("status", STATES)
def test_states_only_advance(journal: Journal, status: str, step: str) -> None:
    label = brought_to(status, journal)
    STEPS[step](journal, label)
    now = journal.job(ONE.digest)
    if step == "retracted" and status == "intended":
        assert now is None  # known not to have been accepted
        return
    assert now is not None
    if step == "unreadable" and status == "answered":
        assert now.status == "accepted"  # it is paid for, and fetched again
        return
    if status == "answered":
        assert now.status == "answered"  # whatever is said of it, its answer is paid for
    elif (status, step) != ("failed", "answered"):
        assert STATES.index(now.status) >= STATES.index(status)


def test_nothing_is_on_the_disk_before_the_first_job(tmp_path: Path, path: Path) -> None:
    journal = Journal(path, run="mine")
    assert journal.jobs() == []
    assert journal.job("a") is None
    assert journal.answer("a") is None
    assert journal.solver() is None
    totals = journal.totals()
    assert (totals.charged_us, totals.open_us, totals.jobs) == (0.0, 0.0, {})
    assert repr(path) not in repr(vars(totals))
    assert list(tmp_path.iterdir()) == []
    intend(journal)
    assert path.is_file()


def test_a_journal_whose_first_job_did_not_fit_the_budget_takes_the_next(path: Path) -> None:
    journal = Journal(path)
    with pytest.raises(BudgetError):
        claim(journal, ONE, budget=1e-6)
    assert journal.jobs() == []
    assert claim(journal, ONE)[0][1]
    assert [job.status for job in Journal(path).jobs()] == ["intended"]


def test_labels_are_of_a_run_a_digest_and_an_attempt(tmp_path: Path) -> None:
    labels = []
    for number in range(2):
        journal = Journal(tmp_path / f"{number}.sqlite")
        for attempt in (1, 2, 3):
            label = intend(journal)
            assert re.fullmatch(rf"hybrid-attention-[0-9a-f]{{12}}-{ONE.digest[:40]}-{attempt}", label)
            journal.accepted({label: f"id-{attempt}"})
            journal.failed(label, "no")
            labels.append(label)
        labels.append(intend(journal, request("b" * 64)))
        assert len({label.split("-")[2] for label in labels[4 * number :]}) == 1
        journal.close()
    assert len(set(labels)) == 8
    reopened = Journal(tmp_path / "0.sqlite")
    assert intend(reopened).rsplit("-", 1) == [labels[0].rsplit("-", 1)[0], "4"]


def test_a_journal_of_another_run_is_refused(path: Path) -> None:
    intend(Journal(path, run="one"))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"belongs to another run.*--replay") as refused:
        Journal(path, run="two")
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == before
    assert len(Journal(path, run="one").jobs()) == 1
    assert len(Journal(path).jobs()) == 1  # any run's


def test_a_journal_of_no_run_is_taken_by_the_first(path: Path) -> None:
    intend(Journal(path))
    Journal(path, run="one")
    with pytest.raises(ValueError, match="belongs to another run"):
        Journal(path, run="two")


def test_a_race_for_a_new_journal_has_one_winner(path: Path) -> None:
    one, two = Journal(path, run="one"), Journal(path, run="two")
    intend(one)
    with pytest.raises(ValueError, match="belongs to another run"):
        intend(two)
    assert len(one.jobs()) == 1


def _foreign(path: Path, statement: str = "CREATE TABLE recipes (name)", mode: str = "DELETE") -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(f"PRAGMA journal_mode = {mode}")
        database.execute(statement)


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda path: path.write_text("Dear diary" * 100), "file is not a database"),
    "random bytes": (lambda path: path.write_bytes(bytes(range(256)) * 20), "file is not a database"),
    "another program's": (_foreign, "no such table: facts"),
    "another program's with a log": (lambda path: _foreign(path, mode="WAL"), "another program's"),
    "another table of that name": (
        lambda path: _foreign(path, "CREATE TABLE facts (name, value)"),
        r"has format None, not 'hybrid-attention journal 1'",
    ),
    "a folder": (Path.mkdir, "cannot be used"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_no_journal_is_refused_and_left_as_it_is(tmp_path: Path, path: Path, kind: str) -> None:
    make, message = FILES[kind]
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(ValueError, match=message) as refused:
        Journal(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == [path]
    assert before is None or path.read_bytes() == before


def test_a_journal_that_was_cut_short_is_refused(path: Path) -> None:
    journal = Journal(path)
    for one in requests(40):
        journal.answered(intend(journal, one), Answer({"bits": list(range(500))}, 1.0))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cannot be used .*malformed") as refused:
        Journal(path).jobs()
    assert "\n" not in str(refused.value)


def test_budgets_count_charges_and_what_is_open(journal: Journal) -> None:
    first, second, third, fourth = requests(4)
    claim(journal, first, second)
    assert journal.totals().open_us == 20.0
    with pytest.raises(BudgetError, match=r"would cost 1e-05 s.*with 0 s charged and 2e-05 s in flight.*of 2.99e-05 s"):
        claim(journal, third, budget=29.9e-6)
    assert len(journal.jobs()) == 2
    claim(journal, third, budget=30e-6)
    journal.retract([job.label for job in journal.jobs()[1:]])
    label = journal.jobs()[0].label
    journal.accepted({label: "id"})
    journal.answered(label, Answer({}, 8.0))  # less than was expected: estimates stay as they are
    totals = journal.totals()
    assert (totals.charged_us, totals.open_us, totals.jobs) == (8.0, 0.0, {"answered": 1})
    assert [is_new for _, is_new in claim(journal, second, third, fourth, budget=28e-6)] == [True, True]
    assert journal.totals().open_us == 20.0
    claim(journal, first, second, budget=1e-9)  # what is answered or open costs nothing more


def test_failed_jobs_count_with_what_they_were_charged(journal: Journal) -> None:
    label = intend(journal)
    journal.accepted({label: "id"})
    journal.failed(label, "no", 4.0)
    assert journal.totals().charged_us == 4.0
    with pytest.raises(BudgetError):
        claim(journal, ONE, budget=13.9e-6)
    claim(journal, ONE, budget=14e-6)


def test_estimates_are_corrected_by_the_worst_charge_that_was_seen(journal: Journal) -> None:
    first, second, third, fourth = requests(4)
    for one, charge in ((first, 9.0), (second, 15.0)):
        journal.answered(intend(journal, one), Answer({}, charge))
    claim(journal, third)
    assert journal.totals().open_us == 15.0  # 10 µs, and charges came to 1.5 times their estimate
    spent = 9.0 + 15.0 + 15.0
    with pytest.raises(BudgetError, match=r"would cost 1.5e-05 s"):
        claim(journal, fourth, budget=(spent + 14.9) * 1e-6)
    claim(journal, fourth, budget=(spent + 15.1) * 1e-6)


def test_answers_that_cannot_be_read_are_still_counted_as_charged(journal: Journal) -> None:
    label = brought_to("answered", journal)
    journal.unreadable(label)
    assert journal.totals().charged_us == 12.5
    assert journal.answer(ONE.digest) is None


def claims(path: Path, digests: list[str], barrier: Any, found: Any) -> None:
    """What another process does: claim one after the other, and then wait."""
    journal = Journal(path)
    barrier.wait(60)
    for one in digests:
        ((job, is_new),) = claim(journal, request(one))
        found.send((one, job.owner, is_new))
    found.send(None)
    barrier.wait(60)


def test_jobs_of_a_process_that_lives_stay_its_own_and_go_to_the_next_when_it_is_killed(path: Path) -> None:
    barrier, (mine, theirs) = CONTEXT.Barrier(2), CONTEXT.Pipe(duplex=False)
    other = CONTEXT.Process(target=claims, args=(path, [ONE.digest], barrier, theirs))
    other.start()
    try:
        barrier.wait(60)
        _, owner, is_new = mine.recv()
        assert is_new
        assert mine.recv() is None
        journal = Journal(path)
        ((before, is_new),) = claim(journal, ONE)
        assert not is_new
        assert before.owner == owner != journal.owner.name
        assert not journal.owner.may_take(owner)
    finally:
        other.kill()
        other.join()
    assert other.exitcode == -signal.SIGKILL
    ((after, is_new),) = claim(journal, ONE)
    assert not is_new
    assert (after.label, after.owner) == (before.label, journal.owner.name)
    assert not Journal(path).owner.may_take(after.owner)
    journal.close()
    assert not path.with_name("journal.sqlite.owners").exists()


def test_processes_that_add_at_once_do_not_collide(path: Path) -> None:
    digests = [digest(number) for number in range(24)]
    shares = [digests[:18], digests[6:][::-1], digests[::2]]
    barrier = CONTEXT.Barrier(len(shares))
    found: list[tuple[str, str, bool]] = []
    pipes = [CONTEXT.Pipe(duplex=False) for _ in shares]
    others = [
        CONTEXT.Process(target=claims, args=(path, share, barrier, theirs))
        for share, (_, theirs) in zip(shares, pipes, strict=True)
    ]
    for other in others:
        other.start()
    for mine, _ in pipes:
        found += list(iter(mine.recv, None))
    for other in others:
        other.join(60)
        assert other.exitcode == 0
    new = [one for one, _, is_new in found if is_new]
    assert sorted(new) == sorted(digests)  # what several want was new to one of them
    assert len(found) == sum(map(len, shares))
    jobs = Journal(path).jobs()
    assert sorted(job.digest for job in jobs) == sorted(digests)
    assert len({job.label.split("-")[2] for job in jobs}) == 1
    assert len({job.owner for job in jobs}) > 1


def test_a_solver_is_kept_as_it_was(path: Path, journal: Journal) -> None:
    definition = {"identity": {"name": "chip"}, "properties": {"qubits": [1, 2], "h_range": [-4.0, 4.0]}}
    journal.keep_solver("chip", "graph-1", definition)
    journal.close()
    again = Journal(path)
    assert again.solver("chip") == again.solver() == definition
    assert again.solver("another") is None


def test_the_last_solver_is_the_one_that_was_used_last(journal: Journal) -> None:
    for name, graph in (("chip", "1"), ("chip", "2"), ("other", "1")):
        journal.keep_solver(name, graph, {"is": [name, graph]})
    assert journal.solver() == {"is": ["other", "1"]}
    assert journal.solver("chip") == {"is": ["chip", "2"]}
    journal.keep_solver("chip", "1", {"is": ["chip", "1"]})
    assert journal.solver("chip") == {"is": ["chip", "1"]}
    assert journal.solver() == {"is": ["chip", "1"]}


def test_a_journal_whose_process_was_killed_in_a_transaction_opens(tmp_path: Path) -> None:
    """What SQLite left half written is taken back, and the journal goes on."""
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    claim(journal, *requests(1))
    journal.close()
    script = (
        "import os, signal, sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "database.execute('PRAGMA cache_size = 1')\n"
        "database.execute('BEGIN IMMEDIATE')\n"
        "database.execute('CREATE TABLE big (x)')\n"
        "database.executemany('INSERT INTO big VALUES (?)', [(os.urandom(4000),) for _ in range(200)])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(path)]).returncode == -signal.SIGKILL
    assert path.with_name("journal.sqlite-journal").stat().st_size > 0
    assert [job.status for job in Journal(path).jobs()] == ["intended"]
