"""An ablation on disk.

    ABLATION/ablation.toml            its settings
    ABLATION/data.json                digests of texts, schedules and what else the settings do not say
    ABLATION/parts/CELL.parquet       the row of one run, written aside and renamed into place
    ABLATION/results.parquet          all rows there are
    ABLATION/report.html, figures/    what people look at
    ABLATION/runs/                    training runs that are under way

A cell's name is a digest of its settings: an ablation that was stopped goes on with the cells that have no part, and
runs that had begun with their last checkpoint.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from hybrid_attention.ablation.columns import schema
from hybrid_attention.ablation.grid import Cell
from hybrid_attention.ablation.settings import AblationConfig, changed_settings
from hybrid_attention.errors import InputError
from hybrid_attention.files import write_text
from hybrid_attention.flags import flag
from hybrid_attention.tables import clear_leftovers, write_table

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class AblationFolder:
    """Where an ablation keeps its files.

    Args:
        path: its directory.
    """

    path: Path

    @property
    def settings(self) -> Path:
        """Its settings."""
        return self.path / "ablation.toml"

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

    def run_folder(self, cell: Cell) -> Path:
        """Where a cell has its training run."""
        return self.path / "runs" / cell.name

    def require(self, ablation: AblationConfig, data: dict[str, str], resume: bool) -> None:
        """Refuse a folder that has another ablation, or anything else, in it.

        More seeds and more references may be asked for later: runs that are there stay as they are.

        Args:
            ablation: settings, files by absolute paths.
            data: digests of what the settings do not say, from `data_digests`.
            resume: whether an ablation may be there.

        Raises:
            InputError: names the folder, what is in it and what to do.
        """
        if self.settings.is_file():
            if not resume:
                raise InputError(f"--out {self.path} already has an ablation; add --resume, or choose another folder")
            kept = AblationConfig.load(self.settings)
            if ablation.seeds < kept.seeds:
                raise InputError(
                    f"--seeds is {ablation.seeds}, but --out {self.path} holds an ablation of {kept.seeds}; "
                    f"give at least {kept.seeds}, or leave it out"
                )
            changed = changed_settings(kept, ablation)
            if changed:
                listed = ", ".join(f"{flag(name)} ({own} → {new})" for name, (own, new) in changed.items())
                raise InputError(
                    f"--out {self.path} holds an ablation of other settings: {listed}; leave them out, or choose "
                    "another folder"
                )
            before = json.loads(self._data.read_text(encoding="utf-8")) if self._data.is_file() else data
            other = [name for name in data if before.get(name) != data[name]]
            if other:
                raise InputError(
                    f"--out {self.path} has runs on other data of {'; '.join(other)}: a text, a schedule or what a "
                    "task says of itself has changed; restore it, or choose another folder"
                )
        elif resume:
            raise InputError(f"--out {self.path} has no ablation to resume (no ablation.toml); leave --resume out")
        elif self.path.exists() and not self.path.is_dir():
            raise InputError(f"--out {self.path} is a file; choose a folder")
        # one that was killed while its settings were being written leaves hidden files
        elif self.path.is_dir() and any(not entry.name.startswith(".") for entry in self.path.iterdir()):
            raise InputError(f"--out {self.path} is not empty and has no ablation; choose an empty or new folder")

    @contextmanager
    def opened(self, ablation: AblationConfig, data: dict[str, str], resume: bool) -> Iterator[None]:
        """Make the folder, or go on with the ablation in it; inside the block it is this process's alone.

        Args:
            ablation: as for `require`.
            data: likewise.
            resume: likewise.

        Raises:
            InputError: as `require`, or a folder that another process works on.
        """
        self.require(ablation, data, resume)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path / ".lock", timeout=0):
                self.require(ablation, data, resume)
                self._parts.mkdir(exist_ok=True)
                if not self._data.is_file():
                    write_text(self._data, json.dumps(data, indent=1) + "\n")
                ablation.save(self.settings)
                clear_leftovers(self.path, self._parts)
                yield
        except Timeout:
            raise InputError(f"--out {self.path} is being worked on by another process; wait for it") from None

    def missing(self, cells: Iterable[Cell]) -> list[Cell]:
        """Cells without a part."""
        return [cell for cell in cells if not self._part(cell).is_file()]

    def keep(self, cell: Cell, rows: list[dict[str, Any]]) -> None:
        """Write a cell's part and remove its training run.

        Args:
            cell: whose row.
            rows: that row, with every column.
        """
        import pyarrow as pa

        if not self._part(cell).is_file():
            write_table(pa.Table.from_pylist(rows, schema=schema()), self._part(cell))
        shutil.rmtree(self.run_folder(cell), ignore_errors=True)

    def gather(self, cells: Iterable[Cell]) -> pa.Table:
        """Put the parts that are there into one table, in the order of the cells, and write it.

        Args:
            cells: of the ablation.

        Raises:
            InputError: a part that cannot be read.
        """
        import pyarrow as pa

        tables = [self._read(cell) for cell in cells if self._part(cell).is_file()]
        table = pa.concat_tables([schema().empty_table(), *tables])
        write_table(table, self.results)
        return table

    def loss(self, cell: Cell) -> float | None:
        """The held-out loss of a cell that has a part, None where its run failed."""
        return self._read(cell).column("loss")[0].as_py()

    def _read(self, cell: Cell) -> pa.Table:
        import pyarrow as pa
        import pyarrow.parquet as pq

        part = self._part(cell)
        try:
            return pq.read_table(part, schema=schema())
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{part} cannot be read ({error}); delete it and go on with --resume") from None

    @property
    def _data(self) -> Path:
        return self.path / "data.json"

    @property
    def _parts(self) -> Path:
        return self.path / "parts"

    def _part(self, cell: Cell) -> Path:
        return self._parts / f"{cell.name}.parquet"
