"""The command `hybrid-attention study`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from hybrid_attention.errors import InputError
from hybrid_attention.parse import parse
from hybrid_attention.qpu import JournalFlags
from hybrid_attention.study.settings import StudyConfig
from hybrid_attention.study.storage import StudyFolder


@dataclass(frozen=True)
class _How:
    """Where and by whom a study is worked through; none of it changes a number."""

    out: Path = Path("studies/latest")
    """Folder of the study."""
    resume: bool = False
    """Go on with the study in --out."""
    workers: int | None = None
    """Processes on this machine; one for each processor by default, and 0 for none beside this one."""
    scheduler: str = ""
    """Address of a Dask scheduler, such as tcp://host:8786, in place of workers of one's own."""


@dataclass(frozen=True)
class StudyCommand:
    """Study schedule duration against accuracy; writes a table and a report."""

    settings: tyro.conf.OmitArgPrefixes[StudyConfig] = field(default_factory=StudyConfig)
    how: tyro.conf.OmitArgPrefixes[_How] = field(default_factory=_How)
    journal: tyro.conf.OmitArgPrefixes[JournalFlags] = field(default_factory=JournalFlags)

    def run(self) -> None:
        """Work through the grid, write the report and say where it is."""
        from hybrid_attention.study.run import run_study

        workers = processors() if self.how.workers is None else self.how.workers
        if workers < 0:
            raise InputError(f"--workers is {workers}; give at least 0")
        finished = run_study(
            self.settings,
            StudyFolder(self.how.out),
            resume=self.how.resume,
            workers=workers,
            scheduler=self.how.scheduler,
            journal=self.journal,
        )
        from hybrid_attention.study.report import write_report

        headline = write_report(finished.folder)
        print(headline)
        print(f"rows: {finished.rows} in {finished.folder.results}\nreport: {finished.folder.report}")


def study_below(arguments: Sequence[str]) -> StudyCommand:
    """What the flags of `study` start from: the defaults, or the settings of the study that is gone on with.

    Args:
        arguments: of the command.

    Raises:
        InputError: a record that cannot be read.
    """
    how, _ = parse(_How, [a for a in arguments if a not in ("-h", "--help")], return_unknown_args=True)
    record = StudyFolder(how.out).settings
    return StudyCommand(StudyConfig.load(record)) if how.resume and record.is_file() else StudyCommand()


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
