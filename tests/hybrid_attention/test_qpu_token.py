"""A token that is planted where the vendors' clients look for it shows up in nothing that is printed or written."""

from __future__ import annotations

import base64
import gc
import logging
import sqlite3
import traceback
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from qpu_runs import credentials, flags, loopback

from hybrid_attention.cli import main
from hybrid_attention.config import TrainConfig
from hybrid_attention.evaluate import load_run
from hybrid_attention.qpu import Access
from hybrid_attention.run import RunFolder
from hybrid_attention.samplers import build_sampler
from hybrid_attention.train import train
from quantum.jobs import QPUError
from tests.loopback import Fault, LoopbackServer

TOKEN = "PLANTED-5ad7f1c2e9b84d60a3e1f0c7"
FORMS = (TOKEN.encode(), base64.b64encode(TOKEN.encode()).rstrip(b"="), TOKEN[8:].encode())
BUDGET = ["--qpu-budget", "10"]
SETTINGS = TrainConfig(
    sampler="dwave", field="ancilla", calibration="hand", beta="9,8", length=4, heads=2, dim=8, batch=2, steps=1,
    eval_sequences=2, shots=10, qpu_budget=10.0,
)  # fmt: skip


def is_in(data: bytes) -> bool:
    return any(form in data for form in FORMS)


def blobs(path: Path) -> list[bytes]:
    """What a journal has packed."""
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT answer FROM jobs UNION ALL SELECT definition FROM solvers").fetchall()
    return [zlib.decompress(row[0]) for row in rows if row[0] is not None]


def leaks(folder: Path) -> list[str]:
    """Files below a folder with the token in them, and how many were searched."""
    found = []
    for path in (path for path in folder.rglob("*") if path.is_file()):
        if is_in(path.read_bytes()):
            found.append(str(path))
        if path.suffix == ".sqlite" and any(map(is_in, blobs(path))):
            found.append(f"{path} (packed)")
    return found


def shown(error: BaseException) -> str:
    """Everything that an exception could show of itself, and of those that it came from."""
    texts, seen, queue = [], set(), [error]
    while queue:
        one = queue.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        texts += [str(one), repr(one), repr(one.args), repr(vars(one)), "".join(traceback.format_exception(one))]
        queue += [other for other in (one.__cause__,) if other is not None]
        if not one.__suppress_context__ and one.__context__ is not None:
            queue.append(one.__context__)
    return "".join(texts)


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopbackServer]:
    """A server that takes the token, which is in the environment."""
    monkeypatch.chdir(tmp_path)
    with loopback(token=TOKEN) as server:
        credentials(monkeypatch, server)
        yield server


