"""A task written outside the package, by the command line: trained, resumed, evaluated, exported, gone on with."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import numbers, refused, snapshot

from hybrid_attention.cli import main
from hybrid_attention.run import RunFolder

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "repeat.py"
SMALL = {"length": 6, "dim": 8, "heads": 2, "batch": 8, "steps": 6, "eval-every": 2, "eval-sequences": 8}
SMALL = [part for name, value in SMALL.items() for part in (f"--{name}", str(value))]


@pytest.fixture
def outside(workplace):
    """A current folder with the how-to's task, forgotten afterwards."""
    before = set(sys.modules)
    shutil.copy(EXAMPLE, workplace / "repeat.py")
    yield workplace
    for name in set(sys.modules) - before:
        if str(workplace) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def train(*arguments, task="repeat:RepeatTask", out="run"):
    return main(["train", "--task", task, *SMALL, "--out", out, *arguments])


def test_the_example_learns_and_goes_on(outside, capsys):
    size = ["--steps", "150", "--eval-every", "150", "--batch", "32", "--dim", "16", "--lr", "0.02"]
    assert train(*size, "--attention", "softmax", "--position-bias") == 0
    capsys.readouterr()
    assert main(["evaluate", "run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["task"], found["chance"], found["sequences"]) == ("repeat:RepeatTask", 1 / 8, 500)
    assert found["accuracy"] > 0.9
    assert main(["generate", "run", "--prompt", "abcab", "--tokens", "4", "--temperature", "0"]) == 0
    assert capsys.readouterr().out == "abcabcabc\n"
    refused(capsys, ["generate", "run", "--prompt", "abz"], "--prompt has 'z' at position 2", "abcdefgh")
    refused(capsys, ["generate", "run", "--prompt", ""], "--prompt is empty", "give")
    report = (outside / "run" / "report.html").read_text()
    assert "The next letter of a repeated word" in report
    assert "of the letters" in report


def test_an_interrupted_run_goes_on_to_the_same_numbers(outside):
    assert train("--task-options", "period=4", out="whole") == 0
    assert train("--task-options", "period=4", out="cut") == 0
    shutil.rmtree(RunFolder(outside / "cut").latest())
    assert RunFolder(outside / "cut").latest().name == "step-00000004"
    assert main(["train", "--resume", "--out", "cut"]) == 0
    assert numbers(outside / "cut") == numbers(outside / "whole")
    assert train("--task-options", "period=3", out="other") == 0
    assert numbers(outside / "other") != numbers(outside / "whole")


def test_a_model_of_it_is_exported(outside):
    assert train() == 0
    assert main(["export", "run", "--format", "json", "--out", "model.json"]) == 0
    exported = json.loads((outside / "model.json").read_text())["metadata"]
    assert len(exported["labels"]) == 6
    assert set(exported["labels"]) <= set("abcdefgh")


def test_the_current_folder_is_searched_by_the_installed_command_too(outside, capsys):
    # -P keeps the current folder off Python's path, as for an installed script
    python = [sys.executable, "-P", "-m", "hybrid_attention"]
    path = os.pathsep.join(filter(None, [str(EXAMPLE.parents[2]), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [*python, "train", "--task", "repeat:RepeatTask", *SMALL, "--out", "run"],
        cwd=outside,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    (outside / "repeat.py").rename(outside / "elsewhere.py")
    refused(capsys, ["evaluate", "run"], "--task repeat:RepeatTask", "there is no module 'repeat'", "repeat.py")


DATA = """
import hashlib
from pathlib import Path
import torch
from hybrid_attention.tasks import Batch, Task

class FileTask(Task):
    def __init__(self, length: int, file: Path, wide: bool = False):
        self.length, self.vocabulary, self.classes = length, 256, 2
        self.data = torch.tensor(list(file.read_bytes()))
        self.digest = hashlib.sha256(file.read_bytes()).hexdigest()

    def training_batch(self, size, seed, step):
        return self.validation(size)

    def validation(self, most=None):
        tokens = self.data[: self.length].repeat(most or 5, 1)
        return Batch(tokens, tokens % 2)

    def state(self):
        return {"sha256": self.digest, "shape": (1, 2)}
"""


def test_changed_data_are_refused_by_name(outside, capsys):
    (outside / "data.py").write_text(DATA)
    (outside / "bytes, all.bin").write_bytes(bytes(range(10)))
    options = ["--task-options", '"file=bytes, all.bin",wide=True']
    assert train(*options, task="data:FileTask") == 0
    written = (outside / "run" / "config.toml").read_text()
    assert str(outside / "bytes, all.bin") in written  # found from any directory
    assert main(["evaluate", "run"]) == 0
    assert main(["train", "--resume", "--out", "run", *options]) == 0
    # where the file lies does not count, what is in it does
    (outside / "elsewhere").mkdir()
    moved = (outside / "bytes, all.bin").rename(outside / "elsewhere" / "bytes, all.bin")
    config = outside / "run" / "config.toml"
    config.write_text(config.read_text().replace("/bytes, all.bin", "/elsewhere/bytes, all.bin"))
    assert main(["evaluate", "run"]) == 0
    refused(capsys, ["generate", "run", "--prompt", "x"], "--prompt cannot be gone on from", "FileTask has no encode")
    moved.write_bytes(bytes(range(1, 11)))
    before = snapshot(outside / "run")
    for command in (["evaluate", "run"], ["train", "--resume", "--out", "run"]):
        refused(capsys, command, "--task data:FileTask", "its state differs", "sha256 is", "restore")
    refused(
        capsys,
        ["train", "--resume", "--out", "run", "--task-options", "file=other"],
        "--resume",
        "task_options",
        "leave them out",
    )
    assert snapshot(outside / "run") == before
