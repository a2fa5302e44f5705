"""Files that are there whole or not at all, and places that are still free."""

from __future__ import annotations

from pathlib import Path

from hybrid_attention.errors import InputError
from quantum.files import sync_folder, write_bytes

__all__ = ["require_new_file", "sync_folder", "write_bytes", "write_text"]


def write_text(path: Path, text: str) -> None:
    """Write a file aside, bring it to the disk and rename it into place.

    Args:
        path: where it ends up; whatever was there is replaced at once.
        text: contents, written as UTF-8.
    """
    write_bytes(path, text.encode())


def require_new_file(path: Path) -> None:
    """Refuse a place where a command cannot put its file.

    Args:
        path: given by --out.

    Raises:
        InputError: a file that exists, or a folder that does not.
    """
    if path.exists():
        raise InputError(f"--out {path} exists already; give a new file")
    if not path.parent.is_dir():
        raise InputError(f"--out {path} cannot be written: the folder {path.parent} does not exist; create it")
