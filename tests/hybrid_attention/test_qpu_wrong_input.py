"""Everything that is wrong about a command for a quantum processor: one line, nothing submitted, nothing written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from qpu_runs import credentials, flags, loopback
from small_runs import refused, snapshot

from hybrid_attention.cli import main
from quantum.jobs import Journal
from tests.jobs.double import request
from tests.loopback import LoopbackServer

TABLES = {
    "good.csv": "s,A(s) (GHz),B(s) (GHz)\n0,6,0\n0.5,1,3\n1,0,12\n",
    "columns.csv": "s,A,B\n0,6,0\n1,0,12\n",
    "joules.csv": "s,A(s) (GHz),B(s) (GHz)\n0,4e-24,0\n1,0,8e-24\n",
    "hertz.csv": "s,A(s) (GHz),B(s) (GHz)\n0,6e9,0\n1,0,12e9\n",
    "short.csv": "s,A(s) (GHz),B(s) (GHz)\n0,6,0\n",
    "half.csv": "s,A(s) (GHz),B(s) (GHz)\n0,6,0\n0.5,1,3\n",
    "words.csv": "s,A(s) (GHz),B(s) (GHz)\n0,six,0\n1,0,12\n",
    "empty.csv": "",
}
GIVEN = ["--qpu-budget", "9"]
TABLE = flags("beta", calibration="table", duration=20)


@pytest.fixture(scope="module")
def served() -> Iterator[LoopbackServer]:
    """A server that must never be given a job."""
    with loopback() as server:
        server.client().close(wait=False)  # what importing it for the first time says is not ours
        yield server


@pytest.fixture
def place(workplace: Path, served: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files that are wrong in one way each, and credentials that are right."""
    credentials(monkeypatch, served)
    for name, text in TABLES.items():
        (workplace / name).write_text(text)
    (workplace / "latin.csv").write_bytes("s,A(s) (GHz),B(s) (GHz)\n0,6,0 für\n".encode("latin-1"))
    (workplace / "diary.sqlite").write_text("Dear diary, " * 100)
    journal = Journal(workplace / "another.sqlite", run="another")
    journal.claim([request("a" * 64)], solver="chip", purpose="", budget=None)
    journal.close()
    return workplace


def refuse(
    place: Path, served: LoopbackServer, capsys: pytest.CaptureFixture[str], arguments: list[str], *words: str
) -> str:
    before, jobs, posts = snapshot(place), len(served.account.jobs), served.count("submit")
    message: str = refused(capsys, arguments, *words)
    assert snapshot(place) == before
    assert len(served.account.jobs) == jobs == 0
    assert served.count("submit") == posts
    return message


