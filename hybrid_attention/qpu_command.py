"""The command `hybrid-attention qpu`: what there is, what it would cost, and what became of the jobs of a run."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from hybrid_attention.config import TrainConfig
from hybrid_attention.errors import InputError
from hybrid_attention.qpu import JOURNAL, Access
from hybrid_attention.qpu_settings import QPUS
from hybrid_attention.run import RunFolder

MICROSECONDS = 1e6


@dataclass(frozen=True)
class Solvers:
    """List the processors that your account has."""

    sampler: Literal["dwave", "ibm"] = "dwave"
    """Whose processors."""
    json: bool = False
    """Print one JSON object for each."""

    def run(self) -> None:
        """Ask and print."""
        from hybrid_attention.qpu_solvers import solver_rows

        rows = _asked(lambda: solver_rows(self.sampler))
        if self.json:
            for row in rows:
                print(json.dumps(row))
            return
        _print_table(rows)


@dataclass(frozen=True)
class EstimateCommand:
    """Say what a training run would be charged; nothing is submitted."""

    settings: tyro.conf.OmitArgPrefixes[TrainConfig] = field(default_factory=lambda: TrainConfig(sampler="dwave"))
    json: bool = False
    """Print one JSON object."""

    def run(self) -> None:
        """Estimate and print."""
        from hybrid_attention.qpu_estimate import Priced, proposal, run_estimate
        from hybrid_attention.samplers import build_sampler

        config = replace(self.settings, polish=0).resolved().validate()  # sweeps cost nothing
        if config.sampler not in QPUS:
            raise InputError(f"--sampler is {config.sampler}, which costs nothing; give {', '.join(QPUS)}")
        access = Access(Path("no-such-journal.sqlite"), estimate_only=True)
        sampler = build_sampler(config, access)
        assert isinstance(sampler, Priced)
        cost = run_estimate(config, sampler, progress=True)
        total, budget = cost.total, config.qpu_budget
        found: dict[str, Any] = {
            "submissions": total.submissions,
            "models": total.models,
            "most_models_per_submission": total.most_models,
            "seconds": total.seconds,
            "seconds_per_step": cost.step.seconds,
            "seconds_calibration": cost.calibration.seconds,
            "seconds_one_by_one": total.one_by_one,
            "budget": budget,
            "share_of_budget": None if budget is None else total.seconds / budget,
        }
        if budget is not None and total.seconds > budget:
            smaller = proposal(config, sampler, budget)
            found["proposed"] = None
            if smaller is not None:
                proposed, its_cost = smaller
                shots, batch = proposed.shots, proposed.batch
                found["proposed"] = {"shots": shots, "batch": batch, "seconds": its_cost.total.seconds}
        print(json.dumps(found) if self.json else _described(found, config))


@dataclass(frozen=True)
class Jobs:
    """List the jobs of a run: what became of them, and what they were charged."""

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="RUN")]
    """Folder of the run or study, or a journal."""
    json: bool = False
    """Print one JSON object for each job."""

    def run(self) -> None:
        """Print what the journal has."""
        journal = _journal(self.run_folder)
        names = ("label", "problem_id", "status", "models", "estimate_us", "charged_us", "purpose", "solver", "reads")
        rows = [{name: getattr(job, name) for name in names} for job in journal.jobs()]
        if self.json:
            for row in rows:
                print(json.dumps(row))
            return
        _print_table(rows)
        totals = journal.totals()
        counts = ", ".join(f"{number} {status}" for status, number in totals.jobs.items()) or "none"
        print(f"jobs: {counts}")
        print(f"charged: {totals.charged_us / MICROSECONDS:.6g} s of QPU time")
        if totals.open_us:
            print(f"open: about {totals.open_us / MICROSECONDS:.6g} s more; fetch them by `qpu resume`")


@dataclass(frozen=True)
class Resume:
    """Fetch the answers of jobs that a run left behind; nothing is submitted."""

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="RUN")]
    """Folder of the run or study, or a journal."""
    forget: str = ""
    """Label of a job whose answer is lost: it is booked at its estimate, and may be asked for again."""

    def run(self) -> None:
        """Look up, wait, fetch, and say what was found."""
        from hybrid_attention.qpu_solvers import fetch_left_behind

        journal = _journal(self.run_folder)
        if self.forget:
            _forget(journal, self.forget)
            return
        before = journal.totals().charged_us
        jobs = _asked(lambda: fetch_left_behind(journal))
        after = {job.label: job for job in journal.jobs()}
        counts = {"answered": 0, "failed": 0, "never accepted": 0}
        for job in jobs:
            now = after.get(job.label)
            counts["never accepted" if now is None else now.status] += 1
        print(f"jobs: {', '.join(f'{number} {what}' for what, number in counts.items())}")
        print(f"charged: {(journal.totals().charged_us - before) / MICROSECONDS:.6g} s of QPU time for these")


@dataclass(frozen=True)
class Check:
    """Try a processor: calibrate it, draw samples of small random models, and compare them with exact sums."""

    settings: tyro.conf.OmitArgPrefixes[TrainConfig] = field(
        default_factory=lambda: TrainConfig(sampler="dwave", length=4, shots=1000)
    )
    out: Path = Path("runs/qpu-check")
    """Folder of the check's journal."""

    def run(self) -> None:
        """Calibrate, sample, compare and say what it cost."""
        from hybrid_attention.qpu_check import check

        if self.settings.polish:
            raise InputError(
                f"--polish is {self.settings.polish}, which would hide what a check is to show; leave it out"
            )
        # brackets would ask for an even number of spins
        config = replace(self.settings, task="text", task_options="").resolved().validate()
        if config.sampler not in QPUS:
            raise InputError(f"--sampler is {config.sampler}, which is no QPU; give {', '.join(QPUS)}")
        for line in check(config, Access(self.out / JOURNAL, budget=config.qpu_budget)):
            print(line)


