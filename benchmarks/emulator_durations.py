"""How accurate a coherent annealer is, by the duration of its anneals, with and without its errors.

    python -m benchmarks.emulator_durations --data FILE.parquet --figure FILE.png

n = 4 and a ghost spin, h ~ N(0, 1), J ~ N(0, 1/n), the generic schedule of `quantum.dwave.schedule_table`. Values are
divided by a temperature, rounded, given errors and annealed as the emulator does it; laws are computed instead of
samples, so that what is seen is neither shots nor steps. Temperatures are fitted to probe models with the device's own
errors, as `DWaveSampler` does it, or are those of linear response. Where values pass the chip's range the study goes on
as if it had none, except with chains, and says how many models fit.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.timing import one_thread
from classical import IsingModel, Samples
from classical.distance import kl_divergence, log_probabilities, total_variation
from classical.ghost_spin import with_ghost
from classical.ising import all_configurations
from quantum import ModelDistribution, response
from quantum.dwave.anneal import Anneal
from quantum.dwave.calibration import fitted_temperatures
from quantum.dwave.coherent import Course, annealed_law
from quantum.dwave.control import controlled
from quantum.dwave.embedding import find_embedding, verified
from quantum.dwave.emulated_device import EmulatedDevice, emulated_solver
from quantum.dwave.encode import Run, encode
from quantum.dwave.layout import Layout, lay_out
from quantum.dwave.reads import no_reversal
from quantum.dwave.solver_limits import SolverLimits

SPINS = 4
DURATIONS = tuple(float(x) for x in np.round(np.geomspace(0.1, 100.0, 16), 3))
PAIRS = SPINS * (SPINS + 1) // 2
_WIDE = (-1e6, 1e6)


@dataclass(frozen=True)
class Case:
    """One device, chip and calibration.

    Args:
        name: in the legend.
        device: with its errors.
        calibration: "fit" or "response".
        chains: two qubits for every spin, on Pegasus, or one on a complete graph.
    """

    name: str
    device: EmulatedDevice
    calibration: str = "fit"
    chains: bool = False


def _errors(size: float) -> EmulatedDevice:
    return EmulatedDevice(coupling_error=size, field_error=size)


CASES = (
    Case("no errors, β of linear response", EmulatedDevice(), "response"),
    Case("no errors, β fitted", EmulatedDevice()),
    Case("control errors σ = 0.01", _errors(0.01)),
    Case("control errors σ = 0.03", _errors(0.03)),
    Case("couplings of 8 bits", EmulatedDevice(precision=8)),
    Case("couplings of 5 bits", EmulatedDevice(precision=5)),
    Case("chains of 2 qubits, no errors", EmulatedDevice(), chains=True),
    Case("chains of 2 qubits, σ = 0.03", _errors(0.03), chains=True),
)


@cache
def layout(chains: bool) -> Layout:
    """Where a model and its ghost stand."""
    solver = emulated_solver("pegasus", 2) if chains else emulated_solver("complete", SPINS + 1)
    limits = SolverLimits.of(solver)
    spins = SPINS + 1
    return lay_out([find_embedding(spins, limits) if chains else verified([[i] for i in range(spins)], limits)], limits)


def laws(programmed: IsingModel, case: Case, duration: float, seed: int = 0) -> Tensor:
    """What anneals of models with fields end in, (models, 1, 2**(spins + 1)), the ghost last.

    Args:
        programmed: (models, 1, spins), divided by their temperatures.
        case: device and chip.
        duration: nanoseconds.
        seed: of the submissions' errors.
    """
    here, chip = layout(case.chains), with_ghost(programmed)
    # ranges are looked at by `fits`; the grid of the precision stays that of the chip
    wide = replace(here, limits=replace(here.limits, j_range=_WIDE, extended_j_range=_WIDE))
    run = Run(Anneal("fast", duration), "raw", 1.0, 0.005, reversed=False)
    gauge, nothing = no_reversal(1, chip.spins), np.zeros((1, chip.spins))
    n = len(here.active)
    J = torch.zeros(chip.groups, n, n, dtype=torch.float64)
    fields = torch.zeros(chip.groups, 1, n, dtype=torch.float64)
    for row, own in enumerate(chip.couplings.numpy()):
        one = encode(wide, nothing, own[None], run, reads=1, gauge=gauge, key=(seed, row))
        control = controlled(replace(one, layout=here), case.device)
        fields[row, 0] = torch.from_numpy(control.fields)
        J[row, control.pairs.min(1), control.pairs.max(1)] = torch.from_numpy(control.couplings)
    return annealed_law(IsingModel(fields, J), Course.of(case.device.table, duration)) @ by_majority(case.chains)


@cache
def by_majority(chains: bool) -> Tensor:
    """How qubits' configurations are read as spins', (2**qubits, 2**spins); a tie of a chain is either."""
    where = layout(chains)
    qubits = all_configurations(len(where.active)).double()
    reads = torch.ones(len(qubits), 1, dtype=torch.float64)
    for spin in range(where.spins):
        total = qubits[:, torch.from_numpy(np.flatnonzero(where.spin == spin))].sum(1)
        up = (1 + total.sign()) / 2
        reads = (torch.stack([up, 1 - up], 1)[:, :, None] * reads[:, None, :]).flatten(1)  # spin 0 is the lowest bit
    return reads


def folded(law: Tensor) -> Tensor:
    """The law of spins relative to the ghost."""
    up, down = law.unflatten(-1, (2, -1)).unbind(-2)
    return up + down.flip(-1)


def temperature(case: Case, duration: float) -> float:
    """β by which fields and couplings are divided: with a ghost spin there is one.

    Raises:
        ValueError: a calibration that shows none.
    """
    if case.calibration == "response":
        return response(case.device.table.schedule(duration), 8192).beta_J

    def draw(programmed: IsingModel) -> tuple[Samples, IsingModel]:
        law = folded(laws(programmed, case, duration, seed=-1))
        spins = all_configurations(SPINS + 1)[: 2**SPINS]  # the ghost up
        return Samples(spins.expand(*law.shape, SPINS + 1).to(torch.int8), law, None), with_ghost(programmed)

    return fitted_temperatures(SPINS, True, None, draw).coupling


def gradient(law: Tensor, upstream: Tensor) -> Tensor:
    """Derivatives of Σ g s by h and J as they follow from a law, (models, SPINS + pairs).

    Cov(Σ g s, s_j) and Cov(Σ g s, s_j s_k)
    """
    s = all_configurations(SPINS).double()
    first, second = torch.triu_indices(SPINS, SPINS, 1)
    terms = torch.cat([s, s[:, first] * s[:, second]], 1)
    f = upstream @ s.T
    return (law * f) @ terms - (law * f).sum(-1, keepdim=True) * (law @ terms)


def measure(model: IsingModel, case: Case, duration: float, rng: torch.Generator) -> dict[str, Any] | None:
    """Everything about one case at one duration, or nothing where it cannot be run."""
    try:
        beta = temperature(case, duration)
    except ValueError:
        return None
    programmed = model.scaled(1 / beta, 1 / beta)
    share = layout(case.chains).problem_share.max()
    largest = share * with_ghost(programmed).couplings.abs().flatten(1).amax(1)
    fits = float((largest <= 1).double().mean())
    if case.chains and fits < 1:
        return None  # values above the chains' own strength would tear them
    law = folded(laws(programmed, case, duration))
    exact = log_probabilities(model).exp()
    upstream = torch.randn(model.groups, SPINS, dtype=torch.float64, generator=rng)
    cosine = torch.cosine_similarity(gradient(law[:, 0], upstream), gradient(exact[:, 0], upstream))
    row: dict[str, Any] = {"case": case.name, "duration_ns": duration, "beta": beta, "fits": fits}
    row["programmed_rms"] = float(with_ghost(programmed).couplings.square().sum().div(model.groups * PAIRS).sqrt())
    numbers = {
        "kl": kl_divergence(model, law).flatten(),
        "tv": total_variation(exact, law).flatten(),
        "cosine": cosine,
    }
    for name, values in numbers.items():
        row[name], row[f"{name}_error"] = float(values.mean()), float(values.std() / len(values) ** 0.5)
    return row


def study(models: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of all cases and durations, on the same models."""
    model = ModelDistribution(1.0, 1.0, SPINS).draw(models, seed)[0]
    assert model.fields.shape == (models, 1, SPINS)
    rows = []
    for case in CASES:
        for duration in DURATIONS:
            row = measure(model, case, duration, torch.Generator().manual_seed(seed))
            if row is None:
                continue
            rows.append(row)
            print(
                f"  {case.name:34} {duration:7.2f} ns  β {row['beta']:7.2f}  rms {row['programmed_rms']:.4f}  "
                f"fit {row['fits']:4.0%}  KL {row['kl']:.4f} ± {row['kl_error']:.4f}  TV {row['tv']:.4f}  "
                f"cosine {row['cosine']:.4f} ± {row['cosine_error']:.4f}",
                flush=True,
            )
    return rows


