"""The demonstration, at a size that takes seconds."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hybrid_attention import demo

TINY = replace(
    demo.SETTINGS, length=4, dim=8, batch=4, steps=2, eval_every=1, eval_sequences=16, shots=16, trotter_steps=4
)


def test_it_trains_on_aer_by_default() -> None:
    assert (demo.SETTINGS.sampler, demo.SETTINGS.task) == ("aer", "brackets")
    demo.SETTINGS.validate()


def test_it_prints_what_it_measured_and_where_the_report_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert demo.main([], TINY) == 0
    printed = capsys.readouterr().out
    rows = [json.loads(line) for line in next(tmp_path.glob("runs/demo-*/metrics.jsonl")).read_text().splitlines()]
    expected = {
        "before training": rows[0]["accuracy"],
        "after training, annealer": rows[-1]["accuracy"],
        "after training, exact": rows[-1]["accuracy_exact"],
        "chance": 0.25,
    }
    columns = set()
    for name, accuracy in expected.items():
        line = re.search(rf"^  {name} .*$", printed, re.MULTILINE)
        assert line, printed
        assert f" {accuracy:.1%} " in line.group()
        columns.add(line.group().index("%"))
    assert len(columns) == 1, "the numbers stand below each other"
    path = Path(printed.strip().splitlines()[-1].strip())
    assert path.name == "report.html"
    assert path.is_file()


def test_a_second_demo_leaves_the_first_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exact = replace(TINY, sampler="exact", steps=1)
    # the clock stands still, so that both would get the same name
    monkeypatch.setattr(time, "strftime", lambda _: "demo-now")
    assert demo.main([], exact) == 0
    first = (tmp_path / "runs/demo-now/report.html").stat()
    assert demo.main([], exact) == 0
    assert (tmp_path / "runs/demo-now/report.html").stat() == first
    assert (tmp_path / "runs/demo-now-2/report.html").is_file()


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    assert demo.main(["--out", str(tmp_path)], TINY) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(tmp_path) in error
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_unknown_argument_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--nonsense"], TINY) == 2
    assert capsys.readouterr().err.count("\n") == 1
