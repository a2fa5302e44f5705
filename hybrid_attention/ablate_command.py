"""The command `hybrid-attention ablate`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from hybrid_attention.ablation.settings import AblationConfig
from hybrid_attention.ablation.storage import AblationFolder
from hybrid_attention.errors import InputError
from hybrid_attention.parse import parse
from hybrid_attention.study_command import processors


@dataclass(frozen=True)
class _How:
    """Where and by whom an ablation is worked through; none of it changes a number."""

    out: Path = Path("ablations/latest")
    """Folder of the ablation."""
    resume: bool = False
    """Go on with the ablation in --out."""
    workers: int | None = None
    """Processes on this machine; one for each processor by default, and 0 for none beside this one."""
    scheduler: str = ""
    """Address of a Dask scheduler, such as tcp://host:8786, in place of workers of one's own."""
    cpu_minutes: float | None = None
    """Processor time, over all workers, after which no more runs are begun; no limit by default. With 0 it reports on
    what is there."""


@dataclass(frozen=True)
class AblateCommand:
    """Compare kinds of attention over tasks, lengths, samplers and seeds; writes a table and a report."""

    settings: tyro.conf.OmitArgPrefixes[AblationConfig] = field(default_factory=AblationConfig)
    how: tyro.conf.OmitArgPrefixes[_How] = field(default_factory=_How)

    def run(self) -> None:
        """Make the runs, write the report and say where it is."""
        from hybrid_attention.ablation.run import run_ablation

        workers = processors() if self.how.workers is None else self.how.workers
        if workers < 0:
            raise InputError(f"--workers is {workers}; give at least 0")
        minutes = self.how.cpu_minutes
        if minutes is not None and not (math.isfinite(minutes) and minutes >= 0):
            raise InputError(f"--cpu-minutes is {minutes}; give 0, for the report alone, or a positive number")
        finished = run_ablation(
            self.settings,
            AblationFolder(self.how.out),
            resume=self.how.resume,
            workers=workers,
            scheduler=self.how.scheduler,
            cpu_minutes=minutes,
        )
        from hybrid_attention.ablation.report import write_report

        for statement in write_report(finished.folder):
            print(statement)
        print(f"rows: {finished.rows} in {finished.folder.results}\nreport: {finished.folder.report}")
        if finished.missing:
            print(f"{finished.missing} runs are left; go on with ablate --resume --out {finished.folder.path}")


def ablation_below(arguments: Sequence[str]) -> AblateCommand:
    """What the flags of `ablate` start from: the defaults, or the settings of the ablation that is gone on with.

    Args:
        arguments: of the command.

    Raises:
        InputError: a record that cannot be read.
    """
    how, _ = parse(_How, [a for a in arguments if a not in ("-h", "--help")], return_unknown_args=True)
    record = AblationFolder(how.out).settings
    return AblateCommand(AblationConfig.load(record)) if how.resume and record.is_file() else AblateCommand()
