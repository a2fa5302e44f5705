"""Real processes, killed by the kernel at random moments."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from small_runs import numbers

from hybrid_attention import checkpoint
from hybrid_attention.run import RunFolder

pytestmark = pytest.mark.slow

RUN = {
    "exact": ["--couplings", "content", "--steps", "120", "--eval-every", "10", "--batch", "16", "--dim", "16"],
    "aer": [
        *("--sampler", "aer", "--steps", "40", "--eval-every", "5", "--batch", "4", "--heads", "2", "--dim", "8"),
        *("--length", "4", "--shots", "32", "--trotter-steps", "4", "--eval-sequences", "16"),
    ],
}


def start(*arguments):
    command = [sys.executable, "-m", "hybrid_attention", "train", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)


def wait_for(process, folder, step):
    """Wait until a run has a checkpoint at a step or later."""
    while True:
        latest = RunFolder(folder).latest()
        if latest is not None and int(latest.name.removeprefix("step-")) >= step:
            return
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.005)


@pytest.mark.parametrize("sampler", list(RUN))
def test_three_kills_change_no_number(tmp_path, sampler):
    whole, path = tmp_path / "whole", tmp_path / "run"
    assert start(*RUN[sampler], "--out", str(whole)).wait() == 0
    steps = [row["step"] for row in RunFolder(whole).rows()]
    last_two = [saved.stat().st_mtime for saved in checkpoint.complete(RunFolder(whole).checkpoints)]
    between_checkpoints = last_two[1] - last_two[0]

    chance = random.Random(20260612)
    for number, step in enumerate(sorted(chance.sample(steps[:-4], 3))):
        process = start(*(["--resume"] if number else RUN[sampler]), "--out", str(path))
        wait_for(process, path, step)
        time.sleep(chance.uniform(0, 2 * between_checkpoints))
        assert process.poll() is None, "the run ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert numbers(path)[0] < numbers(whole)[0]

    assert start("--resume", "--out", str(path)).wait() == 0
    assert numbers(path) == numbers(whole)


def test_killed_at_once_it_starts_from_step_zero(tmp_path):
    whole, path = tmp_path / "whole", tmp_path / "run"
    arguments = [*RUN["exact"], "--steps", "20"]
    assert start(*arguments, "--out", str(whole)).wait() == 0
    process = start(*arguments, "--out", str(path))
    while not (path / "config.toml").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert start("--resume", "--out", str(path)).wait() == 0
    assert numbers(path) == numbers(whole)
