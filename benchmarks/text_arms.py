"""Held-out loss on text: softmax, softmax with position bias, Boltzmann with position bias, over seeds.

    python -m benchmarks.text_arms --text FILE --out FOLDER [--seeds 3]

Exact statistics, length 8, 1,500 steps, everything else at its default. The loss is over the whole held-out tenth.
Runs that are already in FOLDER are not repeated; one that was interrupted is resumed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.seeds import mean_and_error, paired
from hybrid_attention.config import TrainConfig
from hybrid_attention.evaluate import evaluate_run, load_run
from hybrid_attention.run import RunFolder
from hybrid_attention.train import train

ARMS = {
    "softmax": {"attention": "softmax"},
    "softmax + position bias": {"attention": "softmax", "position_bias": True},
    "sigmoid + position bias": {"attention": "sigmoid", "position_bias": True},
    "Boltzmann, position couplings": {"couplings": "position"},
    "Boltzmann, position couplings + bias": {"couplings": "position", "position_bias": True},
}


def final_loss(config: TrainConfig, folder: RunFolder) -> tuple[float, int]:
    """Held-out loss in nats and number of parameters of a run, trained now where it is not there yet."""
    latest = folder.latest()
    if latest is None or not latest.name.endswith(f"{config.steps:08d}"):
        train(config, folder, resume=folder.exists(), progress=False)
    summary = evaluate_run(load_run(folder.path), progress=False)
    return summary["loss"], summary["parameters"]


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--text", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1500)
    arguments = parser.parse_args()
    losses: dict[str, list[float]] = {}
    print(f"{'arm':38}  {'parameters':>10}  {'loss/nats':>17}  seeds")
    for arm, settings in ARMS.items():
        parameters = 0
        for seed in range(arguments.seeds):
            config = TrainConfig(task="text", text=arguments.text, steps=arguments.steps, seed=seed, **settings)
            folder = RunFolder(arguments.out / f"{arm.replace(' ', '-').replace(',', '')}-{seed}")
            loss, parameters = final_loss(config, folder)
            losses.setdefault(arm, []).append(loss)
        values = losses[arm]
        each = "  ".join(f"{value:.4f}" for value in values)
        print(f"{arm:38}  {parameters:>10,}  {mean_and_error(values):>17}  {each}", flush=True)
    print("\npaired by seed (same batches), against the arm with the couplings and the bias:")
    reference = losses["Boltzmann, position couplings + bias"]
    for arm, values in losses.items():
        if values is not reference:
            print(f"{arm:38}  {paired(values, reference)} nats")


if __name__ == "__main__":
    main()
