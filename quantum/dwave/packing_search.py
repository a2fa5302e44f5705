"""The search behind `packing`: complete graphs side by side on a chip. A program of its own, so that it can be limited.

    python packing_search.py FOLDER

reads FOLDER/problem.json and writes FOLDER/found.json; nothing else of this package is imported. Two searches take
turns on the qubits that are left. `_sweep` goes over the chip from one side to the other; around a qubit that is a
chain by itself, every other chain of one or two qubits has to touch its neighbours, so that a complete graph is a
clique among few candidates. `_windows` asks for the known cliques of Pegasus and Zephyr on small squares, and
drops the qubits that they do not need. On other graphs a general heuristic takes its place.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Chain = tuple[int, ...]
Ints = NDArray[np.int64]

_TRIES = 2
"""Cliques that are built around one qubit, of which the one with the fewest qubits is kept."""

_PATIENCE = 300
"""Qubits around which nothing fits before the sweep is given up, where it has found nothing yet."""

_LEAN = 10.0
"""Later candidates that a unit cell farther along the sweep is worth."""

_SLANT = 0.02
"""Of the sweep's front, so that places beside each other along it differ."""

_LARGER = 2
"""Unit cells by which a square may be wider than the smallest one."""

_OFFSETS = np.array([[2, 10, 6], [6, 2, 10]])
"""Where Pegasus' vertical and horizontal qubits begin, by groups of four lines."""

_SEARCHES = 5
"""Of the general heuristic, each with a seed of its own."""

_SECONDS = 60
"""Of one search by the general heuristic."""


