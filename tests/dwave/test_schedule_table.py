"""Tables of A(s) and B(s) from CSV files, as exported from D-Wave's spreadsheets, and what may be wrong in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantum.dwave.schedule_table import GENERIC_TABLE, ScheduleTable, read_schedule_table, read_table

HEADER = "s,A(s) (GHz),B(s) (GHz),C (normalized)"
ROWS = ("0,6.2,0.2,0.21", "0.5,0.5,3.1,0.4", "1,0,12.5,0.67")


def file(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path = folder / "schedule.csv"
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def test_a_table_becomes_a_schedule_in_radians(tmp_path: Path) -> None:
    schedule = read_schedule_table(file(tmp_path, HEADER, *ROWS), 7.0)
    assert schedule.duration == 7.0
    a, b = schedule.amplitudes([0.0, 0.25, 0.5, 1.0])
    np.testing.assert_allclose(a, np.pi * np.array([6.2, 3.35, 0.5, 0.0]))
    np.testing.assert_allclose(b, np.pi * np.array([0.2, 1.65, 3.1, 12.5]))


def test_spreadsheets_leave_marks_spaces_and_other_orders(tmp_path: Path) -> None:
    lines = ("B(s) (GHz), s , A(s)  (GHz)", "0.2,0,6.2", "", " 3.1,0.5,0.5", "12.5,1.0,0", ",,")
    found = read_table(file(tmp_path, *lines, encoding="utf-8-sig"))
    assert found == ScheduleTable((0.0, 0.5, 1.0), (6.2, 0.5, 0.0), (0.2, 3.1, 12.5))


def test_the_crossing_is_where_lines_between_rows_meet() -> None:
    table = ScheduleTable((0.0, 0.4, 0.6, 1.0), (6.0, 2.0, 1.0, 0.0), (0.0, 1.0, 2.0, 12.0))
    assert table.crossing_ghz == pytest.approx(1.5)
    a, b = table.at(np.array([0.5]))
    assert a[0] == pytest.approx(1.5)
    assert b[0] == pytest.approx(1.5)


def test_the_generic_table_has_the_size_of_a_processors() -> None:
    s = np.array([0.0, 0.25, 0.5, 1.0])
    a, b = GENERIC_TABLE.at(s)
    np.testing.assert_allclose(a, 6 * (1 - s) ** 4)
    np.testing.assert_allclose(b, 12 * s**2)
    assert 1.0 < GENERIC_TABLE.crossing_ghz < 1.5


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((), ("empty", "A(s) (GHz)")),
        ((HEADER,), ("0 rows", "at least 2")),
        ((HEADER, ROWS[0]), ("1 rows", "at least 2")),
        (("s,A(s) (GHz)", "0,6"), ("no column 'B(s) (GHz)'", "s, A(s) (GHz)")),
        (("t,A(s) (GHz),B(s) (GHz)", *ROWS), ("no column 's'",)),
        (("s,A(s) (J),B(s) (GHz)", *ROWS), ("'A(s) (J)'", "A(s) in GHz")),
        (("s,A(s) (GHz),B(s) (rad/ns)", *ROWS), ("'B(s) (rad/ns)'", "B(s) in GHz")),
        (("s,A(s) (GHz),B(s)", *ROWS), ("column 'B(s)'", "GHz")),
        (("s,A(s) (GHz),B(s) (GHz),s", *ROWS), ("'s' 2 times",)),
        ((HEADER, ROWS[0], "0.5,x,3,0", ROWS[2]), ("column 'A(s) (GHz)'", "'x' in row 3", "number")),
        ((HEADER, ROWS[0], "0.5,1", ROWS[2]), ("column 'B(s) (GHz)'", "'' in row 3")),
        ((HEADER, ROWS[0], "0.5,1,nan,0", ROWS[2]), ("column 'B(s) (GHz)'", "'nan'")),
        ((HEADER, ROWS[0], "0.5,-1,3,0", ROWS[2]), ("column 'A(s) (GHz)'", "negative", "-1")),
        ((HEADER, *ROWS[:2]), ("column 's' runs from 0 to 0.5", "from 0 to 1")),
        ((HEADER, *ROWS[1:]), ("column 's' runs from 0.5 to 1",)),
        ((HEADER, ROWS[0], ROWS[1], ROWS[1], ROWS[2]), ("column 's' does not increase",)),
        ((HEADER, "0,4e-24,1e-25,0", "1,0,8e-24,0"), ("column 'A(s) (GHz)'", "4e-24", "plausible", "GHz, not joules")),
        ((HEADER, "0,6.2,1,0", "1,0,1.2e10,0"), ("column 'B(s) (GHz)'", "1.2e+10", "plausible")),
    ],
)
def test_wrong_tables_are_refused_in_one_line(tmp_path: Path, lines: tuple[str, ...], words: tuple[str, ...]) -> None:
    path = file(tmp_path, *lines) if lines else tmp_path / "schedule.csv"
    if not lines:
        path.write_text("")
    with pytest.raises(ValueError, match=r"schedule\.csv") as refused:
        read_table(path)
    message = str(refused.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_spreadsheets_that_were_not_exported_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "schedule.xlsx"
    path.write_bytes(b"PK\x03\x04\xff\xfe\x00\x81")
    with pytest.raises(ValueError, match=r"schedule\.xlsx is no CSV file"):
        read_table(path)
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "missing.csv")


def test_tables_made_by_hand_are_checked_too() -> None:
    with pytest.raises(ValueError, match=r"fraction runs from 0 to 0\.5"):
        ScheduleTable((0.0, 0.5), (1.0, 0.0), (0.0, 1.0))
    with pytest.raises(ValueError, match="unequal lengths"):
        ScheduleTable((0.0, 1.0), (1.0, 0.5, 0.0), (0.0, 1.0))
    with pytest.raises(ValueError, match="a_ghz comes to at most 6e-25"):
        ScheduleTable((0.0, 1.0), (6e-25, 0.0), (0.0, 1.0))
    with pytest.raises(ValueError, match="do not cross"):
        _ = ScheduleTable((0.0, 1.0), (1.0, 0.9), (0.0, 0.5)).crossing_ghz
    with pytest.raises(ValueError, match="duration_ns is 0"):
        GENERIC_TABLE.schedule(0)
