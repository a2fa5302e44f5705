"""Spins as chains of qubits: complete graphs on a chip's own graph, found once and always verified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantum.checks import positive_number
from quantum.dwave.solver_limits import SolverLimits

_TRIES = 5
"""Of the heuristic search, where a chip's graph is none that cliques are known for."""


@dataclass(frozen=True)
class Embedding:
    """Chains of qubits, one for each spin, such that every two of them are coupled.

    Args:
        chains: qubits of every spin.
    """

    chains: tuple[tuple[int, ...], ...]

    @property
    def spins(self) -> int:
        """How many chains there are."""
        return len(self.chains)

    @property
    def longest(self) -> int:
        """Qubits of the longest chain."""
        return max(map(len, self.chains))

    @property
    def qubits(self) -> int:
        """Qubits in all."""
        return sum(map(len, self.chains))


def verified(chains: Sequence[Sequence[int]], limits: SolverLimits) -> Embedding:
    """Chains that embed a complete graph on a solver, or a word about why they do not.

    Args:
        chains: qubits of every spin.
        limits: of the solver.

    Raises:
        ValueError: an empty chain, a qubit that does not work or is used twice, a chain in pieces, or two chains that
            no coupler joins.
    """
    embedding = Embedding(tuple(tuple(int(qubit) for qubit in chain) for chain in chains))
    if not embedding.spins or not all(embedding.chains):
        raise ValueError("embedding has an empty chain; give at least one qubit for every spin")
    owner = np.full(limits.num_qubits, -1)
    works = set(limits.qubits.tolist())
    for spin, chain in enumerate(embedding.chains):
        for qubit in chain:
            if qubit not in works:
                raise ValueError(f"embedding uses qubit {qubit}, which {limits.name} does not have; leave it out")
            if owner[qubit] >= 0:
                raise ValueError(f"embedding uses qubit {qubit} for spins {owner[qubit]} and {spin}; use it once")
            owner[qubit] = spin
    first, second = owner[limits.couplers].T
    used = (first >= 0) & (second >= 0)
    joined = np.eye(embedding.spins, dtype=bool)
    joined[first[used], second[used]] = joined[second[used], first[used]] = True
    if not joined.all():
        i, j = np.argwhere(~joined)[0]
        raise ValueError(f"embedding has no coupler between the chains of spins {i} and {j}; choose other chains")
    inside = limits.couplers[used & (first == second)]
    for spin, chain in enumerate(embedding.chains):
        if not _connected(chain, inside[owner[inside[:, 0]] == spin]):
            raise ValueError(f"embedding has a chain in pieces, {list(chain)} of spin {spin}; couple all its qubits")
    return embedding


def find_embedding(spins: int, limits: SolverLimits) -> Embedding:
    """Chains for so many spins that are all coupled, the same for the same graph.

    Args:
        spins: at least 1.
        limits: of the solver.

    Raises:
        ValueError: more spins than were found to fit.
    """
    if spins == 1:
        return verified([limits.qubits[:1].tolist()], limits)
    graph = _graph(limits)
    if "family" in graph.graph:
        from minorminer.busclique import busgraph_cache  # type: ignore[import-untyped]

        # with its cache, all sizes are computed at once; without it, single sizes may take memory without bound
        chains = busgraph_cache(graph, seed=0).find_clique_embedding(spins)
    else:
        chains = _searched(spins, graph)
    if not chains:
        raise ValueError(
            f"spins is {spins} with all couplings, which does not fit {limits.name}; use fewer spins, or name an "
            "embedding"
        )
    return verified([chains[spin] for spin in range(spins)], limits)


def largest_clique(limits: SolverLimits) -> int:
    """How many spins that are all coupled fit a solver.

    Args:
        limits: of the solver.
    """
    graph = _graph(limits)
    if "family" in graph.graph:
        from minorminer.busclique import busgraph_cache

        return max(1, len(busgraph_cache(graph, seed=0).largest_clique()))
    fits = 1
    while fits < len(limits.qubits) and _searched(fits + 1, graph):
        fits += 1
    return fits


def choose_chain_strength(strength: float | None, limits: SolverLimits) -> float:
    """The ferromagnetic coupling inside chains, if the solver takes it.

    Args:
        strength: above zero; by default the strongest of the solver's `j_range`, beyond which chains would need flux
            biases of their own.
        limits: of the solver.

    Raises:
        ValueError: not above zero, or stronger than the solver takes.
    """
    if strength is None:
        return -limits.j_range[0]
    strength = positive_number("chain_strength", strength)
    if strength > -limits.extended_j_range[0]:
        raise ValueError(
            f"chain_strength is {strength:g}, but {limits.name} takes at most {-limits.extended_j_range[0]:g}"
        )
    return strength


def _graph(limits: SolverLimits) -> Any:
    """The working graph, with what the search for cliques knows of its topology."""
    import networkx  # type: ignore[import-untyped]
    from dwave.graphs import pegasus_graph, zephyr_graph

    nodes, edges = limits.qubits.tolist(), limits.couplers.tolist()
    if limits.topology == "pegasus":
        return pegasus_graph(limits.shape[0], node_list=nodes, edge_list=edges)
    if limits.topology == "zephyr":
        return zephyr_graph(*limits.shape, node_list=nodes, edge_list=edges)
    graph = networkx.Graph(edges)
    graph.add_nodes_from(nodes)
    return graph


def _searched(spins: int, graph: Any) -> dict[int, list[int]]:
    """Chains by a heuristic with fixed seeds, or none."""
    from minorminer import find_embedding as search  # type: ignore[import-untyped]

    pairs = [(i, j) for i in range(spins) for j in range(i)]
    for seed in range(_TRIES):
        if chains := search(pairs, list(graph.edges), random_seed=seed):
            return dict(chains)
    return {}


def _connected(chain: tuple[int, ...], couplers: Any) -> bool:
    reached, left = {chain[0]}, couplers.tolist()
    while len(reached) < len(chain):
        found = {qubit for pair in left if reached & set(pair) for qubit in pair}
        if found <= reached:
            return False
        reached |= found
    return True
