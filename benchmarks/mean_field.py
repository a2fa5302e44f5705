"""How far naive mean-field and TAP means are from the exact ones, and how often their equations are left unsolved.

python -m benchmarks.mean_field
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch

from benchmarks.timing import one_thread
from classical import ConvergenceWarning, ExactSampler, IsingModel, MeanFieldSampler
from classical.mean_field import METHODS

SIZES = (8, 12, 16)
COUPLING_SCALES = (0.5, 1.0, 2.0)


class Cell(NamedTuple):
    """One method at one size and σ.

    Args:
        method: "naive" or "tap".
        error: root mean square over spins of the difference to the exact mean, averaged over models.
        uncertainty: standard error of that average.
        unconverged: share of models whose equations were left unsolved.
        iterations: median over models.
    """

    method: str
    error: float
    uncertainty: float
    unconverged: float
    iterations: float


def draw(spins: int, coupling_scale: float, models: int, seed: int) -> IsingModel:
    """Models with couplings of their own: h ~ N(0, 1), J ~ N(0, σ²/n), float64."""
    generator = torch.Generator().manual_seed(seed)
    fields = torch.randn(models, 1, spins, generator=generator, dtype=torch.float64)
    couplings = torch.randn(models, spins, spins, generator=generator, dtype=torch.float64)
    return IsingModel(fields, (couplings * coupling_scale / spins**0.5).triu(1))


def measure(spins: int, coupling_scale: float, models: int, seed: int = 0, **settings: float) -> list[Cell]:
    """Both methods on the same models.

    Args:
        spins: n.
        coupling_scale: σ.
        models: how many.
        seed: fixes them.
        settings: for `MeanFieldSampler`, other than the method.
    """
    model = draw(spins, coupling_scale, models, 1000 * seed + spins)
    exact, cells = ExactSampler().mean(model), []
    for method in METHODS:
        sampler = MeanFieldSampler(method=method, **settings)  # type: ignore[arg-type]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the table says how many
            error = (sampler.mean(model) - exact).square().mean(-1).sqrt().flatten()
            found = sampler.sample(model, shots=1, seed=0).diagnostics
        failed = 1 - float(found["converged"].double().mean())
        uncertainty = float(error.std()) / models**0.5
        iterations = float(found["iterations"].double().median())
        cells.append(Cell(method, float(error.mean()), uncertainty, failed, iterations))
    return cells


def main(models: int = 400) -> None:
    """Print the table."""
    print(f"root mean square error of ⟨s⟩ over spins, h ~ N(0, 1), J ~ N(0, σ²/n), {models} models a cell")
    with one_thread():
        for coupling_scale in COUPLING_SCALES:
            for spins in SIZES:
                for cell in measure(spins, coupling_scale, models):
                    print(
                        f"  σ = {coupling_scale:<3g}  n = {spins:2}  {cell.method:5}  "
                        f"{cell.error:.4f} ± {cell.uncertainty:.4f}   not converged {cell.unconverged:.2%}   "
                        f"median iterations {cell.iterations:.0f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
