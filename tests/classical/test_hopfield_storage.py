"""The theory of the storage limit against its known limits."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from classical.storage import retrieval_overlap, storage_limit


def test_the_limit_is_the_published_one_and_the_overlap_there_too() -> None:
    # Amit, Gutfreund and Sompolinsky: 0.138 and 0.97
    assert storage_limit() == pytest.approx(0.1379, abs=5e-5)
    assert retrieval_overlap(0.999 * storage_limit()) == pytest.approx(0.97, abs=0.005)


def test_the_overlap_jumps_at_the_limit() -> None:
    limit = storage_limit()
    assert retrieval_overlap(limit * (1 - 1e-3)) > 0.96
    assert abs(retrieval_overlap(limit * (1 + 1e-3))) < 1e-6


@pytest.mark.parametrize("load", [0.02, 0.06, 0.1, 0.13])
def test_overlap_solves_the_equation_of_one_unknown(load: float) -> None:
    def equation(y: float) -> float:
        return math.erf(y) - y * (math.sqrt(2 * load) + 2 / math.sqrt(math.pi) * math.exp(-y * y))

    # the largest root is that of retrieval; beyond it the right side is larger
    grid = np.linspace(0.3, 12, 4000)
    signs = [equation(y) > 0 for y in grid]
    last = max(i for i, positive in enumerate(signs) if positive)
    y = brentq(equation, grid[last], grid[last + 1], xtol=1e-14)
    assert retrieval_overlap(load) == pytest.approx(math.erf(y), abs=1e-8)


@pytest.mark.parametrize("load", [0.03, 0.1])
def test_low_temperatures_approach_zero(load: float) -> None:
    assert retrieval_overlap(load, 0.01) == pytest.approx(retrieval_overlap(load), abs=1e-3)
    assert retrieval_overlap(load, 0.01, field=0.1, cue_overlap=0.5) == pytest.approx(
        retrieval_overlap(load, field=0.1, cue_overlap=0.5), abs=1e-3
    )


@pytest.mark.parametrize("temperature", [0.2, 0.5, 0.8])
def test_few_patterns_are_a_ferromagnet(temperature: float) -> None:
    m = brentq(lambda x: math.tanh(x / temperature) - x, 1e-3, 1)
    assert retrieval_overlap(1e-9, temperature) == pytest.approx(m, abs=1e-5)
    assert abs(retrieval_overlap(1e-9, 1.2)) < 1e-6


def test_temperature_and_load_take_from_the_overlap_and_weak_fields_give() -> None:
    by_temperature = [retrieval_overlap(0.04, T) for T in (0.0, 0.2, 0.4, 0.5)]
    by_load = [retrieval_overlap(a, 0.3) for a in (0.01, 0.05, 0.09, 0.2)]
    by_field = [retrieval_overlap(0.2, 0.3, field=f, cue_overlap=0.8) for f in (0.0, 0.1, 0.3)]
    assert by_field[-1] > retrieval_overlap(
        0.2, 0.3, field=1.0, cue_overlap=0.8
    )  # a strong one brings the cue's errors
    assert by_temperature == sorted(by_temperature, reverse=True)
    assert by_load == sorted(by_load, reverse=True)
    assert by_field == sorted(by_field)


def test_a_strong_field_is_obeyed_and_its_errors_too() -> None:
    assert retrieval_overlap(0.1, 0.1, field=100.0, cue_overlap=0.6) == pytest.approx(0.6, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"load": 0.0}, "load is 0.0; give a number above 0"),
        ({"load": float("inf")}, "load is inf"),
        ({"load": 0.1, "temperature": -1.0}, "temperature is -1.0"),
        ({"load": 0.1, "field": -0.1}, "field is -0.1"),
        ({"load": 0.1, "cue_overlap": 2.0}, "cue_overlap is 2.0; give a number from −1 to 1"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        retrieval_overlap(**arguments)
