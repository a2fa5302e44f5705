"""Where on a chip models of each size go: one embedding that was given, or as many copies as fit."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from classical.ising import IsingModel
from classical.sampler import require_spins
from quantum.dwave.embedding import Embedding, find_embedding, largest_clique, verified
from quantum.dwave.layout import Layout, lay_out
from quantum.dwave.solver_limits import SolverLimits

LEAST_OF_A_KIND = 4
"""Copies below which a kind of them is not worth temperatures of its own."""


class Placement:
    """Layouts of models on one solver, each made once.

    Args:
        limits: of the solver.
        extra: spins that stand for the direction of fields, 0 or 1.
        embedding: chains of qubits for every spin, and for the extra one last; None packs as many as fit.
        copies: most models side by side; None for as many as fit.

    Raises:
        ValueError: an embedding that is none, or copies below 1 or of an embedding that is given once.
    """

    def __init__(
        self,
        limits: SolverLimits,
        extra: int,
        embedding: Sequence[Sequence[int]] | None = None,
        copies: int | None = None,
    ) -> None:
        if copies is not None and (isinstance(copies, bool) or not isinstance(copies, int) or copies < 1):
            raise ValueError(f"copies is {copies!r}; give an integer of at least 1, or None for as many as fit")
        if embedding is not None and copies not in (None, 1):
            raise ValueError(f"copies is {copies}, but one embedding was given; leave either out")
        self.limits, self.extra, self.copies = limits, extra, copies
        self._given = None if embedding is None else verified(embedding, limits)
        self._embeddings: dict[int, tuple[Embedding, ...]] = {}
        self._layouts: dict[tuple[int, tuple[int, ...]], Layout] = {}
        self._largest: int | None = None

    @property
    def max_spins(self) -> int:
        """Most spins of a model."""
        if self._largest is None:
            self._largest = largest_clique(self.limits) if self._given is None else self._given.spins
        return self._largest - self.extra

    def require(self, spins: int) -> None:
        """Refuse models of more spins than fit.

        Raises:
            ValueError: with the number that does.
        """
        # the largest clique takes a search of the whole graph; what is placed already needs none
        if spins in self._embeddings:
            return
        blank = IsingModel(torch.zeros(1, 1, spins), torch.zeros(1, spins, spins))
        require_spins(blank, self.max_spins, f"DWaveSampler on {self.limits.name}", "choose a larger processor")

    def embeddings(self, spins: int) -> tuple[Embedding, ...]:
        """Disjoint places for models of so many spins, the extra one included in each."""
        if spins not in self._embeddings:
            self._embeddings[spins] = self._placed(spins)
        return self._embeddings[spins]

    def kinds(self, spins: int) -> list[int]:
        """Which copies are alike: a number for each, from 0, the same where all chains have the same lengths.

        A chain answers more slowly than a qubit, so that copies of other chains sample at another temperature.
        """
        lengths = [tuple(map(len, one.chains)) for one in self.embeddings(spins)]
        known = {one: number for number, one in enumerate(dict.fromkeys(lengths))}
        return [known[one] for one in lengths]

    def layout(self, spins: int, copies: tuple[int, ...]) -> Layout:
        """Some places, by their numbers, as index arrays."""
        if (spins, copies) not in self._layouts:
            places = self.embeddings(spins)
            self._layouts[spins, copies] = lay_out([places[copy] for copy in copies], self.limits)
        return self._layouts[spins, copies]

    def shares(self, spins: int, models: int) -> list[tuple[int, ...]]:
        """Copies that each submission uses for its models, as equally many as can be: few layouts are needed then."""
        count = -(-models // len(self.embeddings(spins)))
        return [tuple(range(models // count + (number < models % count))) for number in range(count)]

    def shares_on(self, spins: int, kinds: Sequence[int]) -> list[tuple[int, ...]]:
        """Copies for models in their order, each of the kind that is asked for, in as few submissions as can be.

        Args:
            spins: of the models.
            kinds: of the copy for each model.
        """
        own = self.kinds(spins)
        found: list[list[int]] = []
        for kind in kinds:
            free = [copy for copy, one in enumerate(own) if one == kind and not (found and copy in found[-1])]
            if not found or not free:
                found.append([])
                free = [copy for copy, one in enumerate(own) if one == kind]
            found[-1].append(free[0])
        return [tuple(copies) for copies in found]

    def _placed(self, spins: int) -> tuple[Embedding, ...]:
        if self._given is not None:
            # the spin that stands for fields has the last chain, whatever the model's size
            chains = self._given.chains[:spins] + self._given.chains[self._given.spins - self.extra :]
            return (verified(chains, self.limits),)
        if self.copies == 1:
            return (find_embedding(spins + self.extra, self.limits),)
        from quantum.dwave.packing import pack

        return _alike(pack(spins + self.extra, self.limits))[: self.copies]


def _alike(packed: Sequence[Embedding]) -> tuple[Embedding, ...]:
    """Copies by kind, those with the shortest chains first, and without kinds of very few.

    Every copy's chains are put in the order of their lengths, so that spin j has as long a chain in all copies of a
    kind. The kind with most copies stays in any case.
    """
    groups: dict[tuple[int, ...], list[Embedding]] = {}
    for one in packed:
        ordered = Embedding(tuple(sorted(one.chains, key=lambda chain: (len(chain), chain))))
        groups.setdefault(tuple(map(len, ordered.chains)), []).append(ordered)
    most = max(len(group) for group in groups.values())
    kept = sorted(key for key, group in groups.items() if len(group) >= min(LEAST_OF_A_KIND, most))
    kept.sort(key=sum)
    return tuple(one for key in kept for one in groups[key])
