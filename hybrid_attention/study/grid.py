"""The grid of a study: every combination of settings that makes sense, as cells that are worked through one by one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from itertools import product

from classical import Sampler
from hybrid_attention.config import TrainConfig
from hybrid_attention.errors import InputError
from hybrid_attention.qpu import Access
from hybrid_attention.qpu_settings import ANNEALERS, QPUS
from hybrid_attention.samplers import build_sampler, build_schedule, schedule_digest
from hybrid_attention.study.settings import StudyConfig
from quantum import AerSampler, AnnealSchedule

CIRCUITS = ("statevector", "aer", "ibm")
"""Samplers that run anneals as circuits."""

ANNEALS = (*CIRCUITS, *ANNEALERS)
"""Samplers that anneal."""

PROCESSOR_ANNEALS = ("fast", "standard")
"""Names in place of a schedule where an annealer has its own."""

DEFAULT_SHOTS = 256
"""Of training runs where a study has the law alone."""


@dataclass(frozen=True)
class Source:
    """Where models come from: a distribution, or one head of a run at one step.

    Args:
        spins: n.
        strength: multiplies the scales of a distribution.
        step: of a run, or None for random models, like the following.
        layer: of the run's model.
        head: of the layer.
    """

    spins: int
    strength: float = 1.0
    step: int | None = None
    layer: int | None = None
    head: int | None = None


@dataclass(frozen=True)
class Setting:
    """How models are sampled.

    Args:
        sampler: its name.
        polish: heat-bath sweeps.
        schedule: linear, preset:K or a file; an annealer's fast or standard; "" where the sampler is no anneal.
        duration: T of a linear schedule, nanoseconds of an annealer's, or None.
        trotter_steps: K, or None where the sampler is no anneal.
        calibration: its name, or "".
        content: digest of the schedule's contents.
    """

    sampler: str
    polish: int = 0
    schedule: str = ""
    duration: float | None = None
    trotter_steps: int | None = None
    calibration: str = ""
    content: str = ""

    def anneal(self) -> AnnealSchedule | None:
        """The schedule, or None where the sampler is no anneal or none that is known."""
        if self.schedule in ("", *PROCESSOR_ANNEALS):
            return None
        return build_schedule(_of_schedule(self.schedule, self.duration))


@dataclass(frozen=True)
class Cell:
    """One combination of settings: what a worker is given at a time.

    Args:
        kind: "model" (all instances of a source, all shots and seeds) or "training" (one run).
        source: of the models; its spins are a training run's length.
        setting: how they are sampled.
        seed: of a training run.
    """

    kind: str
    source: Source
    setting: Setting
    seed: int = 0

    @property
    def name(self) -> str:
        """A name of its own, the same in every process: part of a file name."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:20]
        return f"{self.kind}-{digest}"

    def train_config(self, study: StudyConfig) -> TrainConfig:
        """The settings of a training run with this cell's sampler.

        Args:
            study: the study's settings.
        """
        setting = self.setting
        config = TrainConfig(
            task=study.train or "brackets",
            text=study.text if study.train == "text" else "",
            sampler=setting.sampler,  # type: ignore[arg-type]
            schedule="linear" if setting.schedule in PROCESSOR_ANNEALS else setting.schedule or "linear",
            duration=setting.duration,
            trotter_steps=setting.trotter_steps,
            calibration=setting.calibration or None,  # type: ignore[arg-type]
            polish=setting.polish,
            noise=study.noise if setting.sampler == "aer" else "",
            estimator=study.estimator,
            shots=max(study.shot_list) or DEFAULT_SHOTS,
            length=self.source.spins,
            steps=study.training_steps,
            eval_every=study.training_steps,
            seed=self.seed,
        )
        if setting.sampler not in QPUS:
            return config
        own = {name: getattr(study, name) for name in ("solver", "qpu_budget")}
        if setting.sampler in ANNEALERS:
            names = ("field", "beta", "control_error", "precision")
            own |= {name: getattr(study, name) for name in names} | {"anneal": setting.schedule}
            with_table = setting.calibration == "table" or setting.sampler == "dwave-emulator"
            own["schedule_table"] = study.schedule_table if with_table else ""
        return replace(config, **own)

    def build(self, study: StudyConfig, access: Access | None = None) -> Sampler:
        """The cell's sampler.

        Args:
            study: the study's settings.
            access: journal and budget, for quantum processors.

        Raises:
            InputError: a setting that the sampler refuses.
            QPUError: a processor that cannot be reached.
        """
        config = replace(self.train_config(study), task="text", text="")
        return build_sampler(config.validate() if self.setting.sampler in QPUS else config, access)


