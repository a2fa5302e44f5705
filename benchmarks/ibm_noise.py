"""How far a noisy gate-model processor is from its circuit: `python -m benchmarks.ibm_noise` (extra `ibm`).

Samples of IBM's fake backends, which have a processor's qubits, gates and noise, against the law of the same circuit
without noise. 64 models go out as one job. Beside it, what the same number of shots of the law itself shows, and
guessing.
"""

from __future__ import annotations

import time

import torch

from classical import IsingModel
from quantum import AnnealSchedule, IBMSampler, StatevectorSampler
from quantum.ibm.account import local_backend

SPINS, GROUPS, MODELS, SHOTS = 6, 4, 16, 4096


def models() -> IsingModel:
    """Fields and couplings of strength one."""
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(GROUPS, MODELS, SPINS, generator=generator, dtype=torch.float64)
    J = torch.randn(GROUPS, SPINS, SPINS, generator=generator, dtype=torch.float64).triu(1) / SPINS**0.5
    return IsingModel(h, J)


def main() -> None:
    """Print the table."""
    model, schedule = models(), AnnealSchedule.preset(4)
    circuit = StatevectorSampler(schedule, calibration="none")
    law = circuit.probabilities(model).double()
    perfect = circuit.sample(model, shots=SHOTS, seed=1).frequencies().double()
    uniform = torch.full_like(law, 1 / law.shape[-1])
    print(f"{GROUPS * MODELS} models of {SPINS} spins, {SHOTS} shots, preset:4; total variation to the circuit's law")
    print("| what | jobs | depth | two-qubit gates | total variation | seconds |")
    print("|---|---:|---:|---:|---:|---:|")
    print(f"| shots of the law itself | | | | {_shown(perfect, law)} | |")
    for name in ("fake_jakarta", "fake_nairobi", "fake_lagos"):
        start = time.perf_counter()
        sampler = IBMSampler(local_backend(name), schedule)
        samples = sampler.sample(model, shots=SHOTS, seed=1)
        facts = samples.diagnostics["circuits"][0]
        print(
            f"| {name} | {len(sampler.journal.jobs())} | {facts.depth} | {facts.two_qubit_gates} | "
            f"{_shown(samples.frequencies().double(), law)} | {time.perf_counter() - start:.0f} |",
            flush=True,
        )
    print(f"| guessing | | | | {_shown(uniform, law)} | |")


def _shown(found: torch.Tensor, law: torch.Tensor) -> str:
    distance = ((found - law).abs().sum(-1) / 2).flatten()
    return f"{float(distance.mean()):.3f} ± {float(distance.std() / len(distance) ** 0.5):.3f}"


if __name__ == "__main__":
    main()
