"""Command-line parsing by tyro, with its messages brought down to one line."""

from __future__ import annotations

import contextlib
import io
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from hybrid_attention.config import TrainConfig, as_arguments, read_toml
from hybrid_attention.errors import InputError

T = TypeVar("T")


def parse(kind: Any, arguments: Sequence[str], **options: Any) -> Any:
    """Parse arguments into a type.

    Args:
        kind: a dataclass or a union of subcommands.
        arguments: without the program's name.
        options: handed to `tyro.cli`.

    Raises:
        InputError: one line saying what is wrong.
        SystemExit: with code 0, after --help.
    """
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(kind, args=list(arguments), **options)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise InputError(_one_line(errors.getvalue())) from None


def config_from(path: Path, default: TrainConfig | None = None, argument: str = "") -> TrainConfig:
    """Read the settings in a TOML file; the flags' own parser checks them.

    Args:
        path: the file.
        default: settings to start from.
        argument: the flag that names the file, for errors.

    Raises:
        InputError: one line saying which file, and what is wrong in it.
    """
    values = read_toml(path, argument)
    try:
        return parse_config(as_arguments(values), default)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def parse_config(arguments: Sequence[str], default: TrainConfig | None = None) -> TrainConfig:
    """Parse configuration flags alone.

    Args:
        arguments: the flags.
        default: settings to start from.

    Raises:
        InputError: one line saying what is wrong.
    """
    config: TrainConfig = parse(TrainConfig, arguments, default=default or TrainConfig())
    return config


def record_from(path: Path, kind: type[T], named: str) -> T:
    """Read a record of settings; the flags' own parser checks every value.

    Args:
        path: TOML, with those settings that are of training runs in a table `runs`.
        kind: dataclass of the settings.
        named: whose record it is, for errors.

    Raises:
        InputError: no such file, or one that is not such a record.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        runs = values.pop("runs", {})
        if not isinstance(runs, dict):
            raise InputError(f"runs is {runs!r}; it is a table")
        record: T = parse(kind, [*as_arguments(values, kind), *as_arguments(runs)])
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, InputError) as error:
        raise InputError(f"{path} is not {named}'s record ({error}); give the folder of {named}") from None
    return record


def _one_line(box: str) -> str:
    """The message inside tyro's box, without its title and advice. Plain streams get a box ruled with hyphens."""
    ruled = re.sub(r"^[╭╰].*$", "", box, flags=re.MULTILINE).replace("│", " ")
    sections = [re.sub(r"\s+", " ", part).strip() for part in re.split(r"^\s*[─-]{8,}\s*$", ruled, flags=re.MULTILINE)]
    message = sections[0] if "╭" in box else sections[min(1, len(sections) - 1)]
    return f"{message.rstrip('.') or 'the arguments cannot be understood'}; see --help"
