"""Exact means: the bilinear form against enumerating every configuration.

    python -m benchmarks.exact

Enumeration is given its due: configurations precomputed, log-weights of all models of a head by one matrix product,
the couplings' part once per head. Two kinds of it: `softmax` shifts by the largest log-weight, as a safe sum must;
`bare exp` does not, works in place, and overflows where log-weights exceed 88.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.timing import best_times, table
from classical import ExactSampler, IsingModel, all_configurations

SIZES = {8: (4, 4096, 15), 12: (4, 1024, 9), 16: (4, 256, 7), 20: (1, 128, 2)}
"""Spins: groups, models in each, rounds."""


class Enumeration:
    """Means by summing over all 2^n configurations, for heads of models that share couplings."""

    def __init__(self, model: IsingModel) -> None:
        self.model = model
        self.configurations = all_configurations(model.spins).to(model.fields.dtype)
        self.with_one = torch.cat([self.configurations, torch.ones(2**model.spins, 1)], -1)

    def softmax(self) -> Tensor:
        """Safe: the largest log-weight is subtracted first."""
        return torch.cat([torch.softmax(self._log_weight(g), -1) @ self.configurations for g in self._groups()])

    def bare_exp(self) -> Tensor:
        """No shift, no second array, the normalisation as one more column of the product."""
        sums = torch.cat([self._log_weight(g).exp_() @ self.with_one for g in self._groups()])
        return sums[:, :-1] / sums[:, -1:]

    def _groups(self) -> range:
        return range(self.model.groups)

    def _log_weight(self, group: int) -> Tensor:
        s = self.configurations
        coupling_part = ((s @ self.model.couplings[group]) * s).sum(-1)
        return torch.addmm(coupling_part, self.model.fields[group], s.T)


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
        difference = (exact.mean(model).flatten(0, 1) - enumeration.softmax()).abs().max().item()
        times = best_times(
            {
                "ExactSampler.mean": lambda m=model: exact.mean(m),
                "enumeration, softmax": enumeration.softmax,
                "enumeration, bare exp": enumeration.bare_exp,
            },
            rounds,
        )
        print(f"{spins} spins, {groups} heads of {models} models (largest difference of a mean {difference:.0e})")
        print(table(times, groups * models, "models", "ExactSampler.mean"), flush=True)


if __name__ == "__main__":
    main()
