"""What Hopfield networks return against their load: zero temperature, Gibbs chains, simulated anneals, dense memories.

    python -m benchmarks.hopfield_retrieval [--figure FILE] [--dense FILE] [--table FILE]

Random patterns; a cue is a pattern with some spins turned over. What is measured is the overlap m = ξ·s/n of the answer
with the cued pattern. Errors are standard errors over networks. Energies are in units in which the local field in a
retrieved pattern is 1; so are the temperature T and the field f with which a cue holds its spins.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from benchmarks.timing import one_thread
from classical import ExactSampler, GibbsSampler, Sampler
from classical.associative import DenseMemory
from classical.hopfield import HopfieldNetwork, corrupted, random_patterns
from classical.random import derive_seeds, model_seeds
from classical.storage import retrieval_overlap, storage_limit
from classical.sweeps import sweep
from quantum import AnnealSchedule, StatevectorSampler

LOADS = (0.02, 0.05, 0.08, 0.10, 0.12, 0.13, 0.14, 0.15, 0.17, 0.20, 0.25)
GIBBS_LOADS = (0.02, 0.04, 0.06, 0.08, 0.10, 0.12, 0.14, 0.17, 0.20)
SIZES = {250: 16, 500: 12, 1000: 8, 2000: 4}
TEMPERATURES = (0.1, 0.3, 0.5)
CUES, SWEEPS, FIELD = 10, 80, 0.1
SMALL, SMALL_PATTERNS, SMALL_BETA, SMALL_FIELD = 12, (1, 2, 3, 4, 6, 8, 12), 2.0, 0.5
DENSE_SPINS, DENSE_LOADS = 64, (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
DENSE = {"k = 2": 2, "k = 3": 3, "k = 4": 4, "exponential": None}

Row = dict[str, object]


def stored(networks: int, load: float, spins: int, wrong: int, seed: int, cues: int = CUES) -> tuple[Tensor, Tensor]:
    """Patterns, and cues for the first of them."""
    patterns = random_patterns(networks, max(1, round(load * spins)), spins, seed)
    return patterns, corrupted(patterns[:, :cues], wrong, seed + 1)


def row(panel: str, method: str, patterns: Tensor, answer: Tensor, **more: object) -> Row:
    """Mean overlap and its error; `answer` is spins or their means, (networks, cues, spins)."""
    n = patterns.shape[-1]
    cued = patterns[:, : answer.shape[1]]
    m = (cued.double() * answer.double()).mean(-1).mean(-1)
    networks, p = patterns.shape[:2]
    found: Row = {"panel": panel, "method": method, "spins": n, "patterns": p, "load": p / n, "networks": networks}
    found |= {"overlap": m.mean().item(), "error": (m.std() / networks**0.5).item(), **more}
    print(
        f"  {panel:12} {method:34} n = {n:4}  p/n = {p / n:6.3f}  m = {found['overlap']:.3f} ± {found['error']:.3f}",
        flush=True,
    )
    return found


def frozen(seed: int) -> list[Row]:
    """Zero-temperature dynamics from cues with a tenth of the spins wrong."""
    rows = []
    for spins, networks in SIZES.items():
        for load in LOADS:
            patterns, cues = stored(networks, load, spins, spins // 10, seed)
            found = HopfieldNetwork(patterns).recall(cues)
            sweeps = found.sweeps.double().mean().item()
            rows.append(row("zero T", f"n = {spins:,}", patterns, found.spins[:, :, 0], sweeps=sweeps))
    return rows


def chains(seed: int, spins: int = 500, networks: int = 8) -> list[Row]:
    """Gibbs chains: started at the cue and left alone, or with the cue as fields all along."""
    rows = []
    for T in TEMPERATURES:
        for load in GIBBS_LOADS:
            patterns, cues = stored(networks, load, spins, spins // 10, seed)
            network = HopfieldNetwork(patterns)
            free = network.model(cues, beta=1 / T, dtype=torch.float32)
            seeds = derive_seeds(model_seeds(seed, networks, cues.shape[1]).unsqueeze(-1), torch.zeros(1).long())
            kept = sweep(free, cues.unsqueeze(2), seeds, before=SWEEPS, kept=20)
            rows.append(row("from cue", f"T = {T}", patterns, kept.double().mean((2, 3)), temperature=T))
            held = network.model(cues, beta=1 / T, field=FIELD, dtype=torch.float32)
            mean = GibbsSampler(burn_in=SWEEPS, chains=1).sample(held, shots=20, seed=seed).mean()
            rows.append(row("cue as field", f"T = {T}", patterns, mean, temperature=T, field=FIELD))
    return rows


def annealers() -> dict[str, Sampler]:
    """What retrieves from twelve spins."""
    return {
        "Boltzmann law, exact": ExactSampler(),
        "Gibbs, 50 sweeps": GibbsSampler(burn_in=50, chains=None),
        "anneal T = 10, two-beta": StatevectorSampler(AnnealSchedule.linear(10.0), 80),
        "anneal, designed K = 16": StatevectorSampler(AnnealSchedule.preset(16, wide=True)),
        "anneal T = 30, uncalibrated": StatevectorSampler(AnnealSchedule.linear(30.0), 240, "none"),
    }


def anneals(seed: int, networks: int = 300) -> list[Row]:
    """Twelve spins, cues with three of them wrong, as fields."""
    rows = []
    samplers = annealers()
    for p in SMALL_PATTERNS:
        patterns, cues = stored(networks, p / SMALL, SMALL, 3, seed, cues=1)
        network = HopfieldNetwork(patterns)
        model = network.model(cues, beta=SMALL_BETA, field=SMALL_FIELD)
        settings = {"temperature": 1 / SMALL_BETA, "field": SMALL_FIELD}
        for name, sampler in samplers.items():
            mean = sampler.sample(model, shots=256, seed=seed).mean()
            rows.append(row("anneal", name, patterns, mean, **settings))
        # a temperature of 0.005, far below the distance of any two different energies here, multiples of 1/12
        lowest = ExactSampler().sample(model.scaled(100.0, 100.0), shots=256, seed=seed).mean()
        cold = network.recall(cues, field=SMALL_FIELD).spins[:, :, 0]
        rows.append(row("anneal", "zero temperature", patterns, cold, temperature=0.0, field=SMALL_FIELD))
        rows.append(row("anneal", "lowest energy, exact", patterns, lowest, temperature=0.0, field=SMALL_FIELD))
    return rows


def dense(seed: int, networks: int = 6) -> list[Row]:
    """Dense memories of 64 spins, cues with six of them wrong."""
    rows = []
    for name, power in DENSE.items():
        for load in DENSE_LOADS:
            patterns, cues = stored(networks, load, DENSE_SPINS, DENSE_SPINS // 10, seed)
            found = DenseMemory(patterns, power).recall(cues)
            rows.append(row("dense", name, patterns, found.spins[:, :, 0]))
    return rows


def curve(axis, table: pd.DataFrame, by: str, **style: object) -> None:
    """One method's points with error bars."""
    part = table.sort_values(by)
    axis.errorbar(part[by], part["overlap"], part["error"], ms=4.5, lw=1.4, capsize=2, **style)


