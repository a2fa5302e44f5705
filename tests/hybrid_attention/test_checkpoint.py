"""Checkpoints that are whole, cut, changed, foreign or left over."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from small_runs import refused, small_config, snapshot
from torch import nn

from hybrid_attention import checkpoint
from hybrid_attention.checkpoint import Checkpoint
from hybrid_attention.cli import main
from hybrid_attention.config import TrainConfig, read_toml
from hybrid_attention.run import RunFolder
from hybrid_attention.train import train


def some(step=3, fill=1.0):
    return Checkpoint(step, {"w": torch.full((2, 3), fill)}, {"0.exp_avg": torch.ones(2)}, {"characters": "ab"}, {})


def test_round_trip(tmp_path):
    folder = tmp_path / "checkpoints"
    at = checkpoint.save(folder, some())
    assert at == folder / "step-00000003"
    back = checkpoint.load(at)
    assert (back.step, back.task, back.settings) == (3, {"characters": "ab"}, {})
    assert torch.equal(back.model["w"], torch.ones(2, 3))
    assert torch.equal(back.optimizer["0.exp_avg"], torch.ones(2))


def test_the_newest_two_are_kept_in_the_order_of_their_steps(tmp_path):
    for step in (1, 9, 10, 100):
        checkpoint.save(tmp_path, some(step))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert [path.name for path in checkpoint.complete(tmp_path)] == ["step-00000010", "step-00000100"]


def test_leftovers_of_a_killed_run_are_not_checkpoints_and_go(tmp_path):
    checkpoint.save(tmp_path, some(1))
    shutil.copytree(tmp_path / "step-00000001", tmp_path / ".step-00000002")
    (tmp_path / ".step-00000002" / "state.json").unlink()
    assert [path.name for path in checkpoint.complete(tmp_path)] == ["step-00000001"]
    checkpoint.save(tmp_path, some(2, fill=2.0))
    assert {path.name for path in tmp_path.iterdir()} == {"step-00000001", "step-00000002"}
    assert checkpoint.load(tmp_path / "step-00000002").model["w"][0, 0] == 2


def test_optimizer_state_comes_back():
    def step(optimizer, parameter):
        optimizer.zero_grad()
        (parameter.square().sum() * 3).backward()
        optimizer.step()

    first, second = (nn.Parameter(torch.tensor([1.0, 2.0])) for _ in range(2))
    one, two = (torch.optim.AdamW([p], lr=0.1) for p in (first, second))
    step(one, first)
    with torch.no_grad():
        second.copy_(first)
    saved = {name: value.clone() for name, value in checkpoint.optimizer_tensors(one).items()}
    checkpoint.restore_optimizer(two, saved)
    step(one, first)
    step(two, second)
    assert torch.equal(first, second)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) * 3 // 4] ^= 1
    path.write_bytes(bytes(data))


def empty(path):
    path.write_bytes(b"")


def remove(path):
    path.unlink()


def other_run(path):
    train(small_config(seed=1), RunFolder(path.parents[3] / "other"), progress=False)
    shutil.copy(path.parents[3] / "other" / "checkpoints" / path.parent.name / path.name, path)


def pickled(path):
    torch.save({"w": torch.ones(2)}, path)


DAMAGES = {f.__name__: f for f in (cut, flip, empty, remove, other_run, pickled)}


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
@pytest.mark.parametrize("damage", list(DAMAGES))
def test_damaged_tensors_are_refused(brackets_run, workplace, capsys, name, damage):
    at = RunFolder(brackets_run).latest()
    DAMAGES[damage](at / name)
    before = snapshot(workplace)
    for command in (["evaluate", "run"], ["train", "--resume", "--out", "run"], ["generate", "run", "--prompt", "("]):
        refused(capsys, command, f"run/checkpoints/{at.name}", name, "delete this folder")
    assert snapshot(workplace) == before


def rewrite(change):
    def damage(path):
        state = json.loads(path.read_text())
        change(state)
        path.write_text(json.dumps(state))

    return damage


STATES = {
    **{f.__name__: f for f in (cut, flip, empty, remove, pickled)},
    "a list": lambda path: path.write_text("[1, 2]"),
    "null": lambda path: path.write_text("null"),
    "another program's": lambda path: path.write_text('{"epoch": 3, "format": "other 7"}'),
    "another step": rewrite(lambda state: state.update(step=900)),
    "a word for a step": rewrite(lambda state: state.update(step="six")),
    "another task": rewrite(lambda state: state.update(task={"characters": "ba"})),
    "no settings": rewrite(lambda state: state.pop("settings")),
    "no digests": rewrite(lambda state: state.pop("sha256")),
}


@pytest.mark.parametrize("damage", list(STATES))
def test_a_damaged_state_is_refused(brackets_run, workplace, capsys, damage):
    at = RunFolder(brackets_run).latest()
    STATES[damage](at / "state.json")
    before = snapshot(workplace)
    for command in (["evaluate", "run"], ["train", "--resume", "--out", "run"]):
        refused(capsys, command, f"run/checkpoints/{at.name}", "delete this folder")
    assert snapshot(workplace) == before


@pytest.mark.parametrize("changed", [{"dim": 16}, {"attention": "sigmoid"}, {"seed": 5}])
def test_a_checkpoint_of_another_run_is_refused(brackets_run, workplace, capsys, changed):
    train(small_config(**changed), RunFolder(workplace / "other"), progress=False)
    shutil.rmtree(brackets_run / "checkpoints")
    shutil.copytree(workplace / "other" / "checkpoints", brackets_run / "checkpoints")
    before = snapshot(workplace)
    for command in (["evaluate", "run"], ["train", "--resume", "--out", "run"]):
        ((name, value),) = changed.items()
        refused(capsys, command, "is foreign", f"{name} ({value} there", "restore")
    assert snapshot(workplace) == before


def test_an_older_checkpoint_serves_where_the_newest_is_removed(brackets_run, workplace):
    before = snapshot(brackets_run)
    shutil.rmtree(RunFolder(brackets_run).latest())
    assert main(["train", "--resume", "--out", "run"]) == 0
    after = snapshot(brackets_run)
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert after[f"checkpoints/step-00000006/{name}"] == before[f"checkpoints/step-00000006/{name}"]


def test_a_run_without_a_checkpoint(brackets_run, capsys):
    shutil.rmtree(brackets_run / "checkpoints")
    refused(capsys, ["evaluate", brackets_run], "has no checkpoint yet", "--resume")


def test_a_run_is_refused_on_another_text_with_the_same_characters(text_run, capsys):
    config = read_toml(RunFolder(text_run).config)
    file = Path(config["text"])
    text_run.joinpath("other.txt").write_text(file.read_text()[::-1])
    moved = TrainConfig(**{**config, "text": str(text_run / "other.txt")})
    moved.save(RunFolder(text_run).config)
    for command in (["evaluate", text_run], ["train", "--resume", "--out", text_run]):
        refused(capsys, command, "--text", "other.txt", "not the text that this run was trained on", "SHA-256")
    assert main(["evaluate", str(text_run), "--text", str(text_run / "other.txt"), "--json"]) == 0


def test_a_text_that_moved_is_still_the_runs_own(text_run):
    config = read_toml(RunFolder(text_run).config)
    shutil.copy(config["text"], text_run / "moved.txt")
    TrainConfig(**{**config, "text": str(text_run / "moved.txt")}).save(RunFolder(text_run).config)
    assert main(["evaluate", str(text_run), "--json"]) == 0
