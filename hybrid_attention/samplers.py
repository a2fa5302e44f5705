"""From settings to samplers and schedules, by dictionaries one can read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from classical import ExactSampler, GibbsSampler, MeanFieldSampler, Polished, Sampler
from hybrid_attention.config import LINEAR_DEFAULTS, PRESET, TrainConfig
from hybrid_attention.errors import InputError
from hybrid_attention.qpu import Access, annealer, emulated_annealer, gate_model
from hybrid_attention.qpu_settings import QPUS
from hybrid_attention.tasks.registry import task_class
from quantum import AerSampler, AnnealSchedule, StatevectorSampler, read_noise

LONGEST_EXACT = 20
"""Most spins for which training is evaluated with exact sums too; beyond, these would take longer than it."""


def build_schedule(config: TrainConfig) -> AnnealSchedule:
    """The annealing schedule of a run.

    Args:
        config: the run's settings.

    Raises:
        InputError: a file that is no schedule, or a duration for a schedule that has its own.
    """
    if config.schedule == "linear":
        return AnnealSchedule.linear(
            duration=LINEAR_DEFAULTS["duration"] if config.duration is None else config.duration
        )
    fix = "give linear, preset:K, or a file written by AnnealSchedule.save"
    try:
        if config.schedule_is_file:
            schedule = AnnealSchedule.load(config.schedule)
        else:
            schedule = AnnealSchedule.preset(config.schedule.removeprefix(PRESET))
    except OSError as error:
        raise InputError(f"--schedule {config.schedule} cannot be read ({error.strerror}); {fix}") from None
    except ValueError as error:
        raise InputError(f"--schedule: {error}; {fix}") from None
    if config.duration is not None:
        raise InputError(
            f"--duration is {config.duration:g}, but --schedule {config.schedule} has its own; leave it out"
        )
    return schedule


def schedule_steps(config: TrainConfig, schedule: AnnealSchedule) -> int:
    """Trotter steps of a run.

    Args:
        config: the run's settings.
        schedule: what `build_schedule` gave.

    Raises:
        InputError: steps that differ from a schedule's own.
    """
    own = schedule.own_steps
    if own is not None and config.trotter_steps not in (None, own):
        raise InputError(
            f"--trotter-steps is {config.trotter_steps}, but --schedule {config.schedule} has {own} steps of its own; "
            "leave it out"
        )
    return own or config.trotter_steps or LINEAR_DEFAULTS["trotter_steps"]


def schedule_digest(config: TrainConfig) -> str:
    """SHA-256 of the contents of a run's schedule file or preset, or "" for a schedule that the settings say all about.

    Args:
        config: the run's settings.

    Raises:
        InputError: a file that is no schedule.
    """
    if config.schedule == "linear":
        return ""
    return hashlib.sha256(json.dumps(build_schedule(config).to_json(), sort_keys=True).encode()).hexdigest()


def _aer(config: TrainConfig) -> Sampler:
    schedule = build_schedule(config)
    noise = read_noise(config.noise) if config.noise else None
    sampler = AerSampler(schedule, steps=schedule_steps(config, schedule), calibration=config.calibration, noise=noise)
    for spins in (config.spins, 1):  # causal attention has models of every size up to the largest
        sampler.require_noise_fits(spins)
    return sampler


def _gibbs(config: TrainConfig) -> Sampler:
    given = {"burn_in": config.burn_in, "chains": config.chains}
    return GibbsSampler(**{name: value for name, value in given.items() if value is not None})


def _statevector(config: TrainConfig) -> Sampler:
    schedule = build_schedule(config)
    return StatevectorSampler(schedule, steps=schedule_steps(config, schedule), calibration=config.calibration)


def _ibm(config: TrainConfig, access: Access) -> Sampler:
    schedule = build_schedule(config)
    return gate_model(config, access, schedule, schedule_steps(config, schedule))


SAMPLERS: dict[str, Callable[[TrainConfig], Sampler]] = {
    "exact": lambda _: ExactSampler(),
    "gibbs": _gibbs,
    "mean-field": lambda _: MeanFieldSampler(),
    "aer": _aer,
    "statevector": _statevector,
}
"""Samplers by the name they have on the command line."""

PROCESSORS: dict[str, Callable[[TrainConfig, Access], Sampler]] = {
    "dwave": annealer,
    "dwave-emulator": emulated_annealer,
    "ibm": _ibm,
}
"""Samplers that keep their jobs in a journal, likewise."""


def build_sampler(config: TrainConfig, access: Access | None = None) -> Sampler:
    """The sampler of a run.

    Args:
        config: the run's settings.
        access: journal and budget, for quantum processors.

    Raises:
        InputError: a schedule or calibration that does not work, or a length beyond what the sampler holds.
        QPUError: a processor that cannot be reached.
    """
    try:
        if config.sampler not in PROCESSORS:
            sampler = SAMPLERS[config.sampler](config)
        elif access is None:
            raise InputError("a QPU keeps its jobs in the journal of a run; use it by train, evaluate or study")
        else:
            sampler = PROCESSORS[config.sampler](config, access)
        if config.polish:
            sampler = Polished(sampler, config.polish)
    except InputError:
        raise
    except ValueError as error:
        flags = "--schedule, --duration, --trotter-steps, --calibration, --noise"
        if config.sampler in QPUS:
            flags = "--solver, --anneal, --duration, --field, --calibration, --beta, --schedule-table, --qpu-budget"
        if config.sampler == "ibm":
            flags = "--solver, --schedule, --duration, --trotter-steps, --calibration, --qpu-budget"
        raise InputError(f"--sampler {config.sampler}: {error} (the flags are {flags})") from None
    held = getattr(sampler, "max_spins", config.spins)
    if config.attention == "boltzmann" and config.spins > held:
        raise InputError(_too_many(config, held))
    return sampler


def _too_many(config: TrainConfig, held: int) -> str:
    """What to say of a length or a window beyond what the sampler holds."""
    holds = f"--sampler {config.sampler} holds at most {held} spins"
    exact = ExactSampler().max_spins
    if config.window is None:
        shorter = f"--length {task_class(config.task).longest_length(held)} or less, or --window {held} or less"
        other = "" if config.sampler == "exact" else ", or --sampler exact"
        return f"--length is {config.length}, but {holds}; use {shorter}{other}"
    many = "gibbs or mean-field" if config.sampler == "exact" or config.spins > exact else "exact"
    if config.window > held:
        shorter = f"use --window {held} or less"
        shorter += "" if config.global_keys == 0 else " together with --global-keys"
        return f"--window is {config.window}, but {holds}; {shorter}, or --sampler {many}"
    return (
        f"--global-keys is {config.global_keys}, which with --window {config.window} makes {config.spins} spins, but "
        f"{holds}; use --global-keys {held - config.window} or less, or --sampler {many}"
    )


def table_digest(config: TrainConfig) -> str:
    """SHA-256 of the contents of a run's schedule table, or "" without one.

    Args:
        config: the run's settings.

    Raises:
        InputError: a file that cannot be read.
    """
    if not config.schedule_table:
        return ""
    try:
        return hashlib.sha256(Path(config.schedule_table).read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(
            f"--schedule-table {config.schedule_table} cannot be read ({error.strerror}); give a CSV file"
        ) from None


def exact_fits(config: TrainConfig) -> bool:
    """Whether a run's models are small enough to be evaluated with exact sums during training.

    Args:
        config: the run's settings.
    """
    return config.attention != "boltzmann" or config.sampler == "exact" or config.spins <= LONGEST_EXACT


def reference_sampler(config: TrainConfig, sampler: Sampler) -> Sampler:
    """What reports are made with: exact sums where they fit, else the run's own sampler, if it costs nothing.

    Args:
        config: the run's settings.
        sampler: the run's own.
    """
    if exact_fits(config):
        return ExactSampler()
    return MeanFieldSampler() if config.sampler in QPUS else sampler
