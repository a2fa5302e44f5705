"""From settings to tasks, attention and models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import torch

from classical import Sampler
from hybrid_attention.arms import HOPFIELD_UPDATES
from hybrid_attention.attention import BoltzmannAttention
from hybrid_attention.baselines import SigmoidAttention, SoftmaxAttention
from hybrid_attention.config import TrainConfig
from hybrid_attention.errors import InputError
from hybrid_attention.estimators import require_estimator
from hybrid_attention.flags import flag
from hybrid_attention.hopfield import HopfieldAttention
from hybrid_attention.linear import LinearAttention
from hybrid_attention.multihead import MultiHeadAttention
from hybrid_attention.precision import MixedPrecision
from hybrid_attention.tasks import Task
from hybrid_attention.tasks.checks import require_batches, require_shape
from hybrid_attention.tasks.options import option_names
from hybrid_attention.tasks.registry import is_built_in, task_class
from hybrid_attention.transformer import Transformer


def build_task(
    config: TrainConfig, state: dict[str, Any] | None = None, other_text: bool = False, with_data: bool = True
) -> Task:
    """The task of a run.

    Args:
        config: the run's settings.
        state: a checkpoint's `Task.state`, so that a text keeps the run's vocabulary.
        other_text: whether the text may be another one than the run was trained on.
        with_data: whether the task is to give batches; False works where a text is gone, and takes a state.

    Raises:
        InputError: settings or a text file that the task cannot use, a class of another package that is no whole task,
            or data that are not those that the state tells of.
    """
    kind = task_class(config.task)
    try:
        task = kind.from_config(config, state) if with_data else kind.without_data(config, state or {})
        if not is_built_in(config.task):
            require_shape(task, config.length)
            if with_data:
                require_batches(task, config.seed)
        if state is not None and with_data and not other_text:
            task.require_state(state)
    except InputError:
        raise
    except ValueError as error:
        raise _input_error(error, config.task, kind) from error
    return task


def _input_error(error: ValueError, name: str, kind: type[Task]) -> InputError:
    """The same message, in one line, about the flag that gave the argument with which it begins."""
    message = " ".join(str(error).split())
    first = message.partition(" ")[0]
    if first.startswith("--"):
        return InputError(message)
    if first in option_names(kind):
        return InputError(f"--task-options: {message}")
    if first in {field.name for field in fields(TrainConfig)}:
        return InputError(f"{flag(first)}{message.removeprefix(first)}")
    return InputError(f"--task {name}: {message}")


def _without_couplings(kind: type[SoftmaxAttention | SigmoidAttention], config: TrainConfig) -> MultiHeadAttention:
    return kind(
        config.dim,
        config.heads,
        config.length,
        config.position_bias,
        config.readout,
        config.attention_window,
        config.field_limit,
    )


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
        estimator=config.estimator,
        independent_halves=config.independent_halves,
        window=config.attention_window,
        field_limit=config.field_limit,
    ),
    "softmax": lambda config, _, layer: _without_couplings(SoftmaxAttention, config),
    "sigmoid": lambda config, _, layer: _without_couplings(SigmoidAttention, config),
    "hopfield": lambda config, _, layer: HopfieldAttention(
        config.dim,
        config.heads,
        config.length,
        config.position_bias,
        config.readout,
        HOPFIELD_UPDATES if config.hopfield_updates is None else config.hopfield_updates,
        config.attention_window,
    ),
    "linear": lambda config, _, layer: LinearAttention(config.dim, config.heads, config.length, config.readout),
    "gated-linear": lambda config, _, layer: LinearAttention(
        config.dim, config.heads, config.length, config.readout, gated=True
    ),
}
"""Kinds by name; each takes the settings, the sampler and the layer's number."""


def build_model(config: TrainConfig, task: Task, sampler: Sampler) -> Transformer:
    """The model of a run, with the initial parameters that its seed fixes.

    Args:
        config: the run's settings.
        task: gives vocabulary and classes.
        sampler: gives the spin statistics.

    Raises:
        InputError: an estimator that the sampler cannot serve.
    """
    if config.attention == "boltzmann":
        try:
            require_estimator(config.estimator, sampler, config.spins, config.shots, config.independent_halves)
        except ValueError as error:
            raise InputError(f"--estimator {config.estimator}, --sampler {config.sampler}: {error}") from None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        kind = MixedPrecision if config.dtype == "bfloat16" else Transformer
        model = kind(
            task.vocabulary,
            task.classes,
            task.length if config.window is None else None,
            config.dim,
            config.layers,
            lambda layer: ATTENTION[config.attention](config, sampler, layer),
            config.perceptron_width,
        )
    return model.double() if config.dtype == "float64" else model


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


@contextmanager
def numbering_rows_from(model: Transformer, first: int) -> Iterator[Transformer]:
    """Draw the samples of a part of a batch as if it were there as a whole.

    Args:
        model: the model.
        first: the row of the batch that calls inside the block begin with.
    """
    attentions = [attention for attention in model.attentions() if isinstance(attention, BoltzmannAttention)]
    before = [attention.first_row for attention in attentions]
    try:
        for attention in attentions:
            attention.first_row = first
        yield model
    finally:
        for attention, own in zip(attentions, before, strict=True):
            attention.first_row = own
