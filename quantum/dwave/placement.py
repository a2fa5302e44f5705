"""Where on a chip models of each size go: one embedding that was given, or as many copies as fit."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from classical.ising import IsingModel
from classical.sampler import require_spins
from quantum.dwave.embedding import Embedding, find_embedding, largest_clique, verified
from quantum.dwave.layout import Layout, lay_out
from quantum.dwave.solver_limits import SolverLimits


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
        self._layouts: dict[tuple[int, int], Layout] = {}
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

    def layout(self, spins: int, copies: int = 1) -> Layout:
        """The first so many places, as index arrays."""
        if (spins, copies) not in self._layouts:
            self._layouts[spins, copies] = lay_out(self.embeddings(spins)[:copies], self.limits)
        return self._layouts[spins, copies]

    def shares(self, spins: int, models: int) -> list[int]:
        """How many models go into each submission: as equal as they can be, so that few layouts are needed."""
        count = -(-models // len(self.embeddings(spins)))
        return [models // count + (number < models % count) for number in range(count)]

    def _placed(self, spins: int) -> tuple[Embedding, ...]:
        if self._given is not None:
            # the spin that stands for fields has the last chain, whatever the model's size
            chains = self._given.chains[:spins] + self._given.chains[self._given.spins - self.extra :]
            return (verified(chains, self.limits),)
        if self.copies == 1:
            return (find_embedding(spins + self.extra, self.limits),)
        from quantum.dwave.packing import pack

        return pack(spins + self.extra, self.limits)[: self.copies]
