"""`--task-options`: values for the arguments that a task's class has besides `length`."""

from __future__ import annotations

import csv
import inspect
import io
from dataclasses import make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from hybrid_attention.errors import InputError

if TYPE_CHECKING:
    from hybrid_attention.config import TrainConfig
    from hybrid_attention.tasks.base import Task


def option_names(kind: type[Task]) -> list[str]:
    """Names of a task's options.

    Args:
        kind: the task's class.
    """
    return list(_parameters(kind)) if kind.has_options else []


def parse_options(kind: type[Task], config: TrainConfig) -> dict[str, Any]:
    """Values by name, of the types with which the class annotates them.

    Args:
        kind: the task's class.
        config: gives `task_options`: NAME=VALUE, separated by commas, with quotes around a pair that has one inside.

    Raises:
        InputError: names the option that is unknown, missing or of another type.
    """
    given = _given(config.task_options)
    if not kind.has_options:
        return {}
    parameters = _parameters(kind)
    for name in given:
        if name not in parameters:
            fix = f"use {', '.join(parameters)}" if parameters else f"--task {config.task} has none; leave it out"
            raise InputError(f"--task-options has {name!r}, which --task {config.task} does not know; {fix}")
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in given:
            raise InputError(f"--task-options lacks {name}, which --task {config.task} needs; add {name}=VALUE")
    hints = get_type_hints(kind.__init__)
    return {name: _converted(name, value, _type(parameters[name], hints)) for name, value in given.items()}


def absolute_options(kind: type[Task], config: TrainConfig) -> str:
    """The same options, those whose type is a path by their absolute paths.

    Args:
        kind: the task's class.
        config: gives `task_options`.
    """
    given = _given(config.task_options)
    for name, value in parse_options(kind, config).items():
        if isinstance(value, Path):
            given[name] = str(value.absolute())
    return _written(given)


def options_without_paths(kind: type[Task], config: TrainConfig) -> str:
    """The same options without those whose type is a path: where files lie does not tell one run from another.

    Args:
        kind: the task's class.
        config: gives `task_options`.
    """
    paths = {name for name, value in parse_options(kind, config).items() if isinstance(value, Path)}
    return _written({name: value for name, value in _given(config.task_options).items() if name not in paths})


def _written(given: dict[str, str]) -> str:
    if not given:
        return ""
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow([f"{name}={value}" for name, value in given.items()])
    return written.getvalue()


def _given(text: str) -> dict[str, str]:
    """Values as they were written, by name."""
    given: dict[str, str] = {}
    for part in next(csv.reader([text], skipinitialspace=True), []):
        name, separator, value = part.partition("=")
        name = name.strip()
        if not separator or not name.isidentifier():
            raise InputError(f"--task-options has {part!r}; write NAME=VALUE, separated by commas")
        if name in given:
            raise InputError(f"--task-options has {name} twice; give one value")
        given[name] = value.strip()
    return given


def _parameters(kind: type[Task]) -> dict[str, inspect.Parameter]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = list(inspect.signature(kind).parameters.values())
    return {p.name: p for p in parameters[1:] if p.kind in named}  # the first is the length


def _type(parameter: inspect.Parameter, hints: dict[str, Any]) -> Any:
    """What a parameter is annotated with, else the type of its default."""
    if parameter.name in hints:
        return hints[parameter.name]
    return str if parameter.default in (parameter.empty, None) else type(parameter.default)


def _converted(name: str, value: str, kind: Any) -> Any:
    import tyro

    from hybrid_attention.parse import parse

    option = make_dataclass("Option", [("value", kind)])
    try:
        return parse(option, [f"--value={value}"], config=(tyro.conf.FlagConversionOff,)).value
    except InputError:
        wanted = kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
        raise InputError(f"--task-options has {name}={value}, which is no {wanted}; correct it") from None
