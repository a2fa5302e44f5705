"""Jobs of a processor: never paid for twice, whatever is lost on the way, and never beyond the budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from classical import Samples
from quantum import AnnealSchedule
from quantum.ibm import IBMSampler
from quantum.ibm.connection import Connection
from quantum.jobs import BudgetError, JobError, Journal, NotRecordedError, RejectedError
from tests.contract import anneal
from tests.contract.case import batch
from tests.ibm.double import SECONDS, DoubleService, lost, refused
from tests.statistics import chi_squared_p

pytest.importorskip("qiskit_ibm_runtime", reason='needs qiskit-ibm-runtime: pip install "hybrid-attention[ibm]"')

LINEAR = AnnealSchedule.linear(6.0)
MODEL = batch(spins=3, groups=2, models=3)


def double(**options: Any) -> DoubleService:
    from qiskit_aer import AerSimulator

    return DoubleService(AerSimulator(max_parallel_threads=1), **options)


def sampler(service: DoubleService, journal: Journal | None = None, **options: Any) -> IBMSampler:
    made = IBMSampler(
        "aer_simulator",
        LINEAR,
        4,
        service=service,
        primitive=service.primitive,
        journal=journal,
        **{"settle": 0.1, **options},
    )
    connection = made._access.connection
    if isinstance(connection, Connection):  # no test waits for a real service
        connection._poll = connection._usage_patience = 0.01
        connection._patience = 1.0
    return made


def interrupt(accepted: bool) -> None:
    """The process is stopped right after the service has accepted a job."""
    if accepted:
        raise KeyboardInterrupt


def equal(first: Samples, second: Samples) -> bool:
    return torch.equal(first.spins, second.spins) and torch.equal(first.weights, second.weights)


def test_a_batch_is_one_job_with_a_tag_and_a_charge() -> None:
    service = double()
    drawn = sampler(service).sample(MODEL, shots=2000, seed=1)
    assert chi_squared_p(drawn, anneal(LINEAR, 4)(MODEL)) > 1e-5
    (submission,) = service.submissions
    ((_, values),) = submission["pubs"]
    assert next(iter(values.values())).shape[0] == 6
    assert submission["shots"] == 2000
    assert submission["mode"] is service.backend_object
    (job,) = service.accepted
    assert len(job.tags) == 1
    assert job.tags[0].startswith("hybrid-attention-")
    assert drawn.diagnostics["problem_ids"] == [["double-1"] * 3] * 2
    assert float(drawn.diagnostics["charged_us"].sum()) == pytest.approx(SECONDS * 1e6)
    assert drawn.diagnostics["local"] is False


def test_what_the_journal_has_is_not_paid_for_again(tmp_path: Path) -> None:
    service = double()
    journal = Journal(tmp_path / "run.sqlite")
    first = sampler(service, journal)
    drawn = first.sample(MODEL, shots=100, seed=1)
    assert equal(drawn, first.sample(MODEL, shots=100, seed=1))
    journal.close()
    resumed = sampler(service, Journal(tmp_path / "run.sqlite"))
    assert equal(drawn, resumed.sample(MODEL, shots=100, seed=1))
    assert len(service.accepted) == 1
    for other in ({"shots": 100, "seed": 2}, {"shots": 101, "seed": 1}):
        resumed.sample(MODEL, **other)
    resumed.sample(batch(spins=3, groups=2, models=3, seed=5), shots=100, seed=1)
    sampler(service, resumed.journal, max_execution_time=9).sample(MODEL, shots=100, seed=1)
    sampler(service, resumed.journal, optimization_level=1).sample(MODEL, shots=100, seed=1)
    assert len(service.accepted) == 6
    assert len({job.digest for job in resumed.journal.jobs()}) == 6


def test_a_replay_asks_nothing_of_the_service(tmp_path: Path) -> None:
    service = double()
    journal = Journal(tmp_path / "run.sqlite")
    drawn = sampler(service, journal).sample(MODEL, shots=100, seed=1)
    journal.close()
    asked = service.asked
    replayed = IBMSampler("aer_simulator", LINEAR, 4, journal=Journal(tmp_path / "run.sqlite"), replay=True)
    again = replayed.sample(MODEL, shots=100, seed=1)
    assert equal(drawn, again)
    assert again.diagnostics["circuits"] == drawn.diagnostics["circuits"]
    assert again.diagnostics["problem_ids"] == drawn.diagnostics["problem_ids"]
    assert replayed.max_spins == 30 or replayed.max_spins == service.backend_object.num_qubits
    with pytest.raises(NotRecordedError, match="no answer to 1 of 1"):
        replayed.sample(MODEL, shots=100, seed=2)
    assert (service.asked, len(service.accepted)) == (asked, 1)


def test_a_lost_reply_is_looked_up_and_not_posted_again() -> None:
    service = double(faults=[lost(after=True)])
    one = sampler(service, settle=1.0)
    drawn = one.sample(MODEL, shots=100, seed=1)
    assert len(service.accepted) == len(service.submissions) == 1
    assert drawn.diagnostics["problem_ids"][0][0] == "double-1"
    (job,) = one.journal.jobs()
    assert (job.status, job.charged_us) == ("answered", pytest.approx(SECONDS * 1e6))


def test_a_job_that_the_list_shows_late_is_still_found() -> None:
    service = double(faults=[lost(after=True)], seen_after=2)
    sampler(service, settle=2.0).sample(MODEL, shots=100, seed=1)
    assert len(service.accepted) == 1


def test_a_job_that_never_arrived_is_posted_once_more() -> None:
    service = double(faults=[lost(after=False)])
    one = sampler(service)
    one.sample(MODEL, shots=100, seed=1)
    assert (len(service.submissions), len(service.accepted)) == (2, 1)


def test_a_full_queue_is_waited_for_and_a_refusal_is_not() -> None:
    service = double(faults=[refused(429), refused(429)])
    sampler(service).sample(MODEL, shots=100, seed=1)
    assert (len(service.submissions), len(service.accepted)) == (3, 1)
    service = double(faults=[refused(403)])
    one = sampler(service)
    with pytest.raises(RejectedError, match=r"does not accept jobs \(403\)"):
        one.sample(MODEL, shots=100, seed=1)
    assert (len(service.submissions), service.accepted, one.journal.jobs()) == (1, [], [])


def test_a_process_that_died_leaves_a_job_that_the_next_one_fetches(tmp_path: Path) -> None:
    service = double(faults=[interrupt])
    journal = Journal(tmp_path / "run.sqlite")
    with pytest.raises(KeyboardInterrupt):
        sampler(service, journal).sample(MODEL, shots=100, seed=1)
    journal.close()
    drawn = sampler(service, Journal(tmp_path / "run.sqlite")).sample(MODEL, shots=100, seed=1)
    assert len(service.accepted) == 1
    assert drawn.diagnostics["problem_ids"][0][0] == "double-1"


def test_the_budget_stops_before_the_job_that_would_pass_it() -> None:
    service = double()
    one = sampler(service, budget=8.0)
    for seed in range(3):
        one.sample(MODEL, shots=100, seed=seed)
    with pytest.raises(BudgetError, match="passes the budget of 8 s"):
        one.sample(MODEL, shots=100, seed=3)
    # each is estimated at 2 s and 600 · 350 µs, and charged 2.25 s
    assert len(service.accepted) == 3
    assert one.journal.totals().charged_us == pytest.approx(3 * SECONDS * 1e6)


def test_a_job_that_fails_is_asked_for_again_a_few_times() -> None:
    service = double(ends=["ERROR", "CANCELLED"])
    one = sampler(service)
    one.sample(MODEL, shots=100, seed=1)
    assert [job.status for job in one.journal.jobs()] == ["failed", "failed", "answered"]
    assert len({job.tags[0] for job in service.accepted}) == 3
    with pytest.raises(JobError, match="FAILED"):
        sampler(double(ends=["ERROR"] * 3)).sample(MODEL, shots=100, seed=1)


def test_usage_that_is_not_final_yet_is_charged_as_the_service_expects() -> None:
    late = sampler(double(usage_waits=1)).sample(MODEL, shots=100, seed=1)
    assert float(late.diagnostics["charged_us"].sum()) == pytest.approx(SECONDS * 1e6)
    never = sampler(double(usage_waits=10**6)).sample(MODEL, shots=100, seed=1)
    assert float(never.diagnostics["charged_us"].sum()) == pytest.approx(3.5e6)


@pytest.mark.parametrize("mode", ["batch", "session"])
def test_a_batch_or_session_is_opened_once_and_closed(mode: str) -> None:
    service = double()
    with sampler(service, mode=mode) as one:
        for seed in (1, 2):
            one.sample(MODEL, shots=20, seed=seed)
    first, second = (submission["mode"] for submission in service.submissions)
    assert first is second
    assert type(first).__name__.lower() == mode
    assert not first._active


def test_jobs_that_nobody_would_fetch_are_cancelled() -> None:
    service = double(waits=("QUEUED",) * 50)
    one = sampler(service, models_per_job=3)
    service.faults += [None, interrupt]
    with pytest.raises(KeyboardInterrupt):
        one.sample(MODEL, shots=20, seed=1)
    assert [job.cancelled for job in service.accepted] == [True, False]  # of the second it has no id yet


class Stopped:
    """A local job, and the process is stopped while it runs."""

    def run(self, pubs: list[Any], *, shots: int) -> Stopped:
        return self

    def result(self) -> Any:
        raise KeyboardInterrupt


def test_a_job_that_ran_here_when_the_process_died_is_run_again(tmp_path: Path) -> None:
    from qiskit_aer import AerSimulator

    backend = AerSimulator(max_parallel_threads=1)
    journal = Journal(tmp_path / "run.sqlite")
    one = IBMSampler(backend, LINEAR, 4, journal=journal, primitive=lambda **_: Stopped())
    with pytest.raises(KeyboardInterrupt):
        one.sample(MODEL, shots=50, seed=1)
    journal.close()
    journal = Journal(tmp_path / "run.sqlite")
    drawn = IBMSampler(backend, LINEAR, 4, journal=journal, budget=0.001).sample(MODEL, shots=50, seed=1)
    assert [job.status for job in journal.jobs()] == ["failed", "answered"]
    assert equal(drawn, IBMSampler(backend, LINEAR, 4).sample(MODEL, shots=50, seed=1))
