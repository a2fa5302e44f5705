"""An ablation from its settings to its table."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from tqdm import tqdm

from hybrid_attention.ablation.columns import COLUMNS
from hybrid_attention.ablation.grid import (
    Cell,
    chosen_rates,
    compared_cells,
    data_digests,
    held_out,
    settings,
    tuning_cells,
)
from hybrid_attention.ablation.run_settings import absolute_sampler, unnamed_sampler
from hybrid_attention.ablation.settings import AblationConfig
from hybrid_attention.ablation.storage import AblationFolder
from hybrid_attention.errors import RunStopped
from hybrid_attention.evaluate import evaluate_run, load_run
from hybrid_attention.run import RunFolder
from hybrid_attention.samplers import exact_fits
from hybrid_attention.study.engine import compute, require_scheduler
from hybrid_attention.tasks.options import absolute_options
from hybrid_attention.tasks.registry import task_class
from hybrid_attention.train import train

_ONE_AT_A_TIME = Lock()
"""Workers may have several threads, but torch's generator and number of threads are the whole process's."""

Rows = list[dict[str, Any]]
_Work = Callable[[Cell, AblationConfig, Path], Rows]


@dataclass(frozen=True)
class FinishedAblation:
    """What an ablation left behind.

    Args:
        folder: where it is.
        ablation: its settings.
        rows: how many runs its table has.
        missing: how many it lacks, because processor time was used up.
    """

    folder: AblationFolder
    ablation: AblationConfig
    rows: int
    missing: int


def run_ablation(
    ablation: AblationConfig,
    folder: AblationFolder,
    *,
    resume: bool = False,
    workers: int = 0,
    scheduler: str = "",
    cpu_minutes: float | None = None,
    progress: bool = True,
    work: _Work | None = None,
) -> FinishedAblation:
    """Make the runs of an ablation, or what is left of them, and gather the table.

    First come runs that choose learning rates, each arm from the same rates with as many runs. Then those that are
    compared, seed after seed, so that an ablation that ends early has whole seeds.

    Args:
        ablation: its settings.
        folder: where it lives on disk.
        resume: go on with the ablation in the folder.
        workers: processes on this machine; 0 computes in this one.
        scheduler: address of a Dask scheduler; takes the place of workers.
        cpu_minutes: processor time of this call after which no more runs are begun, None for no limit.
        progress: whether to show a progress bar.
        work: computes the row of a cell; trains it by default.

    Raises:
        InputError: settings that make no sense, a folder of another ablation, or a scheduler that does not answer.
    """
    ablation = _absolute(ablation.validate())
    found = settings(ablation)
    require_scheduler(scheduler)
    with folder.opened(ablation, data_digests(ablation), resume):
        runs = _Runs(ablation, folder, work or train_cell, workers, scheduler, cpu_minutes, progress)
        tuning = tuning_cells(ablation, found)
        if not runs.make(tuning, "tune"):
            lacking = len(folder.missing(tuning)) + ablation.seeds * len(found)
            return FinishedAblation(folder, ablation, folder.gather(tuning).num_rows, lacking)
        rates = chosen_rates(ablation, found, [(cell, folder.loss(cell)) for cell in tuning])
        compared = compared_cells(ablation, found, rates)
        runs.make(compared, "compare")
        table = folder.gather([*tuning, *compared])
        return FinishedAblation(folder, ablation, table.num_rows, len(folder.missing(compared)))


@dataclass
class _Runs:
    """Makes runs, and counts the processor time that they take."""

    ablation: AblationConfig
    folder: AblationFolder
    work: _Work
    workers: int
    scheduler: str
    cpu_minutes: float | None
    progress: bool
    spent: float = 0.0

    def make(self, cells: list[Cell], name: str) -> bool:
        """Make the runs that are missing; whether all are there afterwards."""
        missing = self.folder.missing(cells)
        task = partial(_rows, ablation=self.ablation, folder=self.folder.path.absolute(), work=self.work)
        bar = tqdm(
            total=len(cells),
            initial=len(cells) - len(missing),
            desc=name,
            unit="run",
            disable=None if self.progress else True,
        )
        enough = None if self.cpu_minutes is None else self._enough
        with bar:
            for cell, (row,) in compute([[cell] for cell in missing], task, self.workers, self.scheduler, enough):
                self.spent += row.pop("spent")
                self.folder.keep(cell, [row])
                bar.update()
        return not self.folder.missing(cells)

    def _enough(self) -> bool:
        """Whether the processor time is used up."""
        return self.cpu_minutes is not None and self.spent >= 60 * self.cpu_minutes


def _absolute(ablation: AblationConfig) -> AblationConfig:
    """The same settings with files that are found from any directory."""
    runs = ablation.runs.with_absolute_paths()
    for task in ablation.task_list:
        kind = task_class(task, "--tasks")
        if kind.has_options:
            runs = replace(runs, task_options=absolute_options(kind, replace(runs, task=task)))
    return replace(ablation, runs=runs).with_samplers([absolute_sampler(name) for name in ablation.sampler_list])


def train_cell(cell: Cell, ablation: AblationConfig, folder: Path) -> Rows:
    """Train one run, or go on with one that was interrupted, and evaluate it on what all arms are held to.

    Args:
        cell: which.
        ablation: its settings.
        folder: of the run.

    Returns:
        One row, with every column of `COLUMNS`. A run whose loss ran away has no loss, and says why.
    """
    config = cell.train_config(ablation).resolved().with_absolute_paths()
    run = RunFolder(folder)
    interrupted, wall, processor = run.exists(), time.perf_counter(), time.process_time()
    row: dict[str, Any] = {
        "stage": cell.stage,
        "task": cell.task,
        "length": cell.length,
        "arm": cell.arm,
        "sampler": cell.sampler,
        "seed": cell.seed,
        "rate": cell.rate,
        "steps": config.steps,
        "feed_forward": config.perceptron_width,
    }
    try:
        train(config, run, resume=interrupted, progress=False, sampler=unnamed_sampler(cell.sampler))
        by = "exact" if exact_fits(config) else config.sampler
        evaluated = evaluate_run(load_run(folder, sampler=by), held_out(ablation, cell.task, cell.length), False)
        names = ("loss", "loss_error", "accuracy", "parameters", "sequences")
        row |= {name: evaluated[name] for name in names} | {"evaluated_by": by}
    except RunStopped as error:
        row["failure"] = str(error).split(";")[0]
    if not interrupted:
        row |= {"cpu_seconds": time.process_time() - processor, "seconds": time.perf_counter() - wall}
    return [{name: row.get(name) for name in COLUMNS}]


def _rows(cell: Cell, ablation: AblationConfig, folder: Path, work: _Work) -> Rows:
    """The row of one cell, in whatever process this is, with the processor time it took here."""
    with _ONE_AT_A_TIME:
        threads, started = torch.get_num_threads(), time.process_time()
        try:
            torch.set_num_threads(1)
            (row,) = work(cell, ablation, AblationFolder(folder).run_folder(cell))
            return [{**row, "spent": time.process_time() - started}]
        finally:
            torch.set_num_threads(threads)
