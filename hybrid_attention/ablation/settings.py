"""The settings of an ablation: one dataclass behind the flags and the ablation's own record."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import tomli_w
import tyro

from hybrid_attention.ablation.arms import BASES, FOUR_WAY, arm_settings
from hybrid_attention.config import LARGEST_SEED, NOT_SETTINGS, TrainConfig
from hybrid_attention.errors import InputError
from hybrid_attention.files import write_text
from hybrid_attention.flags import flag, require
from hybrid_attention.parse import record_from

PERFECT = "exact-samples"
"""Independent samples of the Boltzmann law: what an ideal device would give, at as many shots."""

TUNING_SEED = 1_000_000
"""Seeds of runs that choose a learning rate begin here, beyond those that are compared."""

SAMPLER_SETTINGS = (
    "schedule",
    "duration",
    "trotter_steps",
    "calibration",
    "polish",
    "noise",
    "burn_in",
    "chains",
    "estimator",
    "solver",
    "anneal",
    "field",
    "schedule_table",
    "beta",
    "control_error",
    "precision",
)
"""Settings that may follow a sampler's name; shots are --shots for all, so that samplers are compared at equal ones."""

_DEFAULT_ARMS = ",".join(f"{arm}{addition}" for addition in ("", "+bias") for arm in FOUR_WAY)
_ELSEWHERE = {
    "task": "tasks",
    "length": "lengths",
    "attention": "arms",
    "couplings": "arms",
    "position_bias": "arms",
    "readout": "arms",
    "sampler": "samplers",
    "seed": "seeds",
    "lr": "rates",
} | {name: "samplers" for name in SAMPLER_SETTINGS if name != "estimator"}

_MAY_CHANGE = ("seeds", "against", "runs")
"""Not part of what a run is: more seeds are more runs, and references only decide what is shown."""


