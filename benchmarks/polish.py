"""What heat-bath sweeps do to an anneal, and how many sweeps an anneal is worth.

    python -m benchmarks.polish

Mean KL(exact ‖ law after sweeps) by the exact transition kernel, n = 8, h ~ N(0, 1), J ~ N(0, σ²/n). An anneal is
worth as many sweeps as the law without couplings, which costs nothing, needs to come as close.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.calibrations import mean_and_error
from benchmarks.gate_noise import noisy_law
from benchmarks.timing import one_thread
from classical import GhostSpin, IsingModel, ProductSampler, heat_bath
from classical.distance import kl_divergence
from quantum import AnnealSchedule, ModelDistribution, StatevectorSampler, calibrate
from quantum.evolution import AngleTensors, angle_tensors

SPINS = 8
SWEEPS = (0, 1, 2, 4)
MOST = 12
"""Sweeps from the product law that an anneal is compared with."""
GATE_ERROR = 0.005


class Row(NamedTuple):
    """One way to start.

    Args:
        name: of it.
        kl: mean KL in nats after each number of `SWEEPS`, with standard errors.
        worth: sweeps from the product law to the same KL as without any sweep and as after one, interpolated; None
            beyond `MOST`.
    """

    name: str
    kl: list[tuple[float, float]]
    worth: list[float | None]


def anneal(duration: float, steps: int) -> StatevectorSampler:
    """Linear two-beta anneal in double precision."""
    return StatevectorSampler(AnnealSchedule.linear(duration), steps, dtype=torch.complex128)


def starts(model: IsingModel) -> dict[str, Tensor]:
    """Laws to polish, (groups, models, 2**spins)."""
    law = StatevectorSampler(AnnealSchedule.preset(8), dtype=torch.complex128).probabilities(model)
    return {
        "two-beta T=6": anneal(6.0, 48).probabilities(model),
        "designed K=8": law,
        "ghost spin T=4": GhostSpin(anneal(4.0, 32)).probabilities(model),
        "product law": ProductSampler().probabilities(model),
        "uniform": torch.full_like(law, 1 / law.shape[-1]),
    }


def noisy_starts(model: IsingModel) -> dict[str, Tensor]:
    """The same of circuits with an error after each two-qubit gate."""
    linear = AnnealSchedule.linear(6.0)
    f, g = calibrate(linear, 12, "two-beta")
    a, b, theta = angle_tensors(linear.angles(12), torch.float64)
    preset = {steps: angle_tensors(AnnealSchedule.preset(steps).angles(), torch.float64) for steps in (4, 8)}
    circuits = {"two-beta T=6, K=12": AngleTensors(a * f, b * g, theta)}
    circuits |= {f"designed K={steps}": angles for steps, angles in preset.items()}
    found = {name: _in_pieces(model, angles) for name, angles in circuits.items()}
    return {**found, "product law": ProductSampler().probabilities(model)}


def measure(model: IsingModel, laws: dict[str, Tensor]) -> list[Row]:
    """KL of every start after every number of sweeps.

    Args:
        model: what the kernel keeps.
        laws: by name; one of them is "product law".
    """
    product = [float(x.mean()) for x in _after(laws["product law"], model, range(MOST + 1))]
    rows = []
    for name, law in laws.items():
        found = [mean_and_error(x) for x in _after(law, model, SWEEPS)]
        rows.append(Row(name, found, [_sweeps_to(product, kl) for kl, _ in found[:2]]))
    return rows


def _after(law: Tensor, model: IsingModel, sweeps: Sequence[int]) -> list[Tensor]:
    found, done = [], 0
    for number in sweeps:
        law, done = heat_bath(law, model, number - done), number
        found.append(kl_divergence(model, law).flatten())
    return found


def _sweeps_to(product: Sequence[float], kl: float) -> float | None:
    """Where the product law's KL, falling with the sweeps, passes a value; log KL interpolated between them."""
    if kl <= product[-1]:
        return None
    return float(np.interp(-np.log(kl), -np.log(product), np.arange(len(product))))


def _in_pieces(model: IsingModel, angles: AngleTensors) -> Tensor:
    pieces = zip(model.fields.split(4), model.couplings.split(4), strict=True)
    return torch.cat([noisy_law(IsingModel(h, J), angles, GATE_ERROR) for h, J in pieces])


def report(rows: Sequence[Row]) -> None:
    """Print them."""
    print(f"    {'sweeps':20}" + "".join(f"{n:>18}" for n in SWEEPS) + "   worth (0, 1 sweeps)")
    for name, found, worth in rows:
        values = "".join(f"{kl:>9.4f} ± {error:.4f}" for kl, error in found)
        print(f"    {name:20}{values}   {', '.join('more' if w is None else f'{w:.1f}' for w in worth)}", flush=True)


def main(models: int = 600, noisy_models: int = 96) -> None:
    """Print the tables."""
    with one_thread():
        for sigma in (1.0, 2.0):
            model = ModelDistribution(1.0, sigma, SPINS).draw(models, seed=0)[0]
            print(f"  σ = {sigma:g}, {models} models, no errors")
            report(measure(model, starts(model)))
            few = IsingModel(model.fields[:noisy_models], model.couplings[:noisy_models])
            print(f"  σ = {sigma:g}, {noisy_models} models, two-qubit gate error {GATE_ERROR:.1%}")
            report(measure(few, noisy_starts(few)))


if __name__ == "__main__":
    main()
