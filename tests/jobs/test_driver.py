"""Each failure on the way to an answer: what is posted, what is charged, what is answered."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from quantum.jobs import (
    AnswerError,
    BudgetError,
    JobError,
    Journal,
    NotRecordedError,
    QPUError,
    RejectedError,
)
from quantum.jobs.driver import resume, run
from quantum.jobs.service import Answer, Request
from quantum.jobs.terms import Result, Terms
from quantum.jobs.work import DuplicateWarning
from tests.jobs.double import ESTIMATE, Cloud, Crash, Double, Post, digest, read, request, requests
from tests.jobs.processes import CONTEXT

SETTLE, SHORT = 0.2, 0.03
TERMS = Terms("sampling", settle=SETTLE)
THREE = requests(3)
OK = Post()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def ask(
    service: Double | None, asked: Sequence[Request], path: Path, terms: Terms = TERMS, journal: Journal | None = None
) -> list[Result[str]]:
    """Run, as a process of its own would."""
    own = Journal(path) if journal is None else journal
    try:
        return run(service, asked, own, read, terms)
    finally:
        own.close()


def assert_paid_once(cloud: Cloud, path: Path, asked: Sequence[Request] = THREE) -> None:
    """Every request has one charge and one answer, and the journal says what the bill does."""
    assert cloud.charged == Counter(one.digest for one in asked)
    jobs = Journal(path).jobs()
    assert sorted(job.digest for job in jobs if job.status == "answered") == sorted(one.digest for one in asked)
    assert sum(job.charged_us or 0.0 for job in jobs) == cloud.bill
    for job in jobs:
        answer = Journal(path).answer(job.digest)
        assert answer is not None
        assert answer.content == {"of": job.digest}


def values(results: Sequence[Result[str]]) -> list[str]:
    return [one.value for one in results]


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_everything_is_posted_once_and_comes_back_in_order(path: Path, at_once: int) -> None:
    cloud = Cloud([Post(polls=3), Post(polls=1), OK])
    service = Double(cloud, at_once=at_once)
    results = ask(service, THREE[::-1], path)
    assert values(results) == [one.digest for one in THREE[::-1]]
    assert [one.charged_us for one in results] == [ESTIMATE] * 3
    assert [cloud.jobs[one.problem_id].payload for one in results] == values(results)
    assert service.count("post") == -(-3 // at_once)
    assert service.count("find") == 0
    assert_paid_once(cloud, path)


FAULTS: dict[str, tuple[list[Post], int, int]] = {  # posts in all, labels looked up at least
    "a lost reply, not accepted": ([Post("lost before")], 4, 1),
    "two lost replies, not accepted": ([Post("lost before"), OK, OK, Post("lost before")], 5, 2),
    "a lost reply, accepted": ([Post("lost after")], 3, 1),
    "three lost replies, accepted": ([Post("lost after")] * 3, 3, 3),
    "a lost reply, accepted, found late": ([Post("lost after", hidden=SETTLE / 2)], 3, 2),
    "a slow lost reply, accepted, found late": ([Post("lost after", takes=1.5 * SETTLE, hidden=SETTLE / 2)], 3, 2),
    "a full queue": ([Post("busy"), Post("busy")], 5, 0),
    "a full queue and a lost reply": ([Post("busy"), Post("lost after")], 4, 1),
    "an answer that cannot be read once": ([], 3, 0),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_lost_reply_is_looked_up_and_posted_again_only_if_it_was_not_accepted(path: Path, name: str) -> None:
    posts, posted, looked_up = FAULTS[name]
    cloud = Cloud(posts)
    service = Double(cloud)
    assert values(ask(service, THREE, path)) == [one.digest for one in THREE]
    assert service.count("post") == posted
    assert service.count("find") >= looked_up
    assert (service.count("find") > 0) == (looked_up > 0)
    assert_paid_once(cloud, path)


@pytest.mark.parametrize("reply", ["lost before", "lost after"])
def test_the_label_is_looked_up_before_anything_is_posted_again(path: Path, reply: str) -> None:
    service = Double(Cloud([Post(reply)]))
    ask(service, THREE[:1], path)
    assert service.calls.index("find") == 1
    second = [number for number, call in enumerate(service.calls) if call == "post"][1:]
    assert all(service.calls[number - 1] == "find" for number in second)
    assert bool(second) == (reply == "lost before")


def test_a_post_that_took_some_and_was_too_busy_for_the_others_is_repeated_for_these(path: Path) -> None:
    cloud = Cloud([Post("every other")])
    asked = requests(5)
    ask(Double(cloud, at_once=5), asked, path)
    labels = {job.digest: job.label for job in Journal(path).jobs()}
    assert cloud.posted[1] == [labels[one.digest] for one in asked[1::2]]
    assert_paid_once(cloud, path, asked)


def test_a_rejection_stops_and_leaves_no_job(path: Path) -> None:
    cloud = Cloud([OK, Post("rejected", status=401)])
    service = Double(cloud)
    with pytest.raises(RejectedError) as refused:
        ask(service, THREE, path)
    assert refused.value.status == 401
    assert service.count("post") == 2
    assert [job.status for job in Journal(path).jobs()] == ["answered"]  # what was in flight is fetched
    ask(Double(cloud), THREE, path)
    assert_paid_once(cloud, path)


def test_a_network_that_fails_leaves_what_was_posted_to_be_found(path: Path) -> None:
    cloud = Cloud([Post("lost after")])
    with pytest.raises(QPUError, match="no network"):
        ask(Double(cloud, down=[1]), THREE[:1], path)
    assert [job.status for job in Journal(path).jobs()] == ["intended"]
    service = Double(cloud)
    ask(service, THREE[:1], path)
    assert service.count("post") == 0
    assert_paid_once(cloud, path, THREE[:1])


@pytest.mark.parametrize("hidden", [0.0, SETTLE / 2])
@pytest.mark.parametrize("again", ["run", "resume and run"])
def test_a_process_that_ends_in_a_slow_post_pays_nothing_twice(path: Path, hidden: float, again: str) -> None:
    """The post began long ago, but its jobs were accepted only just now: they need not be found at once."""
    cloud = Cloud([Post(takes=2 * SETTLE, hidden=hidden)])
    with pytest.raises(Crash):
        ask(Double(cloud, crashes={0: "after"}), THREE[:1], path)
    assert [job.status for job in Journal(path).jobs()] == ["intended"]
    if again == "resume and run":
        journal = Journal(path)
        resume(Double(cloud), journal, read, TERMS)
        journal.close()
    ask(Double(cloud), THREE[:1], path)
    assert_paid_once(cloud, path, THREE[:1])


@pytest.mark.parametrize("crash", range(9))
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_that_ends_at_any_call_pays_nothing_twice(path: Path, crash: int, when: str) -> None:
    cloud = Cloud([Post(polls=1), Post("lost after", hidden=SETTLE / 4), Post("lost before")])
    with pytest.raises(Crash):
        ask(Double(cloud, crashes={crash: when}), THREE, path)
    ask(Double(cloud), THREE, path)
    assert_paid_once(cloud, path)


@pytest.mark.parametrize("ends", ["FAILED", "CANCELLED"])
def test_a_job_without_an_answer_is_asked_for_again_under_another_label(path: Path, ends: str) -> None:
    cloud = Cloud([Post(ends=ends)])
    ask(Double(cloud), THREE[:1], path)
    first, second = Journal(path).jobs()
    assert (first.status, first.attempt, first.error) == ("failed", 1, f"problem job-0 is {ends}")
    assert (second.status, second.attempt) == ("answered", 2)
    assert first.label != second.label
    assert [first.label, second.label] == [label for labels in cloud.posted for label in labels]
    assert cloud.bill == second.charged_us == ESTIMATE


def test_a_job_that_always_fails_is_an_error_after_three_attempts(path: Path) -> None:
    cloud = Cloud([Post(ends="FAILED")] * 3)
    with pytest.raises(JobError, match="is FAILED"):
        ask(Double(cloud), THREE[:1], path)
    assert [(job.status, job.attempt) for job in Journal(path).jobs()] == [("failed", 1), ("failed", 2), ("failed", 3)]
    assert len({label for labels in cloud.posted for label in labels}) == 3


def test_a_job_that_the_service_forgot_is_named_and_not_posted_again(path: Path) -> None:
    cloud = Cloud([Post(ends="UNKNOWN")])
    service = Double(cloud)
    with pytest.raises(JobError, match="does not know problem job-0 any more") as lost:
        ask(service, THREE, path)
    assert (lost.value.problem_id, lost.value.status) == ("job-0", "UNKNOWN")
    statuses = {job.problem_id: job.status for job in Journal(path).jobs()}
    assert statuses.pop("job-0") == "accepted"
    assert set(statuses.values()) <= {"answered"}  # the others are fetched
    assert len(statuses) == len(cloud.jobs) - 1


def test_an_answer_that_cannot_be_read_is_fetched_again_and_not_paid_again(path: Path) -> None:
    cloud = Cloud([Post(unreadable=1)])
    with pytest.raises(AnswerError, match="damaged"):
        ask(Double(cloud), THREE[:1], path)
    assert [job.status for job in Journal(path).jobs()] == ["accepted"]
    service = Double(cloud)
    ask(service, THREE[:1], path)
    assert service.count("post") == 0
    assert_paid_once(cloud, path, THREE[:1])


def test_an_answer_of_the_journal_that_cannot_be_read_is_fetched_again(path: Path) -> None:
    cloud = Cloud()
    ask(Double(cloud), THREE, path)
    journal = Journal(path)
    journal.answered(journal.jobs()[1].label, Answer({"of": None}, ESTIMATE))
    journal.close()
    with pytest.raises(AnswerError):
        ask(None, THREE, path)
    service = Double(cloud)
    ask(service, THREE, path)
    assert service.calls == ["statuses", "answer"]
    assert_paid_once(cloud, path)


def test_a_second_run_asks_nothing_of_the_service(path: Path) -> None:
    cloud = Cloud()
    first = ask(Double(cloud), THREE, path)
    service = Double(cloud)
    again = ask(service, [*THREE, *THREE[:1]], path)
    assert service.calls == []
    assert [vars(one) for one in again] == [vars(one) for one in [*first, first[0]]]


def test_the_same_request_twice_in_a_batch_is_one_job(path: Path) -> None:
    cloud = Cloud()
    results = ask(Double(cloud, at_once=5), [THREE[0], THREE[1], request(THREE[0].digest)], path)
    assert results[0] is results[2]
    assert_paid_once(cloud, path, THREE[:2])


def test_no_more_jobs_wait_at_the_service_than_may(path: Path) -> None:
    waiting = []

    class Counting(Double):
        def statuses(self, job_ids: Sequence[str]) -> dict[str, str]:
            waiting.append(len(job_ids))
            return super().statuses(job_ids)

    asked = requests(7)
    ask(Counting(Cloud([Post(polls=1)] * 4), at_once=5), asked, path, replace(TERMS, in_flight=3))
    assert max(waiting) == 3


def test_a_budget_stops_with_everything_in_flight_answered(path: Path) -> None:
    cloud = Cloud([Post(polls=3), Post("lost after", hidden=SETTLE / 2), Post("busy")])
    asked = requests(5)
    with pytest.raises(BudgetError, match=r"budget of 2.5e-05 s; nothing more was submitted"):
        ask(Double(cloud), asked, path, replace(TERMS, budget=25e-6))
    assert [job.status for job in Journal(path).jobs()] == ["answered", "answered"]
    assert cloud.bill == 2 * ESTIMATE <= 25
    ask(Double(cloud), asked, path, replace(TERMS, budget=50e-6))
    assert_paid_once(cloud, path, asked)


def test_a_budget_holds_for_all_that_a_journal_was_charged(path: Path) -> None:
    cloud = Cloud()
    ask(Double(cloud), THREE, path)
    with pytest.raises(BudgetError, match="with 3e-05 s charged"):
        ask(Double(cloud), [request(digest(9))], path, replace(TERMS, budget=39e-6))
    assert cloud.bill == 3 * ESTIMATE


def test_a_budget_that_is_used_up_still_gives_back_what_was_paid_for(path: Path) -> None:
    """What a process that has died left behind costs nothing more, wherever in the batch it stands."""
    cloud = Cloud([Post(polls=2)])
    with pytest.raises(Crash):
        ask(Double(cloud, crashes={0: "after"}), THREE[2:], path)
    with pytest.raises(BudgetError):
        ask(Double(cloud), THREE, path, replace(TERMS, budget=ESTIMATE * 1e-6))
    assert [(job.digest, job.status) for job in Journal(path).jobs()] == [(THREE[2].digest, "answered")]


def test_charges_above_their_estimates_lead_to_a_stop_before_the_budget(path: Path) -> None:
    cloud = Cloud([Post(charge=2 * ESTIMATE)] * 9)
    with pytest.raises(BudgetError, match=r"would cost 2e-05 s"):
        ask(Double(cloud), requests(9), path, replace(TERMS, budget=75e-6, in_flight=1))
    assert cloud.bill == 60


def test_a_replay_takes_what_the_journal_has_and_says_what_it_lacks(path: Path) -> None:
    cloud = Cloud()
    paid = ask(Double(cloud), THREE[:2], path)
    assert [vars(one) for one in ask(None, THREE[:2], path)] == [vars(one) for one in paid]
    with pytest.raises(NotRecordedError, match=r"has no answer to 1 of 3 submissions.*leave --replay out") as missing:
        ask(None, THREE, path)
    assert str(path) in str(missing.value)
    assert len(Journal(path).jobs()) == 2


def test_a_resumption_fetches_what_was_left_and_posts_nothing(path: Path) -> None:
    cloud = Cloud([OK, Post(polls=1), Post("lost after")])
    with pytest.raises(Crash):
        ask(Double(cloud, crashes={5: "before"}), THREE, path, replace(TERMS, in_flight=9))
    with pytest.raises(Crash):
        ask(Double(cloud, crashes={0: "before"}), [request(digest(9))], path)  # never posted
    before = Journal(path).jobs()
    assert {"intended", "accepted"} <= {job.status for job in before}
    service, journal = Double(cloud), Journal(path)
    left = resume(service, journal, read, TERMS)
    assert service.count("post") == 0
    assert left == [job for job in before if job.status in ("intended", "accepted")]
    assert {job.digest: job.status for job in journal.jobs()} == {one.digest: "answered" for one in THREE}
    assert resume(service, journal, read, TERMS) == []
    journal.close()
    assert_paid_once(cloud, path)


def test_a_resumption_leaves_alone_what_others_do(path: Path) -> None:
    cloud = Cloud()
    with pytest.raises(Crash):
        ask(Double(cloud, crashes={0: "after"}), THREE[:1], path)
    alive = Journal(path)
    with pytest.raises(Crash):
        run(Double(cloud, crashes={0: "after"}), THREE[1:2], alive, read, TERMS)
    alive.claim(THREE[1:2], solver=Double(cloud).name, purpose="", budget=None)  # it goes on with it
    other = Double(cloud)
    other.name = "another"
    other.crashes = {0: "after"}
    with pytest.raises(Crash):
        ask(other, THREE[2:], path)
    journal = Journal(path)
    left = resume(Double(cloud), journal, read, TERMS)
    assert [job.digest for job in left] == [THREE[0].digest]
    assert [job.status for job in journal.jobs()] == ["answered", "intended", "intended"]
    journal.close()
    alive.close()


def test_a_resumption_notes_what_failed_and_does_not_try_again(path: Path) -> None:
    cloud = Cloud([Post(ends="FAILED")])
    with pytest.raises(Crash):
        ask(Double(cloud, crashes={1: "before"}), THREE[:1], path)
    service, journal = Double(cloud), Journal(path)
    resume(service, journal, read, TERMS)
    assert service.count("post") == 0
    assert [job.status for job in journal.jobs()] == ["failed"]
    journal.close()
    ask(service, THREE[:1], path)
    assert [job.attempt for job in Journal(path).jobs()] == [1, 2]


@pytest.mark.parametrize("cancel", [False, True])
def test_what_still_waits_when_a_process_gives_up_is_cancelled_only_where_nobody_could_fetch_it(
    path: Path, cancel: bool
) -> None:
    cloud = Cloud([Post(polls=9)])
    service = Double(cloud, down=[2])
    with pytest.raises(QPUError, match="no network"):
        ask(service, THREE[:1], path, replace(TERMS, cancel=cancel))
    assert service.cancelled == (["job-0"] if cancel else [])


def test_two_jobs_of_one_label_are_told(path: Path) -> None:
    """A service that shows a job only after the time that was agreed on."""
    cloud = Cloud([Post("lost after", hidden=1e9), Post("lost after")])
    with pytest.warns(DuplicateWarning, match="has 2 jobs with the label"):
        ask(Late(cloud), THREE[:1], path)


class Late(Double):
    """A hidden job comes to light once it was posted again."""

    def find(self, label: str) -> list[str]:
        """All of them, after the second post."""
        if self.count("post") > 1:
            for job in self.cloud.jobs.values():
                job.visible_at = 0.0
        return super().find(label)


def in_threads(*work: Callable[[], object]) -> None:
    """All at once."""
    failures: list[BaseException] = []

    def caught(one: Callable[[], object]) -> None:
        try:
            one()
        except BaseException as error:  # it is raised again below
            failures.append(error)

    threads = [threading.Thread(target=caught, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


def test_two_at_once_pay_once_for_what_both_want(path: Path) -> None:
    asked = requests(8)
    cloud = Cloud([Post(polls=2), Post("lost after", hidden=SETTLE / 2), Post("lost before")])
    found: dict[int, list[str]] = {}

    def half(number: int) -> None:
        order = asked if number == 0 else asked[::-1]
        found[number] = values(ask(Double(cloud, at_once=2), order, path))

    in_threads(lambda: half(0), lambda: half(1))
    assert found == {0: [one.digest for one in asked], 1: [one.digest for one in asked[::-1]]}
    assert_paid_once(cloud, path, asked)


def test_what_another_process_died_with_is_taken_over_while_waiting_for_it(path: Path) -> None:
    cloud = Cloud([Post(polls=1)])
    other = Journal(path)
    with pytest.raises(Crash):
        run(Double(cloud, crashes={0: "after"}), THREE[:1], other, read, TERMS)
    other.claim(THREE[:1], solver=Double(cloud).name, purpose="", budget=None)  # it goes on with it
    timer = threading.Timer(0.5, other.close)
    timer.start()
    service = Double(cloud)
    started = time.monotonic()
    assert values(ask(service, THREE, path)) == [one.digest for one in THREE]
    assert time.monotonic() - started > 0.4  # until then it was somebody else's
    assert service.count("post") == 2
    assert_paid_once(cloud, path)


class Clouds(BaseManager):
    """A process with a cloud for several others."""

    cloud: Callable[..., Any]


Clouds.register("cloud", Cloud)


def share(cloud: Any, path: Path, asked: Sequence[Request], barrier: Any) -> None:
    """What another process does."""
    barrier.wait(60)
    assert values(ask(Double(cloud, at_once=2), asked, path)) == [one.digest for one in asked]


def test_two_processes_that_share_a_batch_pay_once(path: Path) -> None:
    asked, barrier = requests(8), CONTEXT.Barrier(2)
    with Clouds(ctx=CONTEXT) as clouds:
        cloud = clouds.cloud([Post(polls=3)] * 4)
        others = [
            CONTEXT.Process(target=share, args=(cloud, path, order, barrier)) for order in (asked[:6], asked[:1:-1])
        ]
        for other in others:
            other.start()
        for other in others:
            other.join(60)
            assert other.exitcode == 0
        charged, bill = cloud.sums()
    assert charged == Counter(one.digest for one in asked)
    jobs = Journal(path).jobs()
    assert len({job.owner for job in jobs}) == 2
    assert sum(job.charged_us or 0.0 for job in jobs) == bill


SCRIPTS = st.builds(
    Post,
    reply=st.sampled_from(["accepted", "accepted", "lost before", "lost after", "busy", "rejected", "every other"]),
    takes=st.sampled_from([0.0, 0.0, 0.0, 1.5 * SHORT]),
    hidden=st.sampled_from([0.0, SHORT / 2]),
    polls=st.integers(0, 2),
    ends=st.sampled_from(["COMPLETED", "COMPLETED", "COMPLETED", "FAILED", "CANCELLED"]),
    unreadable=st.integers(0, 2),
    charge=st.sampled_from([ESTIMATE, 7.0, 23.0]),
)
CRASHES = st.dictionaries(st.integers(0, 12), st.sampled_from(["before", "after"]), max_size=1)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(
    posts=st.lists(SCRIPTS, max_size=8),
    starts=st.lists(CRASHES, max_size=5),
    number=st.integers(1, 5),
    at_once=st.integers(1, 3),
    in_flight=st.integers(1, 6),
)
@example([Post(takes=1.5 * SHORT, hidden=SHORT / 2)], [{0: "after"}], 1, 1, 1)
@example([Post("lost after", hidden=SHORT / 2), Post(ends="FAILED")], [{1: "before"}, {3: "after"}], 3, 2, 4)
def test_whatever_fails_and_wherever_it_ends_each_request_is_charged_and_answered_once(
    tmp_path_factory: pytest.TempPathFactory,
    posts: list[Post],
    starts: list[dict[int, str]],
    number: int,
    at_once: int,
    in_flight: int,
) -> None:
    path = tmp_path_factory.mktemp("script") / "journal.sqlite"
    asked, cloud = requests(number), Cloud(posts)
    terms = Terms("sampling", in_flight=in_flight, settle=SHORT)
    for crashes in [*starts, *[{}] * 40]:
        try:
            results = ask(Double(cloud, at_once=at_once, crashes=crashes), asked, path, terms)
        except (Crash, RejectedError, AnswerError, JobError):
            assert set(cloud.charged.values()) <= {1}
        else:
            break
    else:
        raise AssertionError("no end")
    assert values(results) == [one.digest for one in asked]
    assert cloud.charged == Counter(one.digest for one in asked)
    jobs = Journal(path).jobs()
    assert sum(job.charged_us or 0.0 for job in jobs) == cloud.bill
    assert {job.status for job in jobs} <= {"answered", "failed"}
    labels = [job.label for job in cloud.jobs.values()]
    assert len(set(labels)) == len(labels)
    assert set(labels) == {job.label for job in jobs}
    service = Double(cloud)
    assert values(ask(service, asked, path)) == values(results)
    assert service.calls == []
