"""Where cells are worked through: on this machine's processors, or on a Dask cluster.

Workers only compute; every part is written by the process that runs the study. A worker that dies has its cell computed
again elsewhere.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from hybrid_attention.errors import InputError, RunStopped
from hybrid_attention.study.grid import Cell

if TYPE_CHECKING:
    from distributed import Client

Rows = list[dict[str, Any]]
Work = Callable[[Cell], Rows]

ALLOWED_DEATHS = 10
"""Workers of one's own that may die under one cell before the cell is to blame; a scheduler that was started elsewhere
has a number of its own (distributed.scheduler.allowed-failures)."""

_CONNECT = "5s"


def compute(cells: list[Cell], work: Work, workers: int, scheduler: str) -> Iterator[tuple[Cell, Rows]]:
    """Rows of every cell, in the order in which they are done.

    Args:
        cells: what to work through.
        work: computes the rows of a cell; it travels to the workers.
        workers: processes on this machine; 0 computes in this one.
        scheduler: address of a Dask scheduler, or "" for workers of one's own.

    Raises:
        InputError: a scheduler that does not answer.
        RunStopped: workers that die under one cell again and again.
    """
    if not cells:
        return
    if workers == 0 and not scheduler:
        for cell in cells:
            yield cell, work(cell)
        return
    from distributed import KilledWorker, as_completed

    study = uuid4().hex  # other studies may have cells of the same name on the same cluster
    with _client(min(workers, len(cells)), scheduler) as client:
        futures = {
            client.submit(_work_through, work, batch, key=f"{batch[0].name}-{study}", priority=-place): batch
            for place, batch in enumerate(batches(cells))  # training runs, which take longest, come last
        }
        for future in as_completed(list(futures)):
            try:
                done = future.result()
            except KilledWorker:
                raise RunStopped(
                    f"workers keep dying under one cell ({futures[future][0]}), perhaps short of memory; "
                    "what was done is kept: go on with --resume"
                ) from None
            yield from zip(futures[future], done, strict=True)
            future.release()


def batches(cells: Sequence[Cell]) -> list[list[Cell]]:
    """What a worker is given at a time: one cell, or all whose calibration is one and the same fit of some seconds.

    Args:
        cells: in the order of the grid.

    Returns:
        The same cells, in the order of the first of each batch.
    """
    found: dict[Any, list[Cell]] = {}
    for cell in cells:
        shared = cell.kind == "model" and cell.setting.calibration == "tuned"
        found.setdefault(cell.setting if shared else cell, []).append(cell)
    return list(found.values())


def _work_through(work: Work, batch: Sequence[Cell]) -> list[Rows]:
    return [work(cell) for cell in batch]


def require_scheduler(scheduler: str) -> None:
    """Refuse an address where no scheduler answers.

    Args:
        scheduler: address of a Dask scheduler, or "" for none.

    Raises:
        InputError: names the address and how to get one.
    """
    if scheduler:
        with _client(0, scheduler):
            pass


@contextmanager
def _client(workers: int, scheduler: str) -> Iterator[Client]:
    """A connection to a cluster: the one named, or one for as long as it lasts."""
    import dask
    from distributed import Client, LocalCluster

    quiet = {
        "distributed.scheduler.allowed-failures": ALLOWED_DEATHS,
        "distributed.admin.large-graph-warning-threshold": "1GB",
    }
    with dask.config.set(quiet):
        if scheduler:
            try:
                client = Client(scheduler, timeout=_CONNECT)
            except (OSError, TimeoutError, ValueError) as error:
                reason = str(error).split("\n")[0] or type(error).__name__
                raise InputError(
                    f"--scheduler {scheduler} does not answer ({reason}); start one with `dask scheduler` and give "
                    "its address, such as tcp://host:8786"
                ) from None
            with client:
                client.register_plugin(_one_thread_each())
                yield client
            return
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=logging.ERROR,
        )
        with cluster, Client(cluster) as client:
            client.register_plugin(_one_thread_each())
            yield client


def one_thread() -> None:
    """Keep torch to one thread, as there is a worker for each processor."""
    import torch

    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


def _one_thread_each() -> Any:
    from distributed import WorkerPlugin

    class OneThread(WorkerPlugin):
        """Every worker, also one that starts later, computes with one thread."""

        name = "one-thread"

        def setup(self, worker: Any) -> None:
            del worker
            one_thread()

    return OneThread()
