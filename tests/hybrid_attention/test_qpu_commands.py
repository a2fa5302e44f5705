"""Commands that pay for samples: through D-Wave's own client, on a server that keeps a bill."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from qpu_runs import BETA, HALF_NANOSECOND, bill, charges, credentials, ended, flags, loopback, seconds, started
from small_runs import numbers

from hybrid_attention.cli import main
from hybrid_attention.run import RunFolder
from quantum.jobs import Journal
from quantum.jobs.records import Job
from tests.loopback import Boltzmann, Fault, LoopbackServer

FIELDS = ("label", "problem_id", "status", "models", "estimate_us", "charged_us")


@dataclass(frozen=True)
class Whole:
    """A run that nothing happened to.

    Args:
        path: its folder; not to be changed.
        bill: by problem id, µs.
        labels: of its jobs at the server.
        seconds: all of the bill.
    """

    path: Path
    bill: dict[str | None, float | None]
    labels: set[str | None]
    seconds: float


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A finished training run."""
    path = tmp_path_factory.mktemp("qpu") / "run"
    with pytest.MonkeyPatch.context() as monkeypatch, loopback() as server:
        credentials(monkeypatch, server)
        assert main(["train", *flags(), "--qpu-budget", "10", "--out", str(path)]) == 0
        labels = {job.label for job in server.account.jobs.values()}
        return Whole(path, bill(server), labels, seconds(server))


