"""Models side by side: whole, disjoint, the same again, and kept where they can be trusted."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import pytest

from quantum.dwave import packing
from quantum.dwave.embedding import Embedding, largest_clique
from quantum.dwave.layout import lay_out
from quantum.dwave.packing import pack, verified_copies
from quantum.dwave.solver_limits import SolverLimits
from quantum.jobs.errors import UnsuitableError
from tests.loopback import chip

Copies = Sequence[Embedding]


@dataclass(frozen=True)
class Found:
    """A search that several tests share.

    Args:
        limits: of the chip.
        copies: that were found.
        path: of the file that keeps them; not to be changed.
    """

    limits: SolverLimits
    copies: Copies
    path: Path


def limits_of(topology: str = "pegasus", size: int = 3, **options: Any) -> SolverLimits:
    definition = chip(topology, size, **options)
    identity = definition["identity"]

    class Solver:
        name = identity["name"]
        graph_id = identity["version"]["graph_id"]
        properties = definition["properties"]

    return SolverLimits.of(Solver())


def assert_complete(copies: Copies, spins: int, limits: SolverLimits) -> None:
    """By contracting every chain: what remains of each copy has to be a complete graph."""
    graph = networkx.Graph(limits.couplers.tolist())
    graph.add_nodes_from(limits.qubits.tolist())
    used = [qubit for copy in copies for chain in copy.chains for qubit in chain]
    assert len(used) == len(set(used))
    assert set(used) <= set(limits.qubits.tolist())
    for copy in copies:
        assert len(copy.chains) == spins
        assert all(networkx.is_connected(graph.subgraph(chain)) for chain in copy.chains)
        part = graph.subgraph([qubit for chain in copy.chains for qubit in chain])
        quotient = networkx.quotient_graph(part, [set(chain) for chain in copy.chains])
        assert quotient.number_of_edges() == spins * (spins - 1) // 2


@pytest.fixture
def no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a search was begun")

    monkeypatch.setattr(packing, "_found", refuse)


@pytest.fixture(scope="session")
def four(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What the search finds for 4 spins on Pegasus P2, and the file that keeps it."""
    limits, folder = limits_of("pegasus", 2), tmp_path_factory.mktemp("packings")
    copies = pack(4, limits, cache=folder)
    assert_complete(copies, 4, limits)
    (path,) = folder.iterdir()
    return Found(limits, copies, path)


