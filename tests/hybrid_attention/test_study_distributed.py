"""A study on several processes, some of which die: every row once, and the same numbers as in one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from hybrid_attention.study import measure as measuring
from hybrid_attention.study.run import run_study
from hybrid_attention.study.settings import StudyConfig
from hybrid_attention.study.storage import StudyFolder, read_results

pytestmark = pytest.mark.slow

GRID = {
    "spins": "4",
    "durations": "1,2,3,4,5,6",
    "calibrations": "one-beta,two-beta",
    "schedules": "linear",
    "strengths": "0.1,1",
    "instances": 6,
    "shots": "law,32",
}
FLAGS = [part for name, value in GRID.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def table(path: Path) -> pd.DataFrame:
    return read_results(path).to_pandas().drop(columns=["seconds"])


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> pd.DataFrame:
    """The table of one process."""
    folder = StudyFolder(tmp_path_factory.mktemp("alone") / "study")
    run_study(StudyConfig(**GRID), folder, progress=False)
    return table(folder.path)


def deadly(cell, study, flag: Path, victim: float):
    """The real rows; the first worker that comes to one duration is killed."""
    if cell.setting.duration == victim:
        try:
            flag.touch(exist_ok=False)
        except FileExistsError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    return measuring.measure(cell, study)


def test_two_workers_compute_what_one_process_does(tmp_path, alone) -> None:
    run_study(StudyConfig(**GRID), StudyFolder(tmp_path / "study"), workers=2, progress=False)
    pd.testing.assert_frame_equal(table(tmp_path / "study"), alone, check_exact=True)


def test_a_worker_that_is_killed_costs_no_row_and_doubles_none(tmp_path, alone) -> None:
    flag = tmp_path / "killed"
    work = partial(deadly, flag=flag, victim=4.0)
    run_study(StudyConfig(**GRID), StudyFolder(tmp_path / "study"), workers=2, progress=False, measure=work)
    assert flag.exists()
    pd.testing.assert_frame_equal(table(tmp_path / "study"), alone, check_exact=True)


@pytest.mark.parametrize("parts", [1, 7, 20])
def test_the_process_itself_is_killed_and_resumed(tmp_path, alone, parts) -> None:
    out = tmp_path / "study"
    command = [sys.executable, "-m", "hybrid_attention", "study", *FLAGS, "--out", str(out), "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 240
    while len(list((out / "parts").glob("*.parquet"))) < parts:
        assert process.poll() is None, "the study ended before it could be killed"
        assert time.monotonic() < limit
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not (out / "results.parquet").exists()
    done = subprocess.run([*command, "--resume"], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(table(out), alone, check_exact=True)
    assert (out / "report.html").is_file()


def test_a_scheduler_and_workers_started_by_hand(tmp_path, alone) -> None:
    place = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    known = ["--scheduler-file", str(place)]
    processes = [
        subprocess.Popen([*dask, "scheduler", "--port", "0", "--no-dashboard", *known], stderr=subprocess.DEVNULL)
    ]
    try:
        limit = time.monotonic() + 60
        while not place.is_file() or not place.read_text():
            assert time.monotonic() < limit
            time.sleep(0.05)
        processes += [
            subprocess.Popen(
                [*dask, "worker", "--nthreads", "1", "--no-dashboard", *known], stderr=subprocess.DEVNULL, cwd=tmp_path
            )
            for _ in range(2)
        ]
        address = json.loads(place.read_text())["address"]
        run_study(StudyConfig(**GRID), StudyFolder(tmp_path / "study"), scheduler=address, progress=False)
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()
    pd.testing.assert_frame_equal(table(tmp_path / "study"), alone, check_exact=True)
