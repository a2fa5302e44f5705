"""From settings to objects: tasks, samplers, attention and models, each from a dictionary one can read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from classical import ExactSampler, Sampler
from hybrid_attention.attention import BoltzmannAttention
from hybrid_attention.baselines import SigmoidAttention, SoftmaxAttention
from hybrid_attention.config import TrainConfig
from hybrid_attention.errors import InputError
from hybrid_attention.multihead import MultiHeadAttention
from hybrid_attention.tasks import BracketsTask, Task, TextTask
from hybrid_attention.transformer import Transformer
from quantum import AerSampler, AnnealSchedule


def build_task(config: TrainConfig, state: dict[str, Any] | None = None, other_text: bool = False) -> Task:
    """The task of a run.

    Args:
        config: the run's settings.
        state: a checkpoint's `Task.state`, so that a text keeps the run's vocabulary.
        other_text: whether the text may be another one than the run was trained on.

    Raises:
        InputError: settings or a text file that the task cannot use.
    """
    try:
        if config.task == "brackets":
            return BracketsTask(config.length, config.types)
        task = TextTask.from_file(config.text, config.length, (state or {}).get("characters"))
    except ValueError as error:
        raise _input_error(error) from None
    if state is not None and not other_text and state["sha256"] != task.state()["sha256"]:
        raise InputError(
            f"--text {config.text or '(the text inside Python)'} is not the text that this run was trained on (another "
            "SHA-256); restore it, or train on this one in a new --out"
        )
    return task


def _input_error(error: ValueError) -> InputError:
    """The same message about the flag that gave the argument."""
    message = str(error)
    return InputError(message if message.startswith("--") else f"--{message}")


def _schedule(config: TrainConfig) -> tuple[AnnealSchedule, int | None]:
    if config.schedule == "linear":
        return AnnealSchedule.linear(duration=config.duration), config.trotter_steps
    try:
        schedule = AnnealSchedule.load(config.schedule)
    except OSError as error:
        raise InputError(
            f"--schedule {config.schedule} cannot be read ({error.strerror}); give linear, or a file written by "
            "AnnealSchedule.save"
        ) from None
    except ValueError as error:
        raise InputError(f"--schedule: {error}; give linear, or a file written by AnnealSchedule.save") from None
    return schedule, config.trotter_steps if schedule.own_steps is None else None


def _aer(config: TrainConfig) -> Sampler:
    schedule, steps = _schedule(config)
    return AerSampler(schedule, steps=steps, calibration=config.calibration)


SAMPLERS: dict[str, Callable[[TrainConfig], Sampler]] = {"exact": lambda _: ExactSampler(), "aer": _aer}

ATTENTION: dict[str, Callable[[TrainConfig, Sampler, int], MultiHeadAttention]] = {
    "boltzmann": lambda config, sampler, layer: BoltzmannAttention(
        config.dim,
        config.heads,
        config.length,
        couplings=config.couplings,
        position_bias=config.position_bias,
        readout=config.readout,
        sampler=sampler,
        shots=config.shots,
        seed=config.seed + layer,
    ),
    "softmax": lambda config, _, layer: SoftmaxAttention(config.dim, config.heads, config.length, config.position_bias),
    "sigmoid": lambda config, _, layer: SigmoidAttention(
        config.dim, config.heads, config.length, config.position_bias, config.readout
    ),
}


def build_sampler(config: TrainConfig) -> Sampler:
    """The sampler of a run.

    Args:
        config: the run's settings.

    Raises:
        InputError: a schedule or calibration that does not work, or a length beyond what the sampler holds.
    """
    try:
        sampler = SAMPLERS[config.sampler](config)
    except InputError:
        raise
    except ValueError as error:
        raise _input_error(error) from None
    held = getattr(sampler, "max_spins", config.length)
    if config.attention == "boltzmann" and config.length > held:
        longest = held - held % 2 if config.task == "brackets" else held
        raise InputError(
            f"--length is {config.length}, but --sampler {config.sampler} holds at most {held} spins; use --length "
            f"{longest} or less" + ("" if config.sampler == "exact" else ", or --sampler exact")
        )
    return sampler


def build_model(config: TrainConfig, task: Task, sampler: Sampler) -> Transformer:
    """The model of a run, with the initial parameters that its seed fixes.

    Args:
        config: the run's settings.
        task: gives vocabulary and classes.
        sampler: gives the spin statistics.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Transformer(
            task.vocabulary,
            task.classes,
            task.length,
            config.dim,
            config.layers,
            lambda layer: ATTENTION[config.attention](config, sampler, layer),
        )


@contextmanager
def using_sampler(model: Transformer, sampler: Sampler) -> Iterator[Transformer]:
    """Give every Boltzmann attention of a model another sampler for a while.

    Args:
        model: the model.
        sampler: what to use inside the block.
    """
    attentions = [attention for attention in model.attentions() if isinstance(attention, BoltzmannAttention)]
    before = [attention.sampler for attention in attentions]
    try:
        for attention in attentions:
            attention.sampler = sampler
        yield model
    finally:
        for attention, own in zip(attentions, before, strict=True):
            attention.sampler = own
