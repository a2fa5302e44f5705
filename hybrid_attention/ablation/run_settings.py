"""The settings of one run of an ablation: what all share, with what the arm, the task and the sampler change."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from classical import PerfectSamples, Sampler
from hybrid_attention.ablation.arms import arm_settings
from hybrid_attention.ablation.settings import PERFECT, SAMPLER_SETTINGS, AblationConfig
from hybrid_attention.arms import FIELDS, LINEAR
from hybrid_attention.config import TrainConfig, absolute_noise
from hybrid_attention.errors import InputError
from hybrid_attention.flags import flag
from hybrid_attention.parse import parse_config
from hybrid_attention.tasks.registry import task_class

_BEFORE_A_SETTING = re.compile(r"/(?=[a-z][a-z-]*=)")  # a file's name may have slashes too


def run_config(ablation: AblationConfig, task: str, length: int, arm: str, sampler: str) -> TrainConfig:
    """Settings of a run but for seed, learning rate and width.

    What all runs share is left out where it means nothing: an energy loss where the arm has none, updates for others
    than Hopfield attention, a rate of couplings where there are none, a limit of fields where weights are not made of
    these, windows for linear attention, a text or options for tasks that take none.

    Args:
        ablation: what the run belongs to.
        task: by name.
        length: input positions.
        arm: by name.
        sampler: as in --samplers.

    Raises:
        InputError: a name that does not exist, or a setting that is no sampler's.
    """
    shared, kind, own = ablation.runs, task_class(task, "--tasks"), arm_settings(arm)
    attention = own.get("attention", "boltzmann")
    own |= {
        "task": task,
        "length": length,
        "text": shared.text if kind.from_text else "",
        "task_options": shared.task_options if kind.has_options else "",
        "energy_loss": shared.energy_loss if "energy" in arm.split("+")[1:] else 0.0,
        "hopfield_updates": shared.hopfield_updates if attention == "hopfield" else None,
    }
    if attention != "boltzmann":
        own |= {"lr_couplings": None}
    if attention not in FIELDS:
        own |= {"field_limit": None}
    if attention in LINEAR:
        own |= {"window": None, "global_keys": TrainConfig.global_keys}
    config = replace(shared, **own)
    name, given = sampler_settings(sampler)
    arguments = [f"{flag(key)}={given[key]}" for key in given]
    try:
        return parse_config(arguments if name == PERFECT else [f"--sampler={name}", *arguments], config)
    except InputError as error:
        raise InputError(f"--samplers has {sampler!r}: {error}") from None


def unnamed_sampler(sampler: str) -> Sampler | None:
    """The sampler of a run where train has no name for it, else None.

    Args:
        sampler: as in --samplers.
    """
    return PerfectSamples() if sampler_settings(sampler)[0] == PERFECT else None


def sampler_settings(sampler: str) -> tuple[str, dict[str, str]]:
    """A sampler's name, and its settings by their fields.

    Args:
        sampler: NAME/setting=value/…

    Raises:
        InputError: something that is not written so, or a setting that is not a sampler's.
    """
    name, *given = _BEFORE_A_SETTING.split(sampler)
    known = ("estimator",) if name == PERFECT else SAMPLER_SETTINGS
    found: dict[str, str] = {}
    for setting in given:
        key, _, value = setting.partition("=")
        field = key.replace("-", "_")
        if field not in known or field in found or not value:
            names = ", ".join(one.replace("_", "-") for one in known)
            raise InputError(f"--samplers has {sampler!r}; settings of {name} are, each once: {names}")
        found[field] = value
    if "/" in name:
        raise InputError(f"--samplers has {sampler!r}; write NAME/setting=value, as gibbs/burn-in=10")
    return name, found


def absolute_sampler(sampler: str) -> str:
    """The same sampler, its files by their absolute paths.

    Args:
        sampler: as in --samplers.
    """
    name, given = sampler_settings(sampler)
    paths: dict[str, Any] = {"noise": absolute_noise, "schedule_table": lambda path: str(Path(path).absolute())}
    for field, absolute in paths.items():
        if field in given:
            given[field] = absolute(given[field])
    if "schedule" in given and TrainConfig(schedule=given["schedule"]).schedule_is_file:
        given["schedule"] = str(Path(given["schedule"]).absolute())
    return "/".join([name, *(f"{field.replace('_', '-')}={value}" for field, value in given.items())])
