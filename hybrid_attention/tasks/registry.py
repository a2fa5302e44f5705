"""Tasks by name: those that are built in, those of installed packages, and any class by its import path."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from hybrid_attention.errors import InputError
from hybrid_attention.tasks.base import Task

BUILT_IN = {
    "brackets": "hybrid_attention.tasks.brackets:BracketsTask",
    "seasons": "hybrid_attention.tasks.seasons:SeasonsTask",
    "text": "hybrid_attention.tasks.text:TextTask",
}
"""Import paths by name."""

GROUP = "hybrid_attention.tasks"
"""Entry points of this group give tasks of other packages a name."""


def task_class(name: str, argument: str = "--task") -> type[Task]:
    """The class that a task's name stands for.

    A name with a colon is an import path, MODULE:CLASS, found in the current folder and on Python's path; any other one
    is built in, or an entry point of an installed package in the group `hybrid_attention.tasks`.

    Args:
        name: of the task.
        argument: the flag that gave it, for errors.

    Raises:
        InputError: no such name, module or class, or a class that is no task; says what is missing.
    """
    if name in BUILT_IN:
        path = BUILT_IN[name]
    elif ":" in name:
        path = name
    else:
        installed = _installed()
        if name not in installed:
            known = ", ".join(sorted({*BUILT_IN, *installed}))
            raise InputError(f"{argument} is {name!r}; use {known}, or MODULE:CLASS for a class of your own")
        path = installed[name].value
    return _loaded(path, f"{argument} {name}")


def is_built_in(name: str) -> bool:
    """Whether a task is one of this package.

    Args:
        name: of the task.
    """
    return name in BUILT_IN


def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _loaded(path: str, argument: str) -> type[Task]:
    module_name, _, class_name = path.partition(":")
    if not module_name or not class_name.isidentifier() or not all(p.isidentifier() for p in module_name.split(".")):
        raise InputError(f"{argument} is no import path; write MODULE:CLASS, as mypackage.mymodule:MyTask")
    try:
        with _current_folder_on_path():
            importlib.invalidate_caches()
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise InputError(
                f"{argument} cannot be imported: there is no module {error.name!r}; start the command in the folder "
                f"that holds {error.name.split('.')[-1]}.py, or install its package"
            ) from None
        raise InputError(f"{argument} cannot be imported ({error}); install what its module needs") from error
    except Exception as error:  # whatever another's module raises as it is read
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{argument} cannot be imported ({reason}); correct its module") from error
    found = getattr(module, class_name, None)
    if found is None:
        tasks = [n for n, v in vars(module).items() if isinstance(v, type) and issubclass(v, Task) and v is not Task]
        fix = f"use {', '.join(tasks)}" if tasks else "it has no class derived from hybrid_attention.tasks.Task"
        raise InputError(f"{argument}: the module {module_name} has no {class_name}; {fix}")
    if not (isinstance(found, type) and issubclass(found, Task)):
        kind = "class" if isinstance(found, type) else type(found).__name__
        raise InputError(f"{argument} is a {kind} that is no task; derive a class from hybrid_attention.tasks.Task")
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if missing:
        raise InputError(f"{argument} lacks {' and '.join(missing)}; a task must have them")
    return found


@contextmanager
def _current_folder_on_path() -> Iterator[None]:
    """Look for modules in the current folder too, as `python -m` does."""
    here = str(Path.cwd())
    if here in sys.path or "" in sys.path:
        yield
        return
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
