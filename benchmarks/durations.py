"""KL against duration: linear anneals under every calibration, polished, with a ghost spin, and designed circuits.

    python -m benchmarks.durations --figure FILE

n = 8, h ~ N(0, 1), J ~ N(0, 1/n). Linear anneals take eight Trotter steps for each unit of duration and at least 24, so
that what is seen is the duration. Designed circuits have no duration but a depth; they are horizontal lines.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.calibrations import mean_and_error
from benchmarks.timing import one_thread
from classical import GhostSpin, IsingModel, ProductSampler, heat_bath
from classical.distance import kl_divergence
from quantum import AnnealSchedule, ModelDistribution, StatevectorSampler

DURATIONS = tuple(float(x) for x in np.round(np.geomspace(1.0, 40.0, 13), 2))
SPINS = 8

Curve = list[tuple[float, float]]


def laws(model: IsingModel, duration: float) -> dict[str, Tensor]:
    """What every linear anneal of one duration samples."""
    schedule, steps = AnnealSchedule.linear(duration), max(24, round(8 * duration))

    def anneal(calibration: str) -> StatevectorSampler:
        return StatevectorSampler(schedule, steps, calibration, dtype=torch.complex128)

    two_beta = anneal("two-beta").probabilities(model)
    return {
        "one-beta": anneal("one-beta").probabilities(model),
        "two-beta": two_beta,
        "tuned": anneal("tuned").probabilities(model),
        "two-beta, polished once": heat_bath(two_beta, model, 1),
        "ghost spin": GhostSpin(anneal("one-beta")).probabilities(model),
    }


def curves(models: int, seed: int = 0) -> dict[str, Curve]:
    """Mean KL and standard error by duration, for every linear anneal."""
    model = ModelDistribution(1.0, 1.0, SPINS).draw(models, seed)[0]
    found: dict[str, Curve] = {}
    for duration in DURATIONS:
        for name, law in laws(model, duration).items():
            found.setdefault(name, []).append(mean_and_error(kl_divergence(model, law).flatten()))
        row = "  ".join(f"{name} {curve[-1][0]:.4f} ± {curve[-1][1]:.4f}" for name, curve in found.items())
        print(f"  T = {duration:5.2f}  {row}", flush=True)
    return found


def levels(models: int, seed: int = 0) -> dict[str, tuple[float, float]]:
    """The same for what has no duration."""
    model = ModelDistribution(1.0, 1.0, SPINS).draw(models, seed)[0]
    known = {
        f"designed, K = {steps}": StatevectorSampler(AnnealSchedule.preset(steps)).probabilities(model)
        for steps in (4, 8, 16)
    }
    known["no couplings, one sweep"] = heat_bath(ProductSampler().probabilities(model), model, 1)
    found = {name: mean_and_error(kl_divergence(model, law).flatten()) for name, law in known.items()}
    for name, (kl, error) in found.items():
        print(f"  {name:24} {kl:.4f} ± {error:.4f}")
    return found


def draw(found: dict[str, Curve], lines: dict[str, tuple[float, float]], path: Path) -> None:
    """The figure."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8.6, 5.2), layout="constrained")
    colors, markers = ("#999999", "#0072b2", "#009e73", "#e69f00", "#cc79a7"), "osD^v"
    for (name, curve), color, marker in zip(found.items(), colors, markers, strict=True):
        kl, error = zip(*curve, strict=True)
        axes.errorbar(DURATIONS, kl, error, color=color, marker=marker, ms=5, lw=1.5, capsize=2, label=name)
    for (name, (kl, _)), style in zip(lines.items(), (":", "--", "-", "-."), strict=True):
        color = "#d55e00" if name.startswith("designed") else "#555555"
        axes.axhline(kl, color=color, ls=style, lw=1.4, label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([1, 2, 5, 10, 20, 40], ["1", "2", "5", "10", "20", "40"])
    axes.minorticks_off()
    axes.set_xlabel("anneal duration T (ħ = 1, transverse field from 1 to 0)")
    axes.set_ylabel("mean KL(exact ‖ anneal) / nats")
    axes.grid(color="#e3e6ea", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.set_title(f"{SPINS} spins, h ~ N(0, 1), J ~ N(0, 1/{SPINS})", fontsize=11, loc="left")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(given: Sequence[str] | None = None) -> None:
    """Print the numbers, and draw them where a file is named."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--models", type=int, default=240)
    arguments = parser.parse_args(given)
    with one_thread():
        found, lines = curves(arguments.models), levels(arguments.models)
    if arguments.figure:
        draw(found, lines, arguments.figure)


if __name__ == "__main__":
    main()
