"""The settings of a study: one dataclass behind the flags and the study's own record."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tomli_w
import tyro

from hybrid_attention.config import LARGEST_SEED, NOT_SETTINGS, PRESET, absolute_noise
from hybrid_attention.errors import InputError
from hybrid_attention.files import write_text
from hybrid_attention.flags import flag
from hybrid_attention.parse import record_from
from hybrid_attention.qpu_settings import ANNEALERS, FITTED, QPUS
from hybrid_attention.tasks.registry import BUILT_IN, task_class
from quantum.calibration import CALIBRATIONS

LARGEST_LAW = 16
"""Most spins whose whole law is compared with the exact one."""

SAMPLERS = ("statevector", "aer", "ibm", "dwave", "dwave-emulator", "gibbs", "mean-field", "exact")
LAW = "law"
_LEAST_STEPS = 8


@dataclass(frozen=True)
class StudyConfig:
    """Settings of a study. Lists are separated by commas; the grid is every combination."""

    models: str = "random"
    """random, or a training run whose Hamiltonians are studied (train --export-every keeps them)."""
    spins: str = "8"
    """Numbers of spins of the models; with a run, which queries (a query that sees n keys has n spins)."""
    durations: str = "0.5:40:log10"
    """Durations T of linear anneals: a list, or FROM:TO:logN or FROM:TO:linN for N of them. An annealer's are in
    nanoseconds."""
    trotter_steps: str = "4T"
    """Trotter steps K of linear anneals: a number, or a number for each unit of duration (4T; at least 8)."""
    schedules: str = "linear,preset:4,preset:8,preset:16"
    """linear, preset:K, or files; those given by angles have steps and calibration of their own."""
    calibrations: str = "one-beta,two-beta,tuned"
    """What linear anneals divide fields and couplings by: none, one-beta, two-beta, tuned. Annealers have fit (their
    default), table and hand."""
    samplers: str = "statevector"
    """Where the samples come from: statevector, aer, ibm, gibbs, mean-field, exact; dwave and dwave-emulator go by
    themselves, since their anneals have durations of their own."""
    polish: str = "0"
    """Heat-bath sweeps after sampling."""
    shots: str = "law,256"
    """Samples for each model; law is infinitely many."""
    noise: str = ""
    """Errors of the device that Aer simulates, as in train."""
    solver: str = ""
    """D-Wave solver, IBM backend or emulated chip, as in train; so are the following."""
    anneal: Literal["fast", "standard"] = "fast"
    """Annealer: fast or standard anneals."""
    field: Literal["ancilla", "ghost"] | None = None
    """Annealer: fields as couplings to a pinned spin or to a free one."""
    schedule_table: str = ""
    """Annealer: CSV file with A(s) and B(s) in GHz."""
    beta: str = ""
    """Annealer: inverse temperatures FIELD,COUPLING."""
    control_error: float | None = None
    """Annealer: standard deviation of what is programmed."""
    precision: int | None = None
    """Emulator: bits of a programmed coupling."""
    qpu_budget: float | None = None
    """Most seconds of QPU time that the study's jobs may be charged in all; nothing is submitted without it."""
    estimator: Literal["covariance", "callen"] = "covariance"
    """How samples become a gradient."""
    instances: int = 32
    """Models at every setting."""
    seeds: int = 1
    """Repetitions with other shots, or other training runs."""
    field_scale: float = 1.0
    """Standard deviation of random fields."""
    coupling_scale: float = 1.0
    """√spins times the standard deviation of random couplings."""
    strengths: str = "0.1,1"
    """What both scales are multiplied by: weak models show linear response, strong ones what it misses."""
    at_steps: str = ""
    """With a run: training steps whose Hamiltonians are studied; all that were kept by default."""
    layers: str = ""
    """With a run: which layers; all by default."""
    heads: str = ""
    """With a run: which heads; all by default."""
    train: Annotated[str, tyro.conf.arg(metavar=f"{{{','.join(BUILT_IN)},MODULE:CLASS}}")] = ""
    """Also train on this task at every setting, with its sampler, and report the loss."""
    text: str = ""
    """UTF-8 file for the text task; empty takes the English help texts inside Python."""
    training_steps: int = 300
    """Steps of each training run."""
    exact: bool = True
    """Compare with exact sums; without them more spins are allowed and the error columns stay empty."""
    target: float = 0.99
    """Gradient cosine that the headline asks for."""

    def validate(self) -> StudyConfig:
        """This configuration, if it makes sense.

        Raises:
            InputError: names the first flag that does not, its value and the fix.
        """
        for name in ("instances", "seeds", "training_steps"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "give at least 1")
        for name in ("field_scale", "coupling_scale"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value >= 0, name, value, "give a number of at least 0")
        _require(self.field_scale + self.coupling_scale > 0, "field_scale", self.field_scale, "one scale must exceed 0")
        _require(0 < self.target < 1, "target", self.target, "give a number between 0 and 1")
        _require(self.text == "" or self.train == "text", "text", self.text, "it goes with --train text")
        lists = ("strength_list", "duration_list", "polish_list", "shot_list", "spin_list")
        for name in lists:
            getattr(self, name)  # each is checked as it is read
        most = max(self.spin_list)
        if self.exact:
            fix = f"give at most {LARGEST_LAW}, or add --no-exact to go without the comparison"
            _require(most <= LARGEST_LAW, "spins", most, fix)
        else:
            _require(0 not in self.shot_list, "shots", LAW, "with --no-exact there is no law; give numbers of shots")
        self.steps_for(1.0)
        for name, values, known in (
            ("samplers", self.sampler_list, SAMPLERS),
            ("calibrations", self.calibration_list, FITTED if self.annealer else tuple(CALIBRATIONS)),
        ):
            for value in values:
                _require(value in known, name, repr(value), f"use {', '.join(known)}")
        for value in self.schedule_list:
            known_kind = value == "linear" or value.startswith(PRESET) or Path(value).is_file()
            _require(known_kind, "schedules", repr(value), "use linear, preset:K, or a file that exists")
        _require(
            self.noise == "" or self.sampler_list == ["aer"], "noise", self.noise, "it goes with --samplers aer alone"
        )
        self._validate_qpu()
        if self.train:
            task_class(self.train, "--train")
        if self.models == "random":
            for name in ("at_steps", "layers", "heads"):
                _require(getattr(self, name) == "", name, getattr(self, name), "it goes with --models RUN")
        for name in ("at_steps", "layers", "heads"):
            _numbers(name, getattr(self, name), int, 0, empty=True)
        return self

    def _validate_qpu(self) -> None:
        annealers = [name for name in self.sampler_list if name in ANNEALERS]
        circuits = [name for name in self.sampler_list if name in ("statevector", "aer", "ibm")]
        fix = "an annealer's durations are nanoseconds, a circuit's are not; make a study of each"
        _require(len(annealers) + bool(circuits) < 2, "samplers", self.samplers, fix)
        if self.annealer:
            _require(any(self.shot_list), "shots", self.shots, "an annealer has no law that is known; give numbers")
            own = self.schedules == type(self).schedules
            _require(own, "schedules", self.schedules, "an annealer has its own; leave it out")
        needs = {"solver": QPUS, "qpu_budget": QPUS, "precision": ("dwave-emulator",)}
        for name in ("solver", "field", "schedule_table", "beta", "control_error", "precision", "qpu_budget"):
            among, value = needs.get(name, ANNEALERS), getattr(self, name)
            good = value in (None, "") or any(sampler in among for sampler in self.sampler_list)
            _require(good, name, value, f"it goes with --samplers {' or '.join(among)}")

    @property
    def annealer(self) -> str | None:
        """The annealer that is studied, if one is."""
        return next((name for name in self.sampler_list if name in ANNEALERS), None)

    @property
    def spin_list(self) -> list[int]:
        """Numbers of spins."""
        return _numbers("spins", self.spins, int, 1)

    @property
    def duration_list(self) -> list[float]:
        """Durations, rising."""
        return _durations(self.durations)

    @property
    def strength_list(self) -> list[float]:
        """Strengths; a run's Hamiltonians are taken as they are."""
        return _numbers("strengths", self.strengths, float, 0, above=True) if self.models == "random" else [1.0]

    @property
    def polish_list(self) -> list[int]:
        """Numbers of sweeps."""
        return _numbers("polish", self.polish, int, 0)

    @property
    def shot_list(self) -> list[int]:
        """Numbers of shots, 0 for the law itself."""
        found: list[int] = []
        for part in _parts("shots", self.shots):
            found += [0] if part == LAW else _numbers("shots", part, int, 2)
        _require(len(set(found)) == len(found), "shots", repr(self.shots), "name every number once")
        return found

    @property
    def schedule_list(self) -> list[str]:
        """Schedules by name or file."""
        return _parts("schedules", self.schedules)

    @property
    def calibration_list(self) -> list[str]:
        """Calibrations of anneals."""
        if self.annealer and self.calibrations == type(self).calibrations:
            return ["fit"]
        return _parts("calibrations", self.calibrations)

    @property
    def sampler_list(self) -> list[str]:
        """Samplers by name."""
        return _parts("samplers", self.samplers)

    def chosen(self, name: str) -> list[int] | None:
        """Steps, layers or heads of a run, or None for all.

        Args:
            name: at_steps, layers or heads.
        """
        return _numbers(name, getattr(self, name), int, 0, empty=True) or None

    def steps_for(self, duration: float) -> int:
        """Trotter steps K of a linear anneal.

        Args:
            duration: T.

        Raises:
            InputError: text that is no number of steps.
        """
        text = self.trotter_steps.strip()
        fix = "give a number of steps, such as 12, or of steps for each unit of duration, such as 4T"
        try:
            rate = float(text[:-1]) if text.endswith("T") else float(int(text))
        except ValueError:
            raise InputError(f"--trotter-steps is {text!r}; {fix}") from None
        _require(math.isfinite(rate) and rate > 0, "trotter_steps", text, fix)
        return max(_LEAST_STEPS, math.ceil(rate * duration)) if text.endswith("T") else max(1, int(rate))

    def with_absolute_paths(self) -> StudyConfig:
        """The same settings with files that are found from any directory."""
        values = asdict(self)
        if self.models != "random":
            values["models"] = str(Path(self.models).absolute())
        if self.text:
            values["text"] = str(Path(self.text).absolute())
        values["noise"] = absolute_noise(self.noise)
        if self.schedule_table:
            values["schedule_table"] = str(Path(self.schedule_table).absolute())
        named = ("linear", PRESET)
        values["schedules"] = ",".join(
            s if s.startswith(named) else str(Path(s).absolute()) for s in self.schedule_list
        )
        return StudyConfig(**values)

    def save(self, path: Path) -> None:
        """Write as TOML.

        Args:
            path: the file.
        """
        write_text(path, tomli_w.dumps({name: value for name, value in asdict(self).items() if value is not None}))

    @classmethod
    def load(cls, path: Path) -> StudyConfig:
        """Read what `save` wrote.

        Args:
            path: the file.

        Raises:
            InputError: no such file, or one that is not a study's.
        """
        return record_from(path, cls, "a study")


