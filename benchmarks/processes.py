"""What a second process is worth: training steps of exact Boltzmann attention, in one process and shared by two.

    python -m benchmarks.processes

One layer, dim 32, 4 heads, length 14, text; the global batch is the same in both. Each process has one thread. Two
processes are started once; in every round the first makes steps of its own while the second waits, then both share
some, so that a neighbour's load meets both ways. The best step counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import torch

from classical import ExactSampler
from hybrid_attention.build import build_model
from hybrid_attention.config import TrainConfig
from hybrid_attention.loop import Loop
from hybrid_attention.optimizer import build_optimizer
from hybrid_attention.processes import Processes, started
from hybrid_attention.run import RunFolder
from hybrid_attention.tasks import TextTask
from hybrid_attention.tasks.text import built_in_text

LENGTH, BATCHES = 14, (64, 256)
ROUNDS, STEPS = 20, 5
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


class Alone(Processes):
    """This process by itself, whoever else was started."""

    def __init__(self) -> None:
        self.count, self.rank, self.device = 1, 0, torch.device("cpu")


def steps_of(config: TrainConfig, task: TextTask, processes: Processes, folder: Path) -> Callable[[int], object]:
    """One training step, given its number."""
    model = build_model(config, task, ExactSampler())
    optimizer, sampler = build_optimizer(model, config), ExactSampler()
    loop = Loop(config, RunFolder(folder), task, sampler, model, optimizer, processes, progress=False)
    wrapped = processes.wrap(model)
    return lambda step: loop.update(wrapped, step)


def best(step: Callable[[int], object], start: int) -> float:
    """Seconds of the fastest of a few steps."""
    times = []
    for number in range(start, start + STEPS):
        begun = perf_counter()
        step(number)
        times.append(perf_counter() - begun)
    return min(times)


def compare() -> None:
    """What each of the two processes does; the first prints."""
    torch.set_num_threads(1)
    processes = Processes()
    task = TextTask(built_in_text()[:100_000], LENGTH)
    with TemporaryDirectory() as folder:
        for batch in BATCHES:
            config = TrainConfig(task="text", length=LENGTH, batch=batch)
            alone = steps_of(config, task, Alone(), Path(folder))
            shared = steps_of(config, task, processes, Path(folder))
            one, two = float("inf"), float("inf")
            for turn in range(ROUNDS):
                if processes.first:
                    one = min(one, best(alone, turn * STEPS))
                processes.gather("")  # the second waits here for the first
                two = min(two, best(shared, turn * STEPS))
            if processes.first:
                print(
                    f"length {LENGTH}, batch {batch:4}: one process {one * 1e3:7.1f} ms a step, "
                    f"two {two * 1e3:7.1f} ms: "
                    f"{one / two:.2f} times as fast",
                    flush=True,
                )
    processes.close()


def main() -> None:
    """Start the two processes, or be one of them."""
    if started() > 1:
        compare()
    else:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run([*TORCHRUN, "-m", "benchmarks.processes"], check=True, env=environment)


if __name__ == "__main__":
    main()
