"""A sampler with what it declares, and one way of seeding it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from classical import IsingModel, Sampler, Samples
from classical.random import derive_seeds
from classical.sampler import Seed
from tests.contract.laws import Law, boltzmann


@dataclass(frozen=True)
class Contract:
    """A sampler that joins the suite.

    Args:
        name: what tests call it.
        make: makes it.
        law: the law that it declares to sample.
        exempt: names of checks that hold for no sampler of this law.
    """

    name: str
    make: Callable[[], Sampler]
    law: Law = boltzmann
    exempt: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """One sampler, seeded with one integer for a batch or with a seed for every model.

    Args:
        contract: the sampler and its law.
        own_seeds: whether every model gets a seed of its own.
        run: sets all random numbers of this case apart from those of other runs.
        shots: for statistical checks.
    """

    contract: Contract
    own_seeds: bool = False
    run: int = 0
    shots: int = 5_000
    sampler: Sampler = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sampler", self.contract.make())

    def seed(self, model: IsingModel, number: int = 0) -> Seed:
        """A seed for a batch; different numbers give different seeds."""
        if not self.own_seeds:
            return self.run * 1000 + number
        return self.model_seeds(model, number)

    def model_seeds(self, model: IsingModel, number: int = 0) -> Tensor:
        """A seed for every model, int64 (groups, models)."""
        return derive_seeds(self.run, number, torch.arange(model.groups)[:, None], torch.arange(model.models))

    def sample(self, model: IsingModel, number: int = 0, shots: int | None = None) -> Samples:
        """Samples of a batch."""
        return self.sampler.sample(model, shots=shots or self.shots, seed=self.seed(model, number))

    def law(self, model: IsingModel) -> Tensor:
        """The declared law."""
        return self.contract.law(model)


def batch(
    spins: int = 4,
    groups: int = 2,
    models: int = 2,
    field: float = 0.7,
    coupling: float = 0.35,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> IsingModel:
    """Random models, mild enough that every moment is seen many times with either sign in some thousand shots."""
    generator = torch.Generator().manual_seed(seed)
    h = field * torch.randn(groups, models, spins, generator=generator, dtype=torch.float64)
    J = coupling * torch.randn(groups, spins, spins, generator=generator, dtype=torch.float64)
    return IsingModel(h.to(dtype), J.triu(1).to(dtype))


def part(model: IsingModel, group: int, number: int) -> IsingModel:
    """One model of a batch, alone."""
    return IsingModel(model.fields[group, number][None, None], model.couplings[group][None])
