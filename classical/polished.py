"""Heat-bath sweeps after any other sampler."""

from __future__ import annotations

import torch
from torch import Tensor

from classical.heat_bath import heat_bath, require_sweeps
from classical.ising import IsingModel
from classical.random import derive_seeds, model_seeds
from classical.sampler import KnownLaw, Sampler, Seed
from classical.samples import Samples
from classical.sweeps import sweep

_POLISH = 0x706F6C697368


class Polished:
    """Another sampler's configurations after some heat-bath sweeps.

    P' = K^sweeps P, where the kernel K draws spins 0 … n−1 in turn, each given the others

    K leaves the Boltzmann law as it is and brings every other law closer to it, so that few sweeps remove most of what
    is left of the error of an anneal: what is wrong with single spins given the others goes first.

    Args:
        sampler: gives the configurations to start from.
        sweeps: how many, at least 0.

    Raises:
        ValueError: a negative number of sweeps.
    """

    def __init__(self, sampler: Sampler, sweeps: int = 1) -> None:
        self.sampler = sampler
        self.sweeps = require_sweeps("sweeps", sweeps)
        held = getattr(sampler, "max_spins", None)
        if held is not None:
            self.max_spins: int = held

    def sample(self, model: IsingModel, *, shots: int = 256, seed: Seed = 0) -> Samples:
        """Draw configurations from the sampler and polish each.

        Args:
            model: fields (groups, models, spins) and couplings (groups, spins, spins).
            shots: configurations per model, at least 1.
            seed: an integer, or int64 (groups, models).

        Returns:
            One row per shot, all of the same weight, where the sampler counts shots; where its weights are
            probabilities, one row for each of its rows, with that row's weight.

        Raises:
            ValueError: what the sampler refuses.
        """
        drawn = self.sampler.sample(model, shots=shots, seed=seed)
        if self.sweeps == 0:
            return drawn
        spins, weights = drawn.spins, drawn.weights
        if drawn.shots is not None:
            spins, weights = _one_row_each(drawn, drawn.shots)
        seeds = derive_seeds(model_seeds(seed, model.groups, model.models, spins.device), _POLISH)
        rows = derive_seeds(seeds.unsqueeze(-1), torch.arange(spins.shape[2], device=spins.device))
        polished = sweep(model, spins, rows, before=self.sweeps).squeeze(3)
        return Samples(polished, weights, drawn.shots, {**drawn.diagnostics, "polish": self.sweeps})

    def probabilities(self, model: IsingModel) -> Tensor:
        """The law of the polished configurations, by the exact kernel.

        Args:
            model: fields (groups, models, spins) and couplings (groups, spins, spins).

        Returns:
            (groups, models, 2**spins) in the dtype of the sampler's probabilities.

        Raises:
            TypeError: the sampler does not know its law.
            ValueError: what the sampler refuses.
        """
        if not isinstance(self.sampler, KnownLaw):
            raise TypeError(f"{type(self.sampler).__name__} has no probabilities to polish; use its samples")
        return heat_bath(self.sampler.probabilities(model), model.detach(), self.sweeps)


def _one_row_each(samples: Samples, shots: int) -> tuple[Tensor, Tensor]:
    """Configurations that were counted, as often as they occurred, and their equal weights."""
    groups, models, _, n = samples.spins.shape
    occurrences = (samples.weights.double() * shots).round().long().flatten()
    spins = samples.spins.reshape(-1, n).repeat_interleave(occurrences, 0).reshape(groups, models, shots, n)
    return spins, samples.weights.new_full((groups, models, shots), 1 / shots)