@pytest.fixture
def run(whole: Whole, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(whole.path, tmp_path / "run"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopbackServer]:
    """A server without jobs, whose credentials are the user's, and an empty place to work in."""
    monkeypatch.chdir(tmp_path)
    with loopback() as server:
        credentials(monkeypatch, server)
        yield server


def jobs(path: Path) -> list[Job]:
    return Journal(path / "journal.sqlite").jobs()


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    """The one JSON object that a command prints."""
    capsys.readouterr()
    assert main([str(one) for one in arguments]) == 0
    return json.loads(capsys.readouterr().out)


def without_speed(summary: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in summary.items() if name != "models_per_second"}


def test_training_learns_and_its_charges_are_the_bill(whole: Whole) -> None:
    losses = [row["loss_exact"] for row in RunFolder(whole.path).rows()]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.97 * losses[0]
    assert charges(whole.path) == whole.bill
    assert all(charge is not None and charge > 0 for charge in whole.bill.values())
    assert {job.label for job in jobs(whole.path)} == whole.labels
    assert {job.status for job in jobs(whole.path)} == {"answered"}
    # 4 steps of 2 heads × 8 sequences × 4 queries, several to a submission
    assert sum(job.models for job in jobs(whole.path)) == 4 * 64
    assert len(whole.bill) < 64
    assert max(job.models for job in jobs(whole.path)) == 16


def test_a_resumed_finished_run_asks_for_nothing(whole: Whole, run: Path, server: LoopbackServer) -> None:
    assert main(["train", "--resume", "--out", str(run), "--qpu-budget", "10"]) == 0
    assert not server.account.jobs
    assert numbers(run) == numbers(whole.path)


def test_a_run_that_was_stopped_by_its_budget_goes_on_with_more(
    whole: Whole, server: LoopbackServer, capsys: pytest.CaptureFixture[str]
) -> None:
    budget = 0.55 * whole.seconds
    assert main(["train", *flags(), "--qpu-budget", str(budget), "--out", "run"]) == 3
    err = capsys.readouterr().err
    assert err.endswith(f"its budget is {budget:g} s: go on with --resume --qpu-budget MORE\n")
    assert len(err.splitlines()) == 1
    assert f"passes the budget of {budget:g} s; nothing more was submitted" in err
    assert f"the whole run is estimated at {whole.seconds:.4g} s" in err
    assert budget - 0.03 < seconds(server) <= budget  # a submission takes 0.02 s
    assert charges(Path("run")) == bill(server)
    assert main(["train", "--resume", "--out", "run", "--qpu-budget", str(budget)]) == 3
    assert seconds(server) <= budget
    assert main(["train", "--resume", "--out", "run", "--qpu-budget", str(1.001 * whole.seconds)]) == 0
    assert numbers(Path("run")) == numbers(whole.path)
    assert charges(Path("run")) == bill(server)
    assert sorted(charge or 0 for charge in bill(server).values()) == sorted(c or 0 for c in whole.bill.values())


def test_an_evaluation_is_replayed_for_nothing(
    whole: Whole, run: Path, server: LoopbackServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("evaluate", run, "--sampler", "dwave", "--eval-sequences", "16", "--json")
    assert main([str(one) for one in (*asked, "--qpu-budget", f"{whole.seconds + 0.01}")]) == 3
    assert "passes the budget" in capsys.readouterr().err
    assert not server.account.jobs
    paid = printed(capsys, *asked, "--qpu-budget", "10")
    spent = bill(server)
    assert spent
    assert charges(run) == whole.bill | spent
    assert without_speed(printed(capsys, *asked, "--qpu-budget", "10")) == without_speed(paid)
    server.stop()
    monkeypatch.delenv("DWAVE_API_TOKEN")
    monkeypatch.setenv("DWAVE_API_ENDPOINT", "http://127.0.0.1:9/sapi/")
    assert without_speed(printed(capsys, *asked, "--replay")) == without_speed(paid)
    assert bill(server) == spent
    moved = run.parent / "kept.sqlite"
    shutil.move(run / "journal.sqlite", moved)
    assert without_speed(printed(capsys, *asked, "--replay", "--journal", moved)) == without_speed(paid)
    assert main([*(str(one) for one in asked), "--replay", "--journal", str(moved), "--shots", "40"]) == 2
    assert "a replay submits nothing" in capsys.readouterr().err
    server._running = []
    server.shutdown = lambda: None  # type: ignore[method-assign]  # it has stopped; leaving the fixture is no error


def test_a_replay_of_training_pays_nothing_and_ends_the_same(whole: Whole, server: LoopbackServer) -> None:
    journal = str(whole.path / "journal.sqlite")
    assert main(["train", *flags(), "--replay", "--journal", journal, "--out", "again"]) == 0
    assert numbers(Path("again")) == numbers(whole.path)
    assert server.count("submit") == server.count("poll") == 0


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"calibration": "fit", "steps": 2, "batch": 4},
        # brackets of this length have two held-out sequences
        {"calibration": "fit", "beta": "", "steps": 1, "batch": 4, "eval_sequences": 2, "qpu_evaluation": True},
    ],
    ids=["hand", "fit from a beta", "fit from nothing, evaluated on the QPU"],
)
def test_an_estimate_is_what_a_run_is_charged(
    whole: Whole, server: LoopbackServer, capsys: pytest.CaptureFixture[str], changes: dict[str, Any]
) -> None:
    asked = flags("qpu_evaluation", **changes) + ["--qpu-evaluation"] * ("qpu_evaluation" in changes)
    found = printed(capsys, "qpu", "estimate", *asked, "--json")
    assert not server.account.jobs
    assert list(Path().iterdir()) == []
    if not changes:
        expected, count = whole.seconds, len(whole.bill)
    else:
        assert main(["train", *asked, "--qpu-budget", "100", "--out", "run"]) == 0
        expected, count = seconds(server), len(server.account.jobs)
        calibration = sum(job.charged_us or 0 for job in jobs(Path("run")) if job.purpose == "calibration")
        assert found["seconds_calibration"] == pytest.approx(calibration * 1e-6, abs=count * HALF_NANOSECOND)
        assert calibration > 0
    assert found["submissions"] == count
    assert found["seconds"] == pytest.approx(expected, rel=0, abs=count * HALF_NANOSECOND)
    assert found["seconds_one_by_one"] > found["seconds"]


def test_an_estimate_proposes_what_fits_a_budget(
    whole: Whole, server: LoopbackServer, capsys: pytest.CaptureFixture[str]
) -> None:
    budget = 0.9 * whole.seconds
    found = printed(capsys, "qpu", "estimate", *flags(), "--qpu-budget", str(budget), "--json")
    assert found["share_of_budget"] == pytest.approx(1 / 0.9)
    proposed = found["proposed"]
    assert proposed["seconds"] <= budget
    assert (proposed["shots"], proposed["batch"]) != (50, 8)
    smaller = flags(shots=proposed["shots"], batch=proposed["batch"])
    again = printed(capsys, "qpu", "estimate", *smaller, "--qpu-budget", str(budget), "--json")
    assert again["seconds"] == proposed["seconds"]
    assert "proposed" not in again
    assert printed(capsys, "qpu", "estimate", *flags(), "--qpu-budget", "0.01", "--json")["proposed"] is None
    assert main(["qpu", "estimate", *flags(), "--qpu-budget", str(budget)]) == 0
    text = capsys.readouterr().out
    assert f"fits the budget: --shots {proposed['shots']} --batch {proposed['batch']}" in text
    assert "one by one:" in text
    assert not server.account.jobs


