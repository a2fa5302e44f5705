"""Many small models side by side: disjoint embeddings of complete graphs on one chip, found once and always verified.

The search is `packing_search`, in a process of its own with limits on its memory and time; what it finds is kept on
the disk under a digest of the working graph.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from quantum.dwave.embedding import Embedding, verified
from quantum.dwave.solver_limits import SolverLimits
from quantum.files import write_bytes
from quantum.jobs.errors import UnsuitableError

_VERSION = 1
"""Of the search; another one finds other embeddings."""

_MEMORY = 4 << 30
"""Bytes of address space that the search may take."""

_SECONDS = 600.0
"""That the search may take."""


def pack(
    spins: int,
    limits: SolverLimits,
    *,
    most: int | None = None,
    cache: Path | None = None,
    memory: int = _MEMORY,
    seconds: float = _SECONDS,
) -> tuple[Embedding, ...]:
    """Disjoint embeddings of a complete graph side by side, the same for the same graph, shortest chains first.

    Args:
        spins: of each, at least 1.
        limits: of the solver.
        most: so many at most; by default all that were found to fit.
        cache: the folder that keeps what was found; by default one in the user's cache folder.
        memory: bytes that the search may take.
        seconds: likewise.

    Raises:
        ValueError: a number of spins or copies below 1, or more spins than were found to fit.
        UnsuitableError: a search that ran out of its memory or time.
    """
    if spins < 1:
        raise ValueError(f"spins is {spins}; give at least 1")
    if most is not None and most < 1:
        raise ValueError(f"most is {most}; give at least 1, or None for all that fit")
    if limits.topology == "complete":
        qubits = np.sort(limits.qubits).tolist()
        starts = range(0, len(qubits) - spins + 1, spins)
        copies = [[[qubit] for qubit in qubits[start : start + spins]] for start in starts]
        if copies:
            return tuple(verified_copies(copies, limits)[:most])
    if spins == 1:
        return tuple(Embedding(((qubit,),)) for qubit in np.sort(limits.qubits).tolist())[:most]
    path = _folder(cache) / f"{_digest(spins, limits)}.json"
    packed = _kept(path, spins, limits)
    if packed is None:
        copies = _found(spins, limits, memory, seconds)
        if not copies:
            raise ValueError(
                f"spins is {spins} with all couplings, which does not fit {limits.name}; use fewer spins, or name an "
                "embedding"
            )
        packed = sorted(verified_copies(copies, limits), key=lambda copy: (copy.longest, copy.qubits, copy.chains))
        _keep(path, packed)
    return tuple(packed[:most])


def verified_copies(copies: Sequence[Sequence[Sequence[int]]], limits: SolverLimits) -> list[Embedding]:
    """Embeddings that are whole and disjoint, checked all at once, or a word about why they are not.

    Args:
        copies: the chains of each, as many in all of them.
        limits: of the solver.

    Raises:
        ValueError: unequal sizes, a qubit of two copies, or whatever `verified` finds wrong with one.
    """
    spins = len(copies[0]) if copies else 0
    if any(len(chains) != spins for chains in copies):
        raise ValueError(f"copies have {sorted({len(chains) for chains in copies})} spins; give all of one size")
    embeddings = [Embedding(tuple(tuple(int(qubit) for qubit in chain) for chain in chains)) for chains in copies]
    if not embeddings:
        return []
    every = [chain for embedding in embeddings for chain in embedding.chains]
    qubits = np.array([qubit for chain in every for qubit in chain], dtype=np.int64)
    chain = np.repeat(np.arange(len(every)), [len(chain) for chain in every])
    known = bool(len(qubits)) and all(every) and bool(np.isin(qubits, limits.qubits).all())
    if not known or len(np.unique(qubits)) < len(qubits) or not _whole(qubits, chain, spins, limits):
        for embedding in embeddings:
            verified(embedding.chains, limits)
        raise ValueError("copies share a qubit; give disjoint ones")
    return embeddings


def _whole(qubits: Any, chain: Any, spins: int, limits: SolverLimits) -> bool:
    """Whether chains of working qubits, each used once, are connected and all those of a copy are coupled."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    owner, place = np.full(limits.num_qubits, -1), np.full(limits.num_qubits, -1)
    owner[qubits], place[qubits] = chain, np.arange(len(qubits))
    ends = limits.couplers[(owner[limits.couplers] >= 0).all(1)]
    pairs = np.sort(owner[ends], axis=1)
    inside = pairs[:, 0] == pairs[:, 1]
    between = pairs[~inside & (pairs[:, 0] // spins == pairs[:, 1] // spins)]
    copies = (int(chain[-1]) + 1) // spins
    if len(np.unique(between, axis=0)) < copies * spins * (spins - 1) // 2:
        return False
    first, second = place[ends[inside]].T
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(len(qubits), len(qubits)))
    pieces, _ = connected_components(graph, directed=False)
    return bool(pieces == copies * spins)


def _digest(spins: int, limits: SolverLimits) -> str:
    """Of all that decides what is found, whatever the order of qubits and couplers."""
    couplers = np.sort(limits.couplers, axis=1)
    head = [_VERSION, spins, limits.topology, list(limits.shape), limits.graph_id, limits.num_qubits]
    digest = hashlib.sha256(json.dumps(head).encode())
    digest.update(np.sort(limits.qubits).tobytes())
    digest.update(couplers[np.lexsort((couplers[:, 1], couplers[:, 0]))].tobytes())
    return digest.hexdigest()[:40]


def _folder(cache: Path | None) -> Path:
    if cache is not None:
        return cache
    import platformdirs

    return Path(platformdirs.user_cache_dir("hybrid-attention")) / "packings"


def _kept(path: Path, spins: int, limits: SolverLimits) -> list[Embedding] | None:
    """What a file of the cache holds, if it is whole and right."""
    try:
        data = json.loads(path.read_bytes())
        chains = data["chains"]
        if data["sha256"] != _checksum(chains) or not chains or len(chains[0]) != spins:
            return None
        return verified_copies(chains, limits)
    except (OSError, ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError):
        return None


def _keep(path: Path, packed: list[Embedding]) -> None:
    """Write a file of the cache; where that is not possible, it is computed again the next time."""
    chains = [embedding.chains for embedding in packed]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, json.dumps({"sha256": _checksum(chains), "chains": chains}).encode())
    except OSError:
        return


