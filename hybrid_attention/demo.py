"""The demonstration, `python -m hybrid_attention.demo`: a small Transformer learns from simulated anneals.

It trains on bracket matching with spin statistics that Qiskit Aer measures on Trotterized anneals, then compares what
it learned on the annealer's samples with exact sums.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from hybrid_attention.config import TrainConfig
from hybrid_attention.errors import InputError, RunStopped
from hybrid_attention.parse import parse
from hybrid_attention.run import RunFolder

SETTINGS = TrainConfig(
    task="brackets",
    sampler="aer",
    couplings="position",
    position_bias=True,
    length=8,
    heads=2,
    batch=32,
    steps=100,
    duration=6.0,
    trotter_steps=8,
    lr=5e-3,
    eval_every=20,
    eval_sequences=128,
)
"""About a minute on two cores."""


@dataclass(frozen=True)
class Demo:
    """Train bracket matching on simulated anneals and say how well it went."""

    out: Path | None = None
    """Folder of the run; a new one below runs/ by default."""


def main(arguments: Sequence[str] | None = None, settings: TrainConfig = SETTINGS) -> int:
    """Run the demonstration.

    Args:
        arguments: of the command line; those of the process by default.
        settings: of the training run.

    Returns:
        Exit code: 0, or 2 after one line on stderr where something is wrong with the input.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        demo: Demo = parse(Demo, given, prog="python -m hybrid_attention.demo")
        folder = RunFolder(new_folder(Path("runs")) if demo.out is None else demo.out)
        folder.require_new()
        _demonstrate(settings, folder)
    except (InputError, RunStopped) as error:
        print(f"hybrid_attention.demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hybrid_attention.demo: interrupted; start it again", file=sys.stderr)
        return 130
    return 0


def new_folder(below: Path) -> Path:
    """A folder that does not exist yet, named after the time.

    Args:
        below: where it is to be.
    """
    name = time.strftime("demo-%Y%m%d-%H%M%S")
    path, number = below / name, 1
    while path.exists():
        number += 1
        path = below / f"{name}-{number}"
    return path


def _demonstrate(settings: TrainConfig, folder: RunFolder) -> None:
    started = time.perf_counter()
    print(_INTRODUCTION.format(s=settings), flush=True)
    from hybrid_attention.report import write_report
    from hybrid_attention.train import train

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tensors are tiny here: the processors are Aer's
    try:
        run = train(settings, folder)
    finally:
        torch.set_num_threads(threads)
    report = write_report(run)
    first, last = run.rows[0], run.rows[-1]
    chance = run.task.chance or 0.0
    lines = [
        ("before training", first["accuracy"], f"untrained weights, {settings.sampler} samples"),
        ("after training, annealer", last["accuracy"], "statistics sampled as in training, from anneals on Aer"),
        ("after training, exact", last["accuracy_exact"], "the same weights, exact sums instead of samples"),
        ("chance", chance, f"a guess among {settings.types} kinds of brackets"),
    ]
    held_out = len(run.task.validation(settings.eval_sequences).tokens)
    print(f"\nClosing brackets predicted right, of those in {held_out} sequences never trained on:\n")
    for name, accuracy, remark in lines:
        print(f"  {name:<26}{accuracy:>7.1%}   {remark}")
    print(f"\n{time.perf_counter() - started:.0f} seconds. Learning curves, attention maps and couplings:\n  {report}")


_INTRODUCTION = """\
A Transformer learns which bracket closes next. Each query's attention is an Ising model with a spin for every key it
sees. Each model is sampled {s.shots} times, by anneals of duration {s.duration:g} in {s.trotter_steps} Trotter steps on
Qiskit Aer. {s.steps} training steps, {s.batch} sequences of {s.length} brackets each, {s.heads} heads.
"""

if __name__ == "__main__":
    sys.exit(main())