WRONG: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "unknown solver": (
        [*flags(solver="Advantage_system99"), *GIVEN],
        ("'Advantage_system99'", "is not there or not online", "choose one of Loopback_pegasus2, Slow"),
    ),
    "fast anneal on a solver without it": (
        [*flags(solver="Slow"), *GIVEN],
        ("anneal is 'fast'", "Slow has no fast anneals", "use 'standard' or another solver"),
    ),
    "duration too short": ([*flags(duration=4), *GIVEN], ("duration is 4 ns", "take 5 to 2e+06 ns")),
    "duration too long": ([*flags(duration=3e6), *GIVEN], ("duration is 3e+06 ns", "take 5 to 2e+06 ns")),
    "standard duration too short": (
        [*flags("field", duration=7, anneal="standard"), *GIVEN],
        ("duration is 7 ns", "standard anneals of Loopback_pegasus2 take 500 to 2e+06 ns"),
    ),
    "negative duration": ([*flags(duration=-5), *GIVEN], ("--duration is -5.0", "give a positive number")),
    "more spins than the chip embeds": (
        [*flags(length=12), *GIVEN],
        ("--length is 12", "holds at most 9 spins", "use --length 8 or less"),
    ),
    "shots beyond the range": ([*flags(shots=10001), *GIVEN], ("shots is 10001", "takes 1 to 10000 reads")),
    "no budget": (flags(), ("--qpu-budget is not given", "qpu estimate")),
    "budget of zero": ([*flags(), "--qpu-budget", "0"], ("--qpu-budget is 0.0", "give a positive number")),
    "negative budget": ([*flags(), "--qpu-budget", "-3"], ("--qpu-budget is -3.0", "give a positive number")),
    "endless budget": ([*flags(), "--qpu-budget", "inf"], ("--qpu-budget is inf", "give a positive number")),
    "a budget that is no number": ([*flags(), "--qpu-budget", "much"], ("--qpu-budget", "much")),
    "journal of another run": (
        [*flags(), *GIVEN, "--journal", "another.sqlite"],
        ("--journal: journal another.sqlite belongs to another run", "--replay"),
    ),
    "a journal that is none": (
        [*flags(), *GIVEN, "--journal", "diary.sqlite"],
        ("--journal: journal diary.sqlite cannot be used", "file is not a database"),
    ),
    "replay without a journal": (
        [*flags(), "--replay"],
        ("--replay: there is no journal new/journal.sqlite to replay", "--journal FILE"),
    ),
    "replay of a journal that has no solver": (
        [*flags(), "--replay", "--journal", "another.sqlite"],
        ("journal another.sqlite has no solver to replay",),
    ),
    "no field": ([*flags("field"), *GIVEN], ("--field is not given", "ancilla or ghost", "--anneal standard")),
    "no such field": ([*flags(field="magnet"), *GIVEN], ("--field", "magnet", "ancilla", "ghost")),
    "no such anneal": ([*flags(anneal="reverse"), *GIVEN], ("--anneal", "reverse", "fast", "standard")),
    "no such calibration": ([*flags(calibration="guess"), *GIVEN], ("--calibration", "guess", "fit")),
    "calibration of a simulated circuit": (
        [*flags(calibration="two-beta"), *GIVEN],
        ("--calibration is two-beta", "an annealer takes fit or table or hand"),
    ),
    "beta of one number": ([*flags(beta="8"), *GIVEN], ("--beta is 8", "give two positive numbers, as in 8,8")),
    "beta of three numbers": ([*flags(beta="8,8,8"), *GIVEN], ("--beta is 8,8,8", "give two positive numbers")),
    "beta of words": ([*flags(beta="hot,cold"), *GIVEN], ("--beta is hot,cold", "give two positive numbers")),
    "negative beta": ([*flags(beta="8,-8"), *GIVEN], ("--beta is 8,-8", "give two positive numbers")),
    "beta of zero": ([*flags(beta="0,8"), *GIVEN], ("--beta is 0,8", "give two positive numbers")),
    "beta that is not finite": ([*flags(beta="inf,8"), *GIVEN], ("--beta is inf,8", "give two positive numbers")),
    "hand without beta": ([*flags("beta"), *GIVEN], ("--calibration is hand", "give --beta FIELD,COUPLING")),
    "table with beta": (
        [*TABLE, *GIVEN, "--schedule-table", "good.csv", "--beta", "8,8"],
        ("--beta is 8,8", "leave it out"),
    ),
    "table without a file": ([*TABLE, *GIVEN], ("--calibration is table", "give --schedule-table FILE")),
    "table without a duration": (
        [*flags("beta", calibration="table"), *GIVEN, "--schedule-table", "good.csv"],
        ("--duration is not given", "give nanoseconds"),
    ),
    "a table without its calibration": (
        [*flags(), *GIVEN, "--schedule-table", "good.csv"],
        ("--schedule-table is good.csv", "it goes with --calibration table"),
    ),
    "a table that is not there": (
        [*TABLE, *GIVEN, "--schedule-table", "gone.csv"],
        ("--schedule-table gone.csv cannot be read", "No such file", "give a CSV file"),
    ),
    "a table with other columns": (
        [*TABLE, *GIVEN, "--schedule-table", "columns.csv"],
        ("--schedule-table", "columns.csv", "A(s) (GHz)"),
    ),
    "a table in joules": ([*TABLE, *GIVEN, "--schedule-table", "joules.csv"], ("joules.csv", "not plausible in GHz")),
    "a table in hertz": ([*TABLE, *GIVEN, "--schedule-table", "hertz.csv"], ("hertz.csv", "not plausible in GHz")),
    "a table of one row": ([*TABLE, *GIVEN, "--schedule-table", "short.csv"], ("--schedule-table", "short.csv")),
    "a table of half an anneal": ([*TABLE, *GIVEN, "--schedule-table", "half.csv"], ("--schedule-table", "half.csv")),
    "a table with words": ([*TABLE, *GIVEN, "--schedule-table", "words.csv"], ("words.csv", "six")),
    "an empty table": ([*TABLE, *GIVEN, "--schedule-table", "empty.csv"], ("--schedule-table", "empty.csv")),
    "a table that is no text": ([*TABLE, *GIVEN, "--schedule-table", "latin.csv"], ("--schedule-table", "latin.csv")),
    "a schedule of circuits": ([*flags(schedule="preset:8"), *GIVEN], ("--schedule is preset:8", "leave it out")),
    "steps of circuits": ([*flags(trotter_steps=4), *GIVEN], ("--trotter-steps is 4", "leave it out")),
    "bits of an emulator": (
        [*flags(precision=4), *GIVEN],
        ("--precision is 4", "it goes with --sampler dwave-emulator"),
    ),
    "no control error": ([*flags(control_error=0), *GIVEN], ("--control-error is 0.0", "give a positive number")),
}