def _checksum(chains: Any) -> str:
    return hashlib.sha256(json.dumps(chains).encode()).hexdigest()


def _found(spins: int, limits: SolverLimits, memory: int, seconds: float) -> list[list[list[int]]]:
    """What the search finds, in a process of its own."""
    problem = {
        "spins": spins,
        "topology": limits.topology,
        "shape": list(limits.shape),
        "qubits": np.sort(limits.qubits).tolist(),
        "couplers": np.unique(np.sort(limits.couplers, axis=1), axis=0).tolist(),
        "memory": memory,
    }
    wanted = f"the search for copies of {spins} spins on {limits.name}"
    help_ = "name an embedding, use fewer spins, or allow it more"
    with TemporaryDirectory(prefix="packing-") as folder:
        (Path(folder) / "problem.json").write_text(json.dumps(problem))
        # every thread of a linear algebra library reserves memory, and matrices are small
        single = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        environment = {**os.environ, **single, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        program = [sys.executable, "-P", str(Path(__file__).with_name("packing_search.py")), folder]
        try:
            done = subprocess.run(
                program, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            raise UnsuitableError(f"{wanted} took more than {seconds:g} s; {help_}") from None
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
            raise UnsuitableError(
                f"{wanted} failed with up to {memory / 2**30:.3g} GiB of memory ({last[0]}); {help_} memory"
            )
        copies: list[list[list[int]]] = json.loads((Path(folder) / "found.json").read_text())
        return copies
