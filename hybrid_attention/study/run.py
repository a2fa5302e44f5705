"""A study from its settings to its report."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from tqdm import tqdm

from hybrid_attention.qpu import Access, JournalFlags, run_name
from hybrid_attention.qpu_settings import QPUS
from hybrid_attention.study.engine import batches, compute, require_scheduler
from hybrid_attention.study.grid import Cell, cells
from hybrid_attention.study.instances import sources
from hybrid_attention.study.measure import measure
from hybrid_attention.study.settings import StudyConfig
from hybrid_attention.study.storage import StudyFolder
from hybrid_attention.study.training import train_cell
from quantum import DesignRangeWarning

_Measure = Callable[..., list[dict[str, Any]]]

_ONE_AT_A_TIME = Lock()
"""Workers may have several threads, but torch's generator, its number of threads and Python's warning filters are the
whole process's."""


@dataclass(frozen=True)
class FinishedStudy:
    """What a study left behind.

    Args:
        folder: where it is.
        study: its settings.
        rows: how many rows its table has.
    """

    folder: StudyFolder
    study: StudyConfig
    rows: int


def run_study(
    study: StudyConfig,
    folder: StudyFolder,
    *,
    resume: bool = False,
    workers: int = 0,
    scheduler: str = "",
    progress: bool = True,
    measure: _Measure = measure,
    journal: JournalFlags | None = None,
) -> FinishedStudy:
    """Work through the grid, or through what is left of it, and gather the table.

    Everything is checked before the first cell: settings, samplers, files. Rows are functions of the settings alone,
    whoever computes them and in whatever order, except for the times in them.

    Args:
        study: its settings.
        folder: where it lives on disk.
        resume: go on with the study in the folder.
        workers: processes on this machine; 0 computes in this one.
        scheduler: address of a Dask scheduler; takes the place of workers.
        progress: whether to show a progress bar.
        measure: computes the rows of a cell of models, from the cell, the study and, for processors, the access.
        journal: where quantum processors' jobs are kept; in the study's folder by default.

    Raises:
        InputError: settings that make no sense, a folder of another study, or a scheduler that does not answer.
        BudgetError: the next job of a quantum processor would pass the budget; the study can be resumed with another.
        QPUError: a quantum processor failed; the study can be resumed.
    """
    study = study.validate().with_absolute_paths()
    flags = journal or JournalFlags()
    flags.require_qpu(next((name for name in study.sampler_list if name in QPUS), study.sampler_list[0]))
    name = run_name(asdict(study), asdict(StudyConfig()))
    access = flags.access(folder.path.absolute(), name, study.qpu_budget)
    grid = cells(study, sources(study), access)
    require_scheduler(scheduler)
    folder.open(study, resume)
    folder.clear_leftovers()
    missing = folder.missing(grid)
    work = partial(_rows, study=study, folder=folder.path.absolute(), measure=measure, access=access)
    bar = tqdm(total=len(grid), initial=len(grid) - len(missing), unit="cell", disable=None if progress else True)
    with bar:
        for cell, rows in compute(batches(missing), work, workers, scheduler):
            folder.keep(cell, rows)
            if cell.kind == "training":
                folder.drop_run(cell)
            bar.update()
    table = folder.gather(grid)
    return FinishedStudy(folder, study, table.num_rows)


def _rows(cell: Cell, study: StudyConfig, folder: Path, measure: _Measure, access: Access) -> list[dict[str, Any]]:
    """The rows of one cell, in whatever process this is."""
    with _ONE_AT_A_TIME:
        return _rows_alone(cell, study, folder, measure, access)


def _rows_alone(
    cell: Cell, study: StudyConfig, folder: Path, measure: _Measure, access: Access
) -> list[dict[str, Any]]:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        if cell.kind == "training":
            return train_cell(cell, study, StudyFolder(folder).run_folder(cell), access)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DesignRangeWarning)  # the column outside_design says it of every model
            return measure(cell, study, access) if cell.setting.sampler in QPUS else measure(cell, study)
    finally:
        torch.set_num_threads(threads)
