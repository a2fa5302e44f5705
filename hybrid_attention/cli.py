"""The command `hybrid-attention`."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from hybrid_attention.ablate_command import AblateCommand, ablation_below
from hybrid_attention.config import CalibrationName, SamplerName, TrainConfig, changed_keys
from hybrid_attention.design_command import DesignCommand
from hybrid_attention.errors import InputError, RunStopped
from hybrid_attention.export_command import ExportCommand
from hybrid_attention.flags import flag
from hybrid_attention.parse import config_from, parse
from hybrid_attention.processes import DeviceName, Processes, require_one, say, speaks
from hybrid_attention.qpu import JournalFlags
from hybrid_attention.qpu_command import QPUCommand
from hybrid_attention.qpu_settings import QPU_FIELDS, QPUS
from hybrid_attention.run import RunFolder
from hybrid_attention.study_command import StudyCommand, study_below
from quantum.jobs import BudgetError, NotRecordedError, QPUError, UnsuitableError


@dataclass(frozen=True)
class _Where:
    """What decides which settings are the default of the others."""

    config: Path | None = None
    """TOML file with settings; flags given beside it win."""
    out: Path = Path("runs/latest")
    """Folder of the run."""
    resume: bool = False
    """Go on with the run in --out; settings not given are the run's own."""


@dataclass(frozen=True)
class Train:
    """Train a model; everything it makes goes to one folder."""

    settings: tyro.conf.OmitArgPrefixes[TrainConfig]
    where: tyro.conf.OmitArgPrefixes[_Where] = field(default_factory=_Where)
    journal: tyro.conf.OmitArgPrefixes[JournalFlags] = field(default_factory=JournalFlags)

    def run(self) -> None:
        """Train, write the report and say where it is."""
        from hybrid_attention.report import write_report
        from hybrid_attention.train import train

        processes = Processes(self.settings.device)
        folder = RunFolder(self.where.out)
        with processes.agreeing(InputError):
            settings = self._settings_for(folder)
        finished = train(settings, folder, self.where.resume, journal=self.journal, processes=processes)
        if processes.first:
            write_report(finished)
            print(f"run: {folder.path}\nreport: {folder.report}")
        processes.close()

    def _settings_for(self, folder: RunFolder) -> TrainConfig:
        """The settings, if the folder may be trained in with them."""
        if not self.where.resume:
            folder.require_new()
            return self.settings
        folder.require_run("--out")
        settings = self.settings.resolved().with_absolute_paths()
        own = config_from(folder.config)
        changed = changed_keys(own, settings)
        if changed:
            listed = ", ".join(f"{k} ({getattr(own, k)} → {getattr(settings, k)})" for k in changed)
            raise InputError(
                f"--resume goes on with the run's own settings, but these differ: {listed}; leave them out"
            )
        return settings


@dataclass(frozen=True)
class Evaluate:
    """Evaluate a trained run on its held-out sequences."""

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="RUN")]
    """Folder of the run."""
    sampler: SamplerName = "exact"
    """Where spin statistics come from."""
    device: DeviceName = "cpu"
    """Where to compute: cpu, cuda, or auto for CUDA where it is there."""
    text: str | None = None
    """Another UTF-8 file to evaluate a text run on, written in characters of the run's vocabulary."""
    schedule: str | None = None
    """As in train; the run's own by default, like the following."""
    duration: float | None = None
    """Duration T of the anneal, dimensionless."""
    trotter_steps: int | None = None
    """Trotter steps K of the anneal."""
    calibration: CalibrationName | None = None
    """What fields and couplings are divided by before an anneal."""
    solver: str | None = None
    """D-Wave solver or IBM backend, by name, as in train; so are the following."""
    anneal: Literal["fast", "standard"] | None = None
    """Annealer: fast or standard anneals."""
    field: Literal["ancilla", "ghost"] | None = None
    """Annealer: fields as couplings to a pinned spin or to a free one."""
    schedule_table: str | None = None
    """Annealer: CSV file with A(s) and B(s) in GHz."""
    beta: str | None = None
    """Annealer: inverse temperatures FIELD,COUPLING."""
    control_error: float | None = None
    """Annealer: standard deviation of what is programmed."""
    precision: int | None = None
    """Emulator: bits of a programmed coupling."""
    qpu_budget: float | None = None
    """Most seconds of QPU time that all jobs in the run's journal may come to; nothing is submitted without it."""
    shots: int | None = None
    """Samples drawn for each Ising model."""
    polish: int | None = None
    """Heat-bath sweeps that every sample goes through before it is used."""
    noise: str | None = None
    """Errors of the device that Aer simulates, as in train."""
    burn_in: int | None = None
    """Sweeps that a Gibbs chain makes before its first sample."""
    chains: int | None = None
    """Gibbs chains that share a model's shots."""
    eval_sequences: int | None = None
    """How many held-out sequences to use; all by default, and with sampled statistics as many as in training."""
    json: bool = False
    """Print one JSON object."""
    journal: tyro.conf.OmitArgPrefixes[JournalFlags] = dataclass_field(default_factory=JournalFlags)

    def run(self) -> None:
        """Evaluate and print."""
        from hybrid_attention.evaluate import evaluate_run, load_run

        anneal = ("schedule", "duration", "trotter_steps", "calibration", "noise")
        sampling = (
            *anneal,
            "shots",
            "polish",
            "burn_in",
            "chains",
            *(name for name in QPU_FIELDS if name in vars(self)),
        )
        given = [name for name in sampling if getattr(self, name) is not None]
        if self.sampler == "exact" and given:
            raise InputError(f"{flag(given[0])} is {getattr(self, given[0])}, but exact sums need none; add --sampler")
        run = load_run(
            self.run_folder,
            sampler=self.sampler,
            text=self.text,
            device=self.device,
            journal=self.journal,
            **{name: getattr(self, name) for name in sampling},
        )
        summary = evaluate_run(run, self.eval_sequences)
        if self.json:
            print(json.dumps(summary))
            return
        for key, value in summary.items():
            print(f"{key:>20}  {value:.6g}" if isinstance(value, float) else f"{key:>20}  {value}")


