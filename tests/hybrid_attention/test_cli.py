"""The commands, and every input that they refuse with one line."""

import json
import math
import os
import subprocess
import sys
import tomllib

import pytest
import torch
from injected_samplers import PoisonedSampler
from small_runs import SMALL, refused, small_config, snapshot

from hybrid_attention import build, samplers
from hybrid_attention.cli import main
from hybrid_attention.run import RunFolder


@pytest.fixture
def inputs(workplace):
    """Files that are wrong in one way each."""
    (workplace / "short.txt").write_text("too short")
    (workplace / "empty.txt").write_text("")
    (workplace / "latin.txt").write_bytes("für".encode("latin-1") * 100)
    (workplace / "unknown.toml").write_text("stepz = 3\n")
    (workplace / "number.toml").write_text("steps = 3.5\n")
    (workplace / "switch.toml").write_text('position_bias = "perhaps"\n')
    (workplace / "value.toml").write_text("shots = 1\n")
    (workplace / "broken.toml").write_text("steps = [\n")
    (workplace / "broken.json").write_text("{")
    (workplace / "full").mkdir()
    (workplace / "full" / "thesis.tex").write_text("mine")
    return workplace


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--task text --text missing.txt", ("--text missing.txt", "does not exist", "give")),
        ("--task text --text empty.txt", ("--text empty.txt", "is empty", "give")),
        ("--task text --text latin.txt", ("--text latin.txt", "not UTF-8", "convert")),
        ("--task text --text short.txt", ("--text short.txt", "9 characters", "--length 8", "90", "use")),
        ("--task text --text full", ("--text full", "cannot be read", "give")),
        ("--length 7", ("--length is 7", "even", "try")),
        ("--length 30", ("--length is 30", "--sampler exact", "at most 25 spins", "use --length 24")),
        ("--length 100000", ("--length is 100000", "at most 25 spins")),
        ("--length 22 --sampler aer", ("--length is 22", "at most 20 spins", "--sampler exact")),
        ("--task text --length 22 --sampler aer", ("--length is 22", "at most 20 spins")),
        ("--config unknown.toml", ("unknown.toml", "unknown key 'stepz'", "use only", "steps")),
        ("--config number.toml", ("number.toml", "--steps", "'3.5'")),
        ("--config switch.toml", ("switch.toml", "perhaps")),
        ("--config value.toml", ("--shots is 1", "give at least 2")),
        ("--config broken.toml", ("--config broken.toml", "not valid TOML", "correct")),
        ("--config latin.txt", ("--config latin.txt", "not valid TOML")),
        ("--config missing.toml", ("--config missing.toml", "cannot be read", "give")),
        ("--config full", ("--config full", "cannot be read")),
        ("--shots 1", ("--shots is 1", "give at least 2")),
        ("--shots 1 --sampler aer", ("--shots is 1", "give at least 2")),
        ("--duration -1", ("--duration is -1.0", "give a positive number")),
        ("--duration nan", ("--duration is nan", "give a positive number")),
        ("--duration 0.001 --sampler aer", ("calibration is 'two-beta'", "beta_h is 1.69e-07", "change the duration")),
        (
            "--duration 0.001 --sampler aer --calibration one-beta",
            ("calibration is 'one-beta'", "beta_J", "change the duration"),
        ),
        ("--schedule missing.json --sampler aer", ("--schedule missing.json", "cannot be read", "give linear")),
        ("--schedule broken.json --sampler aer", ("--schedule", "broken.json", "give linear")),
        ("--out full", ("--out full", "not empty", "choose")),
        ("--out short.txt", ("--out short.txt", "is a file", "choose")),
        ("--out short.txt/run", ("--out short.txt/run", "cannot be made", "choose")),
        ("--resume", ("--out new", "has no run", "give")),
        ("--resume --out full", ("--out full", "has no run", "give")),
        ("--steps many", ("--steps", "'many'")),
        ("--stepz 3", ("--stepz", "--help")),
        ("--task nope", ("--task", "'nope'", "brackets", "text")),
        ("--attention nope", ("--attention", "'nope'", "boltzmann")),
        ("--seed 99999999999999999999999", ("--seed is 99999999999999999999999", "give")),
        ("--types 11", ("--types is 11", "give 1 to 10")),
        ("--types 1 --length 2", ("length is 2", "use a longer length")),
        ("--dim 30", ("--dim is 30", "--heads 4")),
        ("--lr 0", ("--lr is 0.0", "give a positive number")),
        ("--text short.txt", ("--text is short.txt", "--task text")),
        ("--config", ("--config",)),
    ],
)
def test_bad_training_input_is_one_line_and_writes_nothing(inputs, capsys, arguments, words):
    arguments = arguments.split()
    before = snapshot(inputs)
    refused(capsys, ["train", *([] if "--out" in arguments else ["--out", "new"]), *arguments], *words)
    assert snapshot(inputs) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", ("train", "evaluate", "generate")),
        ("frobnicate", ("frobnicate",)),
        ("evaluate", ("PATH",)),
        ("evaluate full", ("RUN full", "has no run")),
        ("evaluate missing", ("RUN missing", "has no run")),
        ("evaluate short.txt", ("RUN short.txt", "has no run")),
        ("generate full --prompt (", ("RUN full", "has no run")),
        ("generate full", ("--prompt",)),
    ],
)
def test_bad_commands_are_one_line(inputs, capsys, arguments, words):
    before = snapshot(inputs)
    refused(capsys, arguments.split(), *words)
    assert snapshot(inputs) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("train --out run", ("--out run", "already has a run", "--resume")),
        ("train --out run --resume --lr 0.5", ("--resume", "lr (0.003 → 0.5)", "leave")),
        ("train --out run --resume --lr 0.5 --steps 9", ("lr (0.003 → 0.5)", "steps (6 → 9)")),
        ("train --out run --resume --config other.toml", ("seed (0 → 3)",)),
        ("evaluate run --sampler aer --shots 1", ("--shots is 1", "give at least 2")),
        ("evaluate run --sampler aer --duration -2", ("--duration is -2.0",)),
        ("evaluate run --sampler aer --duration 0.001", ("calibration is 'two-beta'", "change the duration")),
        ("evaluate run --sampler nope", ("--sampler", "'nope'", "exact")),
        ("generate run --prompt (a", ("--prompt", "'a' at position 1", "use only ( [ { <")),
        ("generate run --prompt (]", ("--prompt", "']' at position 1", "closes no open")),
        ("generate run --prompt (((", ("--prompt needs 6 brackets", "holds 4", "shorter")),
        ("generate run --prompt ( --tokens 0", ("--tokens is 0", "give")),
        ("generate run --prompt ( --temperature -1", ("--temperature is -1.0", "give")),
        ("generate run --prompt ( --temperature nan", ("--temperature is nan", "give")),
        ("generate run --prompt ( --seed -1", ("--seed is -1", "give")),
    ],
)
def test_bad_input_to_a_run_is_one_line_and_changes_nothing(brackets_run, workplace, capsys, arguments, words):
    (workplace / "other.toml").write_text("seed = 3\n")
    before = snapshot(workplace)
    refused(capsys, arguments.split(), *words)
    assert snapshot(workplace) == before


