"""Samplers of quantum processors from settings, with the journal and the budget that their jobs are kept to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid_attention.config import NOT_SETTINGS, TrainConfig
from hybrid_attention.errors import InputError
from hybrid_attention.qpu_settings import CLOUD, inverse_temperatures
from quantum.jobs import Journal

if TYPE_CHECKING:
    from classical import Sampler
    from quantum.dwave.schedule_table import ScheduleTable

JOURNAL = "journal.sqlite"
"""Of a run or a study, in its folder."""

_EMULATED_NS = 5.0
"""Duration of an emulated anneal where none is given: about the shortest that processors have."""

_NO_ERROR = 1e-12
"""In place of a control error of zero, with which nothing can be compared."""


@dataclass(frozen=True)
class Access:
    """What a command may do with a quantum processor.

    Args:
        journal: where jobs are kept.
        run: what tells the run from others, or None for any.
        budget: most seconds of QPU time that all jobs of the journal may be charged.
        replay: take answers from the journal alone.
        estimate_only: nothing will be submitted, so that no budget is needed.
    """

    journal: Path
    run: str | None = None
    budget: float | None = None
    replay: bool = False
    estimate_only: bool = False

    def open(self) -> Journal:
        """The journal; in a replay whoever's it is.

        Raises:
            InputError: a file that is no journal or another run's, or one to replay that is not there.
        """
        if self.replay and not self.journal.is_file():
            raise InputError(f"--replay: there is no journal {self.journal} to replay; name one by --journal FILE")
        try:
            return Journal(self.journal, run=None if self.replay else self.run)
        except ValueError as error:
            raise InputError(f"--journal: {error}") from None


@dataclass(frozen=True)
class JournalFlags:
    """Which journal a command keeps its QPU jobs in, and whether it may add to it."""

    journal: Path | None = None
    """SQLite file with a run's QPU jobs and their answers; RUN/journal.sqlite by default."""
    replay: bool = False
    """Take answers from the journal alone: nothing is submitted and nothing is charged."""

    def access(self, folder: Path, run: str, budget: float | None) -> Access:
        """What a command may do.

        Args:
            folder: of the run.
            run: what tells it from others.
            budget: seconds.

        Raises:
            InputError: a journal in a folder that is not there.
        """
        if self.journal is not None and not self.journal.absolute().parent.is_dir():
            raise InputError(f"--journal {self.journal} is in no folder that exists; choose another place")
        return Access(self.journal or folder / JOURNAL, run, budget, self.replay)

    def require_qpu(self, sampler: str) -> None:
        """Refuse the flags for samplers that have no journal.

        Raises:
            InputError: names the flag.
        """
        if (self.replay or self.journal) and sampler not in (*CLOUD, "dwave-emulator"):
            given = "--replay" if self.replay else f"--journal {self.journal}"
            raise InputError(f"{given} goes with a QPU; add --sampler dwave, dwave-emulator or ibm")


