"""The command `hybrid-attention export`: one Ising model of a run, in a format that other programs read."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from hybrid_attention import __version__
from hybrid_attention.config import TrainConfig
from hybrid_attention.errors import InputError
from hybrid_attention.files import require_new_file
from hybrid_attention.flags import flag
from hybrid_attention.parse import config_from
from hybrid_attention.qpu_settings import ANNEALERS
from hybrid_attention.run import RunFolder

if TYPE_CHECKING:
    from classical import IsingModel
    from hybrid_attention.hamiltonians import Hamiltonians
    from quantum.export_circuit import Anneal

_CIRCUIT = ("schedule", "duration", "trotter_steps", "calibration")

FormatName = Literal["bqm", "qubo", "quadratic-program", "pauli", "qasm3", "json"]
"""Formats by the name they have on the command line (`quantum.export_files.FORMATS`)."""


@dataclass(frozen=True)
class ExportCommand:
    """Export one head's Ising model for one query, as recorded by train --export-every or from the newest checkpoint.

    Its energy is −log-weight = −Σ h_j s_j − Σ J_jk s_j s_k, with h and J as they were trained; only a circuit (qasm3)
    is calibrated.
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="RUN")]
    """Folder of the run."""
    format: FormatName
    """bqm and qubo for dimod, quadratic-program (LP) and pauli for Qiskit, qasm3 for the circuit, json for h and J."""
    out: Path
    """File to write; it must not exist yet."""
    step: int | None = None
    """Training step; the newest that was kept by default."""
    layer: int = 0
    """Layer; 0 is the one that reads the tokens."""
    head: int = 0
    """Head of the layer."""
    query: int | None = None
    """Position that attends; query Q sees keys 0 … Q, which are the spins, or those in its window, itself first. The
    last by default."""
    sequence: int = 0
    """Which of the recorded held-out sequences."""
    schedule: str | None = None
    """For qasm3, as in train; the run's own by default, like the following."""
    duration: float | None = None
    """Duration T of the anneal, dimensionless."""
    trotter_steps: int | None = None
    """Trotter steps K of the anneal."""
    calibration: Literal["none", "one-beta", "two-beta", "tuned"] | None = None
    """What fields and couplings are divided by before the anneal."""

    def run(self) -> None:
        """Find the model, write it and say what it is."""
        from quantum.export_files import Export, write_model

        require_new_file(self.out)
        folder = RunFolder(self.run_folder)
        folder.require_run("RUN")
        config = config_from(folder.config)
        if config.attention != "boltzmann":
            raise InputError(
                f"RUN {folder.path} has --attention {config.attention}, which has no Ising models; give a run of "
                "--attention boltzmann"
            )
        anneal = self._anneal(config)
        recorded = self._recorded(folder)
        query = recorded.tokens.shape[1] - 1 if self.query is None else self.query
        model = self._model(recorded, query)
        window = config.attention_window
        keys = list(range(query + 1)) if window is None else window.positions(query)
        export = Export(
            model.fields[0, 0].numpy(),
            model.couplings[0].numpy(),
            anneal,
            {
                "step": recorded.step,
                "layer": self.layer,
                "head": self.head,
                "query": query,
                "sequence": self.sequence,
                "tokens": recorded.tokens[self.sequence, keys].tolist(),
                **({"positions": keys} if window is not None else {}),
                **({"labels": [recorded.labels[self.sequence][key] for key in keys]} if recorded.labels else {}),
                "sampler": config.sampler,
                "software": f"hybrid-attention {__version__}",
            },
        )
        try:
            write_model(self.out, export, self.format)
        except OSError as error:
            raise InputError(f"--out {self.out} cannot be written ({error.strerror}); give another file") from None
        print(f"export: {self.out}")
        print(
            f"model: {model.spins} spin{'s' if model.spins > 1 else ''}, step {recorded.step}, layer {self.layer}, "
            f"head {self.head}, query {query}, sequence {self.sequence}"
        )

    def _anneal(self, config: TrainConfig) -> Anneal:
        """The run's anneal, or the one that the flags ask for."""
        from hybrid_attention.samplers import build_schedule, schedule_steps
        from quantum.calibration import calibrate, resolve_calibration
        from quantum.export_circuit import Anneal

        given: dict[str, Any] = {name: getattr(self, name) for name in _CIRCUIT if getattr(self, name) is not None}
        if given and self.format != "qasm3":
            name = next(iter(given))
            raise InputError(f"{flag(name)} is {given[name]}, but only --format qasm3 has a circuit; leave it out")
        if config.sampler in ANNEALERS:  # whose anneal is no circuit
            config = config.with_sampler("exact")
        if "schedule" in given:  # another schedule does not take over what belonged to the run's own
            config = replace(config, duration=None, trotter_steps=None, calibration=None)
        config = replace(config, **given).resolved().validate()
        schedule = build_schedule(config)
        steps = schedule_steps(config, schedule)
        try:  # the message's first word is the argument's name
            anneal = Anneal(schedule, steps, resolve_calibration(schedule, config.calibration))
            if self.format == "qasm3":
                calibrate(*anneal)
        except ValueError as error:
            raise InputError(f"--{error}") from None
        return anneal

    def _recorded(self, folder: RunFolder) -> Hamiltonians:
        """What the run kept at the step, or what its newest checkpoint has where it kept nothing."""
        from hybrid_attention import hamiltonians
        from hybrid_attention.evaluate import load_run
        from hybrid_attention.samplers import reference_sampler

        kept = hamiltonians.kept_steps(folder)
        if kept:
            if self.step not in (None, *kept):
                raise InputError(f"--step is {self.step}, which was not kept; use one of {', '.join(map(str, kept))}")
            return hamiltonians.load(folder, kept[-1] if self.step is None else self.step)
        run = load_run(folder.path, own_sampler=False)
        if self.step not in (None, run.step):
            raise InputError(
                f"--step is {self.step}, but RUN {folder.path} kept no step (train --export-every keeps some); use "
                f"{run.step}, which is its newest checkpoint's"
            )
        sampler = reference_sampler(run.config, run.sampler)
        return hamiltonians.record_held_out(run.model, run.task, run.step, sampler, run.config.seed)

    def _model(self, recorded: Hamiltonians, query: int) -> IsingModel:
        try:
            return recorded.model(self.layer, self.head, query, self.sequence)
        except ValueError as error:  # its first word is the argument's name
            raise InputError(re.sub(r"^\w+", lambda name: flag(name.group()), str(error))) from None