def test_a_prompt_outside_the_vocabulary_of_a_text(text_run, capsys):
    refused(capsys, ["generate", text_run, "--prompt", "the Fox"], "--prompt", "'F' at position 4", "leave it out")
    refused(capsys, ["generate", text_run, "--prompt", ""], "--prompt is empty", "give")


def test_flags_win_over_toml(workplace):
    (workplace / "settings.toml").write_text(
        "".join(f"{key} = {value}\n" for key, value in SMALL.items()) + 'attention = "softmax"\nposition_bias = true\n'
    )
    assert main(["train", "--config", "settings.toml", "--steps", "2", "--no-position-bias", "--out", "run"]) == 0
    written = tomllib.loads((workplace / "run" / "config.toml").read_text())
    assert {key: written[key] for key in ("steps", "dim", "attention", "position_bias")} == {
        "steps": 2,
        "dim": 8,
        "attention": "softmax",
        "position_bias": False,
    }


def test_a_run_leaves_the_documented_files(brackets_run):
    rows = RunFolder(brackets_run).rows()
    assert [row["step"] for row in rows] == [0, 2, 4, 6]
    for row in rows:
        assert list(row) == [
            "step",
            "train_loss",
            "loss",
            "accuracy",
            "loss_exact",
            "accuracy_exact",
            "models_per_second",
        ]
    names = {path.name for path in brackets_run.iterdir()}
    assert names >= {"config.toml", "metrics.jsonl", "checkpoints"}
    assert names <= {"config.toml", "metrics.jsonl", "checkpoints", "report.html"}


