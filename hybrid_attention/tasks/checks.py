"""What a task of one's own must keep to, asked of it once before a run."""

from __future__ import annotations

import json

import torch
from torch import Tensor

from hybrid_attention.tasks.base import IGNORED, Batch, Task


def require_shape(task: Task, length: int) -> None:
    """Refuse a task without vocabulary, classes and length, or with a state that is no JSON.

    Args:
        task: as it was made.
        length: `--length`.

    Raises:
        ValueError: names what is missing or wrong.
    """
    needed = ("vocabulary", "classes", "length")
    missing = [name for name in needed if not hasattr(task, name)]
    if missing:
        raise ValueError(f"it lacks {' and '.join(missing)}; set them in __init__")
    for name in needed:
        value = getattr(task, name)
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"its {name} is {value!r}; make it a positive int")
    if task.length != length:
        raise ValueError(f"its length is {task.length}, but --length is {length}; keep to the length it is given")
    state = task.state()
    try:
        json.dumps(state)
    except (TypeError, ValueError) as error:
        raise ValueError(f"its state() is not JSON ({error}); give a dict of numbers and strings") from None
    if not isinstance(state, dict):
        raise ValueError(f"its state() is a {type(state).__name__}; give a dict")


def require_batches(task: Task, seed: int) -> None:
    """Refuse batches of the wrong shape or with tokens and targets out of range, and batches that change.

    Args:
        task: as it was made.
        seed: of the run.

    Raises:
        ValueError: names what is wrong.
    """
    first, again = task.training_batch(2, seed, 0), task.training_batch(2, seed, 0)
    _require_batch(task, first, "training_batch(2, …)", 2)
    if not all(torch.equal(a, b) for a, b in zip(first, again, strict=True)):
        raise ValueError(
            "its training_batch gives other sequences when asked again; make them a function of size, seed and step"
        )
    held_out = task.validation(2)
    _require_batch(task, held_out, "validation(2)", None)
    if not (held_out.targets != IGNORED).any():
        raise ValueError(f"its validation(2) has no target that counts (all are {IGNORED}); count at least one")
    if not all(torch.equal(a, b) for a, b in zip(held_out, task.validation(2), strict=True)):
        raise ValueError("its validation gives other sequences when asked again; make them always the same")


def _require_batch(task: Task, batch: Batch, name: str, size: int | None) -> None:
    if not (isinstance(batch, tuple) and len(batch) == 2 and all(isinstance(part, Tensor) for part in batch)):
        raise ValueError(f"its {name} is a {type(batch).__name__}; give Batch(tokens, targets)")
    if not hasattr(batch, "targets"):
        raise ValueError(f"its {name} is a plain tuple; give Batch(tokens, targets)")
    limits = (("tokens", task.vocabulary, "vocabulary"), ("targets", task.classes, "classes"))
    for part, limit, limit_name in limits:
        values = getattr(batch, part)
        wanted = f"({size or 'sequences'}, {task.length})"
        sized = values.dim() == 2 and values.shape[1] == task.length and len(values) >= 1
        if values.dtype != torch.int64 or not sized or (size is not None and len(values) != size):
            found = f"{str(values.dtype).removeprefix('torch.')} {tuple(values.shape)}"
            raise ValueError(f"its {name} has {part} of {found}; give int64 {wanted}")
        counted = values[values != IGNORED] if part == "targets" else values
        if counted.numel() and not (int(counted.min()) >= 0 and int(counted.max()) < limit):
            raise ValueError(
                f"its {name} has {part} from {int(counted.min())} to {int(counted.max())}; {limit_name} is {limit}, so "
                f"give 0 to {limit - 1}" + (f", or {IGNORED} for what does not count" if part == "targets" else "")
            )
