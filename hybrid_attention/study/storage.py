"""A study on disk.

    STUDY/study.toml                its settings
    STUDY/parts/CELL.parquet        the rows of one cell, written aside and renamed into place
    STUDY/results.parquet           all rows, once every part is there
    STUDY/report.html, figures/     what people look at
    STUDY/runs/                     training runs

A cell's name is a digest of its settings, so that a part is either there, whole, or not there: a study that was killed
goes on with the cells that have none.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid_attention.errors import InputError
from hybrid_attention.study.columns import COLUMNS, schema
from hybrid_attention.study.grid import Cell
from hybrid_attention.study.settings import StudyConfig, changed_settings
from hybrid_attention.tables import clear_leftovers, read_table, write_table

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class StudyFolder:
    """Where a study keeps its files.

    Args:
        path: the study's directory.
    """

    path: Path

    @property
    def settings(self) -> Path:
        """The study's settings."""
        return self.path / "study.toml"

    @property
    def results(self) -> Path:
        """The table of all rows."""
        return self.path / "results.parquet"

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"

    @property
    def figures(self) -> Path:
        """PNG and SVG of each figure."""
        return self.path / "figures"

    @property
    def runs(self) -> Path:
        """Training runs."""
        return self.path / "runs"

    def open(self, study: StudyConfig, resume: bool) -> None:
        """Make the folder, or go on with the study in it.

        Args:
            study: settings, files by absolute paths.
            resume: whether a study may be there.

        Raises:
            InputError: a folder that has another study, or anything else, in it.
        """
        if self.settings.is_file():
            if not resume:
                raise InputError(f"--out {self.path} already has a study; add --resume to go on, or choose another")
            changed = changed_settings(StudyConfig.load(self.settings), study)
            if changed:
                listed = ", ".join(f"{name} ({own} → {new})" for name, (own, new) in changed.items())
                raise InputError(
                    f"--out {self.path} holds a study of other settings: {listed}; leave them out, or choose another "
                    "folder"
                )
            return
        if resume:
            raise InputError(f"--out {self.path} has no study to resume (no study.toml); leave --resume out")
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"--out {self.path} is a file; choose a folder")
        # a study killed while its settings were being written leaves a hidden file
        if self.path.is_dir() and any(not entry.name.startswith(".") for entry in self.path.iterdir()):
            raise InputError(f"--out {self.path} is not empty and has no study; choose an empty or new folder")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            study.save(self.settings)
        except OSError as error:
            raise InputError(f"--out {self.path} cannot be made ({error.strerror}); choose another folder") from None

    def missing(self, cells: Iterable[Cell]) -> list[Cell]:
        """Cells without a part."""
        return [cell for cell in cells if not self._part(cell).is_file()]

    def keep(self, cell: Cell, rows: list[dict[str, Any]]) -> None:
        """Write a cell's part; one that is there already stays as it is.

        Args:
            cell: whose rows.
            rows: each with every column.
        """
        import pyarrow as pa

        self._parts.mkdir(exist_ok=True)
        if not self._part(cell).is_file():
            write_table(pa.Table.from_pylist(rows, schema=schema()), self._part(cell))

    def gather(self, cells: Iterable[Cell]) -> pa.Table:
        """Put all parts into one table, in the order of the cells, and write it.

        Args:
            cells: of the study, every one with its part.

        Raises:
            InputError: a part that is missing or cannot be read.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        tables = []
        for cell in cells:
            part = self._part(cell)
            try:
                tables.append(pq.read_table(part, schema=schema()))
            except (OSError, pa.ArrowException) as error:
                raise InputError(f"{part} cannot be read ({error}); delete it and go on with --resume") from None
        table = pa.concat_tables(tables)
        write_table(table, self.results)
        return table

    def clear_leftovers(self) -> None:
        """Remove files that were being written when a study was killed."""
        clear_leftovers(self.path, self._parts)

    def run_folder(self, cell: Cell) -> Path:
        """Where a training cell has its run."""
        return self.runs / cell.name

    def drop_run(self, cell: Cell) -> None:
        """Remove a training run whose row is kept."""
        shutil.rmtree(self.run_folder(cell), ignore_errors=True)

    @property
    def _parts(self) -> Path:
        return self.path / "parts"

    def _part(self, cell: Cell) -> Path:
        return self._parts / f"{cell.name}.parquet"


def read_results(path: Path) -> pa.Table:
    """The table of a study.

    Args:
        path: STUDY or its results.parquet.

    Raises:
        InputError: no table there, or one without the columns of a study.
    """
    return read_table(path, COLUMNS, "a finished study")
