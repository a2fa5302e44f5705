"""Where tasks are found, what their options are, and every class that is refused with one line."""

import importlib
from pathlib import Path
from typing import Literal

import pytest
import torch

from hybrid_attention.build import build_task
from hybrid_attention.config import TrainConfig
from hybrid_attention.errors import InputError
from hybrid_attention.study.settings import StudyConfig
from hybrid_attention.tasks import IGNORED, Batch, BracketsTask, SeasonsTask, Task, TextTask
from hybrid_attention.tasks.options import absolute_options, parse_options
from hybrid_attention.tasks.registry import BUILT_IN, task_class


class Plain(Task):
    """The least that a task can be; each argument of the class makes one thing wrong."""

    def __init__(self, length: int, wrong: str = "", *, kind: Literal["a", "b"] = "a") -> None:
        self.length, self.vocabulary, self.classes, self.wrong, self.calls = length, 5, 3, wrong, 0
        if wrong == "length":
            self.length += 1
        if wrong == "vocabulary":
            del self.vocabulary
        if wrong == "classes":
            self.classes = 0
        if wrong == "value":
            raise ValueError("the moon is full;\nwait a day")
        if wrong == "argument":
            raise ValueError("kind is 'a'; use 'b'")
        if wrong == "shared":
            raise ValueError("length is 4; use 5")

    def training_batch(self, size, seed, step):
        self.calls += 1
        tokens = torch.arange(size * self.length).view(size, -1) % 5
        if self.wrong == "changes":
            tokens = (tokens + self.calls) % 5
        if self.wrong == "rows":
            tokens = tokens[:1]
        if self.wrong == "tokens":
            tokens = tokens + 1
        if self.wrong == "type":
            tokens = tokens.float()
        targets = tokens % 3 if self.wrong != "targets" else tokens
        if self.wrong == "nothing":
            return None
        return (tokens, targets) if self.wrong == "tuple" else Batch(tokens, targets)

    def validation(self, most=None):
        self.calls += 1
        tokens = torch.arange(4).expand(most or 7, 4)
        if self.wrong == "drifts":
            tokens = (tokens + self.calls) % 5
        if self.wrong == "long":
            tokens = torch.zeros(2, 5, dtype=torch.int64)
        return Batch(tokens, torch.full_like(tokens, IGNORED) if self.wrong == "uncounted" else tokens % 3)

    def state(self):
        return {"json": {1}, "list": []}.get(self.wrong, {}) if self.wrong != "list" else []


class Half(Task):
    """It cannot train."""

    def validation(self, most=None):
        raise NotImplementedError


class Needs(Task):
    """Every kind of option."""

    def __init__(self, length: int, file: Path, rate: float = 0.5, on: bool = False, least: int | None = None, bare=3):
        self.given = (length, file, rate, on, least, bare)

    training_batch = validation = None  # type: ignore[assignment]


NOT_A_CLASS = "text"


class NotATask:
    """Derived from nothing."""


HERE = __name__


def config(wrong="", **settings):
    options = f"wrong={wrong}" if wrong else ""
    return TrainConfig(**{"task": f"{HERE}:Plain", "task_options": options, "length": 4, **settings})


def test_names():
    assert [task_class(name) for name in BUILT_IN] == [BracketsTask, SeasonsTask, TextTask]
    assert task_class(f"{HERE}:Plain") is Plain


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nope", ("--task is 'nope'; use brackets, seasons, text, or MODULE:CLASS",)),
        ("", ("--task is ''; use brackets",)),
        (":", ("is no import path; write MODULE:CLASS",)),
        ("a:", ("is no import path",)),
        ("a:b:c", ("is no import path",)),
        ("../a:B", ("is no import path",)),
        ("absent:Task", ("there is no module 'absent'", "absent.py")),
        ("absent.inner:Task", ("there is no module 'absent'", "absent.py")),
        (f"{HERE}.inner:Task", ("there is no module",)),
        (f"{HERE}:Absent", ("has no Absent; use", "Plain", "Half")),
        (f"{HERE}:NOT_A_CLASS", ("is a str that is no task", "derive")),
        (f"{HERE}:NotATask", ("is a class that is no task", "derive")),
        (f"{HERE}:Half", ("lacks training_batch; a task must have",)),
        ("hybrid_attention.tasks.base:Task", ("lacks training_batch and validation",)),
        ("math:Absent", ("no class derived from hybrid_attention.tasks.Task",)),
    ],
)
def test_names_that_are_refused(name, words):
    with pytest.raises(InputError) as caught:
        TrainConfig(task=name).validate()
    assert str(caught.value).startswith("--task")
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def (", ("SyntaxError", "correct its module")),
        ("raise OSError('two\\nlines')", ("OSError: two lines",)),
        ("import absent_library", ("No module named 'absent_library'", "install what its module needs")),
    ],
)
def test_modules_that_cannot_be_imported(workplace, source, words):
    (workplace / "broken_task.py").write_text(source)
    with pytest.raises(InputError) as caught:
        task_class("broken_task:Mine")
    for word in ("--task broken_task:Mine cannot be imported", *words):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_installed_packages_give_names(tmp_path, monkeypatch):
    folder = tmp_path / "others-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        f"[hybrid_attention.tasks]\nplain = {HERE}:Plain\nbrackets = {HERE}:Plain\nlost = absent:Task\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    assert task_class("plain") is Plain
    assert task_class("brackets") is BracketsTask  # what is built in keeps its name
    assert isinstance(build_task(TrainConfig(task="plain", length=4)), Plain)
    with pytest.raises(InputError, match="use brackets, lost, plain, seasons, text, or MODULE:CLASS"):
        task_class("nope")
    with pytest.raises(InputError, match="--task lost cannot be imported: there is no module 'absent'"):
        task_class("lost")


