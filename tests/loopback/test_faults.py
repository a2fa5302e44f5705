"""Each fault of the loopback server, and what it makes of a job of D-Wave's own client."""

from __future__ import annotations

from typing import Any

import pytest
from dwave.cloud.exceptions import SolverAuthenticationError

from tests.loopback import Fault, FaultPlan, LoopbackServer

LABEL = "one"


def run(fault: Fault, **options: Any) -> tuple[Exception | None, int, LoopbackServer]:
    """What the client makes of a job that meets a fault, and how many jobs there are then."""
    with LoopbackServer(faults=FaultPlan(fault)) as server, server.client(**options) as client:
        solver = client.get_solver()
        edge = solver._encoding_couplers[0]
        error = None
        try:
            solver.sample_ising({}, {edge: 0.1}, num_reads=10, label=LABEL).result()
        except Exception as caught:
            error = caught
        assert server.faults.struck == [fault]
        with server.account.changed:
            server.account.changed.wait_for(
                lambda: all(j.status == "COMPLETED" for j in server.account.jobs.values()), 5
            )
        assert all(job.charge > 0 for job in server.account.jobs.values())
        return error, len(server.account.jobs), server


@pytest.mark.parametrize(
    "fault",
    [
        Fault("slow", "submit", seconds=0.2),
        Fault("status", "poll", status=500),
        Fault("status", "poll", status=503),
        Fault("status", "poll", status=429, retry_after=1),
        Fault("drop-before", "poll"),
        Fault("drop-after", "poll"),
        Fault("slow", "poll", seconds=0.2),
        Fault("drop-before", "answer"),
        Fault("drop-after", "answer"),
        Fault("status", "answer", status=429, retry_after=1),
        Fault("slow", "answer", seconds=0.2),
    ],
    ids=repr,
)
def test_what_the_client_gets_over(fault: Fault) -> None:
    error, jobs, server = run(fault)
    assert error is None
    assert jobs == 1
    assert server.count("submit") == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", "submit", status=401),
        Fault("status", "submit", status=403),
        Fault("status", "submit", status=404),
        Fault("status", "submit", status=429),
        Fault("status", "submit", status=429, retry_after=1),
        Fault("status", "submit", status=500),
        Fault("status", "submit", status=502),
        Fault("drop-before", "submit"),
    ],
    ids=repr,
)
def test_what_fails_a_job_before_it_is_accepted(fault: Fault) -> None:
    error, jobs, server = run(fault)
    assert error is not None
    assert isinstance(error, SolverAuthenticationError) == (fault.status == 401)
    assert jobs == 0
    assert server.account.bill == 0
    assert server.count("submit") == 1  # a POST is never repeated


@pytest.mark.parametrize(
    "fault",
    [
        Fault("accepted-status", "submit", status=500),
        Fault("accepted-status", "submit", status=504),
        Fault("drop-after", "submit"),
        Fault("truncated", "submit"),
        Fault("not-json", "submit"),
        Fault("corrupt", "submit"),
        Fault("status", "poll", status=429),
        Fault("status", "poll", status=401),
        Fault("status", "poll", status=404),
        Fault("not-json", "poll"),
        Fault("corrupt", "poll"),
        Fault("status", "answer", status=500),
        Fault("status", "answer", status=429),
        Fault("not-json", "answer"),
        Fault("corrupt", "answer"),
        Fault("truncated", "answer"),
    ],
    ids=repr,
)
def test_what_fails_a_job_that_is_paid_for(fault: Fault) -> None:
    error, jobs, server = run(fault)
    assert error is not None
    assert jobs == 1
    assert server.account.bill > 0
    assert server.count("submit") == 1


def test_a_late_reply_fails_a_job_that_is_paid_for() -> None:
    error, jobs, _ = run(Fault("slow", "submit", seconds=2.0), request_timeout=0.5)
    assert type(error).__name__ == "RequestTimeout"
    assert jobs == 1


def test_faults_strike_as_often_as_they_are_planned() -> None:
    plan = FaultPlan(Fault("status", "poll", times=2, skip=1), Fault("slow", "submit"))
    assert plan.strike("poll") is None
    assert [plan.strike("poll") is not None for _ in range(3)] == [True, True, False]
    assert plan.strike("submit") is not None
    assert plan.strike("submit") is None