class Chip:
    """The qubits that are free, numbered from zero, and what joins them.

    Args:
        problem: with `topology`, `shape`, `qubits` and `couplers`.
    """

    def __init__(self, problem: dict[str, Any]) -> None:
        from scipy.sparse import csr_array

        self.topology: str = problem["topology"]
        self.shape: list[int] = problem["shape"]
        self.qubits = np.unique(np.array(problem["qubits"], dtype=np.int64))
        ends = np.searchsorted(self.qubits, np.array(problem["couplers"], dtype=np.int64).reshape(-1, 2))
        both = np.concatenate([ends, ends[:, ::-1]])
        count = len(self.qubits)
        self.joined = csr_array((np.ones(len(both), dtype=np.float32), (both[:, 0], both[:, 1])), shape=(count, count))
        self.near: list[set[int]] = [set() for _ in range(count)]
        for i, j in both.tolist():
            self.near[i].add(j)
        self.free = np.ones(count, dtype=bool)
        self.degree = np.array([len(near) for near in self.near])
        self.line = self._line()

    def take(self, chains: list[Chain]) -> None:
        """Make qubits unavailable."""
        for qubit in (qubit for chain in chains for qubit in chain):
            self.free[qubit] = False
            for other in self.near[qubit]:
                self.near[other].discard(qubit)
                self.degree[other] -= 1

    def _line(self) -> NDArray[np.float64]:
        """Where qubits stand along the sweep, in unit cells."""
        if self.topology in ("pegasus", "zephyr"):
            if self.topology == "pegasus":
                u, w, k, z = np.unravel_index(self.qubits, (2, self.shape[0], 12, self.shape[0] - 1))
                across, along = w + k / 12, z + (_OFFSETS[u, k // 4] + 5.5) / 12
            else:
                rows, tile = self.shape
                u, w, k, j, z = np.unravel_index(self.qubits, (2, 2 * rows + 1, tile, 2, rows))
                across, along = (w + 0.9 * (k / tile - 0.4)) / 2, z + (j + 0.5) / 2
            x, y = np.where(u == 0, across, along), np.where(u == 0, along, across)
            return np.asarray(x + _SLANT * y, dtype=np.float64)
        line = np.full(len(self.qubits), -1.0)
        for start in range(len(line)):
            front, depth = ([start], 0.0) if line[start] < 0 else ([], 0.0)
            line[front] = depth
            while front:
                depth += 0.5
                front = sorted({j for i in front for j in self.near[i] if line[j] < 0})
                line[front] = depth
        return line


def search(problem: dict[str, Any]) -> list[list[list[int]]]:
    """Disjoint chains of complete graphs, copy after copy, in the chip's own numbers; none if not even one fits.

    Args:
        problem: with `spins`, at least 2, and what a `Chip` is made of.
    """
    spins: int = problem["spins"]
    chip = Chip(problem)
    copies = _sweep(chip, spins)
    if chip.topology in ("pegasus", "zephyr"):
        if spins > 4 or not copies:  # up to four, what is left has no copies of single qubits, or hardly any
            copies += _windows(chip, spins)
        if not copies:
            whole = _on_square(chip, spins, chip.shape[0], 0, 0)
            copies += [whole] if whole else []
    elif not copies:
        copies = _heuristic(chip, spins)
    return [[chip.qubits[sorted(chain)].tolist() for chain in copy] for copy in copies]


def _sweep(chip: Chip, spins: int) -> list[list[Chain]]:
    """Copies of chains of one or two qubits, at least one of them of one."""
    numbers = random.Random(0)
    copies: list[list[Chain]] = []
    open_ = np.ones(len(chip.qubits), dtype=bool)
    while copies or np.count_nonzero(~open_) < _PATIENCE:
        choice = np.flatnonzero(chip.free & open_ & (chip.degree >= spins - 1))
        if not len(choice):
            break
        centre = int(choice[np.argmin(chip.line[choice])])
        chains = _around(chip, centre, spins, numbers)
        if chains is None:
            open_[centre] = False
        else:
            chip.take(chains)
            copies.append(chains)
    return copies


def _around(chip: Chip, centre: int, spins: int, numbers: random.Random) -> list[Chain] | None:
    """Chains about one qubit: as few qubits as possible, as far behind the front as possible."""
    beside = sorted(chip.near[centre])
    pairs = {(min(i, j), max(i, j)) for i in beside for j in chip.near[i] if j != centre}
    chains: list[Chain] = [*((i,) for i in beside), *sorted(pairs)]
    chains, fits = _compatible(chip, chains, spins - 2)
    if len(chains) < spins - 1:
        return None
    cost = [float(chip.line[list(chain)].sum()) for chain in chains]
    single = (1 << sum(len(chain) == 1 for chain in chains)) - 1
    best, least = None, (np.inf, np.inf)
    for singles in (3,) if spins <= 4 else (3, 2, 1, 0):
        for _ in range(_TRIES):
            chosen = _clique(spins - 1, fits, cost, single, singles, numbers)
            if chosen is None:
                break
            size = (sum(len(chains[i]) for i in chosen), sum(cost[i] for i in chosen))
            if size < least:
                best, least = [(centre,), *(chains[i] for i in chosen)], size
        if best is not None:
            break
    return best


def _compatible(chip: Chip, chains: list[Chain], least: int) -> tuple[list[Chain], list[int]]:
    """Chains that fit so many others, and for each a bit for every one that is disjoint from it and coupled to it."""
    nodes = np.array(sorted({qubit for chain in chains for qubit in chain}), dtype=np.int64)
    lengths = [len(chain) for chain in chains]
    has = np.zeros((len(chains), len(nodes)), dtype=np.float32)
    flat = np.array([qubit for chain in chains for qubit in chain], dtype=np.int64)
    has[np.repeat(np.arange(len(chains)), lengths), np.searchsorted(nodes, flat)] = 1
    joined = chip.joined[nodes][:, nodes].toarray()
    fits = (has @ joined @ has.T > 0) & (has @ has.T == 0)
    kept = np.arange(len(chains))
    while not (enough := fits.sum(1) >= least).all():
        fits, kept = fits[enough][:, enough], kept[enough]
    bits = np.packbits(fits, axis=1, bitorder="little")
    return [chains[i] for i in kept], [int.from_bytes(row.tobytes(), "little") for row in bits]


def _clique(
    size: int, fits: list[int], cost: list[float], single: int, singles: int, numbers: random.Random
) -> list[int] | None:
    """Chains that all fit each other, always the one that leaves the most candidates; first so many of one qubit."""
    chosen: list[int] = []
    left = (1 << len(fits)) - 1
    while len(chosen) < size:
        if left.bit_count() < size - len(chosen):
            return None
        pool = left & single if len(chosen) < singles else (left & ~single or left)
        best, most = -1, -np.inf
        while pool:
            low = pool & -pool
            pool ^= low
            i = low.bit_length() - 1
            worth = (fits[i] & left).bit_count() - _LEAN * cost[i] + 0.5 * numbers.random()
            if worth > most:
                best, most = i, worth
        if best < 0:
            return None
        chosen.append(best)
        left &= fits[best]
    return chosen


def _windows(chip: Chip, spins: int) -> list[list[Chain]]:
    """Copies on squares of unit cells, the smallest that hold one and a little larger ones."""
    rows, copies = chip.shape[0], []
    least = -(-spins // 12) + 1 if chip.topology == "pegasus" else -(-(spins + 8) // 16)
    for size in range(max(least, 1), min(least + _LARGER, rows - 1) + 1):
        steps = (rows - size) * (1 if chip.topology == "pegasus" else 2) + 1
        for x in range(steps):
            for y in range(steps):
                while chains := _on_square(chip, spins, size, x, y):
                    chip.take(chains)
                    copies.append(chains)
    return copies


def _on_square(chip: Chip, spins: int, size: int, x: int, y: int) -> list[Chain] | None:
    """A copy on the free qubits of a square of unit cells, from what is known of cliques there."""
    from dwave.graphs import pegasus_graph, zephyr_graph
    from minorminer.busclique import busgraph_cache  # type: ignore[import-untyped]

    inside, number = _square(chip, size, x, y)
    inside, number = inside[chip.free[inside]], number[chip.free[inside]]
    if len(inside) < 2 * spins:
        return None
    name = dict(zip(inside.tolist(), number.tolist(), strict=True))
    back = {there: here for here, there in name.items()}
    edges = [(name[i], name[j]) for i in name for j in chip.near[i] if i < j and j in name]
    if chip.topology == "pegasus":
        graph = pegasus_graph(size, node_list=sorted(back), edge_list=edges)
    else:
        graph = zephyr_graph(size, chip.shape[1], node_list=sorted(back), edge_list=edges)
    # with its cache, all sizes are computed at once; without it, single sizes may take memory without bound
    found = busgraph_cache(graph, seed=0).find_clique_embedding(spins)
    return _prune(chip, [[back[qubit] for qubit in chain] for chain in found.values()]) if found else None


def _square(chip: Chip, size: int, x: int, y: int) -> tuple[Ints, Ints]:
    """Qubits of a square, x and y steps from the chip's corner, and their numbers on a chip of its size."""
    rows = chip.shape[0]
    if chip.topology == "pegasus":
        u, w, k, z = np.unravel_index(chip.qubits, (2, rows, 12, rows - 1))
        w, z = w - np.where(u == 0, x, y), z - np.where(u == 0, y, x)
        inside = np.flatnonzero((w >= 0) & (w < size) & (z >= 0) & (z < size - 1))
        number = np.ravel_multi_index((u[inside], w[inside], k[inside], z[inside]), (2, size, 12, size - 1))
    else:
        tile = chip.shape[1]
        u, w, k, j, z = np.unravel_index(chip.qubits, (2, 2 * rows + 1, tile, 2, rows))
        # along its line a qubit begins at 2z + j; half a unit cell farther the graph is the same
        w, begin = w - np.where(u == 0, x, y), 2 * z + j - np.where(u == 0, y, x)
        inside = np.flatnonzero((w >= 0) & (w <= 2 * size) & (begin >= 0) & (begin < 2 * size))
        u, w, k, begin = u[inside], w[inside], k[inside], begin[inside]
        number = np.ravel_multi_index((u, w, k, begin % 2, begin // 2), (2, 2 * size + 1, tile, 2, size))
    return inside, number


def _heuristic(chip: Chip, spins: int) -> list[list[Chain]]:
    """Copies by a general heuristic with fixed seeds, until it finds no more or its time is up."""
    from time import monotonic

    from minorminer import find_embedding  # type: ignore[import-untyped]

    pairs = [(i, j) for i in range(spins) for j in range(i)]
    copies: list[list[Chain]] = []
    end = monotonic() + _SECONDS
    while monotonic() < end:
        edges = [(i, j) for i in np.flatnonzero(chip.free).tolist() for j in chip.near[i] if i < j]
        found: dict[int, list[int]] = {}
        for seed in range(1 if copies else _SEARCHES):
            found = found or find_embedding(pairs, edges, random_seed=seed, timeout=_SECONDS)
        if not found:
            break
        copies.append(_prune(chip, [found[spin] for spin in range(spins)]))
        chip.take(copies[-1])
    return copies


def _prune(chip: Chip, chains: list[list[int]]) -> list[Chain]:
    """Chains without the qubits that they can do without."""
    chains = [sorted(chain) for chain in chains]
    owner = {qubit: spin for spin, chain in enumerate(chains) for qubit in chain}
    changed = True
    while changed:
        changed = False
        for spin, chain in enumerate(chains):
            for qubit in list(chain):
                rest = [other for other in chain if other != qubit]
                reached = {owner[j] for i in rest for j in chip.near[i] if j in owner}
                if rest and len(reached - {spin}) == len(chains) - 1 and _in_one_piece(chip, rest):
                    chain.remove(qubit)
                    del owner[qubit]
                    changed = True
    return [tuple(chain) for chain in chains]


def _in_one_piece(chip: Chip, chain: list[int]) -> bool:
    left, front = set(chain[1:]), [chain[0]]
    while front:
        found = chip.near[front.pop()] & left
        left -= found
        front += sorted(found)
    return not left


def main(folder: Path) -> None:
    """Read a problem, search, and write what was found.

    Args:
        folder: with problem.json; what libraries want to keep goes there, too.
    """
    import homebase  # type: ignore[import-untyped]

    problem = json.loads((folder / "problem.json").read_text())
    limit_memory(problem["memory"])
    # where the search for cliques keeps those of every graph that it sees
    homebase.user_data_dir = lambda *_, **__: str(folder)
    (folder / "found.json").write_text(json.dumps(search(problem)))


def limit_memory(most: int) -> None:
    """Make this process fail rather than take more.

    Args:
        most: bytes.
    """
    try:
        import resource
    except ImportError:  # a system without such limits
        return
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
