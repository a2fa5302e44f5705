"""What becomes of a sampler's jobs when the service fails: by its bill, and with no token in sight."""

from __future__ import annotations

import contextlib
import logging
import pickle
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from quantum.dwave import AnswerError, DWaveSampler, QPUError, RejectedError, UnknownOutcomeError
from quantum.jobs.errors import JobError
from tests.contract.case import batch
from tests.loopback import Account, Boltzmann, Fault, FaultPlan, LoopbackServer, chip

MODEL = batch(spins=3, groups=1, models=3)


@contextlib.contextmanager
def failing(*faults: Fault, account: Account | None = None, **options: Any) -> Iterator[tuple[Any, LoopbackServer]]:
    """A sampler that posts models one by one, on a server with faults to come."""
    plan = FaultPlan()
    with (
        LoopbackServer([chip("pegasus", 2)], Boltzmann(9, 8), faults=plan, account=account) as server,
        server.client(**options) as client,
    ):
        sampler = DWaveSampler(
            client=client,
            anneal="standard",
            calibration="hand",
            beta=(9, 8),
            control_error=1e-3,
            copies=1,
            settle=0.2,
        )
        plan.add(*faults)
        yield sampler, server


def reference() -> torch.Tensor:
    with failing() as (sampler, _):
        mean: torch.Tensor = sampler.sample(MODEL, shots=50, seed=3).mean()
        return mean


@pytest.mark.parametrize(
    "faults",
    [
        (Fault("status", "submit", status=429),),
        (Fault("status", "submit", status=429, retry_after=1),),
        (Fault("status", "poll", status=429),),
        (Fault("status", "poll", status=503, times=3),),
        (Fault("not-json", "poll"),),
        (Fault("corrupt", "poll"),),
        (Fault("drop-after", "poll"),),
        (Fault("truncated", "poll"),),
        (Fault("status", "answer", status=500, times=2),),
        (Fault("status", "answer", status=429),),
        (Fault("corrupt", "answer"), Fault("not-json", "answer", skip=1)),
        (Fault("truncated", "answer"),),
        (Fault("drop-before", "answer"),),
        (Fault("slow", "answer", seconds=0.3),),
    ],
    ids=repr,
)
def test_what_costs_nothing_is_asked_again(faults: tuple[Fault, ...]) -> None:
    with failing(*faults) as (sampler, server):
        samples = sampler.sample(MODEL, shots=50, seed=3)
        assert len(server.faults.struck) == sum(fault.times for fault in faults)
        assert len(server.account.jobs) == 3
        torch.testing.assert_close(samples.mean(), reference(), rtol=0, atol=0)


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_post_that_is_refused_leaves_no_job(status: int) -> None:
    with failing(Fault("status", "submit", status=status)) as (sampler, server):
        with pytest.raises(RejectedError, match=rf"does not accept problems \({status}\)") as refused:
            sampler.sample(MODEL, shots=50)
        assert refused.value.status == status
        assert not server.account.jobs
        assert server.count("submit") == 1


@pytest.mark.parametrize(
    ("fault", "posts"),
    [
        (Fault("status", "submit", status=500), 2),
        (Fault("drop-before", "submit"), 2),
        (Fault("accepted-status", "submit", status=502), 1),
        (Fault("drop-after", "submit"), 1),
        (Fault("truncated", "submit"), 1),
        (Fault("not-json", "submit"), 1),
        (Fault("corrupt", "submit"), 1),
    ],
    ids=repr,
)
def test_a_post_without_a_reply_is_looked_up_and_repeated_only_if_it_was_not_accepted(fault: Fault, posts: int) -> None:
    with failing(fault) as (sampler, server):
        samples = sampler.sample(MODEL, shots=50, seed=3)
        assert server.count("submit") == posts
        assert server.count("list") >= 3
        assert len(server.account.jobs) == 3
        torch.testing.assert_close(samples.mean(), reference(), rtol=0, atol=0)


