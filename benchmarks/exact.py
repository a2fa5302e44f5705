"""Exact means: the bilinear form against enumerating every configuration.

    python -m benchmarks.exact

Enumeration is vectorised: configurations precomputed, log-weights by one matrix product, the couplings' part once per
head. Two kinds of it: `plain` takes the softmax of all models at once; `tuned` works in place and in pieces that fit
the processor's cache, and subtracts no maximum, so that it overflows where a log-weight exceeds 88.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from benchmarks.timing import best_times, table
from classical import ExactSampler, IsingModel, all_configurations

SIZES = {8: (4, 16384, 9), 12: (4, 4096, 7), 16: (4, 512, 5), 20: (1, 128, 3)}
"""Spins: groups, models in each, rounds."""


CACHED_NUMBERS = 2**18


class Enumeration:
    """Means by summing over all 2^n configurations, for heads of models that share couplings."""

    def __init__(self, model: IsingModel) -> None:
        self.model = model
        self.configurations = all_configurations(model.spins).to(model.fields.dtype)
        self.with_one = torch.cat([self.configurations, torch.ones(2**model.spins, 1)], -1)

    def plain(self) -> Tensor:
        """Softmax of the log-weights, everything at once."""
        log_weight = self.model.fields @ self.configurations.T + self._coupling_part().unsqueeze(1)
        return torch.softmax(log_weight, -1) @ self.configurations

    def tuned(self) -> Tensor:
        """No maximum, no second array, the normalisation as one more column of the product, cache-sized pieces."""
        coupling_part, size = self._coupling_part(), max(32, CACHED_NUMBERS // 2**self.model.spins)
        sums = [
            torch.addmm(coupling_part[group], piece, self.configurations.T).exp_() @ self.with_one
            for group, fields in enumerate(self.model.fields)
            for piece in fields.split(size)
        ]
        joined = torch.cat(sums).view(*self.model.fields.shape[:2], -1)
        return joined[..., :-1] / joined[..., -1:]

    def _coupling_part(self) -> Tensor:
        s = self.configurations
        return ((s @ self.model.couplings) * s).sum(-1)


def random_model(groups: int, models: int, spins: int, seed: int) -> IsingModel:
    """Fields from N(0, 1), couplings from N(0, 1/n)."""
    generator = torch.Generator().manual_seed(seed)
    fields = torch.randn(groups, models, spins, generator=generator)
    couplings = torch.randn(groups, spins, spins, generator=generator) / spins**0.5
    return IsingModel(fields, couplings.triu(1))


def main() -> None:
    """Print one table for each number of spins."""
    exact = ExactSampler()
    for spins, (groups, models, rounds) in SIZES.items():
        model = random_model(groups, models, spins, seed=spins)
        enumeration = Enumeration(model)
        difference = (exact.mean(model) - enumeration.plain()).abs().max().item()
        times = best_times(
            {
                "ExactSampler.mean": partial(exact.mean, model),
                "enumeration, plain": enumeration.plain,
                "enumeration, tuned": enumeration.tuned,
            },
            rounds,
        )
        print(f"{spins} spins, {groups} heads of {models} models (largest difference of a mean {difference:.0e})")
        print(table(times, groups * models, "models", "ExactSampler.mean"), flush=True)


if __name__ == "__main__":
    main()
