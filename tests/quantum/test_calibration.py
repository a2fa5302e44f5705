"""Calibrations: what they divide by, and when they refuse to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from dense_anneal import circuit_state

from quantum import CALIBRATIONS, AnnealSchedule, calibrate, response

LINEAR = AnnealSchedule.linear(6.0)


def test_names() -> None:
    assert tuple(CALIBRATIONS) == ("none", "one-beta", "two-beta", "tuned")


def test_factors_are_the_inverse_responses() -> None:
    beta = response(LINEAR, 12)
    assert calibrate(LINEAR, 12, "none") == (1.0, 1.0)
    assert calibrate(LINEAR, 12, "one-beta") == (1 / beta.beta_J, 1 / beta.beta_J)
    assert calibrate(LINEAR, 12, "two-beta") == (1 / beta.beta_h, 1 / beta.beta_J)
    assert calibrate(LINEAR, 12) == calibrate(LINEAR, 12, "two-beta")


@pytest.mark.parametrize("duration", [0.5, 2.0, 6.0, 10.0])
def test_two_beta_answers_at_temperature_one(duration: float) -> None:
    # weak fields and couplings: ⟨s_0⟩ = h and ⟨s_0 s_1⟩ = J up to third order in them
    schedule = AnnealSchedule.linear(duration)
    factors, angles = calibrate(schedule, 16), schedule.angles(16)
    h, J = 1e-4, 2e-4
    laws = [
        abs(circuit_state(fields, couplings, angles.field, angles.coupling, angles.mixer)) ** 2
        for fields, couplings in (
            (np.array([h, 0.0]) * factors.field_factor, np.zeros((2, 2))),
            (np.zeros(2), np.array([[0, J], [0, 0]]) * factors.coupling_factor),
        )
    ]
    assert laws[0] @ [1, -1, 1, -1] == pytest.approx(h, rel=1e-4)
    assert laws[1] @ [1, -1, -1, 1] == pytest.approx(J, rel=1e-4)


def test_a_negative_response_is_divided_by() -> None:
    schedule = AnnealSchedule.from_angles(field=[-0.3], coupling=[0.7], mixer=[0.2])
    assert calibrate(schedule).field_factor == pytest.approx(-1 / (0.6 * math.sin(0.4)), rel=1e-14)


def test_a_response_near_zero_is_refused_by_those_that_need_it() -> None:
    # a mixer of π/4 turns a coupling by sin π = 0 and a field by sin π/2 = 1
    schedule = AnnealSchedule.from_angles(field=[0.5], coupling=[0.5], mixer=[math.pi / 4])
    assert calibrate(schedule, calibration="none") == (1.0, 1.0)
    for name in ("one-beta", "two-beta"):
        with pytest.raises(ValueError, match=rf"calibration is '{name}', but beta_J is .* with 1 steps: too close"):
            calibrate(schedule, calibration=name)
    with pytest.raises(ValueError, match=r"beta_h is .* AnnealSchedule\.linear\(duration=0\.01\) with 3 steps"):
        calibrate(AnnealSchedule.linear(0.01), 3)


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match="calibration is 'tree-beta'; choose one of none, one-beta, two-beta, tuned"):
        calibrate(LINEAR, 12, "tree-beta")
