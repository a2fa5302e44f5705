"""Many small anneals on Aer: its defaults against AerSampler.

    python -m benchmarks.aer_batch

Every way draws the same number of shots from the same anneals of the same models. The ways take turns and each
keeps its best round, so that a busy machine disturbs all alike; the ratios are within one run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit_aer import AerSimulator

from classical.ising import IsingModel
from quantum import AerSampler, AnnealSchedule


@dataclass(frozen=True)
class Setting:
    """One row group of the table."""

    spins: int
    steps: int
    models: int
    shots: int = 256


SETTINGS = (Setting(8, 16, 256), Setting(8, 8, 256), Setting(4, 16, 512), Setting(4, 8, 512))


def random_models(setting: Setting) -> IsingModel:
    """h ~ N(0, 1), J ~ N(0, 1/n), in groups of 64 models that share couplings."""
    generator = torch.Generator().manual_seed(0)
    groups = max(1, setting.models // 64)
    fields = torch.randn(groups, setting.models // groups, setting.spins, generator=generator)
    couplings = torch.randn(groups, setting.spins, setting.spins, generator=generator) / setting.spins**0.5
    return IsingModel(fields, couplings.triu(1))


def written_plainly(setting: Setting, schedule: AnnealSchedule) -> Callable[[], list[Any]]:
    """The way most people write it: h and J are the parameters, angles are expressions of them, defaults all over."""
    sampler = AerSampler(schedule, setting.steps)
    angles, factors = sampler.angles, sampler.factors
    rows, columns = np.triu_indices(setting.spins, 1)
    h = [Parameter(f"h{i}") for i in range(setting.spins)]
    J = {(i, j): Parameter(f"J{i}_{j}") for i, j in zip(rows.tolist(), columns.tolist(), strict=True)}
    circuit = QuantumCircuit(setting.spins)
    circuit.h(range(setting.spins))
    for a, b, theta in zip(angles.field, angles.coupling, angles.mixer, strict=True):
        for i, field in enumerate(h):
            circuit.rz(-2 * float(a) * field, i)
        for (i, j), coupling in J.items():
            circuit.rzz(-2 * float(b) * coupling, i, j)
        circuit.rx(-2 * float(theta), range(setting.spins))
    circuit.measure_all()
    simulator = AerSimulator()
    model = random_models(setting)

    def run() -> list[Any]:
        fields = model.fields.double().flatten(0, 1).numpy().T * factors.field_factor
        pairs = model.couplings.double().numpy()[:, rows, columns].repeat(model.models, axis=0).T
        binds = dict(
            zip([*h, *J.values()], [*fields.tolist(), *(pairs * factors.coupling_factor).tolist()], strict=True)
        )
        result = simulator.run(circuit, parameter_binds=[binds], shots=setting.shots, seed_simulator=1).result()
        return [result.get_counts(i) for i in range(len(result.results))]

    return run


def textbook(setting: Setting, schedule: AnnealSchedule) -> Callable[[IsingModel, dict[str, Any]], list[Any]]:
    """A careful way: one plain parameter for each gate, values computed by numpy, `parameter_binds`, `get_counts`.

    The circuit is built here, outside the timing; computing the angles is timed, as it is for AerSampler.
    """
    sampler = AerSampler(schedule, setting.steps)
    angles, factors = sampler.angles, sampler.factors
    rows, columns = np.triu_indices(setting.spins, 1)
    circuit = QuantumCircuit(setting.spins)
    circuit.h(range(setting.spins))
    parameters = []
    for k in range(setting.steps):
        for i in range(setting.spins):
            parameters.append(Parameter(f"h{k}_{i}"))
            circuit.rz(parameters[-1], i)
        for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
            parameters.append(Parameter(f"J{k}_{i}_{j}"))
            circuit.rzz(parameters[-1], i, j)
        circuit.rx(-2 * angles.mixer[k], range(setting.spins))
    circuit.measure_all()
    simulator = AerSimulator()

    def run(model: IsingModel, options: dict[str, Any]) -> list[Any]:
        h = model.fields.double().flatten(0, 1).numpy().T * factors.field_factor
        J = model.couplings.double().numpy()[:, rows, columns].repeat(model.models, axis=0).T * factors.coupling_factor
        values = np.concatenate(
            [-2 * angles.field[:, None, None] * h, -2 * angles.coupling[:, None, None] * J], axis=1
        ).reshape(len(parameters), -1)
        binds = dict(zip(parameters, values.tolist(), strict=True))
        result = simulator.run(
            circuit, parameter_binds=[binds], shots=setting.shots, seed_simulator=1, **options
        ).result()
        return [result.get_counts(i) for i in range(len(result.results))]

    return run


def best_times(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Best seconds of each way, the ways taking turns; one round before them warms up."""
    best = dict.fromkeys(ways, float("inf"))
    for round_number in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if round_number:
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds; the best counts")
    parser.add_argument("--threads", type=int, default=None, help="threads of AerSampler")
    arguments = parser.parse_args()
    schedule = AnnealSchedule.linear(6.0)
    print(f"{'spins':>5} {'K':>3} {'shots':>6}  {'way':<42} {'models/s':>9} {'ratio':>6}")
    for setting in SETTINGS:
        model = random_models(setting)
        plain = textbook(setting, schedule)
        sampler = AerSampler(schedule, setting.steps, threads=arguments.threads)
        own = torch.arange(setting.models).reshape(model.groups, model.models)
        per_circuit = {"max_parallel_experiments": sampler.threads, "max_parallel_threads": sampler.threads}
        ways = {
            "Aer, defaults": partial(plain, model, {}),
            "Aer, defaults, expressions of h and J": written_plainly(setting, schedule),
            "Aer, a thread per circuit": partial(plain, model, per_circuit),
            "AerSampler, measured": partial(sampler.sample, model, shots=setting.shots, seed=1),
            "AerSampler, a seed per model": partial(sampler.sample, model, shots=setting.shots, seed=own),
            "AerSampler, probabilities": partial(sampler.probabilities, model),
        }
        times = best_times(ways, arguments.rounds)
        for name, seconds in times.items():
            print(
                f"{setting.spins:>5} {setting.steps:>3} {setting.shots:>6}  {name:<42} "
                f"{setting.models / seconds:>9,.0f} {times['Aer, defaults'] / seconds:>5.1f}×"
            )


if __name__ == "__main__":
    main()