def test_a_service_that_never_replies_is_given_up_without_jobs() -> None:
    with failing(Fault("drop-before", "submit", times=99)) as (sampler, server):
        with pytest.raises(UnknownOutcomeError, match="look their labels up"):
            sampler.sample(MODEL, shots=50)
        assert not server.account.jobs
        assert not sampler.journal.jobs()


def test_a_reply_that_is_too_late_is_no_reply() -> None:
    with failing(Fault("slow", "submit", seconds=1.5), request_timeout=0.4) as (sampler, server):
        samples = sampler.sample(MODEL, shots=50, seed=3)
        assert server.count("submit") == 1
        torch.testing.assert_close(samples.mean(), reference(), rtol=0, atol=0)


def test_an_answer_that_stays_unreadable_is_named_and_not_lost() -> None:
    with failing(Fault("corrupt", "answer", times=99)) as (sampler, server):
        with pytest.raises(AnswerError, match="bytes of configurations") as unreadable:
            sampler.sample(MODEL, shots=50)
        assert unreadable.value.problem_id in server.account.jobs


def test_a_full_queue_is_waited_for() -> None:
    with failing(account=Account(queue_limit=2)) as (sampler, server):
        samples = sampler.sample(MODEL, shots=50, seed=3)
        assert len(server.account.jobs) == 3
        torch.testing.assert_close(samples.mean(), reference(), rtol=0, atol=0)


def test_a_service_that_stopped_was_never_reached() -> None:
    with failing(http_retry_total=1) as (sampler, server):
        server.stop()
        with pytest.raises(RejectedError, match="cannot be reached"):
            sampler.sample(MODEL, shots=50)
        server._running = []
        server.shutdown = lambda: None  # type: ignore[method-assign]  # it has stopped; leaving the context is no error


def test_a_job_that_fails_is_an_error() -> None:
    def broken(*_: Any) -> Any:
        raise OSError("no processor")

    with failing() as (sampler, server):
        server.processor = broken
        with pytest.raises(JobError, match="is FAILED"):
            sampler.sample(MODEL, shots=50)
        assert server.account.bill == 0
        assert sorted(job.attempt for job in sampler.journal.jobs()) == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_a_job_that_fails_once_is_asked_for_again() -> None:
    with failing() as (sampler, server):
        processor, failures = server.processor, iter([OSError("no processor")])

        def failing_once(*given: Any) -> Any:
            for failure in failures:
                raise failure
            return processor(*given)

        server.processor = failing_once
        samples = sampler.sample(MODEL, shots=50, seed=3)
        assert [job.status for job in server.account.jobs.values()].count("FAILED") == 1
        torch.testing.assert_close(samples.mean(), reference(), rtol=0, atol=0)


def test_a_token_is_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    faults = [Fault("status", "submit", status=401), Fault("corrupt", "answer", times=9)]
    with caplog.at_level(logging.INFO), failing(*faults) as (sampler, server):
        token, written = server.token, [repr(sampler), repr(sampler.connection), repr(sampler.limits)]
        for _ in faults:
            with pytest.raises(QPUError) as failure:
                sampler.sample(MODEL, shots=20)
            error = failure.value
            written += [str(error), repr(error), "".join(traceback.format_exception(error)), repr(vars(error))]
            written.append(pickle.dumps(error.args).decode("latin-1"))
        server.faults.clear()
        written.append(repr(sampler.sample(MODEL, shots=20).diagnostics))
        server.faults.add(Fault("status", "submit", status=403))
    assert token not in "".join(written) + caplog.text


def test_a_token_that_the_service_repeats_is_taken_out() -> None:
    from quantum.dwave.credentials import scrubbed

    class Config:
        token = "LOOP-secret"

    class Client:
        config = Config()

    assert scrubbed("invalid token LOOP-secret given", Client()) == "invalid token *** given"
