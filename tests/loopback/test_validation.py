"""What the loopback server refuses, as SAPI is documented to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from dwave.cloud.exceptions import SolverFailureError

from tests.loopback import Account, LoopbackServer, chip


@pytest.fixture(scope="module")
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer([chip("pegasus", 2), chip("pegasus", 2, name="Slow", fast=False)]) as running:
        yield running


@pytest.fixture(scope="module")
def solver(server: LoopbackServer) -> Iterator[Any]:
    with server.client() as client:
        # a chip's own client checks little; what it does check is left for the server here
        found = client.get_solver(name="Loopback_pegasus2")
        found.parameters["beta"] = ""
        yield found


FAST = {"fast_anneal": True, "annealing_time": 0.007, "auto_scale": False}


@pytest.mark.parametrize(
    ("bias", "coupling", "parameters", "message"),
    [
        (0.1, 0.1, FAST, "linear biases must be zero with fast_anneal"),
        (0.0, 0.1, {**FAST, "annealing_time": 0.004}, "annealing_time 0.004 is out of range [0.005, 2000]"),
        (0.0, 0.1, {**FAST, "h_gain_schedule": [[0, 1], [1, 1]]}, "h_gain_schedule is not supported"),
        (
            0.0,
            0.1,
            {"fast_anneal": True, "auto_scale": False, "anneal_schedule": [[0, 0], [0.5, 0.5], [1, 1]]},
            "more than two points",
        ),
        (0.0, 0.1, {**FAST, "anneal_schedule": [[0, 0], [1, 1]]}, "exclude each other"),
        (0.0, 0.1, {**FAST, "auto_scale": True, "flux_biases": [0.0] * 48}, "cannot be used with auto_scale"),
        (0.0, 0.1, {**FAST, "flux_biases": [0.0] * 47}, "flux_biases must be 48 finite numbers"),
        (0.0, 0.1, {"annealing_time": 0.4}, "annealing_time 0.4 is out of range [0.5, 2000]"),
        (4.1, 0.1, {"auto_scale": False}, "h value 4.1 is out of range [-4, 4]"),
        (0.0, 1.1, {"auto_scale": False}, "J value 1.1 is out of range [-2, 1]"),
        (0.0, 0.1, {"num_reads": 10_001}, "num_reads 10001 is out of range [1, 10000]"),
        (0.0, 0.1, {"num_reads": 0}, "num_reads 0 is out of range"),
        (0.0, 0.1, {"num_reads": 1000, "annealing_time": 1000.0}, "problem run duration 1.001e+06 is out of range"),
        (0.0, 0.1, {"answer_mode": "both"}, "answer_mode must be raw or histogram"),
        (0.0, 0.1, {"beta": 1.0}, "Unknown parameter beta"),
    ],
)
def test_what_is_refused(
    solver: Any, server: LoopbackServer, bias: float, coupling: float, parameters: dict[str, Any], message: str
) -> None:
    jobs = len(server.account.jobs)
    edge = solver._encoding_couplers[0]
    with pytest.raises(SolverFailureError) as refused:
        solver.sample_ising({edge[0]: bias, edge[1]: 0.0}, {edge: coupling}, **parameters).result()
    assert message in str(refused.value)
    assert len(server.account.jobs) == jobs


def test_values_are_rescaled_as_long_as_auto_scale_is_on(solver: Any, server: LoopbackServer) -> None:
    edge = solver._encoding_couplers[0]
    future = solver.sample_ising({edge[0]: 2.0}, {edge: 5.0}, num_reads=2)
    future.result()
    programmed = server.account.jobs[future.wait_id()].programmed
    assert programmed.J.tolist() == [1.0]
    assert sorted(programmed.h.tolist()) == [0.0, 0.4]


def test_more_problems_than_the_queue_holds_are_rejected() -> None:
    account = Account(queue_limit=5)
    account.hold()
    with LoopbackServer(account=account) as server, server.client() as client:
        solver = client.get_solver()
        edge = solver._encoding_couplers[0]
        futures = [solver.sample_ising({}, {edge: 0.1}, num_reads=1, label=str(i)) for i in range(8)]
        rejected = 0
        for future in futures:
            future.wait_id(timeout=10)
            if future.done():
                with pytest.raises(SolverFailureError, match="exceeds the limit of 5"):
                    future.result()
                rejected += 1
        assert rejected == 3
        assert len(account.jobs) == 5
        account.release()
