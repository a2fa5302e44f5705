"""Encoding and decoding against those of D-Wave's client, for one model and for several side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dwave.cloud.coders import decode_qp_numpy, encode_problem_as_qp

from quantum.dwave.anneal import Anneal
from quantum.dwave.decode import decode
from quantum.dwave.embedding import Embedding, find_embedding, largest_clique, verified
from quantum.dwave.encode import Run, Submission, encode
from quantum.dwave.layout import Layout, lay_out
from quantum.dwave.solver_limits import SolverLimits
from quantum.jobs.errors import AnswerError
from tests.dwave.service import solver
from tests.loopback import LoopbackServer, chip
from tests.loopback.problem import answer, read_problem

RUN = Run(Anneal("fast", 7.0), "histogram", 1.0, 0.005, reversed=True)


def two_copies(limits: SolverLimits, spins: int) -> Layout:
    """Two disjoint embeddings, the second found on what the first leaves."""
    from dataclasses import replace

    first = find_embedding(spins, limits)
    used = {qubit for chain in first.chains for qubit in chain}
    rest = replace(
        limits,
        qubits=limits.qubits[[q not in used for q in limits.qubits.tolist()]],
        couplers=limits.couplers[[not used & set(pair) for pair in limits.couplers.tolist()]],
    )
    return lay_out([first, find_embedding(spins, rest)], limits)


def submission(seed: int = 0, spins: int = 5, pinned: int | None = None) -> Submission:
    limits = SolverLimits.of(solver("Loopback_zephyr2"))
    layout = two_copies(limits, spins)
    numbers = np.random.default_rng(seed)
    h = numbers.normal(0, 0.3, (2, spins)) * (pinned is None)
    J = np.triu(numbers.normal(0, 0.2, (2, spins, spins)), 1)
    gauge = numbers.choice(np.array([-1, 1], dtype=np.int8), (2, spins))
    return encode(layout, h, J, RUN, reads=40, gauge=gauge, pinned=pinned)


def as_dictionaries(one: Submission) -> tuple[dict[int, float], dict[tuple[int, int], float]]:
    qubits = one.layout.limits.qubits[one.layout.active]
    linear = dict(zip(qubits.tolist(), one.biases.tolist(), strict=True))
    pairs = [tuple(pair) for pair in qubits[one.layout.ends].tolist()]
    return linear, dict(zip(pairs, one.couplings.tolist(), strict=True))


def test_problems_are_encoded_as_the_client_encodes_them() -> None:
    one = submission()
    linear, quadratic = as_dictionaries(one)
    assert one.data() == encode_problem_as_qp(solver("Loopback_zephyr2"), linear, quadratic)


def test_energies_on_the_chip_are_those_of_the_models() -> None:
    one = submission(1)
    layout = one.layout
    numbers = np.random.default_rng(2)
    s = numbers.choice([-1, 1], (2, layout.spins))
    qubits = s[layout.copy, layout.spin]
    ends = qubits[layout.ends]
    on_chip = one.biases @ qubits + one.couplings @ (ends[:, 0] * ends[:, 1]) + len(layout.chain)
    # what submission(1) was made of
    again = np.random.default_rng(1)
    h, J = again.normal(0, 0.3, (2, 5)), np.triu(again.normal(0, 0.2, (2, 5, 5)), 1)
    t = s * one.gauge
    ours = -(h * t).sum() - sum(float(t[c] @ J[c] @ t[c]) for c in range(2))
    assert on_chip == pytest.approx(ours, abs=1e-12)
    assert (one.couplings[layout.chain] == -1).all()


@pytest.mark.parametrize("mode", ["raw", "histogram"])
def test_answers_are_decoded_as_the_client_decodes_them(mode: str) -> None:
    one = submission(3)
    layout = one.layout
    properties = solver("Loopback_zephyr2").properties
    programmed = read_problem(properties, one.data(), {})
    s = np.random.default_rng(4).choice(np.array([-1, 1], dtype=np.int8), (40, 2, layout.spins))
    s[20:] = s[0]  # occurs 21 times
    qubits = s[:, layout.copy, layout.spin]
    message = answer(programmed, qubits, mode, properties["num_qubits"], {"qpu_access_time": 7.0})
    readout = decode(message, one)
    theirs = decode_qp_numpy({"answer": dict(message), "type": "ising"})
    counts = theirs.get("num_occurrences", np.ones(40))
    np.testing.assert_array_equal(readout.occurrences, counts)
    firsts = [[embedding.chains[spin][0] for spin in range(layout.spins)] for embedding in layout.embeddings]
    np.testing.assert_array_equal(readout.spins, theirs["solutions"][:, firsts] * one.gauge)
    assert (readout.broken == 0).all()
    assert readout.timing == {"qpu_access_time": 7.0}
    if mode == "raw":
        np.testing.assert_array_equal(readout.spins, s * one.gauge)


def test_variables_in_another_order_are_put_in_theirs() -> None:
    one = submission(5)
    layout, properties = one.layout, solver("Loopback_zephyr2").properties
    programmed = read_problem(properties, one.data(), {})
    s = np.random.default_rng(6).choice(np.array([-1, 1], dtype=np.int8), (40, 2, layout.spins))
    qubits = s[:, layout.copy, layout.spin]
    order = np.random.default_rng(7).permutation(len(programmed.qubits))
    shuffled = type(programmed)(
        programmed.qubits[order], programmed.h[order], np.zeros((0, 2), dtype=np.int64), np.zeros(0), programmed.flux
    )
    message = answer(shuffled, qubits[:, order], "raw", properties["num_qubits"], {})
    np.testing.assert_array_equal(decode(message, one).spins, s * one.gauge)


def test_ties_are_tossed_without_favour_and_the_same_again() -> None:
    one = submission(8)
    layout, properties = one.layout, solver("Loopback_zephyr2").properties
    programmed = read_problem(properties, one.data(), {})
    qubits = np.ones((40, len(layout.active)), dtype=np.int8)
    lengths = np.bincount(layout.copy * layout.spins + layout.spin)
    assert (lengths == 2).all()
    qubits[:, layout.by_chain[layout.starts]] = -1  # one of two: every chain is split evenly
    message = answer(programmed, qubits, "raw", properties["num_qubits"], {})
    readout = decode(message, one)
    assert readout.broken.tolist() == [1.0, 1.0]
    assert abs(readout.spins.mean()) < 5 / np.sqrt(readout.spins.size)
    np.testing.assert_array_equal(decode(message, one).spins, readout.spins)


def test_flux_holds_every_qubit_of_a_pinned_spin() -> None:
    one = submission(9, pinned=4)
    layout = one.layout
    flux = np.array(one.parameters["flux_biases"])
    expected = np.zeros(layout.limits.num_qubits)
    for copy, embedding in enumerate(layout.embeddings):
        expected[list(embedding.chains[4])] = 0.005 * one.gauge[copy, 4]
    np.testing.assert_array_equal(flux, expected)
    assert (one.biases == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "bq"}, "in no format"),
        ({"solutions": "!"}, "solutions of the answer cannot be read"),
        ({"solutions": "AAAA"}, "bytes of configurations"),
        ({"energies": ""}, "bytes of configurations"),
        ({"active_variables": "AAAAAA=="}, "which are not those of the problem"),
        ({"num_occurrences": "AAAAAA=="}, "reads in .* rows; 40 were asked"),
        ({"num_occurrences": None}, "num_occurrences of the answer cannot be read"),
    ],
)
def test_answers_that_are_not_whole_are_refused(change: dict[str, Any], message: str) -> None:
    one = submission(10)
    properties = solver("Loopback_zephyr2").properties
    programmed = read_problem(properties, one.data(), {})
    qubits = np.random.default_rng(1).choice(np.array([-1, 1], dtype=np.int8), (40, len(one.layout.active)))
    whole = answer(programmed, qubits, "histogram", properties["num_qubits"], {})
    decode(whole, one)
    with pytest.raises(AnswerError, match=message):
        decode({**whole, **change}, one)


def test_digests_tell_submissions_apart_and_stay_the_same() -> None:
    assert submission(1).digest == submission(1).digest
    assert submission(1).digest != submission(2).digest
    limits = SolverLimits.of(solver())
    layout = lay_out([find_embedding(2, limits)], limits)
    h, J, g = np.zeros((1, 2)), np.zeros((1, 2, 2)), np.ones((1, 2), dtype=np.int8)
    digests = {
        encode(layout, h, J, RUN, reads=reads, gauge=g, key=key).digest for reads in (1, 2) for key in ((), (1,))
    }
    assert len(digests) == 4


@pytest.mark.parametrize("name", ["Loopback_pegasus2", "Loopback_zephyr2"])
def test_embeddings_are_found_for_all_sizes_that_fit(name: str) -> None:
    limits = SolverLimits.of(solver(name))
    for spins in range(1, largest_clique(limits) + 1):
        embedding = find_embedding(spins, limits)
        assert embedding.spins == spins
        assert find_embedding(spins, limits) == embedding
        assert verified(embedding.chains, limits) == embedding
    with pytest.raises(ValueError, match="with all couplings, which does not fit"):
        find_embedding(largest_clique(limits) + 1, limits)


def test_embeddings_avoid_what_does_not_work_and_other_topologies_are_searched() -> None:
    unknown = chip("pegasus", 2, name="Other")
    unknown["properties"]["topology"] = {"type": "unheard of", "shape": []}
    with (
        LoopbackServer([chip("pegasus", 2, name="Holes", missing=[4, 9, 20]), unknown]) as server,
        server.client() as client,
    ):
        holes = SolverLimits.of(client.get_solver(name="Holes"))
        assert not {4, 9, 20} & {q for chain in find_embedding(5, holes).chains for q in chain}
        other = SolverLimits.of(client.get_solver(name="Other"))
        assert find_embedding(4, other).spins == 4


def test_wrong_chains_are_named() -> None:
    limits = SolverLimits.of(solver())
    i, j = limits.couplers[0].tolist()
    near = {q for pair in limits.couplers.tolist() if i in pair for q in pair}
    far = next(q for q in limits.qubits.tolist() if q not in near)
    with pytest.raises(ValueError, match="no coupler between the chains of spins 0 and 1"):
        verified([[i], [far]], limits)
    with pytest.raises(ValueError, match="a chain in pieces"):
        verified([[i, far]], limits)
    with pytest.raises(ValueError, match="share a qubit"):
        lay_out([Embedding(((i,),)), Embedding(((i,),))], limits)
    with pytest.raises(ValueError, match=r"embeddings have \[1, 2\] spins"):
        lay_out([Embedding(((i,),)), Embedding(((i,), (j,)))], limits)
