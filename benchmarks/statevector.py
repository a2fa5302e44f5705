"""State vectors of many small anneals: StatevectorSampler against Aer, and against what the processor could do.

    python -m benchmarks.statevector

Every way simulates the same anneals of the same models with the same number of threads. The ways take turns and each
keeps its best round, so that a busy machine disturbs all alike; the ratios are within one run. Samplers are made, and
kernels compiled, outside the timing.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.aer_batch import Setting, best_times, random_models, textbook
from classical import IsingModel
from quantum import AerSampler, AnnealSchedule, StatevectorSampler

SETTINGS = {Setting(8, 16, 512): 7, Setting(12, 16, 64): 3, Setting(16, 16, 4): 2}
"""What is timed, and the rounds of it."""
_MATRIX = 1024


def flops(setting: Setting) -> int:
    """Floating-point operations of one model's law as `quantum.statevector_kernel` does them.

    K 2ⁿ (4n + 18): a multiply-add for each qubit on real and imaginary part, and three complex products.

    Args:
        setting: spins and steps.
    """
    return setting.steps * 2**setting.spins * (4 * setting.spins + 18)


def gradient(sampler: StatevectorSampler, model: IsingModel) -> Tensor:
    """⟨s⟩ and its derivatives by fields and couplings."""
    fields, couplings = model.fields.clone().requires_grad_(), model.couplings.clone().requires_grad_()
    sampler.mean(IsingModel(fields, couplings)).sum().backward()
    assert fields.grad is not None
    return fields.grad


def first_call() -> tuple[float, float]:
    """Seconds of the first and of the second law of one model: what compilation costs a process."""
    sampler, model = StatevectorSampler(AnnealSchedule.linear(6.0), 16), random_models(Setting(8, 16, 1))
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        sampler.probabilities(model)
        seconds.append(time.perf_counter() - start)
    return seconds[0], seconds[1]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--threads", type=int, default=2, help="threads of every way")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    compiled, again = first_call()
    print(f"first call {compiled:.1f} s (compiles), second {again * 1e3:.1f} ms; load {os.getloadavg()[0]:.1f}")
    schedule = AnnealSchedule.linear(6.0)
    square = torch.rand(_MATRIX, _MATRIX)
    for setting, rounds in SETTINGS.items():
        model = random_models(setting)
        fast = StatevectorSampler(schedule, setting.steps, threads=arguments.threads)
        double = StatevectorSampler(schedule, setting.steps, threads=arguments.threads, dtype=torch.complex128)
        reference = StatevectorSampler(schedule, setting.steps, backend="torch")
        aer = AerSampler(schedule, setting.steps, threads=arguments.threads)
        options = {"max_parallel_experiments": arguments.threads, "max_parallel_threads": arguments.threads}
        own = torch.arange(setting.models).reshape(model.groups, model.models)
        ways: dict[str, Callable[[], object]] = {
            "Aer, a thread per circuit": partial(textbook(setting, schedule), model, options),
            "AerSampler, samples": partial(aer.sample, model, shots=setting.shots, seed=own),
            "AerSampler, probabilities": partial(aer.probabilities, model),
            "torch, probabilities": partial(reference.probabilities, model),
            "numba, samples": partial(fast.sample, model, shots=setting.shots, seed=1),
            "numba, probabilities": partial(fast.probabilities, model),
            "numba, probabilities, complex128": partial(double.probabilities, model),
            "numba, mean with gradient": partial(gradient, fast, model),
            "matrix product": partial(torch.matmul, square, square),
        }
        times = best_times(ways, rounds)
        peak = 2 * _MATRIX**3 / times.pop("matrix product")
        rates = {name: setting.models / seconds for name, seconds in times.items()}
        print(
            f"\n{setting.spins} spins, K = {setting.steps}, {setting.shots} shots, {setting.models} models, "
            f"{arguments.threads} threads, load {os.getloadavg()[0]:.1f}"
        )
        print(f"  {'':<34} {'models/s':>10} {'ratio to Aer':>13}")
        for name, rate in rates.items():
            print(f"  {name:<34} {rate:>10,.1f} {rate / rates['Aer, a thread per circuit']:>12,.1f}×")
        speed = rates["numba, probabilities"] * flops(setting)
        print(
            f"  {speed / 1e9:.1f} of {peak / 1e9:.1f} Gflop/s of a float32 matrix product: {speed / peak:.0%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
