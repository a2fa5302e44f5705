"""Where the numbers of models stand among those of a chip: index arrays, made once for embeddings on a solver.

Several models may stand side by side, each on its own disjoint embedding ("copies"); a single one is the case of one.
A spin's field is shared equally by the qubits of its chain, a coupling by all couplers between two chains:

    lin_q = h_j / |chain_j|,   quad_c = J_jk / |couplers between j and k|,   −strength inside a chain

in the vendor's sign, which is ours with the sign flipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum.dwave.embedding import Embedding
from quantum.dwave.solver_limits import SolverLimits

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Layout:
    """Index arrays of copies of one size on one solver; make it with `lay_out`.

    Args:
        limits: of the solver.
        embeddings: of the copies, disjoint, with equally many spins.
        active: places of used qubits among the solver's, (active,), in its order.
        copy: of every used qubit, (active,).
        spin: likewise.
        share: 1/|chain| of every used qubit, (active,).
        couplers: how many couplers lie between used qubits; their order is the solver's.
        problem: places among these of couplers between chains of one copy, (problem,).
        problem_copy: of them, (problem,).
        problem_pair: spins j < k, (problem, 2).
        problem_share: one over the number of couplers that share the coupling, (problem,).
        chain: places of couplers inside chains.
        ends: places in `active` of every coupler's ends, (couplers, 2).
        by_chain: places in `active`, chain after chain, (active,).
        starts: where each chain begins in `by_chain`, (copies · spins,).
    """

    limits: SolverLimits
    embeddings: tuple[Embedding, ...]
    active: Ints
    copy: Ints
    spin: Ints
    share: Floats
    couplers: int
    problem: Ints
    problem_copy: Ints
    problem_pair: Ints
    problem_share: Floats
    chain: Ints
    ends: Ints
    by_chain: Ints
    starts: Ints

    @property
    def copies(self) -> int:
        """Models side by side."""
        return len(self.embeddings)

    @property
    def spins(self) -> int:
        """Of every model."""
        return self.embeddings[0].spins

    @property
    def longest_chain(self) -> int:
        """Qubits of the longest chain."""
        return max(embedding.longest for embedding in self.embeddings)

    def linear(self, h: Floats) -> Floats:
        """Biases of used qubits, (active,).

        Args:
            h: (copies, spins), in the vendor's sign.
        """
        biases: Floats = h[self.copy, self.spin] * self.share
        return biases

    def quadratic(self, J: Floats, strength: float) -> Floats:
        """Couplings between used qubits, (couplers,).

        Args:
            J: (copies, spins, spins), strictly upper triangular, in the vendor's sign.
            strength: of chains, above zero.
        """
        quad = np.zeros(self.couplers)
        quad[self.problem] = J[self.problem_copy, self.problem_pair[:, 0], self.problem_pair[:, 1]] * self.problem_share
        quad[self.chain] = -strength
        return quad


def lay_out(embeddings: Sequence[Embedding], limits: SolverLimits) -> Layout:
    """The index arrays of some embeddings.

    Args:
        embeddings: of the copies, each verified.
        limits: of the solver that they are for.

    Raises:
        ValueError: none, embeddings of unequal sizes, or two that share a qubit.
    """
    if not embeddings or len({embedding.spins for embedding in embeddings}) != 1:
        raise ValueError(f"embeddings have {[e.spins for e in embeddings]} spins; give some, all of one size")
    flat: list[tuple[int, int, int, float]] = [
        (qubit, copy, spin, 1 / len(chain))
        for copy, embedding in enumerate(embeddings)
        for spin, chain in enumerate(embedding.chains)
        for qubit in chain
    ]
    place = np.full(limits.num_qubits, -1)
    place[limits.qubits] = np.arange(len(limits.qubits))
    where = place[[qubit for qubit, *_ in flat]]
    if len(np.unique(where)) != len(where):
        raise ValueError("embeddings share a qubit; give disjoint ones")
    order = np.argsort(where)
    active, copy, spin = where[order], *(np.array([row[i] for row in flat])[order] for i in (1, 2))
    position = np.full(limits.num_qubits, -1)
    position[limits.qubits[active]] = np.arange(len(active))
    ends = position[limits.couplers]
    ends = ends[(ends >= 0).all(1)]
    by_chain = np.lexsort((spin, copy))
    lengths = [len(chain) for embedding in embeddings for chain in embedding.chains]
    copies, spins = copy[ends], np.sort(spin[ends], axis=1)
    same = copies[:, 0] == copies[:, 1]
    inside = same & (spins[:, 0] == spins[:, 1])
    problem = np.flatnonzero(same & ~inside)
    return Layout(
        limits=limits,
        embeddings=tuple(embeddings),
        active=active,
        copy=copy,
        spin=spin,
        share=np.array([row[3] for row in flat])[order],
        couplers=len(ends),
        problem=problem,
        problem_copy=copies[problem, 0],
        problem_pair=spins[problem],
        problem_share=_shares(copies[problem, 0], spins[problem]),
        chain=np.flatnonzero(inside),
        ends=ends,
        by_chain=by_chain,
        starts=np.cumsum([0, *lengths[:-1]]),
    )


def _shares(copy: Ints, pair: Ints) -> Floats:
    """One over how often the same copy and pair occur."""
    if not len(copy):
        return np.zeros(0)
    key = np.column_stack([copy, pair])
    _, which, count = np.unique(key, axis=0, return_inverse=True, return_counts=True)
    shares: Any = 1 / count[which.reshape(-1)]
    return np.asarray(shares, dtype=np.float64)