def changed_settings(before: StudyConfig, after: StudyConfig) -> dict[str, tuple[Any, Any]]:
    """Settings that differ, by name.

    Args:
        before: one configuration.
        after: the other.
    """
    names = [f.name for f in fields(StudyConfig) if f.name not in NOT_SETTINGS]
    pairs = {name: (getattr(before, name), getattr(after, name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _parts(name: str, text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    _require(all(parts), name, repr(text), "give a list separated by commas")
    _require(len(set(parts)) == len(parts), name, repr(text), "name everything once")
    return parts


def _numbers(
    name: str, text: str, kind: Callable[[str], Any], least: float, above: bool = False, empty: bool = False
) -> list[Any]:
    if empty and not text:
        return []
    bound = f"{'above' if above else 'of at least'} {least:g}"
    fix = f"give {'integers' if kind is int else 'numbers'} {bound}, separated by commas"
    try:
        values = [kind(part) for part in _parts(name, text)]
    except InputError:
        raise
    except ValueError:
        raise InputError(f"{flag(name)} is {text!r}; {fix}") from None
    good = all(math.isfinite(v) and (v > least if above else v >= least) and v < LARGEST_SEED for v in values)
    _require(good, name, repr(text), fix)
    _require(len(set(values)) == len(values), name, repr(text), "name every number once")
    return values


def _durations(text: str) -> list[float]:
    if ":" not in text:
        values = _numbers("durations", text, float, 0, above=True)
        return sorted(values)
    fix = "give a rising positive range such as 0.5:20:log10 or 1:10:lin10, or a list such as 1,2,4"
    first, _, rest = text.partition(":")
    last, _, how = rest.partition(":")
    try:
        low, high, count = float(first), float(last), int(how[3:])
    except ValueError:
        raise InputError(f"--durations is {text!r}; {fix}") from None
    good = how[:3] in ("log", "lin") and 0 < low < high < math.inf and count >= 2
    _require(good, "durations", repr(text), fix)
    spaced = np.geomspace(low, high, count) if how.startswith("log") else np.linspace(low, high, count)
    values = [float(f"{value:.4g}") for value in spaced]
    _require(len(set(values)) == count, "durations", repr(text), "give a wider range, or fewer durations")
    return values


def _require(good: bool, name: str, value: object, fix: str) -> None:
    if not good:
        raise InputError(f"{flag(name)} is {value}; {fix}")
