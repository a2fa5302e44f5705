"""The command `ablate`: from start to report, records that were edited, and wrong input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from ablation_cases import SMALL, invented

from hybrid_attention.ablation.run import run_ablation
from hybrid_attention.ablation.settings import AblationConfig
from hybrid_attention.ablation.storage import AblationFolder
from hybrid_attention.cli import main
from hybrid_attention.errors import InputError


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ('lengths = "4"', "lengths = [4, 5]", "--lengths is '[4, 5]'"),
        ("seeds = 2", 'seeds = "two"', "seeds"),
        ("seeds = 2", "seeds = 2\ncolour = 3", "colour"),
        ("steps = 3", "steps = 2.5", "steps"),
        ("match = true", "match = 3", "--match is 3"),
        ("[runs]", "runs = 3\n[other]", "runs is 3"),
        ("[runs]", "[runs", "is not an ablation's record"),
    ],
)
def test_a_record_that_was_edited_is_checked(
    before: str, after: str, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SMALL.save(tmp_path / "ablation.toml")
    assert AblationConfig.load(tmp_path / "ablation.toml") == SMALL
    text = (tmp_path / "ablation.toml").read_text(encoding="utf-8")
    assert before in text
    (tmp_path / "ablation.toml").write_text(text.replace(before, after), encoding="utf-8")
    assert main(["ablate", "--out", str(tmp_path), "--resume", "--workers", "0"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert named in error


def test_a_resumed_ablation_keeps_its_seeds(tmp_path: Path) -> None:
    folder = AblationFolder(tmp_path)
    run_ablation(SMALL, folder, progress=False, work=invented)
    with pytest.raises(InputError, match=r"--seeds is 1, but .* of 2; give at least 2"):
        run_ablation(replace(SMALL, seeds=1), folder, resume=True, progress=False, work=invented)
    assert len(pd.read_parquet(folder.results)) == 4


FLAGS = ["--steps", "3", "--batch", "4", "--dim", "8", "--heads", "2", "--eval-sequences", "8"]


def test_the_command_from_start_to_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "ablation")
    command = ["ablate", "--arms", "softmax+bias,position+bias", "--lengths", "4", "--workers", "0", "--out", out]
    assert main([*command, "--seeds", "2", *FLAGS]) == 0
    said = capsys.readouterr().out
    assert "brackets, length 4: position+bias, the only arm with learned couplings, differs by" in said
    assert "rows: 4" in said
    page = (tmp_path / "ablation" / "report.html").read_text(encoding="utf-8")
    assert "What the couplings are worth" in page
    assert "http://" not in page.split("<script>")[0]
    assert sorted(p.name for p in (tmp_path / "ablation" / "figures").iterdir()) == [
        f"{name}.{kind}" for name in ("difference-brackets-softmax-bias", "loss-brackets") for kind in ("png", "svg")
    ]
    assert main(["ablate", "--resume", "--workers", "0", "--out", out]) == 0  # settings are in the folder
    assert main(["ablate", "--resume", "--out", out, "--arms", "softmax+bias,fixed"]) == 2
    assert "--arms (softmax+bias,position+bias → softmax+bias,fixed)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--arms", "softmax,tanh"], "--arms has 'tanh'"),
        (["--arms", "softmax,softmax"], "--arms"),
        (["--seeds", "0"], "--seeds is 0"),
        (["--lengths", "4,x"], "--lengths"),
        (["--lengths", "5"], "--length is 5"),
        (["--lengths", "60"], "--length is 60"),
        (["--against", "linear"], "--against"),
        (["--samplers", "warp"], "--samplers has 'warp'"),
        (["--samplers", "gibbs/burn-in"], "--samplers has 'gibbs/burn-in'"),
        (["--samplers", "gibbs/length=6"], "--samplers has 'gibbs/length=6'"),
        (["--samplers", "exact-samples/shots=8"], "--samplers has 'exact-samples/shots=8'"),
        (["--samplers", "exact-samples/polish=1"], "settings of exact-samples are, each once: estimator"),
        (["--samplers", '"gibbs'], "--samplers"),
        (["--samplers", "gibbs", "--estimator", "adjoint"], "--estimator adjoint"),
        (["--samplers", "gibbs", "--burn-in", "5"], "--burn-in is 5; use --samplers"),
        (["--tasks", "seasons", "--lengths", "4", "--no-match"], "length"),
        (["--tasks", "text", "--text", "missing.txt", "--no-match"], "missing.txt"),
        (["--types", "30", "--no-match"], "--types is 30"),
        (["--export-every", "2"], "--export-every is 2"),
        (["--samplers", "gibbs/speed=3"], "--samplers has 'gibbs/speed=3'"),
        (["--samplers", "ibm"], "--samplers has 'ibm'"),
        (["--tasks", "chess"], "chess"),
        (["--attention", "softmax"], "--attention is softmax; use --arms"),
        (["--lr", "0.1"], "--lr is 0.1; use --rates"),
        (["--rates", "0"], "--rates"),
        (["--limits", "tanh=3"], "--limits"),
        (["--heads", "5"], "--heads 5"),
        (["--cpu-minutes", "-1"], "--cpu-minutes is -1"),
        (["--energy-loss", "0.1"], "--energy-loss is 0.1"),
        (["--arms", "position+energy"], "--energy-loss is 0"),
        (["--feed-forward", "16"], "--feed-forward is 16"),
        (["--resume"], "no ablation to resume"),
        (["--limits", "position=4", "--arms", "softmax,position"], "position takes part at none of the lengths"),
        (["--arms", "linear+bias"], "linear+bias"),
    ],
)
def test_wrong_input_is_one_line(
    arguments: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ablate", "--out", str(tmp_path / "new"), "--workers", "0", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert named in error
    assert not (tmp_path / "new").exists()
