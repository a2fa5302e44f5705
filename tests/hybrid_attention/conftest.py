"""A finished tiny run that tests may read or copy, and an empty place to work in."""

import shutil

import pytest
from small_runs import SMALL, small_config

from hybrid_attention.cli import main
from hybrid_attention.config import flag
from hybrid_attention.run import RunFolder
from hybrid_attention.train import train

TEXT = "the quick brown fox jumps over the lazy dog; " * 40


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def _brackets_run(tmp_path_factory):
    path = tmp_path_factory.mktemp("brackets") / "run"
    arguments = [part for key, value in SMALL.items() for part in (flag(key), str(value))]
    assert main(["train", *arguments, "--out", str(path)]) == 0
    return path


@pytest.fixture(scope="session")
def _text_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    (folder / "text.txt").write_text(TEXT)
    train(small_config(task="text", text=str(folder / "text.txt")), RunFolder(folder / "run"), progress=False)
    return folder / "run"


@pytest.fixture
def brackets_run(_brackets_run, workplace):
    """A copy of a finished run of the brackets task."""
    return shutil.copytree(_brackets_run, workplace / "run")


@pytest.fixture
def text_run(_text_run, workplace):
    """A copy of a finished run of the text task."""
    return shutil.copytree(_text_run, workplace / "run")