def commands(server: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What works, and what fails in all ways that a service can."""
    run = flags(batch=2, steps=1, eval_sequences=2, shots=10)
    failing = ["train", *run, *BUDGET, "--out"]
    assert main(["train", *run, *BUDGET, "--out", "run"]) == 0
    assert main(["evaluate", "run", "--sampler", "dwave", *BUDGET, "--json"]) == 0
    assert main(["evaluate", "run", "--sampler", "dwave", "--replay"]) == 0
    for arguments in (["jobs", "run"], ["jobs", "run", "--json"], ["resume", "run"], ["solvers"]):
        assert main(["qpu", *arguments]) == 0
    assert main(["qpu", "estimate", *run]) == 0
    assert main([*failing[:-1], "--solver", "Nope", "--out", "unknown"]) == 2
    assert main(["train", *run, "--out", "no budget"]) == 2
    for number, fault in enumerate(
        (
            Fault("status", "submit", status=401),
            Fault("status", "submit", status=403),
            Fault("corrupt", "answer", times=3),
        )
    ):
        server.faults.add(fault)
        assert main([*failing, f"failed {number}"]) == 1
    for fault in (Fault("drop-after", "submit"), Fault("truncated", "submit"), Fault("not-json", "submit")):
        # the reply is lost, and what was posted cannot be looked up
        server.faults.add(fault, Fault("status", "list", status=401))
        assert main([*failing, f"lost {fault.kind}"]) == 1
        gc.collect()
        assert main(["qpu", "resume", f"lost {fault.kind}"]) == 0
    monkeypatch.setenv("DWAVE_API_TOKEN", f"{TOKEN}-and-more")
    assert main([*failing, "refused"]) == 2
    assert main(["qpu", "solvers"]) == 2
    assert main(["qpu", "resume", "run"]) == 0  # nothing is left: nobody is asked
    monkeypatch.setenv("DWAVE_API_TOKEN", TOKEN)


@pytest.mark.parametrize("level", [None, logging.INFO], ids=["default logging", "INFO"])
def test_commands_neither_print_nor_log_nor_write_it(
    planted: LoopbackServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    level: int | None,
) -> None:
    if level is not None:
        caplog.set_level(level)
        for name in ("dwave", "dwave.cloud", "urllib3", "requests", "quantum", "hybrid_attention"):
            caplog.set_level(level, logger=name)
    commands(planted, monkeypatch)
    out, err = capfd.readouterr()
    assert "PLANTED" not in out + err
    assert not is_in((out + err).encode())
    assert not is_in(caplog.text.encode())
    for record in caplog.records:
        assert not is_in(repr(vars(record)).encode())
    assert leaks(tmp_path) == []
    names = {path.name for path in (tmp_path / "run").rglob("*")}
    assert names >= {"journal.sqlite", "report.html", "config.toml", "metrics.jsonl", "model.safetensors", "state.json"}
    assert blobs(tmp_path / "run" / "journal.sqlite")
    (tmp_path / "run" / "planted.txt").write_bytes(FORMS[1])  # the search finds what is there
    assert leaks(tmp_path) == [str(tmp_path / "run" / "planted.txt")]


FAULTS = {
    "401 to a list of solvers": [Fault("status", "solvers", status=401, times=9)],
    "connections lost while solvers are listed": [Fault("drop-before", "solvers", times=99)],
    "401 to a post": [Fault("status", "submit", status=401)],
    "400 to a post": [Fault("status", "submit", status=400)],
    "a lost reply that cannot be looked up": [Fault("drop-after", "submit"), Fault("status", "list", status=401)],
    "a damaged reply that cannot be looked up": [Fault("corrupt", "submit"), Fault("status", "list", status=403)],
    "404 to a poll": [Fault("status", "poll", status=404)],
    "401 to an answer": [Fault("status", "answer", status=401)],
    "answers that are damaged": [Fault("corrupt", "answer", times=9)],
}


UNREACHED = "connections lost while solvers are listed"


@pytest.mark.parametrize(
    "name", [*sorted(FAULTS.keys() - {UNREACHED}), pytest.param(UNREACHED, marks=pytest.mark.slow)]
)
def test_exceptions_do_not_show_it(planted: LoopbackServer, tmp_path: Path, name: str) -> None:
    planted.faults.add(*FAULTS[name])
    with pytest.raises((QPUError, ValueError)) as failure:
        train(SETTINGS, RunFolder(tmp_path / "run"), progress=False)
    assert planted.faults.struck
    assert not is_in(shown(failure.value).encode())
    assert leaks(tmp_path) == []


def test_what_is_built_does_not_show_it(planted: LoopbackServer, tmp_path: Path) -> None:
    train(SETTINGS, RunFolder(tmp_path / "run"), progress=False)
    access = Access(tmp_path / "run" / "journal.sqlite", budget=10.0)
    sampler = build_sampler(SETTINGS, access)
    loaded = load_run(tmp_path / "run", sampler="dwave", qpu_budget=10.0)
    texts = [repr(one) for one in (access, sampler, loaded.config, loaded.folder, access.open())]
    texts += [repr(getattr(sampler, name)) for name in ("connection", "limits", "journal", "placement", "anneal")]
    assert not is_in("".join(texts).encode())


def test_a_file_of_credentials_that_cannot_be_read_is_not_quoted(
    planted: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "dwave.conf"
    monkeypatch.delenv("DWAVE_API_TOKEN")
    monkeypatch.setenv("DWAVE_CONFIG_FILE", str(file))
    for text in (f"token = {TOKEN}\n", f"[defaults\ntoken = {TOKEN}\n", f"[defaults]\n{TOKEN}\n"):
        file.write_text(text)
        assert main(["qpu", "solvers"]) == 2
        assert main(["train", *flags(), *BUDGET, "--out", str(tmp_path / "run")]) == 2
        out, err = capfd.readouterr()
        assert len(err.splitlines()) == 2
        assert not is_in((out + err).encode())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["train", "--sampler", "ibm", "--length", "4", *BUDGET, "--out", "run"],
        ["qpu", "solvers", "--sampler", "ibm"],
        ["qpu", "estimate", "--sampler", "ibm", "--length", "4"],
    ],
    ids=" ".join,
)
def test_a_token_of_ibms_is_not_shown_either(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    command: list[str],
) -> None:
    pytest.importorskip("qiskit_ibm_runtime", reason='needs qiskit-ibm-runtime: pip install "hybrid-attention[ibm]"')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("QISKIT_IBM_TOKEN", TOKEN)
    monkeypatch.setenv("QISKIT_IBM_CHANNEL", "no-such-channel")  # refused before anything is asked of a network
    capfd.readouterr()
    assert main(command) == 2
    out, err = capfd.readouterr()
    assert err.startswith("hybrid-attention: ")
    assert "no credentials for IBM Quantum that are accepted" in err
    assert len(err.splitlines()) == 1
    assert not is_in((out + err + caplog.text).encode())
    assert leaks(tmp_path) == []
    assert not (tmp_path / "run").exists()
