"""What a training gains and loses with the sampler: final held-out loss on text, over seeds.

    python -m benchmarks.training_samplers --text FILE --out FOLDER [--seeds 3]

Length 8, 500 steps, 256 shots, everything else at its default; the loss is evaluated exactly, over the whole held-out
tenth. Runs that are already in FOLDER are not repeated; one that was interrupted is resumed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from benchmarks.seeds import mean_and_error, paired
from classical import PerfectSamples, Sampler
from hybrid_attention.config import TrainConfig
from hybrid_attention.evaluate import evaluate_run, load_run
from hybrid_attention.run import RunFolder
from hybrid_attention.train import train

LONG = {"sampler": "statevector", "duration": 10.0, "trotter_steps": 20}
ARMS: dict[str, dict[str, Any]] = {
    "exact gradient": {},
    "exact samples": {},
    "anneal T=10, two-beta": LONG,
    "anneal T=10, tuned": {**LONG, "calibration": "tuned"},
    "anneal T=10, two-beta, adjoint": {**LONG, "estimator": "adjoint"},
    "designed K=8": {"sampler": "statevector", "schedule": "preset:8"},
    "anneal T=4, two-beta": {"sampler": "statevector", "duration": 4.0},
    "anneal T=4, two-beta, polish 1": {"sampler": "statevector", "duration": 4.0, "polish": 1},
    "anneal T=2, two-beta": {"sampler": "statevector", "duration": 2.0},
}


def final_loss(arm: str, config: TrainConfig, folder: RunFolder) -> float:
    """Exactly evaluated held-out loss of a run, in nats, trained now where it is not there yet."""
    latest = folder.latest()
    sampler: Sampler | None = PerfectSamples() if arm == "exact samples" else None
    if latest is None or not latest.name.endswith(f"{config.steps:08d}"):
        train(config, folder, resume=folder.exists(), progress=False, sampler=sampler)
    return float(evaluate_run(load_run(folder.path, sampler="exact"), progress=False)["loss"])


def main() -> None:
    """Train what is missing and print the table, seed by seed as it fills."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--text", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=500)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    losses: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for seed in range(arguments.seeds):
        for arm, settings in ARMS.items():
            config = TrainConfig(
                task="text",
                text=arguments.text,
                steps=arguments.steps,
                seed=seed,
                eval_every=arguments.steps,
                **settings,
            )
            folder = RunFolder(arguments.out / f"{arm.replace(',', '').replace(' ', '-')}-{seed}")
            losses[arm].append(final_loss(arm, config.resolved(), folder))
            print(f"seed {seed}  {arm:32}  {losses[arm][-1]:.4f}", flush=True)
    print(f"\n{'arm':32}  {'loss/nats':>17}  against the exact gradient, paired by seed")
    for arm, values in losses.items():
        print(f"{arm:32}  {mean_and_error(values)}  {paired(values, losses['exact gradient'])}")


if __name__ == "__main__":
    main()
