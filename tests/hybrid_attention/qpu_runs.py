"""Tiny runs on a loopback server, by the command line: what they are asked with, charged, and what they leave."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hybrid_attention.cli import main
from hybrid_attention.config import flag
from quantum.jobs import Journal
from tests.loopback import Boltzmann, LoopbackServer, chip

BETA = (9.0, 8.0)
"""β_h and β_J of the server's processors."""

SETTINGS: dict[str, Any] = {
    "length": 4,
    "heads": 2,
    "dim": 8,
    "batch": 8,
    "steps": 4,
    "eval_every": 2,
    "eval_sequences": 16,
    "shots": 50,
    "lr": 0.02,
    "sampler": "dwave",
    "field": "ancilla",
    "calibration": "hand",
    "beta": "9,8",
    "control_error": 1e-6,
}

HALF_NANOSECOND = 0.5e-9
"""Seconds by which a charge may differ from its estimate: charges are rounded to nanoseconds."""


def flags(*left_out: str, **changes: Any) -> list[str]:
    """Arguments of a run."""
    settings = {**SETTINGS, **changes}
    return [part for key, value in settings.items() if key not in left_out for part in (flag(key), str(value))]


def loopback(**options: Any) -> LoopbackServer:
    """A server with a small chip, one without fast anneals, and Boltzmann's law at `BETA`."""
    chips = [chip("pegasus", 2, load=0.1), chip("pegasus", 2, name="Slow", fast=False, load=0.5)]
    return LoopbackServer(chips, Boltzmann(*BETA), **options)


def credentials(monkeypatch: pytest.MonkeyPatch, server: LoopbackServer) -> None:
    """The user's own, in the environment."""
    for name in ("DWAVE_PROFILE", "DWAVE_CONFIG_FILE", "DWAVE_API_SOLVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DWAVE_API_ENDPOINT", server.endpoint)
    monkeypatch.setenv("DWAVE_API_TOKEN", server.token)


def charges(path: Path) -> dict[str | None, float | None]:
    """What every job was charged, by the journal, µs."""
    return {job.problem_id: job.charged_us for job in Journal(path / "journal.sqlite").jobs()}


def bill(server: LoopbackServer) -> dict[str | None, float | None]:
    """The same by the server."""
    return {job.id: job.charge for job in server.account.jobs.values()}


def seconds(server: LoopbackServer) -> float:
    """All of the bill."""
    return server.account.bill * 1e-6


def started(server: LoopbackServer, *arguments: str) -> subprocess.Popen[bytes]:
    """A command in a process of its own, which can be killed."""
    environment = {"DWAVE_API_ENDPOINT": server.endpoint, "DWAVE_API_TOKEN": server.token, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "hybrid_attention", *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def ended(code: int, *arguments: str) -> None:
    """Run a command whose exit code is known; what it held goes with it, as it does with a process."""
    assert main(list(arguments)) == code
    gc.collect()
