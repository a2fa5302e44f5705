"""Schedules: their angles, their files, and what they refuse."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum import AnnealSchedule


def ghz(duration_ns: float = 6.0) -> AnnealSchedule:
    """The linear anneal written as a published table: A = π a_ghz = 1 − u, B = π b_ghz = u."""
    s = np.linspace(0, 1, 5)
    return AnnealSchedule.tabulated(fraction=s, a_ghz=(1 - s) / math.pi, b_ghz=s / math.pi, duration_ns=duration_ns)


ANGLES = AnnealSchedule.from_angles(field=[0.1, 0.2], coupling=[0.3, 0.4], mixer=[0.5, 0.6])


def test_linear_angles_by_hand() -> None:
    # T = 3, K = 3: dt = 1, u = 1/6, 1/2, 5/6
    angles = AnnealSchedule.linear(3.0).angles(3)
    np.testing.assert_allclose(angles.field, [1 / 6, 1 / 2, 5 / 6], rtol=1e-14)
    np.testing.assert_allclose(angles.coupling, angles.field, rtol=0)
    np.testing.assert_allclose(angles.mixer, [(5 / 6 + 1 / 2) / 2, (1 / 2 + 1 / 6) / 2, 1 / 12], rtol=1e-14)
    assert angles.steps == 3
    assert all(x.dtype == np.float64 for x in (angles.field, angles.coupling, angles.mixer))


def test_one_step() -> None:
    angles = AnnealSchedule.linear(2.0).angles(1)
    np.testing.assert_allclose([angles.field[0], angles.mixer[0]], [1.0, 0.5], rtol=1e-14)


@given(duration=st.floats(0.01, 100), steps=st.integers(1, 200))
def test_angles_add_up_to_the_integrals(duration: float, steps: int) -> None:
    angles = AnnealSchedule.linear(duration).angles(steps)
    assert angles.field.sum() == pytest.approx(duration / 2, rel=1e-10)
    # the leading half mixer, which does nothing to |+⟩, is left out
    first = (1 - 0.5 / steps) * duration / steps / 2
    assert angles.mixer.sum() == pytest.approx(duration / 2 - first, rel=1e-10, abs=1e-12)


def test_table_of_the_linear_anneal_is_the_linear_anneal() -> None:
    table, linear = ghz().angles(7), AnnealSchedule.linear(6.0).angles(7)
    for name in ("field", "coupling", "mixer"):
        np.testing.assert_allclose(getattr(table, name), getattr(linear, name), rtol=1e-12)


def test_table_units() -> None:
    # D-Wave: H/h = −A/2 ΣX with A in GHz, so ħ = 1 gives π A rad/ns
    table = AnnealSchedule.tabulated(fraction=[0, 1], a_ghz=[6.0, 0.0], b_ghz=[0.2, 9.0], duration_ns=5)
    a, b = table.amplitudes([0.0, 0.5, 1.0])
    np.testing.assert_allclose(a, np.pi * np.array([6.0, 3.0, 0.0]), rtol=1e-14)
    np.testing.assert_allclose(b, np.pi * np.array([0.2, 4.6, 9.0]), rtol=1e-14)


def test_angles_are_their_own_circuit() -> None:
    for angles in (ANGLES.angles(), ANGLES.angles(2)):
        np.testing.assert_array_equal(angles.field, [0.1, 0.2])
        np.testing.assert_array_equal(angles.coupling, [0.3, 0.4])
        np.testing.assert_array_equal(angles.mixer, [0.5, 0.6])
    assert ANGLES.own_steps == 2
    assert AnnealSchedule.linear().own_steps is None


def test_changing_the_angles_that_were_handed_out_leaves_the_schedule_alone() -> None:
    ANGLES.angles().field[0] = 9.0
    assert ANGLES.angles().field[0] == 0.1


@pytest.mark.parametrize("schedule", [AnnealSchedule.linear(2.5), ghz(), ANGLES])
def test_file_round_trip(schedule: AnnealSchedule, tmp_path: Path) -> None:
    path = tmp_path / "schedule.json"
    path.write_text("something older")
    schedule.save(path)
    assert AnnealSchedule.load(path) == schedule
    assert hash(AnnealSchedule.load(path)) == hash(schedule)
    assert [entry.name for entry in tmp_path.iterdir()] == ["schedule.json"]
    assert json.loads(path.read_text()) == schedule.to_json()


@settings(max_examples=30)
@given(rows=st.lists(st.tuples(*[st.floats(-1e6, 1e6)] * 3), min_size=1, max_size=5))
def test_json_keeps_every_bit(rows: list[tuple[float, float, float]]) -> None:
    a, b, theta = zip(*rows, strict=True)
    schedule = AnnealSchedule.from_angles(field=a, coupling=b, mixer=theta)
    assert AnnealSchedule.from_json(json.loads(json.dumps(schedule.to_json()))) == schedule


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "taken"
    path.mkdir()
    with pytest.raises(OSError):  # noqa: PT011  (a directory in the way: which error depends on the system)
        AnnealSchedule.linear().save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


def test_repr_says_what_it_is() -> None:
    assert repr(AnnealSchedule.linear(6)) == "AnnealSchedule.linear(duration=6)"
    assert repr(ghz()) == "<AnnealSchedule tabulated, 5 rows, duration 6 ns>"
    assert repr(ANGLES) == "<AnnealSchedule from angles, 2 steps>"


@pytest.mark.parametrize("duration", [0, -1.0, math.nan, math.inf, "6", True, None])
def test_bad_duration(duration: object) -> None:
    with pytest.raises(ValueError, match=r"duration is .*; give a finite number above zero"):
        AnnealSchedule.linear(duration)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"duration_ns": -5.0}, r"duration_ns is -5.0; give a finite"),
        ({"fraction": [0, 0.7, 0.6, 1]}, r"fraction\[2\] is 0.6 after 0.7; sort the rows"),
        ({"fraction": [0, 0.5, 0.5, 1]}, r"fraction\[2\] is 0.5 after 0.5; sort the rows, each fraction once"),
        ({"fraction": [0.1, 0.2, 0.6, 1]}, r"fraction runs from 0.1 to 1; .* starts at 0 and ends at 1"),
        ({"fraction": [0, 0.2, 0.6, 0.9]}, r"fraction runs from 0 to 0.9"),
        ({"a_ghz": [3, math.nan, 1, 0]}, r"a_ghz contains nan; every value must be finite"),
        ({"b_ghz": [0, 1, 2, math.inf]}, r"b_ghz contains inf; every value must be finite"),
        ({"b_ghz": [0, 1, 2]}, r"unequal lengths \(fraction 4, a_ghz 4, b_ghz 3\)"),
        ({"fraction": [0]}, r"fraction has shape \(1,\); give a list of at least 2 numbers"),
        ({"fraction": "linear"}, r"fraction (is 'linear'|has shape \(\)); give a list"),
    ],
)
def test_bad_table(change: dict[str, object], message: str) -> None:
    good = {"fraction": [0, 0.3, 0.6, 1], "a_ghz": [3, 2, 1, 0], "b_ghz": [0, 1, 2, 3], "duration_ns": 5.0}
    AnnealSchedule.tabulated(**good)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        AnnealSchedule.tabulated(**{**good, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "coupling", "mixer", "message"),
    [
        ([], [], [], r"field has shape \(0,\); give a list of at least 1"),
        ([1.0], [1.0, 2.0], [1.0], r"field, coupling, mixer have unequal lengths \(field 1, coupling 2, mixer 1\)"),
        ([1.0], [1.0], [math.inf], r"mixer contains inf; every value must be finite"),
    ],
)
def test_bad_angles(field: list[float], coupling: list[float], mixer: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AnnealSchedule.from_angles(field=field, coupling=coupling, mixer=mixer)


@pytest.mark.parametrize(
    ("schedule", "steps", "message"),
    [
        (AnnealSchedule.linear(), 0, r"steps is 0; give an integer of at least 1"),
        (AnnealSchedule.linear(), -3, r"steps is -3"),
        (AnnealSchedule.linear(), 2.5, r"steps is 2.5; give an integer"),
        (AnnealSchedule.linear(), True, r"steps is True"),
        (AnnealSchedule.linear(), None, r"steps is None; a linear schedule needs a number of Trotter steps"),
        (ghz(), None, r"steps is None; a tabulated schedule needs"),
        (ANGLES, 3, r"steps is 3, but this schedule has 2 steps of its own; leave steps out"),
    ],
)
def test_bad_steps(schedule: AnnealSchedule, steps: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        schedule.angles(steps)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", r"schedule file .*bad.json: "),
        ("[]", r"kind is None; a schedule's kind is one of linear, tabulated, angles"),
        ('{"kind": "cubic"}', r"kind is 'cubic'"),
        ('{"kind": "linear"}', r"keys are \['kind'\]; a linear schedule has kind, duration"),
        ('{"kind": "linear", "duration": 6, "steps": 3}', r"keys are .*'steps'"),
        ('{"kind": "linear", "duration": -6}', r"duration is -6"),
        ('{"kind": "angles", "field": [1], "coupling": [], "mixer": [1]}', r"coupling has shape \(0,\)"),
        ('{"kind": "tabulated", "duration": 1, "fraction": [0, 2], "A": [1, 0], "B": [0, 1]}', r"from 0 to 2"),
    ],
)
def test_bad_file(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        AnnealSchedule.load(path)


def test_direct_construction_is_checked_too() -> None:
    with pytest.raises(ValueError, match="kind is 'cubic'"):
        AnnealSchedule("cubic", 1.0)
    with pytest.raises(ValueError, match="kind is 'angles', which takes steps_angles alone"):
        AnnealSchedule("angles", None)
    with pytest.raises(ValueError, match=r"use AnnealSchedule\.tabulated"):
        AnnealSchedule("tabulated", 1.0)


def test_amplitudes_refuse_what_has_no_meaning() -> None:
    with pytest.raises(ValueError, match=r"fraction contains 1\.5; give numbers from 0 to 1"):
        AnnealSchedule.linear().amplitudes([0.5, 1.5])
    with pytest.raises(ValueError, match="given by angles"):
        ANGLES.amplitudes([0.5])
