"""Every sampler at 4, 8, 12 and 16 spins: how fast, how close to the Boltzmann law, and what its samples are worth.

    python -m benchmarks.samplers [--figure FILE]

Models h ~ N(0, 1), J ~ N(0, 1/n) in groups of one head's size, 256 shots, one processor core. The effective samples of
a model are as many perfect ones as would give ⟨s⟩ with the same mean squared error, the bias of the sampler included:

    Σ_j (1 − ⟨s_j⟩²) / Σ_j (estimate − ⟨s_j⟩)²,   both sums over many models

A biased sampler has a limited number of them however many shots are drawn.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.calibrations import mean_and_error
from benchmarks.timing import best_times
from benchmarks.ways import Way, random_models, ways
from classical import ExactSampler, IsingModel
from classical.distance import kl_divergence

BATCHES = {4: (4, 512), 8: (4, 256), 12: (4, 64), 16: (2, 16)}
"""Groups and models of the timed batches, by spins."""
JUDGED = {4: 240, 8: 240, 12: 96, 16: 12}
"""Models, each of a group of its own, that KL and errors are measured on."""
SHOTS = 256
CURVE_SHOTS = (16, 64, 256, 1024, 4096)
CURVE_SPINS = 8


class Figures(NamedTuple):
    """What a sampler does at one size.

    Args:
        rate: models per second.
        kl: mean KL(exact ‖ law) in nats and its standard error, or None.
        effective: effective samples of a model.
    """

    rate: float
    kl: tuple[float, float] | None
    effective: float


def squared_error(way: Way, model: IsingModel, exact: Tensor, shots: int) -> tuple[float, float]:
    """Mean squared error of ⟨s⟩ and the variance of a single perfect sample, means over spins and models."""
    few = slice(0, -(-model.groups // (4 if way.share > 8 else 1)))
    some = IsingModel(model.fields[few], model.couplings[few])
    found = way.sampler.sample(some, shots=shots, seed=1).mean().double()
    return float((found - exact[few]).square().mean()), float((1 - exact[few].square()).mean())


def measure(spins: int, candidates: Sequence[Way], rounds: int) -> dict[str, Figures]:
    """Speed and error of every sampler at one size."""
    groups, models = BATCHES[spins]
    judged = random_models(spins, JUDGED[spins], 1, seed=1)
    exact = ExactSampler().mean(IsingModel(judged.fields.double(), judged.couplings.double()))
    calls: dict[str, Callable[[], object]] = {}
    sizes = {}
    for way in candidates:
        each = max(1, models // way.share)
        sizes[way.name] = groups * each
        calls[way.name] = partial(way.sampler.sample, random_models(spins, groups, each), shots=SHOTS, seed=0)
    times = best_times(calls, rounds)
    found = {}
    for way in candidates:
        error, variance = squared_error(way, judged, exact, SHOTS)
        kl = None
        if way.name == "exact":
            kl = (0.0, 0.0)
        elif way.law is not None:
            kl = mean_and_error(kl_divergence(judged, way.law(judged)).flatten())
        found[way.name] = Figures(sizes[way.name] / times[way.name], kl, variance / error)
    return found


def curves(candidates: Sequence[Way], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds for a model and root mean squared error of ⟨s⟩ with more and more shots, by sampler."""
    judged = random_models(CURVE_SPINS, 240, 1, seed=1)
    exact = ExactSampler().mean(IsingModel(judged.fields.double(), judged.couplings.double()))
    found: dict[str, list[tuple[float, float]]] = {}
    for shots in CURVE_SHOTS:
        calls: dict[str, Callable[[], object]] = {}
        sizes = {}
        for way in candidates:
            each = max(1, 128 // way.share)
            sizes[way.name] = 4 * each
            calls[way.name] = partial(way.sampler.sample, random_models(CURVE_SPINS, 4, each), shots=shots, seed=0)
        times = best_times(calls, rounds)
        for way in candidates:
            error = squared_error(way, judged, exact, shots)[0] ** 0.5
            found.setdefault(way.name, []).append((times[way.name] / sizes[way.name], error))
    return found


def draw(found: dict[str, list[tuple[float, float]]], path: Path) -> None:
    """The figure: error against time."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8.6, 5.6), layout="constrained")
    colors = ("#0072b2", "#009e73", "#cc79a7", "#999999", "#e69f00", "#d55e00", "#56b4e9", "#000000")
    styles = [(color, line) for line in ("-", "--") for color in colors]
    markers = "osD^vPX*<>hd"
    for (name, points), (color, line), marker in zip(found.items(), styles, markers, strict=False):
        seconds, errors = zip(*points, strict=True)
        axes.loglog([1e6 * s for s in seconds], errors, line, color=color, marker=marker, ms=5, lw=1.4, label=name)
    axes.set_xlabel("time for one model / µs (one core)")
    axes.set_ylabel("root mean squared error of ⟨s⟩")
    axes.grid(color="#e3e6ea", which="both", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.set_title(f"{CURVE_SPINS} spins, from {CURVE_SHOTS[0]} to {CURVE_SHOTS[-1]:,} shots", fontsize=11, loc="left")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(given: Sequence[str] | None = None) -> None:
    """Print the table, and draw the figure where a file is named."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--figure", type=Path, help="also measure error against time and draw it here")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds; the best counts")
    arguments = parser.parse_args(given)
    torch.set_num_threads(1)
    candidates = ways()
    for spins in BATCHES:
        print(f"\n{spins} spins, {SHOTS} shots, one core, load {os.getloadavg()[0]:.1f}")
        print(f"  {'':28}{'models/s':>12}{'KL / nats':>19}{'effective':>12}{'effective/s':>14}")
        for name, (rate, kl, effective) in measure(spins, candidates, arguments.rounds).items():
            close = "–" if kl is None else f"{kl[0]:.4f} ± {kl[1]:.4f}"
            print(f"  {name:28}{rate:>12,.0f}{close:>19}{effective:>12,.1f}{rate * effective:>14,.0f}", flush=True)
    if arguments.figure:
        draw(curves(candidates, arguments.rounds), arguments.figure)


if __name__ == "__main__":
    main()
