"""Where the loopback server's samples come from: laws that are known exactly, one connected component at a time.

Qubits that nothing couples are independent, so every component is sampled by itself, however many stand on one chip:
many small models side by side cost what they cost alone. The vendor's h and J enter with their sign flipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from classical import ExactSampler, IsingModel, Sampler
from classical.random import derive_seeds
from quantum import AnnealSchedule, StatevectorSampler
from tests.loopback.problem import Programmed

FIELD_PER_FLUX = 2374.0
"""−h per Φ₀ of flux bias: D-Wave's own conversion at the freeze-out of Advantage_system4.1 (0.005 Φ₀ ↔ h = −11.9)."""

ENUMERATED = 18
"""Spins of a component up to which its law is summed directly; above, by tree decomposition."""


class Processor(Protocol):
    """What samples a programmed chip."""

    def __call__(self, programmed: Programmed, parameters: dict[str, Any], reads: int, seed: int) -> NDArray[np.int8]:
        """Spins of all reads, (reads, active), −1 and +1."""
        ...


@dataclass(frozen=True)
class Boltzmann:
    """Exact Boltzmann samples, P(s) ∝ exp(−β_h Σ (h − 2374 φ) s − β_J Σ J s s), φ being flux biases.

    Args:
        beta_field: β_h.
        beta_coupling: β_J.
    """

    beta_field: float = 1.0
    beta_coupling: float = 1.0

    def __call__(self, programmed: Programmed, parameters: dict[str, Any], reads: int, seed: int) -> NDArray[np.int8]:
        """Spins of all reads."""
        factors = self.beta_field, self.beta_coupling
        small, large = ExactSampler(), _tree_decomposition
        return _by_component(programmed, factors, reads, seed, lambda n: small if n <= ENUMERATED else large)


@dataclass(frozen=True)
class Annealed:
    """Samples of our own simulated anneal, by state vectors; flux biases act as static fields.

    Args:
        schedule: the anneal, or what makes it from a duration in nanoseconds.
        steps: Trotter steps.
        largest: most qubits of a component.
    """

    schedule: AnnealSchedule | Callable[[float], AnnealSchedule]
    steps: int
    largest: int = 14

    def __call__(self, programmed: Programmed, parameters: dict[str, Any], reads: int, seed: int) -> NDArray[np.int8]:
        """Spins of all reads."""
        schedule = self.schedule
        if not isinstance(schedule, AnnealSchedule):
            schedule = schedule(1000 * parameters["annealing_time"])
        sampler = StatevectorSampler(schedule, self.steps, "none", backend="torch")

        def choose(spins: int) -> Sampler:
            assert spins <= self.largest, f"a component has {spins} qubits; this simulation takes {self.largest}"
            return sampler

        return _by_component(programmed, (1.0, 1.0), reads, seed, choose)


_Draw = Callable[[IsingModel, int, torch.Tensor], NDArray[np.int8]]


def _by_component(
    programmed: Programmed,
    factors: tuple[float, float],
    reads: int,
    seed: int,
    choose: Callable[[int], Sampler | _Draw],
) -> NDArray[np.int8]:
    """Every component's spins, drawn together with the others of its size."""
    spins = np.zeros((reads, len(programmed.qubits)), dtype=np.int8)
    for places, model in _components(programmed, factors):
        # a component's numbers are its own: they do not depend on what else is on the chip
        labels = torch.from_numpy(programmed.qubits[places[:, 0]])[:, None]
        seeds = derive_seeds(seed, labels)
        sampler = choose(model.spins)
        if isinstance(sampler, Sampler):
            drawn = sampler.sample(model, shots=reads, seed=seeds).spins[:, 0].numpy()
        else:
            drawn = sampler(model, reads, seeds)
        spins[:, places.reshape(-1)] = drawn.transpose(1, 0, 2).reshape(reads, -1)
    return spins


def _components(programmed: Programmed, factors: tuple[float, float]) -> Iterator[tuple[NDArray[np.int64], IsingModel]]:
    """Places of qubits (components, spins) and models of them, for every size of components."""
    n = len(programmed.qubits)
    i, j = programmed.pairs.T
    _, member = connected_components(coo_matrix((np.ones(len(i)), (i, j)), shape=(n, n)), directed=False)
    order = np.argsort(member, kind="stable")
    sizes = np.bincount(member)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    inside = np.empty(n, dtype=np.int64)
    inside[order] = np.arange(n) - np.repeat(starts, sizes)
    h = -factors[0] * (programmed.h - FIELD_PER_FLUX * programmed.flux)
    for size in np.unique(sizes):
        which = np.flatnonzero(sizes == size)
        places = order[starts[which][:, None] + np.arange(size)]
        number = np.full(len(sizes), -1)
        number[which] = np.arange(len(which))
        J = np.zeros((len(which), size, size))
        mine = number[member[i]] >= 0
        low, high = np.sort(inside[programmed.pairs[mine]], axis=1).T
        np.add.at(J, (number[member[i[mine]]], low, high), -factors[1] * programmed.J[mine])
        yield places, IsingModel(torch.from_numpy(h[places])[:, None], torch.from_numpy(J))


def _tree_decomposition(model: IsingModel, reads: int, seeds: torch.Tensor) -> NDArray[np.int8]:
    """Exact samples of sparse components too large to enumerate, (components, reads, spins)."""
    import dimod
    from dwave.samplers import TreeDecompositionSampler

    drawn = np.empty((model.groups, reads, model.spins), dtype=np.int8)
    for group in range(model.groups):
        J = model.couplings[group].numpy()
        rows, columns = np.nonzero(J)
        pairs = (rows, columns, -J[rows, columns])
        bqm = dimod.BinaryQuadraticModel.from_numpy_vectors(-model.fields[group, 0].numpy(), pairs, 0.0, "SPIN")
        seed = int(seeds[group, 0]) % (2**31 - 1)
        answer = TreeDecompositionSampler().sample(bqm, num_reads=reads, seed=seed, marginals=False)
        column = {variable: place for place, variable in enumerate(answer.variables)}
        whole = np.repeat(answer.record.sample, answer.record.num_occurrences, axis=0)
        drawn[group] = whole[:, [column[spin] for spin in range(model.spins)]]
    return drawn
