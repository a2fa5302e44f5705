"""How far the covariance gradient is from the exact one, by number of perfect samples.

python -m benchmarks.gradient_error
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.timing import one_thread
from classical import ExactSampler, IsingModel, Samples
from classical.sampler import Seed
from hybrid_attention import boltzmann_mean

SHOTS = (64, 256, 1024, 4096)


class PerfectSampler:
    """Boltzmann samples without the closed form, so that gradients are estimated."""

    def sample(self, model: IsingModel, *, shots: int, seed: Seed) -> Samples:
        """Independent samples of the model's own law."""
        return ExactSampler().sample(model, shots=shots, seed=seed)


def measure(
    heads: int = 64, queries: int = 16, spins: int = 8, shots: Sequence[int] = SHOTS, seed: int = 0
) -> list[tuple[int, str, Tensor, Tensor]]:
    """Cosine to the exact gradient and relative error, one figure for every head.

    h ~ N(0, 1), J ~ N(0, 1/spins), upstream gradient ~ N(0, 1), float64.

    Args:
        heads: independent heads, each with couplings of its own.
        queries: models that share a head's couplings.
        spins: spins of every model.
        shots: numbers of samples to try.
        seed: fixes models and samples.

    Returns:
        (shots, "fields" or "couplings", cosines (heads,), relative errors (heads,)) for all of them.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    fields = normal(heads, queries, spins).requires_grad_()
    couplings = (normal(heads, spins, spins).triu(1) * spins**-0.5).requires_grad_()
    upstream = normal(heads, queries, spins)

    def gradients(mean: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((mean * upstream).sum(), (fields, couplings))

    exact = gradients(boltzmann_mean(fields, couplings, sampler=ExactSampler()))
    rows = []
    for count in shots:
        found = gradients(boltzmann_mean(fields, couplings, sampler=PerfectSampler(), shots=count, seed=seed))
        for name, estimate, truth in zip(("fields", "couplings"), found, exact, strict=True):
            x, y = estimate.flatten(1), truth.flatten(1)
            rows.append((count, name, torch.cosine_similarity(x, y, 1), (x - y).norm(dim=1) / y.norm(dim=1)))
    return rows


def main() -> None:
    """Print the table."""
    heads, queries, spins = 64, 16, 8
    print(f"covariance gradient from perfect samples, {spins} spins, {queries} queries a head, {heads} heads")
    print(f"  {'shots':>6}  {'gradient':10}  {'cosine':>18}  {'relative error':>18}  {'error · √shots':>14}")
    with one_thread():
        for count, name, cosine, error in measure(heads, queries, spins):
            cells = [f"{x.mean():.4f} ± {x.std() / math.sqrt(len(x)):.4f}" for x in (cosine, error)]
            scaled = error.mean() * math.sqrt(count)
            print(f"  {count:>6}  {name:10}  {cells[0]:>18}  {cells[1]:>18}  {scaled:>14.2f}")


if __name__ == "__main__":
    main()