def save(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Raw numbers, as Parquet or, by the file's name, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        path.write_text(json.dumps(list(rows), indent=1) + "\n")
        return
    import pandas as pd

    pd.DataFrame(rows).to_parquet(path, index=False)


_STYLES = {
    CASES[0].name: ("#999999", "--", "x"),
    CASES[1].name: ("#000000", "-", "o"),
    CASES[2].name: ("#56b4e9", "-", "s"),
    CASES[3].name: ("#0072b2", "-", "D"),
    CASES[4].name: ("#e69f00", "-", "^"),
    CASES[5].name: ("#d55e00", "-", "v"),
    CASES[6].name: ("#009e73", "--", "P"),
    CASES[7].name: ("#009e73", "-", "*"),
}


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """The figure."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(
        3, 1, figsize=(9.6, 10.5), sharex=True, layout="constrained", height_ratios=(1.25, 1.0, 1.0)
    )
    for name, (color, line, marker) in _STYLES.items():
        own = [row for row in rows if row["case"] == name]
        x = [row["duration_ns"] for row in own]
        style: dict[str, Any] = {"color": color, "ls": line, "marker": marker, "ms": 5, "lw": 1.5, "capsize": 2}
        kl, error = ([row[key] for row in own] for key in ("kl", "kl_error"))
        panels[0].errorbar(x, kl, error, label=name, **style)
        off, error = [1 - row["cosine"] for row in own], [row["cosine_error"] for row in own]
        panels[1].errorbar(x, off, error, label=name, **style)
        if name in (CASES[1].name, CASES[6].name):
            words = (
                "one qubit for each spin" if name == CASES[1].name else "chains of 2 qubits, sum over a pair's couplers"
            )
            size = [row["programmed_rms"] for row in own]
            panels[2].plot(x, size, color=color, ls=line, marker=marker, ms=5, lw=1.5, label=words)
    beside = panels[2].get_yaxis_transform()
    fitting = [row["duration_ns"] for row in rows if row["case"] == CASES[1].name and row["fits"] == 1]
    for panel in panels:
        panel.axvspan(5, DURATIONS[-1] * 1.25, color="#f1e9d8", zorder=0, lw=0)
        panel.axvspan(DURATIONS[0] / 1.25, min(fitting), color="#eeeeee", zorder=0, lw=0)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.grid(color="#d9dde2", lw=0.5)
        panel.spines[["top", "right"]].set_visible(False)
    for level, words, color in (
        (1.0, "range of the chip", "#555555"),
        (0.03, "control error σ = 0.03", "#0072b2"),
        (2 / 32 / 12**0.5, "rounding to 5 bits, rms", "#d55e00"),
        (0.01, "control error σ = 0.01", "#56b4e9"),
        (2 / 256 / 12**0.5, "rounding to 8 bits, rms", "#e69f00"),
    ):
        panels[2].axhline(level, color=color, lw=1.2, ls=":")
        panels[2].text(1.01, level, words, color=color, fontsize=9, va="center", transform=beside)
    top: dict[str, Any] = {
        "y": 1.01,
        "ha": "center",
        "va": "bottom",
        "fontsize": 9,
        "transform": panels[0].get_xaxis_transform(),
    }
    panels[0].text((DURATIONS[0] / 1.25 * min(fitting)) ** 0.5, s="some values exceed the chip's range", **top)
    panels[0].text((5 * DURATIONS[-1] * 1.25) ** 0.5, s="fast anneals of processors", **top)
    words = f"{SPINS} spins and a ghost spin, h ~ N(0, 1), J ~ N(0, 1/{SPINS}), generic A(s) and B(s)"
    panels[0].set_title(words, fontsize=11, loc="left", pad=22)
    panels[0].set_ylabel("mean KL(exact ‖ anneal) / nats")
    panels[1].set_ylabel("1 − cosine of the gradient")
    panels[2].set_ylabel("programmed value, rms")
    panels[2].set_xlabel("duration of the anneal / ns")
    panels[0].legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    panels[2].legend(frameon=False, fontsize=9, loc="upper right")
    panels[2].set_xlim(DURATIONS[0] / 1.25, DURATIONS[-1] * 1.25)
    panels[2].set_xticks([0.1, 0.3, 1, 3, 10, 30, 100], ["0.1", "0.3", "1", "3", "10", "30", "100"])
    panels[2].minorticks_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(given: Sequence[str] | None = None) -> None:
    """Print the numbers, and write and draw them where files are named."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, help="raw numbers, .parquet or .json")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--models", type=int, default=96)
    arguments = parser.parse_args(given)
    with one_thread():
        rows = study(arguments.models)
    if arguments.data:
        save(rows, arguments.data)
    if arguments.figure:
        draw(rows, arguments.figure)


if __name__ == "__main__":
    main()
