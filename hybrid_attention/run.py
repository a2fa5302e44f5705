"""A run on disk: its configuration, metrics, checkpoints and report."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybrid_attention import checkpoint
from hybrid_attention.errors import InputError
from hybrid_attention.files import write_text


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its files.

    Args:
        path: the run's directory.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The run's settings."""
        return self.path / "config.toml"

    @property
    def metrics(self) -> Path:
        """One JSON object for each evaluation."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def hamiltonians(self) -> Path:
        """The folder of recorded Hamiltonians, where any were kept."""
        return self.path / "hamiltonians"

    @property
    def report(self) -> Path:
        """The run's report."""
        return self.path / "report.html"

    def create(self) -> None:
        """Make the folder.

        Raises:
            InputError: one that cannot be made or written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            writable = os.access(self.path, os.W_OK | os.X_OK)
        except OSError as error:
            raise InputError(f"--out {self.path} cannot be made ({error.strerror}); choose another folder") from None
        if not writable:
            raise InputError(f"--out {self.path} cannot be written to; choose another folder")

    def exists(self) -> bool:
        """Whether there is a run here."""
        return self.config.is_file()

    def require_new(self) -> None:
        """Refuse a folder that has a run, or anything else, in it.

        Raises:
            InputError: names the folder and what to do.
        """
        if self.exists():
            raise InputError(f"--out {self.path} already has a run; add --resume to go on with it, or choose another")
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"--out {self.path} is a file; choose a folder")
        # a run killed while its first file was being written leaves a hidden one
        if self.path.is_dir() and any(not entry.name.startswith(".") for entry in self.path.iterdir()):
            raise InputError(f"--out {self.path} is not empty and has no run; choose an empty or new folder")

    def require_run(self, argument: str) -> None:
        """Refuse a folder without a run.

        Args:
            argument: what the user calls the folder.

        Raises:
            InputError: names the folder.
        """
        if not self.exists():
            raise InputError(
                f"{argument} {self.path} has no run (no config.toml); give the folder of a training run, or start one "
                "there by train without --resume"
            )

    def latest(self) -> Path | None:
        """The newest complete checkpoint, if there is one."""
        found = checkpoint.complete(self.checkpoints)
        return found[-1] if found else None

    def rows(self) -> list[dict[str, Any]]:
        """All evaluations so far; a line that was being written when the run was killed is left out."""
        if not self.metrics.is_file():
            return []
        lines = self.metrics.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1] if line]

    def rewrite_rows(self, rows: Iterable[dict[str, Any]]) -> None:
        """Replace all evaluations at once."""
        write_text(self.metrics, "".join(json.dumps(row) + "\n" for row in rows))

    def append_row(self, row: dict[str, Any]) -> None:
        """Add one evaluation and bring it to the disk."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
