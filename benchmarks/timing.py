"""Fair timings on a shared machine: one thread, candidates interleaved, the best of several rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use a single thread inside the block."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def best_times(candidates: Mapping[str, Callable[[], object]], rounds: int = 5) -> dict[str, float]:
    """Time several callables against each other in one run.

    Every round calls each candidate once, so that a neighbour's load meets all of them; the best round counts, since
    load only ever adds. A round before the first warms caches and is not counted.

    Args:
        candidates: callables by name.
        rounds: how many rounds count, at least 1.

    Returns:
        Seconds by name, in the order of the candidates.

    Raises:
        ValueError: fewer than one round.
    """
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}; give at least 1")
    best = dict.fromkeys(candidates, float("inf"))
    with one_thread():
        for turn in range(rounds + 1):
            for name, call in candidates.items():
                start = perf_counter()
                call()
                seconds = perf_counter() - start
                if turn:
                    best[name] = min(best[name], seconds)
    return best


def table(times: Mapping[str, float], items: int, unit: str, reference: str) -> str:
    """Times as lines of text: rate, time for one item, and how many times as long as the reference each takes.

    Args:
        times: seconds by name.
        items: how many items each call worked through.
        unit: what an item is, in the plural.
        reference: the name whose ratio is 1.
    """
    width = max(len(name) for name in times)
    lines = [f"  {'':{width}}  {unit + '/s':>14}  {'µs each':>12}  {'time ratio':>10}"]
    lines += [
        f"  {name:{width}}  {items / seconds:>14,.0f}  {seconds / items * 1e6:>12,.2f}  "
        f"{seconds / times[reference]:>9,.1f}×"
        for name, seconds in times.items()
    ]
    return "\n".join(lines)
