"""Runs that one process and two must give the same numbers for, and doubles that stop them on the way."""

import os

from injected_samplers import PerfectSampler
from small_runs import small_config

from classical.ising import NotFiniteError
from hybrid_attention.build import build_task
from hybrid_attention.run import RunFolder
from hybrid_attention.train import train

DOUBLE = {"dtype": "float64"}

CASES = {
    "exact": {**DOUBLE, "length": 8, "dim": 16, "heads": 4, "batch": 16, "steps": 100, "eval_every": 10, "lr": 1e-2},
    "gibbs": {**DOUBLE, "sampler": "gibbs", "shots": 16, "couplings": "content", "layers": 2, "length": 6},
    "energy": {**DOUBLE, "energy_loss": 0.5, "couplings": "relative", "position_bias": True, "length": 6},
    "uneven": {**DOUBLE, "batch": 5, "eval_sequences": 13, "sampler": "gibbs", "shots": 8, "length": 6},
    "hamiltonians": {**DOUBLE, "export_every": 3},
    "float32": {"attention": "softmax", "length": 6, "readout": "free-energy"},
    "bfloat16": {"dtype": "bfloat16", "length": 6},
}

SAMPLED = {**DOUBLE, "sampler": "gibbs", "shots": 8, "couplings": "content", "length": 6, "steps": 8}


class Killed(BaseException):
    """What no handler catches."""


class StoppingTask:
    """A task that ends the process at one step of the training."""

    def __init__(self, task, at):
        self._task, self._at = task, at

    def __getattr__(self, name):
        return getattr(self._task, name)

    def training_batch(self, size, seed, step):
        if step == self._at:
            raise Killed
        return self._task.training_batch(size, seed, step)


class UndefinedInOneProcess(PerfectSampler):
    """Samples that do not exist in process 1, from its first evaluation or from its first training step on."""

    def __init__(self, at):
        super().__init__()
        self._at = at

    def sample(self, model, *, shots, seed):
        training = model.models <= 16  # there are two sequences in a process's part of a batch, and 32 in evaluation
        if os.environ["RANK"] == "1" and training == (self._at == "training"):
            raise NotFiniteError("fields contains nan; that is what this sampler is for")
        return super().sample(model, shots=shots, seed=seed)


def run(path, resume=False, stop_at=None, processes=None, **settings):
    """A small run, cut off before the update that follows some step if one is given."""
    config = small_config(**settings)
    task = None if stop_at is None else StoppingTask(build_task(config), stop_at)
    try:
        train(config, RunFolder(path), resume, progress=False, task=task, processes=processes)
    except Killed:
        assert stop_at is not None
