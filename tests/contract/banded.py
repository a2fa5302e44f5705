"""The banded sampler on the suite's models, which couple every spin to every other."""

from __future__ import annotations

from dataclasses import dataclass

from classical import BandedSampler, IsingModel, Samples
from classical.sampler import Seed


@dataclass(frozen=True)
class FullBand:
    """`BandedSampler` with the widest band that each model has, for it refuses a wider one."""

    def sample(self, model: IsingModel, *, shots: int = 256, seed: Seed = 0) -> Samples:
        """Samples of that sampler."""
        return BandedSampler(max(1, model.spins - 1)).sample(model, shots=shots, seed=seed)