def test_resuming_a_finished_run_changes_no_number(brackets_run):
    before = snapshot(brackets_run)
    assert main(["train", "--resume", "--out", str(brackets_run)]) == 0
    after = snapshot(brackets_run)
    assert {k: v for k, v in after.items() if k != "report.html"} == {
        k: v for k, v in before.items() if k != "report.html"
    }


def test_resume_takes_the_same_settings_again(brackets_run):
    arguments = [part for key, value in SMALL.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    assert main(["train", "--resume", "--out", str(brackets_run), *arguments]) == 0


@pytest.mark.parametrize("sampler", ["exact", "aer"])
def test_evaluate_prints_one_json_object(brackets_run, capsys, sampler):
    before = snapshot(brackets_run)
    capsys.readouterr()
    arguments = ["evaluate", str(brackets_run), "--json", "--sampler", sampler, "--eval-sequences", "1"]
    assert main([*arguments, *(["--shots", "16", "--trotter-steps", "4"] if sampler == "aer" else [])]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.keys() >= {"loss", "accuracy", "sampler", "steps", "parameters", "models_per_second"}
    assert found["sampler"] == sampler
    assert found["steps"] == 6
    assert 0 <= found["accuracy"] <= 1
    assert 0 < found["loss"] < 3
    assert found["models_per_second"] > 0
    assert found["sequences"] == 1
    run = build.build_task(small_config())
    assert found["parameters"] == sum(
        p.numel() for p in build.build_model(small_config(), run, samplers.build_sampler(small_config())).parameters()
    )
    assert snapshot(brackets_run) == before


def test_evaluate_gives_text_in_bits_as_well(text_run, capsys):
    capsys.readouterr()
    assert main(["evaluate", str(text_run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bits_per_character"] == pytest.approx(found["loss"] / math.log(2), rel=1e-12)
    assert main(["evaluate", str(text_run)]) == 0
    assert "bits_per_character" in capsys.readouterr().out


def test_evaluate_is_reproducible(brackets_run, capsys):
    found = []
    for _ in range(2):
        capsys.readouterr()
        arguments = ["--sampler", "aer", "--json", "--shots", "16", "--eval-sequences", "8", "--trotter-steps", "4"]
        assert main(["evaluate", str(brackets_run), *arguments]) == 0
        found.append(json.loads(capsys.readouterr().out))
        found[-1].pop("models_per_second")
    assert found[0] == found[1]


def test_generate_closes_brackets(brackets_run, capsys):
    capsys.readouterr()
    assert main(["generate", str(brackets_run), "--prompt", "(["]) == 0
    out = capsys.readouterr().out
    assert out.startswith("([")
    assert len(out.rstrip("\n")) == 4
    assert set(out[2:4]) <= set(")]}>")
    assert main(["generate", str(brackets_run), "--prompt", "()"]) == 0
    assert capsys.readouterr().out == "()\n"


def test_generate_continues_text_without_the_text(text_run, capsys):
    config = text_run / "config.toml"
    path = tomllib.loads(config.read_text())["text"]
    config.write_text(config.read_text().replace(path, "gone.txt"))
    outs = []
    seeds, temperatures = (["--seed", seed] for seed in "112"), (["--temperature", t] for t in ("0", "1e-5", "1"))
    for arguments in (*seeds, *temperatures):
        capsys.readouterr()
        assert main(["generate", str(text_run), "--prompt", "the lazy ", "--tokens", "30", *arguments]) == 0
        outs.append(capsys.readouterr().out)
    assert outs[0] == outs[1] != outs[2]
    assert outs[3] == outs[4] != outs[5]
    for out in outs:
        assert out.startswith("the lazy ")
        assert len(out) == 9 + 30 + 1
        assert set(out[:-1]) <= set("the quick brown fox jumps over the lazy dog; ")


@pytest.mark.parametrize("every", ["1", "2"], ids=["at an evaluation", "in training"])
@pytest.mark.parametrize("attention", ["boltzmann", "softmax", "sigmoid"])
def test_a_run_that_diverges_stops_and_keeps_its_last_good_checkpoint(workplace, capsys, attention, every):
    arguments = [part for key, value in SMALL.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    code = main(["train", *arguments, "--attention", attention, "--eval-every", every, "--lr", "1e30", "--out", "run"])
    err = capsys.readouterr().err
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "at step 1" in err or "at step 2" in err
    assert "last good checkpoint is run/checkpoints/step-00000000" in err
    assert "--lr" in err
    assert [row["step"] for row in RunFolder(workplace / "run").rows()] == [0]
    capsys.readouterr()
    assert main(["evaluate", "run", "--json"]) == 0
    assert math.isfinite(json.loads(capsys.readouterr().out)["loss"])


def test_samples_that_are_not_numbers_stop_the_run_at_their_step(workplace, capsys, monkeypatch):
    # 4 patterns a forward pass of length 4; one evaluation of 16 sequences and three training steps are good
    monkeypatch.setitem(samplers.SAMPLERS, "aer", lambda _: PoisonedSampler(good_calls=4 * (1 + 2 + 1 + 1)))
    arguments = [part for key, value in SMALL.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    code = main(["train", *arguments, "--sampler", "aer", "--shots", "8", "--out", "run"])
    err = capsys.readouterr().err
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "at step 3" in err
    assert "step-00000002" in err
    assert [row["step"] for row in RunFolder(workplace / "run").rows()] == [0, 2]


def _python(*arguments, cwd):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "hybrid_attention", *arguments], cwd=cwd, capture_output=True, text=True, env=environment
    )


def test_the_module_as_a_process(brackets_run, workplace):
    done = _python("evaluate", "run", "--json", cwd=workplace)
    assert done.returncode == 0
    assert json.loads(done.stdout)["steps"] == 6
    failed = _python("train", "--out", "run", cwd=workplace)
    assert failed.returncode == 2
    assert failed.stdout == ""
    assert len(failed.stderr.splitlines()) == 1
    assert "already has a run" in failed.stderr


def test_help_lists_every_flag(workplace):
    done = _python("train", "--help", cwd=workplace)
    assert done.returncode == 0
    for key in (*SMALL, "lr_couplings", "position_bias", "trotter_steps", "calibration", "config", "resume", "out"):
        assert f"--{key.replace('_', '-')}" in done.stdout


def test_an_interrupted_command_says_how_to_go_on(workplace, capsys, monkeypatch):
    class Interrupted:
        def sample(self, model, *, shots, seed):
            raise KeyboardInterrupt

    monkeypatch.setitem(samplers.SAMPLERS, "aer", lambda _: Interrupted())
    assert main(["train", "--length", "4", "--sampler", "aer", "--steps", "2", "--out", "run"]) == 130
    err = capsys.readouterr().err
    assert "--resume" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_training_does_not_touch_the_global_generator(workplace):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    arguments = [part for key, value in SMALL.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    assert main(["train", *arguments, "--out", "run"]) == 0
    assert torch.equal(torch.rand(1), expected)