@dataclass(frozen=True)
class QPUCommand:
    """Quantum processors in the cloud: what there is, what it would cost, and what became of the jobs of a run."""

    command: tyro.conf.OmitArgPrefixes[
        tyro.conf.OmitSubcommandPrefixes[
            Annotated[Solvers, tyro.conf.subcommand("solvers")]
            | Annotated[EstimateCommand, tyro.conf.subcommand("estimate")]
            | Annotated[Jobs, tyro.conf.subcommand("jobs")]
            | Annotated[Resume, tyro.conf.subcommand("resume")]
            | Annotated[Check, tyro.conf.subcommand("check")]
        ]
    ]

    def run(self) -> None:
        """Run the subcommand."""
        self.command.run()


def _journal(path: Path) -> Any:
    from quantum.jobs import Journal

    file = path / JOURNAL if path.is_dir() else path
    if not file.is_file():
        known = "has no QPU jobs" if path.is_dir() or RunFolder(path).exists() else "is not there"
        raise InputError(f"RUN {path} {known} (no {JOURNAL}); give the folder of a run that used a QPU")
    try:
        return Journal(file)
    except ValueError as error:
        raise InputError(str(error)) from None


def _forget(journal: Any, label: str) -> None:
    found = [job for job in journal.jobs() if job.label == label and job.status in ("intended", "accepted")]
    if not found:
        raise InputError(f"--forget is {label}, which is no open job; `qpu jobs` lists them")
    journal.failed(label, "given up", found[0].estimate_us)
    print(f"given up: {label}, booked at {found[0].estimate_us / MICROSECONDS:.6g} s of QPU time")


def _asked(ask: Any) -> Any:
    """What was asked of a service, with what is wrong with the account as an error of input."""
    try:
        return ask()
    except ValueError as error:
        raise InputError(str(error)) from None
    except ImportError as error:
        raise InputError(str(error)) from None


def _described(found: dict[str, Any], config: TrainConfig) -> str:
    budget = found["budget"]
    lines = [
        f"QPU time: {found['seconds']:.6g} s for {config.steps} steps ({found['seconds_per_step']:.4g} s a step, "
        f"{found['seconds_calibration']:.4g} s for calibration)",
        f"submissions: {found['submissions']:,} of up to {found['most_models_per_submission']} models, "
        f"{found['models']:,} models in all",
        f"one by one: {found['seconds_one_by_one']:.6g} s "
        f"({found['seconds_one_by_one'] / max(found['seconds'], 1e-300):.0f} times as much)",
    ]
    if budget is not None:
        lines.append(f"budget: {100 * found['share_of_budget']:.3g} % of {budget:g} s")
    if "proposed" in found:
        smaller = found["proposed"]
        lines.append(
            "no batch and shots fit this budget; use fewer --steps, a smaller --length or fewer --heads"
            if smaller is None
            else f"fits the budget: --shots {smaller['shots']} --batch {smaller['batch']} ({smaller['seconds']:.6g} s)"
        )
    return "\n".join(lines)


def _print_table(rows: list[dict[str, Any]]) -> None:
    """Columns under their names."""
    if not rows:
        print("none")
        return
    cells = [list(rows[0])] + [["" if value is None else str(value) for value in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