def test_jobs_are_listed(whole: Whole, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["qpu", "jobs", str(whole.path), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["problem_id"]: row["charged_us"] for row in rows} == whole.bill
    assert {row["label"] for row in rows} == whole.labels
    for row in rows:
        assert set(FIELDS) <= set(row)
        assert row["status"] == "answered"
        assert 1 <= row["models"] <= 16
        # estimates are rounded up to nanoseconds, charges to the nearest
        assert row["charged_us"] - 1e-9 <= row["estimate_us"] <= row["charged_us"] + 0.001 + 1e-9
    assert main(["qpu", "jobs", str(whole.path / "journal.sqlite")]) == 0
    text = capsys.readouterr().out
    assert f"jobs: {len(rows)} answered\ncharged: {whole.seconds:.6g} s of QPU time\n" in text
    assert text.split()[: len(FIELDS)] == list(FIELDS)


def test_what_a_killed_process_left_in_flight_is_fetched(
    whole: Whole, server: LoopbackServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.account.hold()
    process = started(server, "train", *flags(), "--qpu-budget", "10", "--out", "run")
    until = time.monotonic() + 120
    while not server.account.jobs or [job.status for job in jobs(Path("run"))] != ["accepted"]:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    capsys.readouterr()
    assert main(["qpu", "jobs", "run"]) == 0
    assert "open: about 0.0219415 s more; fetch them by `qpu resume`" in capsys.readouterr().out
    server.account.release()
    assert main(["qpu", "resume", "run"]) == 0
    assert capsys.readouterr().out == (
        f"jobs: 1 answered, 0 failed, 0 never accepted\ncharged: {seconds(server):.6g} s of QPU time for these\n"
    )
    assert charges(Path("run")) == bill(server)
    assert len(bill(server)) == 1
    assert main(["qpu", "resume", "run"]) == 0
    assert capsys.readouterr().out.startswith("jobs: 0 answered")
    assert main(["train", "--resume", "--out", "run", "--qpu-budget", "10"]) == 0
    assert numbers(Path("run")) == numbers(whole.path)
    assert charges(Path("run")) == bill(server)
    assert seconds(server) == whole.seconds


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("drop-after", "1 answered, 0 failed, 0 never accepted"),
        # it takes the seconds after which a label counts as not accepted
        pytest.param("drop-before", "0 answered, 0 failed, 1 never accepted", marks=pytest.mark.slow),
    ],
)
def test_what_became_of_a_lost_post_is_found_out(
    server: LoopbackServer, capsys: pytest.CaptureFixture[str], kind: str, says: str
) -> None:
    server.faults.add(Fault(kind, "submit"), Fault("status", "list", status=403))
    ended(1, "train", *flags(), "--qpu-budget", "10", "--out", "run")
    assert [job.status for job in jobs(Path("run"))] == ["intended"]
    capsys.readouterr()
    assert main(["qpu", "resume", "run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"jobs: {says}",
        f"charged: {seconds(server):.6g} s of QPU time for these",
    ]
    assert charges(Path("run")) == bill(server)
    assert server.count("submit") == 1


def test_a_processor_is_checked(server: LoopbackServer, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    asked = ["--field", "ancilla", "--beta", "8,8", "--shots", "400", "--qpu-budget", "10", "--out", "check"]
    assert main(["qpu", "check", *asked]) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["solver"] == "Loopback_pegasus2"
    field, coupling = (
        part.split(" = ")[1].split(" ± ") for part in lines["temperatures"].removesuffix(" (fit)").split(", ")
    )
    for (value, error), beta in zip((field, coupling), BETA, strict=True):
        assert abs(float(value) - beta) < 5 * float(error)
    assert float(lines["mean of the ancilla"].split()[0]) == 1
    assert lines["chi-squared"].endswith("(Boltzmann's law within the noise)")
    assert lines["charged"] == f"{seconds(server):.6g} s of QPU time"
    assert lines["journal"] == "check/journal.sqlite"
    assert charges(Path("check")) == bill(server)


def test_a_processor_that_is_not_boltzmanns_is_told(server: LoopbackServer, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--field", "ancilla", "--calibration", "hand", "--beta", "4,16", "--qpu-budget", "10", "--out", "check"]
    assert main(["qpu", "check", *asked]) == 0
    assert "(not Boltzmann's law: a bias beyond the noise)" in capsys.readouterr().out


def test_solvers_are_listed(server: LoopbackServer, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["qpu", "solvers", "--json"]) == 0
    rows = {row["solver"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows["Loopback_pegasus2"] == {
        "solver": "Loopback_pegasus2",
        "topology": "pegasus",
        "qubits": 40,
        "couplers": 164,
        "fast_anneal_ns": "5 to 2e+06",
        "standard_anneal_us": "0.5 to 2000",
        "reads": "1 to 10000",
        "flux_biases": True,
        "online": True,
    }
    assert rows["Slow"]["fast_anneal_ns"] is None
    assert main(["qpu", "solvers"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in (*rows, *rows["Slow"]))


def test_credentials_may_come_from_a_file(
    server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "dwave.conf"
    file.write_text(f"[defaults]\nendpoint = {server.endpoint}\ntoken = {server.token}\nsolver = Slow\n")
    monkeypatch.setenv("DWAVE_CONFIG_FILE", str(file))
    monkeypatch.delenv("DWAVE_API_TOKEN")
    monkeypatch.delenv("DWAVE_API_ENDPOINT")
    assert main(["qpu", "solvers"]) == 0
    asked = flags("field", anneal="standard", steps=1, batch=1, solver="Slow")
    assert main(["train", *asked, "--qpu-budget", "10", "--out", "run"]) == 0
    assert {job.solver for job in jobs(Path("run"))} == {"Slow"}
    assert charges(Path("run")) == bill(server)
    assert {job.parameters["annealing_time"] for job in server.account.jobs.values()} == {20.0}
    assert server.token not in capsys.readouterr().out


def test_a_service_that_fails_is_one_line_and_the_run_goes_on(
    whole: Whole, server: LoopbackServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.faults.add(Fault("status", "submit", status=403, skip=3))
    assert main(["train", *flags(), "--qpu-budget", "10", "--out", "run"]) == 1
    err = capsys.readouterr().err.splitlines()[-1]
    assert "does not accept problems (403)" in err
    assert err.endswith("what was paid for is in the journal: go on with --resume")
    assert main(["train", "--resume", "--out", "run", "--qpu-budget", "10"]) == 0
    assert numbers(Path("run")) == numbers(whole.path)
    assert charges(Path("run")) == bill(server)
    assert seconds(server) == whole.seconds


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["train", *flags(beta="0.001,0.001"), "--out", "run"], "nothing is clipped or rescaled"),
        (
            ["qpu", "check", "--field", "ancilla", "--calibration", "hand", "--beta", "0.001,0.001"],
            "nothing is clipped",
        ),
    ],
    ids=["train", "check"],
)
def test_models_that_outgrow_the_processor_end_in_one_line(
    server: LoopbackServer, capsys: pytest.CaptureFixture[str], command: list[str], says: str
) -> None:
    assert main([*command, "--qpu-budget", "10"]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len([line for line in err if "warning" not in line]) == 1
    assert says in err[-1]
    assert not server.account.jobs


def test_a_calibration_that_shows_no_temperature_ends_in_one_line(
    server: LoopbackServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.processor = Boltzmann(1e-4, 1e-4)
    assert main(["train", *flags(calibration="fit", beta=""), "--qpu-budget", "10", "--out", "run"]) == 2
    assert "calibration" in capsys.readouterr().err.splitlines()[-1]
    assert charges(Path("run")) == bill(server)


@pytest.mark.slow
def test_kills_at_random_moments_change_neither_numbers_nor_bill(
    server: LoopbackServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = flags(steps=12, eval_every=3)
    assert main(["train", *settings, "--qpu-budget", "100", "--out", "whole"]) == 0
    expected, asked = seconds(server), len(server.account.jobs)
    chance, killed = random.Random(5), 0
    with loopback() as other:
        arguments = ["train", *settings, "--qpu-budget", "100", "--out", "run"]
        for part in (0.0, 0.2, 0.4, 0.6, 0.8):
            other.faults.add(Fault("slow", "submit", seconds=0.2), Fault("slow", "answer", seconds=0.2))
            process = started(other, *arguments)
            count = int(part * asked) + chance.randint(1, 4)
            while process.poll() is None and len(other.account.jobs) < count:
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.3))
            process.kill()
            killed += process.wait() == -signal.SIGKILL
            if RunFolder(Path("run")).exists():
                arguments = ["train", "--resume", "--qpu-budget", "100", "--out", "run"]
        assert started(other, *arguments).wait(120) == 0
        assert killed >= 4
        assert numbers(Path("run")) == numbers(Path("whole"))
        assert charges(Path("run")) == bill(other)
        assert seconds(other) == expected
        assert len(other.account.jobs) == asked
