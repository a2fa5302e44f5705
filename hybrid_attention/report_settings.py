"""The settings of a run in words, for its report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hybrid_attention.arms import HOPFIELD_UPDATES
from hybrid_attention.config import TrainConfig
from hybrid_attention.samplers import build_schedule, schedule_steps
from quantum.calibration import resolve_calibration

if TYPE_CHECKING:
    from hybrid_attention.train import TrainedRun


def settings_in_words(config: TrainConfig, run: TrainedRun) -> list[tuple[str, str]]:
    """Settings that mattered in a run, by name.

    Args:
        config: the run's settings.
        run: what was trained.
    """
    settings = [("Task", run.task.describe(config)), ("Attention", config.attention)]
    if config.attention == "boltzmann":
        settings.append(("Couplings", config.couplings))
    if config.attention == "hopfield":
        updates = HOPFIELD_UPDATES if config.hopfield_updates is None else config.hopfield_updates
        settings.append(("Updates", str(updates)))
    settings.append(("Position bias", "yes" if config.position_bias else "no"))
    if config.field_limit is not None:
        settings.append(("Field limit", f"{config.field_limit:g}"))
    if config.attention != "softmax" or config.readout == "free-energy":
        settings.append(("Read-out", config.readout))
    if config.energy_loss:
        settings.append(("Energy loss", f"{config.energy_loss:g}"))
    if config.attention == "boltzmann":
        settings.append(("Sampler", config.sampler))
    if config.attention == "boltzmann" and config.sampler in ("aer", "statevector", "ibm"):
        schedule = build_schedule(config)
        name = f"linear, T = {schedule.duration:g}" if config.schedule == "linear" else Path(config.schedule).name
        settings += [
            ("Schedule", f"{name}, {schedule_steps(config, schedule)} Trotter steps"),
            ("Calibration", resolve_calibration(schedule, config.calibration)),
        ]
        if config.noise:
            settings.append(("Noise", config.noise))
    if draws_samples(config) and config.sampler != "mean-field":
        settings.append(("Shots per Ising model", str(config.shots)))
    if config.polish:
        settings.append(("Polish", f"{config.polish} heat-bath sweep{'s' if config.polish > 1 else ''}"))
    return [
        *settings,
        ("Length", f"{config.length} tokens"),
        *([] if config.window is None else [("Window", _window(config))]),
        ("Layers × heads", f"{config.layers} × {config.heads}"),
        ("Width", f"{config.dim}, perceptrons {config.perceptron_width}"),
        ("Parameters", f"{run.model.parameter_count():,}"),
        ("Steps × batch", f"{config.steps:,} × {config.batch}"),
        ("Peak learning rate", _rates(config)),
        *([] if config.dtype == "float32" else [("Precision", config.dtype)]),
        ("Seed", str(config.seed)),
        ("Held-out sequences", str(len(run.task.validation(config.eval_sequences).tokens))),
    ]


def _window(config: TrainConfig) -> str:
    return f"{config.window} keys" + (f" and {config.global_keys} global" if config.global_keys else "")


def _rates(config: TrainConfig) -> str:
    apart = config.attention == "boltzmann" and config.coupling_rate != config.lr
    return f"{config.lr:g}" + (f", couplings {config.coupling_rate:g}" if apart else "")


def draws_samples(config: TrainConfig) -> bool:
    """Whether training used sampled spin statistics.

    Args:
        config: the run's settings.
    """
    return config.attention == "boltzmann" and config.sampler != "exact"
