"""Linear response against golden values and against finite differences of dense matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from dense_anneal import circuit_state

from quantum import AnnealSchedule, response


def test_golden_responses(golden: dict[str, Any]) -> None:
    for case in golden["responses"]:
        beta = response(AnnealSchedule.linear(case["duration"]), case["steps"])
        assert beta.beta_h == pytest.approx(case["beta_field"], abs=1e-8)
        assert beta.beta_J == pytest.approx(case["beta_coupling"], abs=1e-8)


def test_golden_circuits(golden: dict[str, Any]) -> None:
    for case in golden["circuits"]:
        schedule = AnnealSchedule.from_angles(
            field=case["field_phases"], coupling=case["coupling_phases"], mixer=case["mixers"]
        )
        beta = response(schedule)
        assert beta.beta_h == pytest.approx(case["beta_field"], abs=1e-8)
        assert beta.beta_J == pytest.approx(case["beta_coupling"], abs=1e-8)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_finite_differences_of_dense_circuits(steps: int) -> None:
    rng = np.random.default_rng(steps)
    a, b, theta = rng.normal(size=(3, steps))
    schedule = AnnealSchedule.from_angles(field=a, coupling=b, mixer=theta)
    spins = np.array([[1, -1, 1, -1], [1, 1, -1, -1]])  # s_0 and s_1 of configurations 0 … 3

    def moment(h: float, J: float) -> np.ndarray:
        law = abs(circuit_state(np.array([h, 0.0]), np.array([[0, J], [0, 0]]), a, b, theta)) ** 2
        return np.array([law @ spins[0], law @ (spins[0] * spins[1])])

    step = 1e-5  # central differences: error of order step² ~ 1e-10, rounding of order 1e-16/step ~ 1e-11
    beta_h = (moment(step, 0.0) - moment(-step, 0.0))[0] / (2 * step)
    beta_J = (moment(0.0, step) - moment(0.0, -step))[1] / (2 * step)
    np.testing.assert_allclose(response(schedule), [beta_h, beta_J], atol=1e-8)


def test_limits_of_the_linear_schedule() -> None:
    short = response(AnnealSchedule.linear(0.01), 64)
    assert short.beta_J / short.beta_h == pytest.approx(2.0, rel=1e-3)
    crossing = response(AnnealSchedule.linear(2.863), 512)
    assert crossing.beta_J / crossing.beta_h == pytest.approx(1.0, abs=1e-3)
    long = response(AnnealSchedule.linear(1000.0), 20_000)
    assert long.beta_h == pytest.approx(math.sqrt(math.pi * 500) - 1, rel=1e-2)
    assert long.beta_J == pytest.approx(math.sqrt(math.pi * 250) - 0.5, rel=1e-2)


def test_one_step_by_hand() -> None:
    beta = response(AnnealSchedule.from_angles(field=[0.3], coupling=[0.7], mixer=[0.2]))
    assert beta.beta_h == pytest.approx(2 * 0.3 * math.sin(0.4), rel=1e-14)
    assert beta.beta_J == pytest.approx(2 * 0.7 * math.sin(0.8), rel=1e-14)


def test_steps_are_checked() -> None:
    with pytest.raises(ValueError, match="steps is None"):
        response(AnnealSchedule.linear())
