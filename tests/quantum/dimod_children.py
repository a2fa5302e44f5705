"""dimod samplers for tests: Boltzmann's law in the form that is easiest to misread, and answers that are wrong."""

from __future__ import annotations

from typing import Any

import dimod
import numpy as np
import torch

from classical import IsingModel


class HistogramSampler(dimod.Sampler):
    """Boltzmann samples of the bqm's own energies, by enumeration, answered as a device may answer them.

    Every configuration comes once, with how often it occurred; rows and variables are in no order; values are bits;
    and the energy has an offset. It remembers what it was asked.
    """

    parameters = {"num_reads": [], "seed": [], "sweeps": []}  # noqa: RUF012  dimod's own samplers have such
    properties: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.problems: list[dimod.BinaryQuadraticModel] = []
        self.calls: list[dict[str, Any]] = []

    def sample(self, bqm: dimod.BinaryQuadraticModel, **keywords: Any) -> dimod.SampleSet:
        self.problems.append(bqm)
        self.calls.append(keywords)
        random = np.random.default_rng(keywords["seed"])
        labels = list(bqm.variables)
        labels = [labels[i] for i in random.permutation(len(labels))]
        bits = np.array(list(np.ndindex(*(2,) * len(labels))), dtype=np.int8)
        energy = bqm.energies((2 * bits - 1, labels))
        weight = np.exp(energy.min() - energy)
        counts = random.multinomial(keywords["num_reads"], weight / weight.sum())
        seen = random.permutation(np.flatnonzero(counts))
        return dimod.SampleSet.from_samples(
            (bits[seen], labels),
            "BINARY",
            energy=energy[seen],
            num_occurrences=counts[seen],
            info={"labels": labels},
            sort_labels=False,
        )


class ScriptedSampler(dimod.Sampler):
    """Answers the same whatever it is asked, and takes only the keywords that it is told to take."""

    def __init__(self, answer: Any, takes: tuple[str, ...] = ("num_reads",)) -> None:
        self.answer, self.takes = answer, takes
        self.calls: list[dict[str, Any]] = []

    @property
    def parameters(self) -> dict[str, Any]:
        return {name: [] for name in self.takes}

    @property
    def properties(self) -> dict[str, Any]:
        return {}

    def sample(self, bqm: dimod.BinaryQuadraticModel, **keywords: Any) -> Any:
        self.calls.append(keywords)
        return self.answer


def model_of(h: list[float], J: dict[tuple[int, int], float]) -> IsingModel:
    """One model, float64."""
    couplings = torch.zeros(1, len(h), len(h), dtype=torch.float64)
    for (j, k), value in J.items():
        couplings[0, j, k] = value
    return IsingModel(torch.tensor([[h]], dtype=torch.float64), couplings)
