"""Checkpoints: one directory each, written aside and renamed into place.

    RUN/checkpoints/step-00000100/
        model.safetensors       parameters and buffers
        optimizer.safetensors   the optimizer's moments
        state.json              step, settings, vocabulary, and digests of all

Nothing in a checkpoint is executable; a file that is cut short or not ours is refused by name.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hybrid_attention.config import NOT_SETTINGS, TrainConfig
from hybrid_attention.errors import InputError
from hybrid_attention.files import sync_folder, write_text

FORMAT = "hybrid-attention checkpoint 1"
KEPT = 2
_TENSORS = ("model.safetensors", "optimizer.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory.

    Args:
        step: optimizer updates made.
        model: parameters and buffers by name.
        optimizer: the optimizer's tensors, named "parameter index.quantity".
        task: what rebuilds the vocabulary (`Task.state`).
        settings: of the run, by field name.
    """

    step: int
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    task: dict[str, Any]
    settings: dict[str, Any]


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint and remove all but the newest two.

    Args:
        folder: RUN/checkpoints.
        checkpoint: what to write.

    Returns:
        The checkpoint's directory.
    """
    folder.mkdir(exist_ok=True)
    for leftover in folder.glob(".step-*"):
        shutil.rmtree(leftover)
    final = folder / f"step-{checkpoint.step:08d}"
    aside = folder / f".{final.name}"
    aside.mkdir()
    for name, tensors in zip(_TENSORS, (checkpoint.model, checkpoint.optimizer), strict=True):
        save_file({key: value.contiguous() for key, value in tensors.items()}, aside / name)
        with (aside / name).open("rb") as file:
            os.fsync(file.fileno())
    state = {
        "format": FORMAT,
        "step": checkpoint.step,
        "task": checkpoint.task,
        "settings": checkpoint.settings,
        "sha256": {name: _digest(aside / name) for name in _TENSORS},
    }
    write_text(aside / "state.json", json.dumps({**state, "state_sha256": _state_digest(state)}, indent=1))
    aside.rename(final)
    sync_folder(folder)
    for old in complete(folder)[:-KEPT]:
        shutil.rmtree(old.rename(folder / f".{old.name}"))  # renamed first: never a half-deleted checkpoint
    return final


def complete(folder: Path) -> list[Path]:
    """Checkpoint directories, oldest first; half-written ones have another name."""
    return sorted(folder.glob("step-*")) if folder.is_dir() else []


def load(directory: Path) -> Checkpoint:
    """Read a checkpoint.

    Args:
        directory: of the checkpoint.

    Raises:
        InputError: files that are missing, cut short, changed, or not a checkpoint of this project.
    """
    remedy = "delete this folder to go on from the checkpoint before it, or train again"
    try:
        state = json.loads((directory / "state.json").read_text(encoding="utf-8"))
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            found = state.get("format") if isinstance(state, dict) else type(state).__name__
            raise InputError(f"checkpoint {directory} has format {found!r}, not {FORMAT!r}; {remedy}")
        if state.pop("state_sha256") != _state_digest(state):
            raise InputError(f"checkpoint {directory} has a truncated or changed state.json; {remedy}")
        for name in _TENSORS:
            if _digest(directory / name) != state["sha256"][name]:
                raise InputError(f"checkpoint {directory} has a truncated or changed {name}; {remedy}")
        model, optimizer = (load_file(directory / name) for name in _TENSORS)
        return Checkpoint(int(state["step"]), model, optimizer, state["task"], state["settings"])
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, SafetensorError) as error:
        raise InputError(f"checkpoint {directory} is truncated or foreign ({error}); {remedy}") from None


def require_settings(checkpoint: Checkpoint, settings: dict[str, Any], directory: Path) -> None:
    """Refuse a checkpoint of a run with other settings.

    Where files lie does not count, their digests do. A setting that one side does not have yet counts as its default.

    Args:
        checkpoint: what `load` gave.
        settings: of the run it is found in, by field name.
        directory: named in errors.

    Raises:
        InputError: names the settings that differ.
    """
    own = {**asdict(TrainConfig().resolved()), **checkpoint.settings}
    compared = (settings.keys() | own.keys()) - {"text", "schedule", "schedule_table", *NOT_SETTINGS}
    names = [key for key in compared if settings.get(key) != own.get(key)]
    if names:
        listed = ", ".join(f"{key} ({own.get(key)} there, {settings.get(key)} here)" for key in sorted(names))
        raise InputError(
            f"checkpoint {directory} is foreign: it comes from a run with other settings than this run's config.toml: "
            f"{listed}; restore the run's own files"
        )


def restore_model(model: nn.Module, checkpoint: Checkpoint, directory: Path) -> None:
    """Copy a checkpoint's parameters into a model.

    Args:
        model: built from the run's configuration.
        checkpoint: what `load` gave.
        directory: named in errors.

    Raises:
        InputError: parameters of other names or shapes than the model's.
    """
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in checkpoint.model.items()}
    if expected != found:
        differing = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
        raise InputError(
            f"checkpoint {directory} is foreign: it does not fit this run's config.toml (first at {differing[0]}); "
            "restore the run's own files"
        )
    model.load_state_dict(checkpoint.model)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The tensors of an optimizer's state, by parameter index and quantity."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{quantity}": torch.as_tensor(value)
        for index, values in state.items()
        for quantity, value in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, quantity = name.split(".", 1)
        state.setdefault(int(index), {})[quantity] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _state_digest(state: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
