"""Samplers for tests: perfect samples that count the calls, aggregated rows, and whole laws as weights."""

import numpy as np
import torch
from enumeration import law

from classical import ExactSampler, Samples


class PerfectSampler:
    """Independent Boltzmann samples, without the closed form; remembers how often and with what it was called."""

    def __init__(self):
        self.calls = []

    def sample(self, model, *, shots, seed):
        self.calls.append((model, shots, seed))
        return ExactSampler().sample(model, shots=shots, seed=seed)


class AggregatedSampler(PerfectSampler):
    """The same shots with equal configurations merged into one row each, and at least one row of weight 0."""

    def sample(self, model, *, shots, seed):
        drawn = super().sample(model, shots=shots, seed=seed)
        groups, models, _, spins = drawn.spins.shape
        width = shots + 1  # always at least one row of padding
        rows = torch.ones(groups, models, width, spins, dtype=torch.int8)
        weights = torch.zeros(groups, models, width, dtype=drawn.weights.dtype)
        for g in range(groups):
            for m in range(models):
                distinct, occurrences = torch.unique(drawn.spins[g, m], dim=0, return_counts=True)
                rows[g, m, : len(distinct)] = distinct
                weights[g, m, : len(distinct)] = occurrences.to(weights.dtype) / shots
        return Samples(rows, weights, shots)


class LawSampler:
    """Every configuration once, weighted by its probability: no noise, and no closed-form moments."""

    def __init__(self):
        self.sizes = []

    def sample(self, model, *, shots, seed):
        del shots, seed
        self.sizes.append((model.groups, model.models, model.spins))
        spins = np.empty((model.groups, model.models, 2**model.spins, model.spins), dtype=np.int8)
        weights = np.empty(spins.shape[:3])
        for g in range(model.groups):
            for m in range(model.models):
                spins[g, m], weights[g, m] = law(model.fields[g, m].numpy(), model.couplings[g].numpy())
        return Samples(torch.from_numpy(spins), torch.from_numpy(weights).to(model.fields.dtype), None)


class PoisonedSampler(PerfectSampler):
    """Perfect samples until some number of calls, then weights that are not numbers."""

    def __init__(self, good_calls):
        super().__init__()
        self.good_calls = good_calls

    def sample(self, model, *, shots, seed):
        drawn = super().sample(model, shots=shots, seed=seed)
        if len(self.calls) <= self.good_calls:
            return drawn
        return Samples(drawn.spins, torch.full_like(drawn.weights, torch.nan), shots)