@dataclass(frozen=True)
class Generate:
    """Continue a prompt with a trained run."""

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="RUN")]
    """Folder of the run."""
    prompt: str
    """What to go on from; brackets are closed until they balance."""
    tokens: int = 200
    """Most characters to add."""
    temperature: float = 1.0
    """Divides the logits; 0 takes the most likely character every time."""
    seed: int = 0
    """Fixes the characters and the samples."""
    sampler: SamplerName = "exact"
    """Where spin statistics come from."""

    def run(self) -> None:
        """Print the prompt and what follows, as it comes."""
        from hybrid_attention.evaluate import load_run
        from hybrid_attention.generate import generate

        if self.sampler in QPUS:
            raise InputError(f"--sampler is {self.sampler}, but generate takes no QPU; leave it out for exact sums")
        run = load_run(self.run_folder, with_data=False, sampler=self.sampler)
        characters = generate(run, self.prompt, self.tokens, self.temperature, self.seed)
        print(self.prompt, end="", flush=True)
        for character in characters:
            print(character, end="", flush=True)
        print()


def _settings_below(arguments: Sequence[str]) -> TrainConfig:
    """The settings that flags of `train` start from: the defaults, a resumed run's, or a TOML file's over either."""
    where, _ = parse(_Where, [a for a in arguments if a not in ("-h", "--help")], return_unknown_args=True)
    settings = TrainConfig()
    if where.resume:
        folder = RunFolder(where.out)
        folder.require_run("--out")
        settings = config_from(folder.config)
    if where.config is not None:
        settings = config_from(where.config, settings, "--config")
    return settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: without the program's name; those of the process by default.

    Returns:
        Exit code: 0, or 2 after one line on stderr where something is wrong with the input; 3 where a QPU's budget
        is used up, and 1 where something else failed.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] != ["train"]:
            require_one(given[0] if given else "the command")
        settings = _settings_below(given[1:]) if given[:1] == ["train"] else TrainConfig()
        study = study_below(given[1:]) if given[:1] == ["study"] else StudyCommand()
        ablation = ablation_below(given[1:]) if given[:1] == ["ablate"] else AblateCommand()
        command = (
            Annotated[Train, tyro.conf.subcommand("train", default=Train(settings))]
            | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
            | Annotated[Generate, tyro.conf.subcommand("generate")]
            | Annotated[DesignCommand, tyro.conf.subcommand("design")]
            | Annotated[StudyCommand, tyro.conf.subcommand("study", default=study)]
            | Annotated[AblateCommand, tyro.conf.subcommand("ablate", default=ablation)]
            | Annotated[ExportCommand, tyro.conf.subcommand("export")]
            | Annotated[QPUCommand, tyro.conf.subcommand("qpu")]
        )
        with warnings.catch_warnings():
            warnings.showwarning = _one_line_warning
            parse(command, given, prog="hybrid-attention", description=_DESCRIPTION).run()
    except BudgetError as error:
        again = "" if given[:1] == ["train"] else "; give the same command a larger --qpu-budget"
        again += " and --resume" if given[:1] == ["study"] else ""
        say(f"{error}{again}")
        return 3
    except (InputError, RunStopped, NotRecordedError, UnsuitableError) as error:
        say(f"{error}")
        return 2
    except QPUError as error:
        again = "go on with --resume" if given[:1] in _RESUMED else "try again"
        say(f"{error}; what was paid for is in the journal: {again}")
        return 1
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        say(f"{error.filename or 'a file'}: {error.strerror}", same_in_all=False)
        return 1
    except KeyboardInterrupt:
        advice = "; go on with --resume" if given[:1] in _RESUMED else ""
        say(f"interrupted{advice}")
        return 130
    return 0


def _one_line_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object, **__: object
) -> None:
    """What a user should know, without where in the program it came up."""
    if not speaks():
        return
    if issubclass(category, UserWarning):
        print(f"hybrid-attention: warning: {message}", file=sys.stderr)
    else:
        print(warnings.formatwarning(message, category, filename, lineno), end="", file=sys.stderr)


_RESUMED = (["train"], ["study"], ["ablate"])
"""Commands that can be gone on with."""
_DESCRIPTION = "Attention whose pattern is an interacting Ising model, trained on exact or annealed spin statistics."