def test_a_study_names_its_own_flag():
    with pytest.raises(InputError, match=r"^--train is 'nope'; use brackets"):
        StudyConfig(train="nope").validate()


def needs(options):
    return TrainConfig(task=f"{HERE}:Needs", task_options=options)


def test_options_have_the_types_of_the_class():
    every = 'rate=1e-3, on=True,"file=a,b.csv",least=7,bare=4'
    assert parse_options(Needs, needs(every)) == {
        "rate": 1e-3,
        "on": True,
        "file": Path("a,b.csv"),
        "least": 7,
        "bare": 4,
    }
    assert parse_options(Needs, needs("file=x=y,least=None")) == {"file": Path("x=y"), "least": None}
    absolute = absolute_options(Needs, needs(every))
    assert parse_options(Needs, needs(absolute))["file"] == Path("a,b.csv").absolute()
    assert absolute_options(Needs, needs(absolute)) == absolute


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("file=x,rat=2", ("has 'rat'", "does not know", "use file, rate, on, least, bare")),
        ("rate=2", ("lacks file", "add file=VALUE")),
        ("file=x,rate=fast", ("rate=fast, which is no float",)),
        ("file=x,on=perhaps", ("on=perhaps, which is no bool",)),
        ("file=x,bare=z", ("bare=z, which is no int",)),
        ("file=x,least=z", ("least=z, which is no int | None",)),
        ("file", ("has 'file'; write NAME=VALUE",)),
        ("file=x,,", ("has ''; write NAME=VALUE",)),
        ("file=x,file=y", ("file twice",)),
        ("file=x,length=3", ("has 'length'",)),
    ],
)
def test_options_that_are_refused(options, words):
    with pytest.raises(InputError) as caught:
        needs(options).validate()
    for word in ("--task-options", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("task", ["brackets", "text"])
def test_tasks_with_flags_of_their_own_take_no_options(task):
    with pytest.raises(InputError, match=f"^--task-options is types=3; --task {task} has none"):
        TrainConfig(task=task, task_options="types=3").validate()


def test_a_text_is_for_the_text_task():
    for task in ("brackets", "seasons", f"{HERE}:Plain"):
        with pytest.raises(InputError, match=r"^--text is file\.txt; it goes with --task text"):
            TrainConfig(task=task, text="file.txt").validate()


def test_the_least_task_that_works():
    task = build_task(config(), {})
    assert task.labels(torch.tensor([0, 12])) == ["0", "12"]
    assert (task.chance, task.optimal(torch.zeros(1, 4)), task.state()) == (None, None, {})
    assert (task.next_token(2), task.continuation([1], 9)) == (2, 9)
    assert type(task).describe(config("x,kind=b")) == f"{HERE}:Plain, wrong=x, kind=b"
    for use in (lambda: task.encode("x"), lambda: task.decode([1])):
        with pytest.raises(ValueError, match="--prompt cannot be gone on from: Plain has no"):
            use()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("vocabulary", ("it lacks vocabulary", "__init__")),
        ("classes", ("its classes is 0", "positive")),
        ("length", ("its length is 5, but --length is 4",)),
        ("value", ("the moon is full; wait a day",)),
        ("changes", ("training_batch gives other sequences", "function of size, seed and step")),
        ("drifts", ("validation gives other sequences",)),
        ("rows", ("training_batch", "tokens of int64 (1, 4)", "give int64 (2, 4)")),
        ("long", ("validation(2)", "int64 (2, 5)", "give int64 (sequences, 4)")),
        ("type", ("tokens of float32",)),
        ("tokens", ("tokens from 1 to 5; vocabulary is 5", "give 0 to 4")),
        ("targets", ("targets from 0 to 4; classes is 3", "give 0 to 2, or -100")),
        ("tuple", ("is a plain tuple", "Batch")),
        ("nothing", ("is a NoneType", "Batch")),
        ("uncounted", ("no target that counts",)),
        ("json", ("its state() is not JSON",)),
        ("list", ("its state() is a list",)),
    ],
)
def test_tasks_that_do_not_keep_to_the_contract(wrong, words):
    with pytest.raises(InputError) as caught:
        build_task(config(wrong))
    assert str(caught.value).startswith(f"--task {HERE}:Plain: ")
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_errors_about_arguments_name_their_flags():
    for wrong, start in (("argument", "--task-options: kind is 'a'"), ("shared", "--length is 4; use 5")):
        with pytest.raises(InputError, match=f"^{start}"):
            build_task(config(wrong))


def test_another_state_is_refused():
    with pytest.raises(InputError, match=r"^--task .*: its state differs .* rows is None, and was 3; restore"):
        build_task(config(), {"rows": 3})
    assert isinstance(build_task(config(), {"rows": 3}, with_data=False), Plain)