@pytest.fixture
def searches(four: Found, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes that were searched for since; 4 spins on Pegasus P2 take no time."""
    sizes: list[int] = []
    search = packing._found
    known = [[list(chain) for chain in copy.chains] for copy in four.copies]

    def found(spins: int, limits: SolverLimits, *given: Any) -> list[list[list[int]]]:
        sizes.append(spins)
        whole = spins == 4 and np.array_equal(limits.couplers, four.limits.couplers)
        return known if whole else search(spins, limits, *given)

    monkeypatch.setattr(packing, "_found", found)
    return sizes


@pytest.mark.parametrize(
    ("topology", "size", "spins", "least", "longest"),
    [
        pytest.param("pegasus", 4, 4, 60, 1, marks=pytest.mark.slow),
        ("pegasus", 4, 8, 14, 3),
        pytest.param("pegasus", 4, 12, 4, 3, marks=pytest.mark.slow),
        pytest.param("pegasus", 4, 20, 2, 4, marks=pytest.mark.slow),
        ("zephyr", 3, 3, 90, 1),
        pytest.param("zephyr", 3, 9, 14, 2, marks=pytest.mark.slow),
        pytest.param("zephyr", 3, 16, 4, 4, marks=pytest.mark.slow),
    ],
)
def test_copies_are_complete_disjoint_and_as_many_as_before(
    tmp_path: Path, topology: str, size: int, spins: int, least: int, longest: int
) -> None:
    limits = limits_of(topology, size)
    copies = pack(spins, limits, cache=tmp_path)
    assert_complete(copies, spins, limits)
    assert len(copies) >= least
    assert max(copy.longest for copy in copies) <= longest
    assert lay_out(copies, limits).copies == len(copies)
    assert [copy.longest for copy in copies] == sorted(copy.longest for copy in copies)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("topology", "size", "spins", "least"),
    [
        ("pegasus", 16, 8, 288),
        ("pegasus", 16, 9, 260),
        ("pegasus", 16, 12, 133),
        ("pegasus", 16, 13, 105),
        ("pegasus", 16, 16, 84),
        ("zephyr", 12, 8, 221),
        ("zephyr", 12, 9, 192),
        ("zephyr", 12, 12, 129),
        ("zephyr", 12, 16, 85),
    ],
)
@pytest.mark.parametrize("missing", [0.0, 0.046])
def test_whole_processors_hold_as_many_as_a_greedy_search_of_known_cliques(
    tmp_path: Path, topology: str, size: int, spins: int, least: int, missing: float
) -> None:
    limits = limits_of(topology, size)
    gone = np.random.default_rng(0).choice(limits.qubits, int(missing * len(limits.qubits)), replace=False)
    limits = limits_of(topology, size, missing=gone.tolist())
    copies = pack(spins, limits, cache=tmp_path)
    assert_complete(copies, spins, limits)
    assert len(copies) >= (0.78 if missing else 1) * least
    begun = time.perf_counter()
    assert pack(spins, limits, cache=tmp_path) == copies
    assert time.perf_counter() - begun < 1


def test_single_spins_take_every_qubit(no_search: None, tmp_path: Path) -> None:
    limits = limits_of(size=2, missing=[7])
    copies = pack(1, limits, cache=tmp_path)
    assert_complete(copies, 1, limits)
    assert len(copies) == len(limits.qubits)


@pytest.mark.parametrize(("spins", "least"), [(6, 20), pytest.param(14, 3, marks=pytest.mark.slow)])
def test_missing_qubits_and_couplers_are_left_out(tmp_path: Path, spins: int, least: int) -> None:
    numbers = np.random.default_rng(0)
    limits = limits_of("zephyr", 3)
    limits = limits_of("zephyr", 3, missing=numbers.choice(limits.qubits, 20, replace=False).tolist())
    kept = numbers.random(len(limits.couplers)) > 0.03
    limits = replace(limits, couplers=limits.couplers[kept])
    copies = pack(spins, limits, cache=tmp_path)
    assert_complete(copies, spins, limits)
    assert len(copies) >= least


def test_the_same_graph_gives_the_same_copies_in_whatever_order_it_comes(four: Found, tmp_path: Path) -> None:
    limits = four.limits
    turned = replace(limits, qubits=limits.qubits[::-1], couplers=limits.couplers[::-1, ::-1])
    assert pack(4, turned, cache=tmp_path) == four.copies
    (path,) = tmp_path.iterdir()
    assert path.name == four.path.name
    assert path.read_bytes() == four.path.read_bytes()
    assert pack(4, limits, most=2, cache=tmp_path) == four.copies[:2]


def test_copies_are_kept_by_graph_and_size(four: Found, searches: list[int], tmp_path: Path) -> None:
    limits = four.limits
    assert pack(4, limits, cache=tmp_path) == four.copies
    assert pack(4, limits, cache=tmp_path) == four.copies
    assert searches == [4]
    pack(5, limits, cache=tmp_path)
    pack(4, replace(limits, graph_id="another"), cache=tmp_path)
    fewer = replace(limits, couplers=limits.couplers[1:])
    assert_complete(pack(4, fewer, cache=tmp_path), 4, fewer)
    assert searches == [4, 5, 4, 4]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"chains": 3}', "[" * 100_000, "\udcff", "empty", "edited", "of another size"]
)
def test_what_is_kept_is_never_trusted(four: Found, searches: list[int], tmp_path: Path, content: str) -> None:
    path, whole = tmp_path / four.path.name, four.path.read_bytes()
    shutil.copy(four.path, path)
    assert pack(4, four.limits, cache=tmp_path) == four.copies
    assert searches == []
    chains = json.loads(whole)["chains"]
    if content == "empty":
        content = json.dumps({"chains": [], "sha256": packing._checksum([])})
    if content == "edited":  # and signed again: chains that no coupler joins
        chains[0][0], chains[1][0] = chains[1][0], chains[0][0]
        content = json.dumps({"chains": chains, "sha256": packing._checksum(chains)})
    if content == "of another size":
        chains = [chain[:3] for chain in chains]
        content = json.dumps({"chains": chains, "sha256": packing._checksum(chains)})
    path.write_bytes(content.encode(errors="surrogateescape"))
    assert pack(4, four.limits, cache=tmp_path) == four.copies
    assert searches == [4]
    assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written_does_no_harm(four: Found, searches: list[int], tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    assert pack(4, four.limits, cache=blocked) == four.copies
    assert searches == [4]
    assert blocked.read_text() == "no folder"


def test_the_default_cache_is_the_users(
    four: Found, searches: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import platformdirs

    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    assert pack(4, four.limits) == four.copies
    assert searches == [4]
    assert len(list((tmp_path / "hybrid-attention" / "packings").iterdir())) == 1


def test_searches_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    limits = limits_of("pegasus", 2)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: pack(5, limits, cache=tmp_path), range(2)))
    assert results[0] == results[1]
    (path,) = tmp_path.iterdir()
    assert packing._kept(path, 5, limits) == list(results[0])


def test_limits_of_memory_and_time_are_kept(tmp_path: Path) -> None:
    limits = limits_of("zephyr", 3)
    with pytest.raises(UnsuitableError, match=r"failed with up to 0.0625 GiB of memory \(.+\); name an embedding"):
        pack(12, limits, cache=tmp_path, memory=1 << 26)
    with pytest.raises(UnsuitableError, match=r"took more than 0.01 s; name an embedding"):
        pack(12, limits, cache=tmp_path, seconds=0.01)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("topology", ["pegasus", pytest.param("zephyr", marks=pytest.mark.slow)])
def test_the_largest_size_fits_once_and_one_more_is_refused(tmp_path: Path, topology: str) -> None:
    limits = limits_of(topology, 2)
    spins = largest_clique(limits)
    assert_complete(pack(spins, limits, cache=tmp_path), spins, limits)
    with pytest.raises(ValueError, match=f"spins is {spins + 30} with all couplings, which does not fit"):
        pack(spins + 30, limits, cache=tmp_path)
    with pytest.raises(ValueError, match="spins is 0; give at least 1"):
        pack(0, limits, cache=tmp_path)
    with pytest.raises(ValueError, match="most is 0; give at least 1"):
        pack(2, limits, most=0, cache=tmp_path)


def test_other_topologies_are_searched(tmp_path: Path) -> None:
    limits = replace(limits_of("pegasus", 2), topology="unheard of", shape=())
    copies = pack(5, limits, cache=tmp_path)
    assert_complete(copies, 5, limits)
    assert len(copies) > 1
    one_coupler = replace(limits, couplers=limits.couplers[:1])
    assert_complete(pack(2, one_coupler, cache=tmp_path), 2, one_coupler)


def test_wrong_copies_are_named() -> None:
    limits = limits_of("pegasus", 2)
    i, j = limits.couplers[0].tolist()
    near = {q for pair in limits.couplers.tolist() if i in pair for q in pair}
    far = next(q for q in limits.qubits.tolist() if q not in near)
    assert verified_copies([[[i], [j]]], limits) == [Embedding(((i,), (j,)))]
    assert verified_copies([], limits) == []
    for copies, message in (
        ([[[i]], [[i]]], "copies share a qubit"),
        ([[[i]], [[i], [j]]], r"copies have \[1, 2\] spins"),
        ([[[i], [i]]], "for spins 0 and 1; use it once"),
        ([[[i], [far]]], "no coupler between"),
        ([[[i, far]]], "a chain in pieces"),
        ([[[i], []]], "an empty chain"),
        ([[[]]], "an empty chain"),
        ([[[-1]]], "which .* does not have"),
    ):
        with pytest.raises(ValueError, match=message):
            verified_copies(copies, limits)
