"""The settings of a training run: one dataclass behind the flags, the TOML file and the run's own record."""

from __future__ import annotations

import math
import tomllib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
import tyro

from hybrid_attention.arms import AttentionName, CouplingsName, ReadoutName, validate_arm
from hybrid_attention.errors import InputError
from hybrid_attention.files import write_text
from hybrid_attention.flags import flag, require
from hybrid_attention.processes import DeviceName
from hybrid_attention.qpu_settings import ANNEALERS, QPU_FIELDS, validate_qpu
from hybrid_attention.tasks.options import absolute_options
from hybrid_attention.tasks.registry import BUILT_IN, task_class
from hybrid_attention.windows import Window

LARGEST_SEED = 2**62  # layers add their number to it, and generators take 64 bits


PRESET = "preset:"
SamplerName = Literal["exact", "gibbs", "mean-field", "aer", "statevector", "dwave", "dwave-emulator", "ibm"]
"""Samplers by the name they have on the command line (`hybrid_attention.samplers.SAMPLERS`)."""

CalibrationName = Literal["none", "one-beta", "two-beta", "tuned", "fit", "table", "hand"]

LINEAR_DEFAULTS: dict[str, Any] = {"duration": 6.0, "trotter_steps": 12, "calibration": "two-beta"}
"""Settings of an anneal under the linear schedule; other schedules may bring their own."""


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run. Flags and TOML keys carry these names (flags with hyphens)."""

    task: Annotated[str, tyro.conf.arg(metavar=f"{{{','.join(BUILT_IN)},MODULE:CLASS}}")] = "brackets"
    """What to learn: matching brackets, a noisy seasonal series, the next character of a text, or a class of yours."""
    task_options: str = ""
    """Arguments of the task's class, as levels=6,noise=0.5; of seasons (levels, longest, noise) or a class of yours."""
    text: str = ""
    """UTF-8 file for the text task; empty takes the English help texts inside Python."""
    types: int = 4
    """Kinds of brackets."""
    attention: AttentionName = "boltzmann"
    """Kind of attention; sigmoid is Boltzmann attention without couplings, linear and gated-linear cost O(length)."""
    hopfield_updates: int | None = None
    """Updates that Hopfield attention makes before it reads; 3 by default."""
    couplings: CouplingsName = "position"
    """Where the couplings between attention decisions come from."""
    position_bias: bool = False
    """Add a learnable number to the field of every (head, query position, key position)."""
    field_limit: float | None = None
    """Limit c of the fields, which become c·tanh(h/c), so that none leaves the range of a device or of a schedule's
    design. None by default."""
    readout: ReadoutName = "mean"
    """Average over the attended keys, their sum, or their free energy: between average and maximum by channel."""
    energy_loss: float = 0.0
    """Weight of the attended patterns' energy (negative log pseudo-likelihood per spin) in what training minimises."""
    sampler: SamplerName = "exact"
    """Where spin statistics come from: exact sums, Gibbs chains, mean field, anneals simulated on Qiskit Aer or by our
    own state vectors, an annealer in D-Wave's cloud or its emulator, or a gate-model processor in IBM's cloud."""
    schedule: str = "linear"
    """Annealing schedule: linear, preset:K (4, 8, 16, 4-wide …), or a JSON file by design or AnnealSchedule.save."""
    duration: float | None = None
    """Duration T of a linear anneal, dimensionless (ħ = 1); 6 by default. Of an annealer's anneal: nanoseconds; the
    shortest fast one by default."""
    trotter_steps: int | None = None
    """Trotter steps K of the anneal; 12 by default, and a schedule's own where it has them."""
    calibration: CalibrationName | None = None
    """What fields and couplings are divided by before an anneal; two-beta by default, none for designed schedules.
    Annealers: fit (measured, the default), table (from --schedule-table), hand (--beta)."""
    shots: int = 256
    """Samples drawn for each Ising model."""
    polish: int = 0
    """Heat-bath sweeps that every sample goes through before it is used."""
    noise: str = ""
    """Errors of the device that Aer simulates: depolarizing:P[,single:P][,readout:P], generic:N, a backend, a file."""
    burn_in: int | None = None
    """Sweeps that a Gibbs chain makes before its first sample; 20 by default."""
    chains: int | None = None
    """Gibbs chains that share a model's shots; 16 by default."""
    solver: str = ""
    """D-Wave solver or IBM backend, by name; by default the one that is configured, or the least busy. Emulator: its
    chip, as pegasus:4 (the default), zephyr:2 or complete:16. IBM's fakes (fake_jakarta) and aer_simulator run here."""
    anneal: Literal["fast", "standard"] | None = None
    """Annealer: fast (diabatic, nanoseconds; the default) or standard (microseconds) anneals."""
    field: Literal["ancilla", "ghost"] | None = None
    """Annealer: fields as couplings to a spin that flux biases pin, or to a free one; fast anneals need either."""
    schedule_table: str = ""
    """Annealer: CSV file with the columns s, A(s) (GHz), B(s) (GHz) as D-Wave publishes them."""
    beta: str = ""
    """Annealer: inverse temperatures FIELD,COUPLING for --calibration hand, or where fit begins."""
    control_error: float | None = None
    """Annealer: standard deviation of what is programmed, which the emulator makes and programmed values are compared
    with; 0.02 by default, and none in the emulator."""
    precision: int | None = None
    """Emulator: bits of a programmed coupling; exact by default."""
    qpu_budget: float | None = None
    """Most seconds of QPU time that a run's jobs may be charged in all; nothing is submitted without it."""
    qpu_evaluation: bool = False
    """Evaluate on the QPU during training too, which is charged; by default exact sums are used."""
    estimator: Literal["covariance", "callen", "adjoint", "exact"] = "covariance"
    """How samples become a gradient; adjoint differentiates the anneal itself (statevector)."""
    independent_halves: bool = False
    """Take values from one half of the samples and gradients from the other."""
    length: int = 8
    """Input positions, which are the spins of the last query unless there is a --window."""
    window: int | None = None
    """Keys that a query sees: its last so many, itself included; cost is then linear in the length. All by default."""
    global_keys: int = 0
    """With --window: first positions of the sequence that every later query sees too."""
    layers: int = 1
    """Transformer blocks."""
    heads: int = 4
    """Attention heads."""
    dim: int = 32
    """Width of the tokens."""
    feed_forward: int | None = None
    """Width of the perceptron in every block; four times dim by default."""
    batch: int = 64
    """Sequences in a training step."""
    steps: int = 1000
    """Training steps."""
    lr: float = 3e-3
    """Peak learning rate (AdamW, weight decay 0.01, warm-up, cosine, gradient norm clipped to 1)."""
    lr_couplings: float | None = None
    """Peak learning rate of the couplings; lr by default."""
    seed: int = 0
    """Fixes initial parameters, batches and samples."""
    dtype: Literal["float32", "float64", "bfloat16"] = "float32"
    """Arithmetic of the model; bfloat16 is mixed: parameters and spin statistics stay in float32."""
    device: DeviceName = "cpu"
    """Where to train: cpu, cuda (one GPU for each process), or auto for CUDA where it is there."""
    eval_every: int | None = None
    """Steps between evaluations and checkpoints; a tenth of steps by default."""
    eval_sequences: int = 256
    """Held-out sequences of an evaluation during training (the `evaluate` command takes all)."""
    export_every: int | None = None
    """Steps between recordings of the Ising models of a few held-out sequences, for the `export` command."""

    def validate(self) -> TrainConfig:
        """This configuration, if it makes sense.

        Raises:
            InputError: names the first flag that does not, its value and the fix.
        """
        counts = ("types", "trotter_steps", "length", "layers", "heads", "dim", "batch", "steps", "eval_sequences")
        at_least = dict.fromkeys((*counts, "eval_every", "export_every", "burn_in", "chains", "precision"), 1)
        for name, least in {**at_least, "shots": 2, "seed": 0, "polish": 0}.items():
            value = getattr(self, name)
            require(value is None or value >= least, name, value, f"give at least {least}")
        require(self.seed < LARGEST_SEED, "seed", self.seed, f"give less than {LARGEST_SEED}")
        for name in ("duration", "lr", "lr_couplings", "qpu_budget", "control_error"):
            value = getattr(self, name)
            if value is not None:
                require(math.isfinite(value) and value > 0, name, value, "give a positive number")
        require(self.dim % self.heads == 0, "dim", self.dim, f"make it a multiple of --heads {self.heads}")
        if self.attention != "boltzmann":
            require(self.sampler == "exact", "sampler", self.sampler, "only --attention boltzmann has Ising models")
            every = self.export_every
            require(every is None, "export_every", every, "only --attention boltzmann has Ising models")
        require(self.noise == "" or self.sampler == "aer", "noise", self.noise, "it goes with --sampler aer")
        if self.sampler == "exact":
            require(self.polish == 0, "polish", self.polish, "exact sums leave nothing to polish; change --sampler")
        if self.sampler != "gibbs":
            for name in ("burn_in", "chains"):
                value = getattr(self, name)
                require(value is None, name, value, "it goes with --sampler gibbs")
        validate_qpu(self)
        validate_arm(self)
        task_class(self.task).check(self)
        return self

    @property
    def evaluation_interval(self) -> int:
        """Steps between evaluations."""
        return max(1, self.steps // 10) if self.eval_every is None else self.eval_every

    @property
    def perceptron_width(self) -> int:
        """Width of the perceptron in every block."""
        return 4 * self.dim if self.feed_forward is None else self.feed_forward

    @property
    def coupling_rate(self) -> float:
        """Peak learning rate of the couplings."""
        return self.lr if self.lr_couplings is None else self.lr_couplings

    @property
    def attention_window(self) -> Window | None:
        """The window, without slots that a sequence of this length leaves empty."""
        return None if self.window is None else Window(self.window, self.global_keys).within(self.length)

    @property
    def spins(self) -> int:
        """Most keys that a query sees: min(length, window + global keys), or length."""
        return self.length if self.window is None else min(self.length, self.window + self.global_keys)

    def resolved(self) -> TrainConfig:
        """The same settings with every default that depends on the schedule written out: a linear one has them all."""
        if self.sampler in ANNEALERS:
            return replace(self, anneal=self.anneal or "fast", calibration=self.calibration or "fit")
        if self.schedule != "linear":
            return self
        filled = {name: value for name, value in LINEAR_DEFAULTS.items() if getattr(self, name) is None}
        return replace(self, **filled)

    def with_sampler(self, sampler: SamplerName) -> TrainConfig:
        """The same settings with another sampler, and without what belonged to the one before.

        Args:
            sampler: its name.
        """
        if sampler == self.sampler:
            return self
        names = {"polish", "noise", "burn_in", "chains", *QPU_FIELDS}
        if self.sampler in ANNEALERS or sampler in ANNEALERS:
            names |= {"schedule", "duration", "trotter_steps", "calibration"}
        return replace(self, sampler=sampler, **{name: getattr(TrainConfig, name) for name in names})

    @property
    def schedule_is_file(self) -> bool:
        """Whether the schedule is neither built in nor shipped."""
        return self.schedule != "linear" and not self.schedule.startswith(PRESET)

    def with_absolute_paths(self) -> TrainConfig:
        """The same settings with files that are found from any directory."""
        text = str(Path(self.text).absolute()) if self.text else ""
        schedule = str(Path(self.schedule).absolute()) if self.schedule_is_file else self.schedule
        table = str(Path(self.schedule_table).absolute()) if self.schedule_table else ""
        options = absolute_options(task_class(self.task), self) if self.task_options else ""
        found = replace(self, text=text, schedule=schedule, noise=absolute_noise(self.noise), schedule_table=table)
        return replace(found, task_options=options)

    def save(self, path: Path) -> None:
        """Write as TOML, files by their absolute paths; values that are None are left out.

        Args:
            path: the file.
        """
        values = asdict(self.with_absolute_paths())
        write_text(path, tomli_w.dumps({key: value for key, value in values.items() if value is not None}))


def absolute_noise(noise: str) -> str:
    """The value of --noise, a file by its absolute path.

    Args:
        noise: as given.
    """
    return str(Path(noise).absolute()) if noise.endswith(".json") else noise


NOT_SETTINGS = ("qpu_budget", "device")
"""Fields that may change when a run is gone on with: no number depends on them."""


def changed_keys(before: TrainConfig, after: TrainConfig) -> list[str]:
    """Names of the settings that differ."""
    names = (f.name for f in fields(before) if f.name not in NOT_SETTINGS)
    return [name for name in names if getattr(before, name) != getattr(after, name)]


def read_toml(path: Path, argument: str = "") -> dict[str, Any]:
    """Keys and values of a configuration file.

    Args:
        path: the file.
        argument: the flag that names the file, for errors.

    Raises:
        InputError: no such file, no TOML, or an unknown key.
    """
    name = f"{argument} {path}".strip()
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror}); give a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{name} is not valid TOML ({error}); correct it") from None
    known = [f.name for f in fields(TrainConfig)]
    for key in values:
        if key not in known:
            raise InputError(f"{path} has the unknown key {key!r}; use only {', '.join(known)}")
    return values


def as_arguments(values: dict[str, Any], kind: type[Any] = TrainConfig) -> list[str]:
    """Configuration values as command-line arguments, so that one parser checks both.

    Args:
        values: by field name.
        kind: dataclass that has the fields.

    Raises:
        InputError: anything but true or false for a field that is one of them.
    """
    arguments: list[str] = []
    for key, value in values.items():
        if isinstance(getattr(kind, key, None), bool):
            require(isinstance(value, bool), key, repr(value), "give true or false")
            arguments.append(flag(key) if value else "--no-" + flag(key)[2:])
        else:
            arguments.append(f"{flag(key)}={value}")
    return arguments
