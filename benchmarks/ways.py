"""The samplers that benchmarks compare, by name, each with its law where that can be computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from classical import (
    GhostSpin,
    GibbsSampler,
    IsingModel,
    MeanFieldSampler,
    PerfectSamples,
    Polished,
    ProductSampler,
    Sampler,
    heat_bath,
)
from quantum import AerSampler, AnnealSchedule, DimodSampler, StatevectorSampler, boltzmann_annealing

DURATION, STEPS = 6.0, 12
"""Of the linear anneals, as on the command line."""

Law = Callable[[IsingModel], Tensor]


@dataclass(frozen=True)
class Way:
    """A sampler to compare.

    Args:
        name: in tables and figures.
        sampler: itself.
        law: probabilities of all configurations, (groups, models, 2**spins); None where it is not known.
        share: of a batch that it is timed on, for those that are slow.
    """

    name: str
    sampler: Sampler
    law: Law | None
    share: int = 1


def ways() -> list[Way]:
    """All of them."""
    from dwave.samplers import SimulatedAnnealingSampler

    linear = AnnealSchedule.linear(DURATION)
    anneal, gibbs, product = StatevectorSampler(linear, STEPS), GibbsSampler(), ProductSampler()
    designed = {steps: StatevectorSampler(AnnealSchedule.preset(steps)) for steps in (8, 16)}
    ghost, polished = GhostSpin(anneal), Polished(anneal, 1)
    long = Polished(designed[8], 1)
    annealed = DimodSampler(SimulatedAnnealingSampler(), parameters=boltzmann_annealing(100))
    mean_field = MeanFieldSampler()
    return [
        Way("exact", PerfectSamples(), None),
        Way("Gibbs, 16 chains", gibbs, lambda m: heat_bath(product.probabilities(m), m, gibbs.burn_in)),
        Way("mean field", mean_field, mean_field.probabilities),
        Way("product law", product, product.probabilities),
        Way("linear two-beta", anneal, anneal.probabilities),
        Way("linear two-beta, polished", polished, polished.probabilities),
        Way("linear, ghost spin", ghost, ghost.probabilities),
        Way("designed K=8", designed[8], designed[8].probabilities),
        Way("designed K=8, polished", long, long.probabilities),
        Way("designed K=16", designed[16], designed[16].probabilities),
        Way("Aer, linear two-beta", AerSampler(linear, STEPS, threads=1), anneal.probabilities, 8),
        Way("dimod simulated annealing", annealed, None, 64),
    ]


def random_models(spins: int, groups: int, models: int, seed: int = 0) -> IsingModel:
    """h ~ N(0, 1), J ~ N(0, 1/n), float32."""
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(groups, models, spins, generator=generator)
    J = torch.randn(groups, spins, spins, generator=generator) * spins**-0.5
    return IsingModel(h, J.triu(1))