def run_name(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """A digest of a run's settings, without what may change and where its files lie.

    What has its default does not count, so that a setting which is new leaves older runs their names.

    Args:
        settings: as a checkpoint records them.
        defaults: of them.
    """
    left_out = {*NOT_SETTINGS, "text", "schedule", "schedule_table"}
    kept = {name: value for name, value in settings.items() if name not in left_out and value != defaults.get(name, "")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def annealer(config: TrainConfig, access: Access) -> Sampler:
    """A `DWaveSampler` on a processor in D-Wave's cloud.

    Args:
        config: the run's settings.
        access: journal and budget.

    Raises:
        InputError: no budget, or a table that cannot be read.
        ValueError: what the sampler refuses.
        QPUError: the service cannot be reached.
    """
    from quantum.dwave import DWaveSampler

    options = _options(config)
    if config.calibration == "table":
        table = _table(config)
        assert table is not None
        if config.duration is None:
            raise InputError("--duration is not given, and --calibration table needs it; give nanoseconds")
        options["schedule"] = table.schedule(config.duration)
    sampler = DWaveSampler(
        config.solver or None,
        anneal=config.anneal or "fast",
        duration=config.duration,
        journal=access.open(),
        budget=_budget(access),
        replay=access.replay,
        **options,
    )
    try:
        sampler.limits.require_reads(config.shots)
        if config.calibration == "table":
            sampler.temperatures(config.spins)  # before anything else: long chains have none
    except BaseException:
        sampler.close()
        raise
    return sampler


def emulated_annealer(config: TrainConfig, access: Access) -> Sampler:
    """A `DWaveSampler` whose jobs are emulated in this process, and cost nothing.

    Args:
        config: the run's settings.
        access: journal, and a budget to rehearse with.

    Raises:
        InputError: a table or chip that cannot be used.
        ValueError: what the sampler refuses.
    """
    from quantum.dwave import DWaveSampler
    from quantum.dwave.emulated_device import EmulatedDevice
    from quantum.dwave.emulator import EmulatedConnection, emulated_solver

    table = _table(config)
    error = config.control_error or 0.0
    device = EmulatedDevice(coupling_error=error, field_error=error, precision=config.precision)
    if table is not None:
        device = replace(device, table=table)
    topology, _, size = (config.solver or "pegasus:4").partition(":")
    if not size.isdecimal():
        raise InputError(
            f"--solver is {config.solver}; give the chip to emulate, as pegasus:4, zephyr:2 or complete:16"
        )
    solver = emulated_solver(topology, int(size), device=device)
    duration = config.duration or _EMULATED_NS
    options = _options(config) | {"control_error": error or _NO_ERROR}
    if config.calibration == "table":
        options["schedule"] = device.table.schedule(duration)
    return DWaveSampler(
        solver,
        service=EmulatedConnection(solver),
        duration=duration,
        journal=access.open(),
        budget=access.budget,
        replay=access.replay,
        **options,
    )


def gate_model(config: TrainConfig, access: Access, schedule: Any, steps: int) -> Sampler:
    """An `IBMSampler` on a processor in IBM's cloud.

    Args:
        config: the run's settings.
        access: journal and budget.
        schedule: of the anneal.
        steps: of its circuit.

    Raises:
        InputError: no budget.
        ValueError: what the sampler refuses.
        QPUError: the service cannot be reached.
    """
    from quantum.ibm import IBMSampler
    from quantum.ibm.account import local_backend

    try:
        local = local_backend(config.solver)
        return IBMSampler(
            config.solver or None if local is None else local,
            schedule,
            steps,
            config.calibration,
            journal=access.open(),
            budget=_budget(access) if local is None else access.budget,
            replay=access.replay,
        )
    except ImportError as error:
        raise InputError(f"--sampler ibm: {error}") from None


def _options(config: TrainConfig) -> dict[str, Any]:
    given = {"control_error": config.control_error}
    return {
        "field": config.field,
        "calibration": config.calibration or "fit",
        "beta": inverse_temperatures(config.beta),
        **{name: value for name, value in given.items() if value is not None},
    }


def _budget(access: Access) -> float | None:
    """The budget, without which nothing is submitted."""
    if access.budget is None and not (access.replay or access.estimate_only):
        raise InputError(
            "--qpu-budget is not given, and nothing is submitted without it; give the most seconds of QPU time that "
            "this run may be charged (`hybrid-attention qpu estimate` says how many it takes)"
        )
    return access.budget


def _table(config: TrainConfig) -> ScheduleTable | None:
    from quantum.dwave.schedule_table import read_table

    if not config.schedule_table:
        return None
    try:
        return read_table(config.schedule_table)
    except OSError as error:
        raise InputError(
            f"--schedule-table {config.schedule_table} cannot be read ({error.strerror}); give a CSV file"
        ) from None
    except ValueError as error:
        raise InputError(f"--schedule-table: {error}") from None
