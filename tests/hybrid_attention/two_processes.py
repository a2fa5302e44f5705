"""What torchrun starts in the tests of several processes: `two_processes.py FOLDER`."""

import sys
from pathlib import Path

import torch
from process_cases import CASES, SAMPLED, UndefinedInOneProcess, run
from small_runs import small_config

from hybrid_attention.errors import InputError, RunStopped
from hybrid_attention.processes import Processes
from hybrid_attention.run import RunFolder
from hybrid_attention.train import train


def refusal(folder, processes, name, attempt):
    """Write down how an attempt ends, in every process."""
    try:
        attempt()
    except (InputError, RunStopped) as error:
        (folder / f"{name}-{processes.rank}.txt").write_text(f"{type(error).__name__}: {error}")


def main(folder):
    torch.set_num_threads(1)
    processes = Processes()
    for name, settings in CASES.items():
        run(folder / name, processes=processes, **settings)
    run(folder / "cut-in-two", stop_at=5, processes=processes, **SAMPLED)
    run(folder / "cut-in-one", resume=True, processes=processes, **SAMPLED)
    for at in ("evaluation", "training"):
        settings = small_config(dtype="float64", sampler="gibbs", shots=4, length=6, types=10, eval_sequences=64)
        sampler = UndefinedInOneProcess(at)
        target = RunFolder(folder / f"undefined-{at}")
        refusal(folder, processes, at, lambda s=settings, t=target, d=sampler: train(s, t, progress=False, sampler=d))

    def with_other_seed():
        run(folder / "differing", processes=processes, seed=processes.rank)

    def wrong_in_one():
        text = {} if processes.rank == 0 else {"text": "missing.txt"}  # as on a machine that does not have the file
        run(folder / "wrong", processes=processes, task="text", **text)

    def emulated():
        run(folder / "emulated", processes=processes, sampler="dwave-emulator", solver="complete:16", field="ghost")

    for attempt in (with_other_seed, wrong_in_one, emulated):
        refusal(folder, processes, attempt.__name__, attempt)
    processes.close()


main(Path(sys.argv[1]))