def theory(axis, label: str | None, color: str, most: float, **settings: float) -> None:
    """The line for n → ∞."""
    loads = [0.0025 * k for k in range(2, round(most / 0.0025) + 1)]
    loads = sorted([*loads, *(storage_limit() + shift for shift in (-1e-5, 1e-5))])
    overlaps = [retrieval_overlap(load, **settings) for load in loads]
    axis.plot(loads, overlaps, color=color, lw=1.1, ls="--", label=label, zorder=1)


def draw(table: pd.DataFrame, path: Path) -> None:
    """Zero temperature, Gibbs twice, anneals."""
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(2, 2, figsize=(10.5, 8.2), layout="constrained", sharey=True)
    ((cold, free), (held, small)) = grid
    colors, markers = ("#56b4e9", "#0072b2", "#009e73", "#d55e00"), "osD^"
    for (name, part), color, marker in zip(_methods(table, "zero T"), colors, markers, strict=True):
        curve(cold, part, "load", color=color, marker=marker, label=name)
    theory(cold, "theory, n → ∞", "#444444", 0.25)
    cold.axvline(storage_limit(), color="#999999", lw=0.9, ls=":")
    cold.annotate("0.138", (storage_limit(), 0.03), (4, 0), textcoords="offset points", color="#666666", fontsize=9)
    cold.set_title("zero-temperature dynamics, started at the cue", fontsize=10.5, loc="left")
    for axis, panel, field in ((free, "from cue", 0.0), (held, "cue as field", FIELD)):
        for (name, part), color, marker in zip(_methods(table, panel), colors[1:], markers[1:], strict=True):
            curve(axis, part, "load", color=color, marker=marker, ls="-", label=name)
            T = float(part["temperature"].iloc[0])
            theory(axis, None, color, 0.2, temperature=T, field=field, cue_overlap=0.8)
        axis.plot([], [], color="#444444", lw=1.1, ls="--", label="theory, n → ∞")
    free.set_title("Gibbs, n = 500, started at the cue", fontsize=10.5, loc="left")
    held.set_title(f"Gibbs, n = 500, the cue as fields f = {FIELD}", fontsize=10.5, loc="left")
    shades = ("#222222", "#0072b2", "#d55e00", "#e69f00", "#cc79a7", "#009e73", "#888888")
    for (name, part), color, marker in zip(_methods(table, "anneal"), shades, "os^DvPx", strict=True):
        curve(small, part, "load", color=color, marker=marker, label=name)
    small.axhline(0.5, color="#bbbbbb", lw=0.9, ls=":")
    small.annotate("the cue itself", (0.08, 0.465), fontsize=9, color="#777777")
    small.set_title(f"n = {SMALL}: the cue as fields f = {SMALL_FIELD}, β = {SMALL_BETA:g}", fontsize=10.5, loc="left")
    for axis in grid.flat:
        axis.set_xlabel("load p/n")
        axis.grid(color="#e6e9ec", lw=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=8.5, loc="upper right" if axis is small else "lower left")
    for axis in grid[:, 0]:
        axis.set_ylabel("overlap with the cued pattern")
    cold.set_ylim(-0.02, 1.04)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def draw_dense(table: pd.DataFrame, path: Path) -> None:
    """Dense memories."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
    for (name, part), color, marker in zip(
        _methods(table, "dense"), ("#0072b2", "#009e73", "#e69f00", "#d55e00"), "osD^", strict=True
    ):
        label = f"{name}, the Hopfield network" if name == "k = 2" else name
        curve(axis, part, "load", color=color, marker=marker, label=label)
    axis.axvline(storage_limit(), color="#999999", lw=0.9, ls=":")
    axis.annotate("0.138", (storage_limit(), 0.03), (4, 0), textcoords="offset points", color="#666666", fontsize=9)
    axis.set_xscale("log")
    axis.set_xticks(DENSE_LOADS, [f"{load:g}" for load in DENSE_LOADS])
    axis.minorticks_off()
    axis.set(xlabel="load p/n", ylabel="overlap with the cued pattern", ylim=(-0.02, 1.04))
    axis.grid(color="#e6e9ec", lw=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0.0, 0.12))
    axis.set_title(f"dense memories of {DENSE_SPINS} spins, 6 of them wrong in a cue", fontsize=10.5, loc="left")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _methods(table: pd.DataFrame, panel: str) -> list[tuple[str, pd.DataFrame]]:
    return list(table[table["panel"] == panel].groupby("method", sort=False))


PARTS: tuple[Callable[[int], list[Row]], ...] = (frozen, chains, anneals, dense)


def main(given: Sequence[str] | None = None) -> None:
    """Print the numbers; keep and draw them where files are named."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--dense", type=Path)
    parser.add_argument("--table", type=Path, help="Parquet; read instead of computed where it is there already")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(given)
    if arguments.table and arguments.table.exists():
        table = pd.read_parquet(arguments.table)
    else:
        with one_thread():
            table = pd.DataFrame([found for part in PARTS for found in part(arguments.seed)])
        if arguments.table:
            table.to_parquet(arguments.table, index=False)
    if arguments.figure:
        draw(table, arguments.figure)
    if arguments.dense:
        draw_dense(table, arguments.dense)


if __name__ == "__main__":
    main()
