"""The command `design`: what it writes, what it prints, and what it refuses with one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_attention.cli import main
from hybrid_attention.design_command import DesignCommand
from quantum import AnnealSchedule
from quantum.distribution import NARROW, WIDE

QUICK = ["--models", "8", "--iterations", "2", "--spins", "3"]


def test_it_writes_a_schedule_and_says_how_good_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "schedule.json"
    arguments = ["design", "--steps", "2", "--out", str(out), *QUICK, "--seed", "4", "--gate-error", "0.01"]
    assert main([*arguments, "--field-scale", "0.5", "1.0", "--coupling-scale", "0.1", "0.2"]) == 0
    schedule = AnnealSchedule.load(out)
    assert schedule.own_steps == 2
    assert schedule.design is not None
    recipe = schedule.design.recipe
    assert (recipe.field_scale, recipe.coupling_scale, recipe.spins) == ((0.5, 1.0), (0.1, 0.2), (3,))
    assert (recipe.models, recipe.iterations, recipe.seed, recipe.gate_error) == (8, 2, 4, 0.01)
    printed = capsys.readouterr()
    assert f"schedule: {out}" in printed.out
    assert f"held-out KL: {schedule.design.kl:.5f} ± {schedule.design.kl_error:.5f}" in printed.out
    assert f"range: {schedule.design}" in printed.out
    assert [entry.name for entry in tmp_path.iterdir()] == ["schedule.json"]


def test_defaults_are_the_presets_recipe() -> None:
    assert DesignCommand(8, Path("x")).distribution() == NARROW
    assert DesignCommand(8, Path("x"), wide=True).distribution() == WIDE


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--steps 0 --out new.json", "--steps is 0; give an integer of at least 1"),
        ("--steps 2 --out new.json --models 0", "--models is 0; give"),
        ("--steps 2 --out new.json --iterations 0", "--iterations is 0; give"),
        ("--steps 2 --out new.json --gate-error 1.5", "--gate-error is 1.5; give a probability"),
        ("--steps 2 --out new.json --spins 0", "--spins contains 0; give integers from 1 to 14"),
        ("--steps 2 --out new.json --field-scale 2 1", "--field-scale is (2.0, 1.0); give"),
        ("--steps 2 --out new.json --field-scale 0 0 --coupling-scale 0 0", "--field-scale and --coupling-scale are"),
        ("--steps 2 --out new.json --seed -1", "--seed is -1; give"),
        ("--steps 2 --out there.json", "--out there.json exists already; give a new file"),
        ("--steps 2 --out nowhere/new.json", "nowhere does not exist"),
        ("--steps two --out new.json", "--steps"),
        ("--out new.json", "--steps"),
    ],
)
def test_refused(
    arguments: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.json").write_text("mine")
    assert main(["design", *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert words in error
    assert Path("there.json").read_text() == "mine"
    assert not Path("new.json").exists()
