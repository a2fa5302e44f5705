"""Runs that are struck by faults and killed end with every model paid for once and no answer lost."""

from __future__ import annotations

import pytest

from tests.dwave.campaign import FAULTS, Outcome, campaign, table

STRIKING = (
    "502 to a post, accepted",
    "connection lost before a post",
    "connection lost after a post",
    "late reply to a post",
    "answer damaged",
    "server restarts",
)
"""One of each kind that a driver could pay twice for, or lose an answer by."""

FAULTLESS = ("none", "server restarts")
"""Where nothing is planned for requests."""


def assert_clean(outcomes: dict[str, Outcome]) -> None:
    wrong = [(one.double_charges, one.lost_answers, one.wrong) for one in outcomes.values()]
    assert set(wrong) == {(0, 0, 0)}, table(outcomes)
    assert sum(one.kills for one in outcomes.values()) > 0
    assert all(one.struck > 0 for name, one in outcomes.items() if name not in FAULTLESS), table(outcomes)


def test_runs_with_faults_and_kills_pay_once_and_lose_nothing() -> None:
    assert_clean(campaign(len(STRIKING), faults=STRIKING, progress=False))


def test_a_driver_that_finds_no_label_is_seen_to_pay_twice() -> None:
    (outcome,) = campaign(2, faults=["connection lost after a post"], blind=True, progress=False).values()
    assert outcome.struck > 0
    assert outcome.double_charges > 0


@pytest.mark.slow
def test_two_hundred_and_ten_runs_pay_once_and_lose_nothing() -> None:
    outcomes = campaign(210, seed=1, progress=False)
    print(table(outcomes))
    assert set(outcomes) == set(FAULTS)
    assert sum(one.runs for one in outcomes.values()) == 210
    assert_clean(outcomes)
