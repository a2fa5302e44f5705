"""Where cells are worked through: on this machine's processors, or on a Dask cluster.

Workers only compute; every part is written by the process that asked for it. A worker that dies has its cell computed
again elsewhere.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from uuid import uuid4

from hybrid_attention.errors import InputError, RunStopped
from hybrid_attention.study.grid import Cell

if TYPE_CHECKING:
    from distributed import Client

Rows = list[dict[str, Any]]


class Named(Protocol):
    """What is computed at a time; its name is the same in every process."""

    @property
    def name(self) -> str:
        """A name of its own."""
        ...


C = TypeVar("C", bound=Named)

ALLOWED_DEATHS = 10
"""Workers of one's own that may die under one cell before the cell is to blame; a scheduler that was started elsewhere
has a number of its own (distributed.scheduler.allowed-failures)."""

_CONNECT = "5s"


def compute(
    batches: Sequence[Sequence[C]],
    work: Callable[[C], Rows],
    workers: int,
    scheduler: str,
    enough: Callable[[], bool] | None = None,
) -> Iterator[tuple[C, Rows]]:
    """Rows of every cell, in the order in which they are done.

    Args:
        batches: cells to work through; those of one batch go to one worker, one after the other.
        work: computes the rows of a cell; it travels to the workers.
        workers: processes on this machine; 0 computes in this one.
        scheduler: address of a Dask scheduler, or "" for workers of one's own.
        enough: says when no more batches are to be begun; those that are under way are still finished.

    Raises:
        InputError: a scheduler that does not answer.
        RunStopped: workers that die under one cell again and again.
    """
    if not batches:
        return
    if workers == 0 and not scheduler:
        for batch in batches:
            if enough is not None and enough():
                return
            for cell in batch:
                yield cell, work(cell)
        return
    from distributed import KilledWorker, as_completed

    run = uuid4().hex  # others may have cells of the same name on the same cluster
    with _client(min(workers, len(batches)), scheduler) as client:
        waiting = list(enumerate(batches))[::-1]
        futures: dict[Any, Sequence[C]] = {}

        def begin(most: int) -> list[Any]:
            """Hand out up to so many batches, in their order."""
            begun: list[Any] = []
            while waiting and len(begun) < most and not (enough is not None and enough()):
                place, batch = waiting.pop()
                key = f"{batch[0].name}-{run}"
                begun.append(client.submit(_work_through, work, batch, key=key, priority=-place))
                futures[begun[-1]] = batch
            return begun

        def room() -> int:
            """Batches to hand out now: where the work may end early, none waits at a worker."""
            return len(batches) if enough is None else max(1, sum(client.ncores().values())) - len(futures)

        done = as_completed(begin(room()))
        for future in done:
            try:
                rows = future.result()
            except KilledWorker:
                raise RunStopped(
                    f"workers keep dying under one cell ({futures[future][0]}), perhaps short of memory; "
                    "what was done is kept: go on with --resume"
                ) from None
            yield from zip(futures.pop(future), rows, strict=True)
            future.release()
            done.update(begin(room()))


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


def _work_through(work: Callable[[C], Rows], batch: Sequence[C]) -> list[Rows]:
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
