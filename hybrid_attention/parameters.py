"""How many parameters runs train, and what would make them equal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from classical import ExactSampler, Sampler
from hybrid_attention.build import build_model, build_task
from hybrid_attention.config import TrainConfig
from hybrid_attention.errors import InputError
from hybrid_attention.tasks import Task


@dataclass(frozen=True)
class Matched:
    """A run whose number of parameters was brought near another's by the width of its perceptrons.

    Args:
        config: its settings, feed_forward changed.
        before: trainable parameters with the width it had.
        parameters: trainable parameters now.
        excess: parameters more than the number aimed at, or fewer where negative.
    """

    config: TrainConfig
    before: int
    parameters: int
    excess: int


def count_parameters(config: TrainConfig, sampler: Sampler | None = None, task: Task | None = None) -> int:
    """Trainable parameters of a run's model, without training it.

    Args:
        config: its settings; a text is read, as its vocabulary counts.
        sampler: what holds models of that length, where exact sums do not.
        task: of the run, where it is at hand already.

    Raises:
        InputError: settings that do not work.
    """
    config = config.validate()
    task = build_task(config) if task is None else task
    return build_model(config, task, ExactSampler() if sampler is None else sampler).parameter_count()


def match_parameters(
    configs: Mapping[str, TrainConfig],
    to: str | int | Callable[[Iterable[int]], int] = min,
    sampler: Sampler | None = None,
    task: Task | None = None,
) -> dict[str, Matched]:
    """Choose the width of each run's perceptrons so that all train about equally many parameters.

    One unit of width has layers · (2 dim + 1) parameters, so that half of this is the most that stays.

    Args:
        configs: settings by name.
        to: the run, by name, the number of parameters to match, or what chooses one of all numbers: `min`, so that no
            run grows, by default.
        sampler: as for `count_parameters`.
        task: of all runs, where it is at hand already.

    Returns:
        By name. Settings already nearest are left as they are.

    Raises:
        InputError: a name that is not among them, or a number that no width of at least 1 comes near.
    """
    counts = {name: count_parameters(config, sampler, task) for name, config in configs.items()}
    if isinstance(to, str) and to not in counts:
        raise InputError(f"to is {to!r}; use one of {', '.join(counts)}")
    target = counts[to] if isinstance(to, str) else to if isinstance(to, int) else to(counts.values())
    return {name: _matched(name, config, counts[name], target) for name, config in configs.items()}


def _matched(name: str, config: TrainConfig, count: int, target: int) -> Matched:
    unit = config.layers * (2 * config.dim + 1)
    width = config.perceptron_width + round((target - count) / unit)
    if width < 1:
        raise InputError(
            f"{name} has {count - (config.perceptron_width - 1) * unit:,} parameters with --feed-forward 1, more than "
            f"{target:,}; match to a larger run, or make --dim of this one smaller"
        )
    if width == config.perceptron_width:
        return Matched(config, count, count, count - target)
    now = count + (width - config.perceptron_width) * unit
    return Matched(replace(config, feed_forward=width), count, now, now - target)


def parameter_table(configs: Mapping[str, TrainConfig], sampler: Sampler | None = None) -> str:
    """A readable line for each run: parameters, and the --feed-forward that would match it to the smallest.

    Args:
        configs: settings by name.
        sampler: as for `count_parameters`.
    """
    rows = match_parameters(configs, sampler=sampler)
    widest = max(map(len, rows), default=0)
    lines = []
    for name, row in rows.items():
        line = f"{name:<{widest}}  {row.before:>10,}"
        if row.before != row.parameters:
            line += f"  --feed-forward {row.config.feed_forward}: {row.parameters:,} ({row.excess:+,})"
        lines.append(line)
    return "\n".join(lines)