@dataclass(frozen=True)
class AblationConfig:
    """Settings of an ablation. Lists are separated by commas; the grid is every combination."""

    tasks: str = "brackets"
    """What to learn, names as for train --task."""
    lengths: str = "8"
    """Input positions."""
    arms: str = _DEFAULT_ARMS
    """Kinds of attention: softmax, sigmoid (J = 0), fixed (random J), position, relative, content, hopfield, linear,
    gated-linear, each with any of +bias, +free-energy, +sum, +energy."""
    limits: str = ""
    """Longest lengths for arms that would take too long beyond, as content=11."""
    samplers: str = "exact"
    """Where spin statistics come from in training: exact, exact-samples (perfect samples at --shots), or a sampler with
    settings, as gibbs or statevector/schedule=preset:8/polish=1."""
    seeds: int = 5
    """Runs of every setting that are compared, with seeds 0, 1, …; a seed fixes data, its order and samples."""
    against: str = ""
    """Arms that the others are compared with; softmax+bias and sigmoid+bias by default, where they are among them."""
    rates: str = "3e-3"
    """Learning rates to choose from, for each task and arm by the held-out loss of runs with seeds of their own."""
    tuning_seeds: int = 1
    """Runs for each learning rate and setting."""
    tuning_lengths: str = ""
    """Lengths at which rates are chosen; all by default. Others take the choice of the nearest."""
    match: bool = True
    """Widen perceptrons so that all arms have the parameters of the largest, as nearly as a unit of width allows."""
    runs: tyro.conf.OmitArgPrefixes[TrainConfig] = field(default_factory=TrainConfig)
    """What all runs share, by the flags of train."""

    def validate(self) -> AblationConfig:
        """This configuration, if it makes sense on its own; each run's settings are checked where the grid is made.

        Raises:
            InputError: names the first flag that does not, its value and the fix.
        """
        for name in ("seeds", "tuning_seeds"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "give at least 1")
        require(self.seeds <= TUNING_SEED, "seeds", self.seeds, f"give at most {TUNING_SEED}")
        for name, flag_name in _ELSEWHERE.items():
            value = getattr(self.runs, name)
            settings = (
                f", as {flag(flag_name)} NAME/{name.replace('_', '-')}={value}" if name in SAMPLER_SETTINGS else ""
            )
            require(value == getattr(TrainConfig, name), name, value, f"use {flag(flag_name)}{settings}")
        every = self.runs.export_every
        require(every is None, "export_every", every, "an ablation keeps no Hamiltonians; leave it out")
        require(not (self.match and self.runs.feed_forward), "feed_forward", self.runs.feed_forward, "add --no-match")
        for arm in self.arm_list:
            arm_settings(arm)
            missing = all(arm not in self.arms_at(length) for length in self.length_list)
            require(not missing, "limits", repr(self.limits), f"{arm} takes part at none of the lengths; leave it out")
        for name in self.reference_list:
            fix = f"use arms that are compared: {', '.join(self.arm_list)}"
            require(name in self.arm_list, "against", repr(name), fix)
        for name in self.reference_list:
            lacked = next((length for length in self.length_list if name not in self.arms_at(length)), None)
            require(
                lacked is None, "limits", repr(self.limits), f"{name}, which others are compared with, lacks {lacked}"
            )
        for length in self.tuning_length_list:
            fix = f"use lengths that are compared: {self.lengths}"
            require(length in self.length_list, "tuning_lengths", length, fix)
        for arm in self.arm_list if len(self.rate_list) > 1 else []:
            tuned = any(arm in self.arms_at(length) for length in self.tuning_length_list)
            require(
                tuned, "tuning_lengths", self.tuning_lengths, f"{arm} takes part at none of them; add a shorter one"
            )
        with_energy = any("energy" in arm.split("+")[1:] for arm in self.arm_list)
        weight = self.runs.energy_loss
        require(not with_energy or weight > 0, "energy_loss", weight, "arms with +energy need a positive weight")
        require(with_energy or weight == 0, "energy_loss", weight, "it goes with arms that have +energy")
        for name in ("sampler_list", "task_list", "rate_list"):
            getattr(self, name)  # each is checked as it is read
        return self

    @property
    def task_list(self) -> list[str]:
        """Tasks by name."""
        return _parts("tasks", self.tasks)

    @property
    def length_list(self) -> list[int]:
        """Lengths, in the order given."""
        return [int(value) for value in _numbers("lengths", self.lengths, whole=True)]

    @property
    def arm_list(self) -> list[str]:
        """Arms by name."""
        return _parts("arms", self.arms)

    @property
    def limit_map(self) -> dict[str, int]:
        """Longest lengths, by the arms' bases."""
        fix = f"write BASE=LENGTH with one of {', '.join(BASES)}, as content=11"
        found = {}
        for part in _parts("limits", self.limits) if self.limits else []:
            base, _, length = part.partition("=")
            require(base in BASES and length.isdecimal(), "limits", repr(self.limits), fix)
            found[base] = int(length)
        return found

    def arms_at(self, length: int) -> list[str]:
        """Arms that take part at a length.

        Args:
            length: input positions.
        """
        limits = self.limit_map
        return [arm for arm in self.arm_list if length <= limits.get(arm.split("+")[0], length)]

    @property
    def sampler_list(self) -> list[str]:
        """Samplers with their settings; one that has commas is in double quotes."""
        try:
            (line,) = csv.reader([self.samplers], skipinitialspace=True, strict=True)
        except (csv.Error, ValueError):
            raise InputError(f"--samplers is {self.samplers!r}; close every quotation mark") from None
        return _once("samplers", self.samplers, [part.strip() for part in line])

    @property
    def rate_list(self) -> list[float]:
        """Learning rates."""
        return _numbers("rates", self.rates)

    @property
    def tuning_length_list(self) -> list[int]:
        """Lengths at which rates are chosen."""
        if not self.tuning_lengths:
            return self.length_list
        return [int(value) for value in _numbers("tuning_lengths", self.tuning_lengths, whole=True)]

    @property
    def reference_list(self) -> list[str]:
        """Arms that the others are compared with."""
        if self.against:
            return _parts("against", self.against)
        arms = self.arm_list
        return [arm for arm in ("softmax+bias", "sigmoid+bias") if arm in arms] or arms[:1]

    def with_samplers(self, samplers: list[str]) -> AblationConfig:
        """The same settings with other samplers.

        Args:
            samplers: with their settings.
        """
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(samplers)
        return replace(self, samplers=line.getvalue())

    def save(self, path: Path) -> None:
        """Write as TOML.

        Args:
            path: the file.
        """
        values = asdict(self)
        values["runs"] = {name: value for name, value in values["runs"].items() if value is not None}
        write_text(path, tomli_w.dumps(values))

    @classmethod
    def load(cls, path: Path) -> AblationConfig:
        """Read what `save` wrote.

        Args:
            path: the file.

        Raises:
            InputError: no such file, or one that is not an ablation's.
        """
        return record_from(path, cls, "an ablation")


def changed_settings(before: AblationConfig, after: AblationConfig) -> dict[str, tuple[Any, Any]]:
    """Settings that differ, by name; runs that are there stay what they are when others change.

    Args:
        before: one configuration.
        after: the other.
    """
    names = [f.name for f in fields(AblationConfig) if f.name not in _MAY_CHANGE]
    pairs = {name: (getattr(before, name), getattr(after, name)) for name in names}
    shared = [f.name for f in fields(TrainConfig) if f.name not in NOT_SETTINGS]
    pairs |= {name: (getattr(before.runs, name), getattr(after.runs, name)) for name in shared}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _parts(name: str, text: str) -> list[str]:
    return _once(name, text, [part.strip() for part in text.split(",")])


def _once(name: str, text: str, parts: list[str]) -> list[str]:
    require(all(parts), name, repr(text), "give a list separated by commas")
    require(len(set(parts)) == len(parts), name, repr(text), "name everything once")
    return parts


def _numbers(name: str, text: str, whole: bool = False) -> list[float]:
    fix = f"give positive {'integers' if whole else 'numbers'}, separated by commas"
    try:
        values = [int(part) if whole else float(part) for part in _parts(name, text)]
    except InputError:
        raise
    except ValueError:
        raise InputError(f"{flag(name)} is {text!r}; {fix}") from None
    require(all(math.isfinite(v) and 0 < v < LARGEST_SEED for v in values), name, repr(text), fix)
    require(len(set(values)) == len(values), name, repr(text), "name every number once")
    return values