@pytest.mark.parametrize("name", WRONG)
def test_training_refuses_it(
    place: Path, served: LoopbackServer, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    arguments, words = WRONG[name]
    refuse(place, served, capsys, ["train", *arguments, "--out", "new"], *words)


FREE = {"no budget", "journal of another run", "a journal that is none", "replay without a journal"} | {
    "replay of a journal that has no solver"
}
"""What an estimate does not take, or does not need."""


@pytest.mark.parametrize("name", sorted(WRONG.keys() - FREE))
def test_an_estimate_refuses_it(
    place: Path, served: LoopbackServer, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    arguments, words = WRONG[name]
    refuse(place, served, capsys, ["qpu", "estimate", *arguments], *words)


CHECKED = ("unknown solver", "no budget", "duration too short", "shots beyond the range", "no field", "beta of words")


@pytest.mark.parametrize("name", CHECKED)
def test_a_check_refuses_it(place: Path, served: LoopbackServer, capsys: pytest.CaptureFixture[str], name: str) -> None:
    arguments, words = WRONG[name]
    refuse(place, served, capsys, ["qpu", "check", *arguments], *words)


ELSEWHERE = {
    "--solver": "Advantage_system4.1",
    "--anneal": "fast",
    "--field": "ancilla",
    "--beta": "8,8",
    "--schedule-table": "good.csv",
    "--control-error": "0.1",
    "--precision": "4",
    "--qpu-budget": "3",
    "--calibration": "hand",
    "--journal": "j.sqlite",
    "--replay": "",
}


@pytest.mark.parametrize("sampler", ["exact", "gibbs", "aer"])
@pytest.mark.parametrize("flag", ELSEWHERE)
def test_flags_of_processors_go_with_no_other_sampler(
    place: Path, served: LoopbackServer, capsys: pytest.CaptureFixture[str], flag: str, sampler: str
) -> None:
    arguments = ["train", "--length", "4", "--sampler", sampler, flag, *filter(None, [ELSEWHERE[flag]]), "--out", "new"]
    refuse(place, served, capsys, arguments, flag, "--sampler dwave")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sampler", "ibm", "--anneal", "fast"], ("--anneal is fast", "--sampler dwave")),
        (["--sampler", "ibm", "--calibration", "fit"], ("--calibration is fit", "--sampler dwave")),
        (["--sampler", "dwave-emulator", "--field", "ghost", "--anneal", "standard"], ("--anneal is standard",)),
        (["--sampler", "dwave-emulator", "--field", "ghost", "--solver", "chimera:x"], ("--solver is chimera:x",)),
        (["--sampler", "dwave-emulator", "--field", "ghost", "--solver", "chimera:4"], ("chimera",)),
        (["--sampler", "dwave-emulator"], ("--field is not given", "ancilla or ghost")),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else "",
)
def test_flags_of_one_processor_do_not_go_with_another(
    place: Path,
    served: LoopbackServer,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: tuple[str, ...],
) -> None:
    refuse(place, served, capsys, ["train", "--length", "4", *arguments, *GIVEN, "--out", "new"], *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("evaluate run --anneal fast", ("--anneal is fast", "add --sampler")),
        ("evaluate run --replay", ("--replay goes with a QPU", "add --sampler dwave")),
        ("evaluate run --sampler dwave --field ancilla", ("--qpu-budget is not given",)),
        ("evaluate run --sampler dwave --qpu-budget 3", ("--field is not given",)),
        ("evaluate run --sampler dwave --field ghost --qpu-budget 0", ("--qpu-budget is 0.0",)),
        ("evaluate run --sampler dwave --field ghost --qpu-budget -1", ("--qpu-budget is -1.0",)),
        ("evaluate run --sampler dwave --field ghost --qpu-budget 1 --solver X", ("'X'", "Loopback_pegasus2, Slow")),
        ("evaluate run --sampler dwave --field ghost --qpu-budget 1 --shots 99999", ("takes 1 to 10000 reads",)),
        ("evaluate run --sampler dwave --field ghost --qpu-budget 1 --beta 1", ("--beta is 1", "as in 8,8")),
        ("evaluate run --sampler dwave --field ghost --replay", ("there is no journal run/journal.sqlite",)),
        (
            "evaluate run --sampler dwave --field ghost --qpu-budget 1 --journal another.sqlite",
            ("belongs to another run",),
        ),
        ("generate run --prompt ( --sampler dwave", ("--sampler is dwave", "generate takes no QPU")),
        ("qpu jobs run", ("RUN run has no QPU jobs (no journal.sqlite)",)),
        ("qpu jobs gone", ("RUN gone is not there",)),
        ("qpu jobs diary.sqlite", ("diary.sqlite cannot be used",)),
        ("qpu resume run", ("RUN run has no QPU jobs (no journal.sqlite)",)),
        ("qpu resume diary.sqlite", ("diary.sqlite cannot be used",)),
        ("qpu estimate --sampler aer --length 4", ("--sampler is aer", "dwave")),
        ("qpu check --sampler exact", ("--sampler is exact", "dwave")),
        ("qpu solvers --sampler exact", ("--sampler", "exact", "dwave")),
        ("qpu", ("solvers", "estimate", "jobs", "resume", "check")),
        ("qpu prices", ("prices",)),
    ],
)
def test_other_commands_refuse_what_is_wrong(
    place: Path,
    brackets_run: Path,
    served: LoopbackServer,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    words: tuple[str, ...],
) -> None:
    refuse(place, served, capsys, arguments.split(), *words)


