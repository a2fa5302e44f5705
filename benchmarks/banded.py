"""What a banded model costs as it grows longer: the time at every length against that at the first.

python -m benchmarks.banded
"""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.timing import best_times
from classical import BandedSampler, IsingModel

LENGTHS = (64, 128, 256, 512)
WIDTHS = (4, 8)
MODELS = 64
SHOTS = 64


def draw(spins: int, width: int, models: int, seed: int = 0) -> IsingModel:
    """One group of models, h ~ N(0, 1), J ~ N(0, 1/(2w)) within the band, float64."""
    generator = torch.Generator().manual_seed(seed)
    fields = torch.randn(1, models, spins, generator=generator, dtype=torch.float64)
    couplings = torch.randn(1, spins, spins, generator=generator, dtype=torch.float64) / (2 * width) ** 0.5
    return IsingModel(fields, couplings.triu(1) - couplings.triu(width + 1))


def with_gradient(sampler: BandedSampler, model: IsingModel) -> None:
    """Means and the gradient of their sum in fields and couplings."""
    fields, couplings = model.fields.clone().requires_grad_(), model.couplings.clone().requires_grad_()
    sampler.mean(IsingModel(fields, couplings)).sum().backward()


def main(rounds: int = 4) -> None:
    """Print the table."""
    print(f"{MODELS} models; seconds, and the time as a multiple of that for {LENGTHS[0]} spins")
    for width in WIDTHS:
        sampler = BandedSampler(width)
        candidates = {}
        for spins in LENGTHS:
            model = draw(spins, width, MODELS)
            candidates[f"mean {spins}"] = partial(sampler.mean, model)
            candidates[f"mean and gradient {spins}"] = partial(with_gradient, sampler, model)
            candidates[f"{SHOTS} samples {spins}"] = partial(sampler.sample, model, shots=SHOTS)
        times = best_times(candidates, rounds)
        for task in ("mean", "mean and gradient", f"{SHOTS} samples"):
            row = [times[f"{task} {spins}"] for spins in LENGTHS]
            cells = [f"n = {n}: {t:.3f} ({t / row[0]:.1f}×)" for n, t in zip(LENGTHS, row, strict=True)]
            print(f"  width {width}  {task:17}  " + "   ".join(cells), flush=True)


if __name__ == "__main__":
    main()
