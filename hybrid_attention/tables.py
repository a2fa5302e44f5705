"""Parquet tables that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hybrid_attention.errors import InputError
from hybrid_attention.files import sync_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa


class Column(NamedTuple):
    """A column of a table.

    Args:
        type: "text", "integer" or "number".
        unit: of its numbers, "1" where they have none.
        meaning: one phrase.
    """

    type: str
    unit: str
    meaning: str


def arrow_schema(columns: Mapping[str, Column]) -> pa.Schema:
    """Columns for Arrow, with unit and meaning in each field's metadata.

    Args:
        columns: by name, in the order of the table.
    """
    import pyarrow as pa

    types = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64()}
    return pa.schema(
        [
            pa.field(name, types[column.type], metadata={"unit": column.unit, "meaning": column.meaning})
            for name, column in columns.items()
        ]
    )


def read_table(path: Path, columns: Mapping[str, Column], what: str) -> pa.Table:
    """A table that must have some columns.

    Args:
        path: its file, or the folder that has it as results.parquet.
        columns: that it must have.
        what: whose folder it is, for errors.

    Raises:
        InputError: no table there, or one without the columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = path / "results.parquet" if path.is_dir() else path
    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{file} cannot be read ({error}); give the folder of {what}") from None
    lacking = [name for name in columns if name not in table.column_names]
    if lacking:
        raise InputError(f"{file} lacks the columns {', '.join(lacking)}; give the folder of {what}")
    return table


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table aside, bring it to the disk and rename it into place.

    Args:
        table: what to write.
        path: where it ends up.
    """
    import pyarrow.parquet as pq

    aside = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(table, aside, compression="zstd")
    with aside.open("rb+") as file:
        os.fsync(file.fileno())
    aside.replace(path)
    sync_folder(path.parent)


def clear_leftovers(*folders: Path) -> None:
    """Remove tables that were being written when their process was killed.

    Args:
        folders: where to look.
    """
    for folder in folders:
        for entry in folder.glob(".*.parquet.*"):
            entry.unlink(missing_ok=True)