PAYING = {
    "train": ["train", *flags(), *GIVEN, "--out", "new"],
    "evaluate": ["evaluate", "run", "--sampler", "dwave", "--field", "ghost", *GIVEN],
    "estimate": ["qpu", "estimate", *flags()],
    "solvers": ["qpu", "solvers"],
    "check": ["qpu", "check", "--field", "ghost", *GIVEN],
    "resume": ["qpu", "resume", "left.sqlite"],
}


def left_behind(place: Path) -> None:
    """A journal with a job of a process that has died."""
    journal = Journal(place / "left.sqlite")
    journal.keep_solver("chip", "", {"properties": {"qubits": []}})
    journal.claim([request("b" * 64)], solver="chip", purpose="", budget=None)
    journal.close()


@pytest.mark.parametrize("command", PAYING)
def test_without_credentials_it_says_where_they_are_looked_for(
    place: Path,
    brackets_run: Path,
    served: LoopbackServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    left_behind(place)
    monkeypatch.delenv("DWAVE_API_TOKEN")
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(place))
    refuse(place, served, capsys, PAYING[command], "no credentials for D-Wave", "DWAVE_API_TOKEN", "dwave.conf")


@pytest.mark.parametrize("command", PAYING)
def test_a_token_that_is_refused_is_named_by_where_it_comes_from(
    place: Path,
    brackets_run: Path,
    served: LoopbackServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    left_behind(place)
    monkeypatch.setenv("DWAVE_API_TOKEN", "LOOP-not-this-one")
    err = refuse(place, served, capsys, PAYING[command], f"the token is refused by {served.endpoint}")
    assert "LOOP-not-this-one" not in err


def test_jobs_of_a_solver_that_is_gone_can_still_be_asked_for(
    place: Path, served: LoopbackServer, capsys: pytest.CaptureFixture[str]
) -> None:
    left_behind(place)
    assert main(PAYING["resume"]) == 0
    assert "1 never accepted" in capsys.readouterr().out
    assert not served.account.jobs
