"""What packing saves on the bill, and what it costs on the host: `python -m benchmarks.qpu_packing`.

The bill is that of the timing model which D-Wave publishes for its processors. The host's time is that of
`DWaveSampler.sample` for one submission of 98 models through D-Wave's own client, to a server in another process whose
answers are random bits; beside it Ocean's `ParallelEmbeddingComposite` on the same embeddings.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from classical import IsingModel
from quantum.dwave import ControlErrorWarning, DWaveSampler
from tests.loopback import LoopbackServer, chip

MODELS, SPINS, COPIES = 4096, 12, 98


def random_bits(programmed: Any, parameters: dict[str, Any], reads: int, seed: int) -> Any:
    """Spins that cost the server nothing."""
    del parameters
    bits = np.random.default_rng(seed).integers(0, 2, (reads, len(programmed.qubits)), dtype=np.int8)
    return 2 * bits - 1


def serve(pipe: Any) -> None:
    """An ideal P16 on the loopback interface, until something is sent."""
    with LoopbackServer([chip("pegasus", 16)], random_bits) as server:
        pipe.send((server.endpoint, server.token))
        pipe.recv()


def models(count: int, seed: int = 0) -> IsingModel:
    """Models as attention has them: one head, strengths of one."""
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(1, count, SPINS, generator=generator, dtype=torch.float64)
    J = torch.randn(1, SPINS, SPINS, generator=generator, dtype=torch.float64).triu(1) / SPINS**0.5
    return IsingModel(h, J)


def bills(client: Any) -> None:
    """QPU time packed and one by one."""
    print(f"{MODELS:,} models of {SPINS} spins on an ideal Pegasus P16, QPU time by the published timing model")
    print("| fields | shots | submissions | models each | packed, s | one by one, s | ratio |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for field, anneal in (("native", "standard"), ("ghost", "fast"), ("ancilla", "fast")):
        sampler = DWaveSampler(client=client, anneal=anneal, field=field, calibration="hand", beta=(8.0, 8.0))
        for shots in (100, 1000):
            cost = sampler.estimate(MODELS, SPINS, shots)
            print(
                f"| {field}, {anneal} | {shots} | {cost.submissions} | {cost.most_models} | {cost.seconds:.2f} | "
                f"{cost.one_by_one:.1f} | {cost.one_by_one / cost.seconds:.0f} |",
                flush=True,
            )


def host(client: Any, repeats: int) -> None:
    """Seconds of the host for one submission, ours and Ocean's."""
    print(f"\nOne submission of {COPIES} models of {SPINS} spins, seconds of the host, median of {repeats}")
    print("| reads | answer mode | ours, wall | ours, CPU | Ocean's composite, wall | Ocean's, CPU | ratio, CPU |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    model = models(COPIES)
    for shots in (100, 1000):
        for mode in ("histogram", "raw"):
            options: dict[str, Any] = {"calibration": "hand", "beta": (8.0, 8.0), "copies": COPIES, "answer_mode": mode}
            sampler = DWaveSampler(client=client, anneal="standard", control_error=1e-6, **options)
            sampler.sample(model, shots=shots, seed=0)
            ours = _median(lambda seed, s=sampler, n=shots: s.sample(model, shots=n, seed=seed), repeats)
            theirs = _median(_composite(client, sampler, model, shots, mode), max(1, repeats // 3))
            print(
                f"| {shots} | {mode} | {ours[0]:.3f} | {ours[1]:.3f} | {theirs[0]:.2f} | {theirs[1]:.2f} | "
                f"{theirs[1] / ours[1]:.0f} |",
                flush=True,
            )


def _composite(client: Any, sampler: DWaveSampler, model: IsingModel, shots: int, mode: str) -> Callable[[int], Any]:
    import dimod
    from dwave.system import DWaveSampler as OceanSampler
    from dwave.system import ParallelEmbeddingComposite

    config = {"endpoint": client.config.endpoint, "token": client.config.token}
    child = OceanSampler(solver=sampler.limits.name, **config)
    chains = [dict(enumerate(one.chains)) for one in sampler.placement.embeddings(SPINS)[:COPIES]]
    composite = ParallelEmbeddingComposite(child, embeddings=chains)
    h, J = -model.fields[0].numpy() / 8, -model.couplings[0].numpy() / 8
    pairs = {(i, j): J[i, j] for i in range(SPINS) for j in range(i + 1, SPINS)}
    bqms = [dimod.BQM.from_ising(dict(enumerate(row)), pairs) for row in h]

    def draw(_: int) -> Any:
        sets, _info = composite.sample_multiple(
            bqms, chain_strengths=[1.0] * len(bqms), num_reads=shots, answer_mode=mode, auto_scale=False
        )
        return [one.record.sample for one in sets]

    return draw


def _median(run: Callable[[int], Any], repeats: int) -> tuple[float, float]:
    """Wall and CPU seconds of this process."""
    walls, cpus = [], []
    for seed in range(1, repeats + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        run(seed)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return float(np.median(walls)), float(np.median(cpus))


def main() -> None:
    """Print both tables."""
    from dwave.cloud import Client

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    given, _ = parser.parse_known_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ControlErrorWarning)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there,))
    process.start()
    endpoint, token = here.recv()
    try:
        with Client(endpoint=endpoint, token=token, cache_enabled=False) as client:
            bills(client)
            host(client, given.repeats)
    finally:
        here.send("stop")
        process.join()


if __name__ == "__main__":
    main()
