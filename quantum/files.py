"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file aside, bring it to the disk and rename it into place.

    Args:
        path: where it ends up; whatever was there is replaced at once.
        data: contents.
    """
    target = Path(path)
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(target)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def write_json(path: str | os.PathLike[str], data: dict[str, Any]) -> None:
    """Write JSON aside and rename it into place.

    Args:
        path: where it ends up; an existing file is replaced.
        data: what JSON can hold.
    """
    write_bytes(path, (json.dumps(data, indent=1) + "\n").encode())


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries to the disk, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