def cells(study: StudyConfig, sources: list[Source], access: Access | None = None) -> list[Cell]:
    """Every cell of a study, in the order in which they are worked through.

    Training runs are accompanied by runs on perfect samples of the Boltzmann law, which they are compared with.

    Args:
        study: its settings.
        sources: where models come from.
        access: journal and budget, for quantum processors.

    Raises:
        InputError: nothing to do, or a setting that a sampler refuses.
    """
    settings = _settings(study)
    found = [Cell("model", source, setting) for source, setting in product(sources, settings)]
    if study.train:
        lengths = sorted({source.spins for source in sources})
        trained = [Setting("exact"), *(setting for setting in settings if setting.sampler != "exact")]
        found += [
            Cell("training", Source(n), setting, seed)
            for n, setting, seed in product(lengths, trained, range(study.seeds))
        ]
    for cell in found:
        if cell.kind == "training":
            cell.train_config(study).validate()
        if cell.seed == 0:
            tuned = cell.setting.calibration == "tuned"  # takes seconds to fit and fails where two-beta does
            check = replace(cell.setting, calibration="two-beta") if tuned else cell.setting
            _require_law(replace(cell, setting=check).build(study, access), cell, study)
    return found


def _require_law(sampler: Sampler, cell: Cell, study: StudyConfig) -> None:
    """Refuse noise under which the law of so many spins is out of reach."""
    if study.exact and cell.kind == "model" and isinstance(sampler, AerSampler):
        obstacle = sampler.law_obstacle(cell.source.spins)
        if obstacle:
            raise InputError(f"--spins: {obstacle.split(';')[0]}; give fewer, or add --no-exact")


def _settings(study: StudyConfig) -> list[Setting]:
    """Every combination of sampler, polish, schedule, duration and calibration that makes sense."""
    found = []
    for sampler, polish in product(study.sampler_list, study.polish_list):
        if sampler in ANNEALERS:
            anneals = product(study.duration_list, study.calibration_list)
            found += [
                Setting(sampler, polish, study.anneal, duration, None, calibration) for duration, calibration in anneals
            ]
        elif sampler in CIRCUITS:
            found += [replace(anneal, sampler=sampler, polish=polish) for anneal in _anneals(study)]
        elif not (polish and sampler == "exact"):
            found.append(Setting(sampler, polish))
    if not found:
        raise InputError(f"--polish is {study.polish}; exact sums leave nothing to polish; change --samplers")
    return found


def _anneals(study: StudyConfig) -> list[Setting]:
    """Every combination of schedule, duration and calibration."""
    found = []
    for schedule in study.schedule_list:
        if schedule == "linear":
            found += [
                Setting("", 0, schedule, duration, study.steps_for(duration), calibration)
                for duration, calibration in product(study.duration_list, study.calibration_list)
            ]
            continue
        own = build_schedule(_of_schedule(schedule, None))
        steps = own.own_steps or study.steps_for(own.duration or 1.0)
        calibrations = ["none"] if own.design is not None else study.calibration_list
        content = schedule_digest(_of_schedule(schedule, None))
        found += [Setting("", 0, schedule, None, steps, calibration, content) for calibration in calibrations]
    return found


def _of_schedule(schedule: str, duration: float | None) -> TrainConfig:
    return TrainConfig(schedule=schedule, duration=duration)
