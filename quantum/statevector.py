"""Anneals by state vectors: batches of small circuits, their laws, their shots and exact derivatives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from classical.ising import IsingModel
from classical.random import model_seeds
from classical.sampler import Seed, require_shots, require_spins
from classical.samples import Samples
from quantum.adjoint import Gradient, differentiable, torch_gradient
from quantum.calibration import calibrate, resolve_calibration
from quantum.chunks import Annealer, ChunkedAnnealer, least_bytes
from quantum.design_range import RangeCheck
from quantum.draw import configurations, draw
from quantum.evolution import angle_tensors, evolve, probabilities
from quantum.schedule import Angles, AnnealSchedule

LARGEST_STATE = 26
_REAL = {torch.complex64: torch.float32, torch.complex128: torch.float64}
_BACKENDS = ("auto", "numba", "torch")


@dataclass(frozen=True)
class TorchAnnealer:
    """The anneals of one circuit, by `quantum.evolution`, on whatever device the models are.

    Args:
        angles: of the circuit.
        real: dtype of real and imaginary parts, torch.float32 or torch.float64.
    """

    angles: Angles
    real: torch.dtype

    def law(self, model: IsingModel) -> Tensor:
        """|ψ|², (groups, models, 2**spins) in `real`."""
        return probabilities(self.amplitudes(model))

    def amplitudes(self, model: IsingModel) -> Tensor:
        """ψ, (groups, models, 2**spins) complex."""
        with torch.no_grad():
            return evolve(self._rounded(model), angle_tensors(self.angles, self.real, model.fields.device))

    def spins(self, model: IsingModel, shots: int, seeds: Tensor) -> Tensor:
        """Shots, (groups, models, shots, spins) int8."""
        return configurations(draw(self.law(model).double(), shots, seeds), model.spins)

    def gradient(self, model: IsingModel, upstream: Tensor) -> Gradient:
        """Derivatives by fields and couplings, in `real`, given those by the law."""
        angles = angle_tensors(self.angles, self.real, model.fields.device)
        return torch_gradient(self._rounded(model), angles, upstream.to(self.real))

    def fixed_bytes(self, spins: int, adjoint: bool) -> int:
        """Nothing: all memory belongs to the models."""
        return 0

    def group_bytes(self, spins: int) -> int:
        """Energies of a group's couplings and their phases."""
        return 6 * 2**spins * self.real.itemsize

    def model_bytes(self, spins: int, shots: int, adjoint: bool) -> int:
        """States and what becomes of them, and shots while they are drawn."""
        return (24 if adjoint else 16) * 2**spins * self.real.itemsize + shots * (40 + 17 * spins)

    def _rounded(self, model: IsingModel) -> IsingModel:
        return IsingModel(model.fields.to(self.real), model.couplings.to(self.real))


class StatevectorSampler:
    """Samples, law and exact derivatives of a Trotterized anneal, from its state vector.

    P(s) = |⟨s| Π_k exp(iθ_k ΣX) exp(i[a_k Σ h' s + b_k Σ J' s s]) |+⟩|²

    with h' = field_factor · h and J' = coupling_factor · J (`quantum.calibration`). The same circuits as `AerSampler`,
    a whole batch at a time.

    Neither chunks nor threads change a sample. The first call in a process compiles its kernel, which takes seconds.

    Args:
        schedule: the anneal.
        steps: Trotter steps K; may be left out for a schedule given by angles.
        calibration: a name in `quantum.calibration.CALIBRATIONS`; by default "two-beta", and "none" for designed
            schedules, which take no other.
        dtype: of the amplitudes, torch.complex64 (laws to 1e-6) or torch.complex128 (to 1e-13).
        threads: how many models are simulated at a time; by default as many as torch uses. Only for "numba".
        memory_limit: bytes that intermediate results may take; larger batches are worked through in chunks.
        backend: "numba" (compiled kernels, on the processor), "torch" (any device), or "auto": numba for models on the
            processor and torch elsewhere.
        device: where to simulate, by default where the model is; results go to where the model is.

    Raises:
        ValueError: steps the schedule refuses, an unknown calibration or backend, a response too close to zero to
            divide by, a dtype that is not complex, threads or memory_limit below 1, a memory limit too small for one
            model of one spin, or a device that is not there or that numba does not serve.
    """

    def __init__(
        self,
        schedule: AnnealSchedule,
        steps: int | None = None,
        calibration: str | None = None,
        *,
        dtype: torch.dtype = torch.complex64,
        threads: int | None = None,
        memory_limit: int = 2**30,
        backend: str = "auto",
        device: torch.device | str | None = None,
    ) -> None:
        self.schedule = schedule
        self.angles = schedule.angles(steps)
        self.calibration = resolve_calibration(schedule, calibration)
        self.factors = calibrate(schedule, steps, self.calibration)
        self._check_range = RangeCheck(schedule.design)
        if dtype not in _REAL:
            raise ValueError(f"dtype is {dtype}; amplitudes are complex: give torch.complex64 or torch.complex128")
        if backend not in _BACKENDS:
            raise ValueError(f"backend is {backend!r}; choose one of {', '.join(_BACKENDS)}")
        self.dtype = dtype
        self.threads = _require_count("threads", torch.get_num_threads() if threads is None else threads)
        self.memory_limit = _require_count("memory_limit", memory_limit)
        self.backend = backend
        self.device = None if device is None else _require_device(device, backend)
        if self.max_spins < 1:
            raise ValueError(
                f"memory_limit is {memory_limit} bytes, too small for one model of one spin with {self.angles.steps} "
                f"steps; give at least {least_bytes(self._annealer(), 1)}"
            )

    @property
    def max_spins(self) -> int:
        """Most spins of which one model fits the memory limit, its derivatives included."""
        fits = [least_bytes(self._annealer(), n) <= self.memory_limit for n in range(1, LARGEST_STATE + 1)]
        return fits.index(False) if False in fits else LARGEST_STATE

    def sample(self, model: IsingModel, *, shots: int = 256, seed: Seed = 0) -> Samples:
        """Draw `shots` configurations for every model of the batch.

        Args:
            model: fields (groups, models, spins) and couplings (groups, spins, spins).
            shots: configurations per model, at least 1.
            seed: an integer, or int64 (groups, models); a model's shots depend on its own seed alone.

        Returns:
            Samples with one row for each shot and equal weights.

        Raises:
            ValueError: shots below 1, a seed of the wrong shape, more spins than `max_spins`, or a model on a device
                that the backend does not serve.
        """
        require_shots(shots)
        seeds = model_seeds(seed, model.groups, model.models)
        fed, annealer = self._fed(model.detach())
        spins = annealer.spins(fed, shots, seeds.to(fed.fields.device)).to(model.fields.device)
        weights = model.fields.new_full(spins.shape[:3], 1.0 / shots)
        diagnostics = {"drawn_from": "probabilities", "calibration": self.calibration, **self.factors._asdict()}
        return Samples(spins, weights, shots, diagnostics)

    def probabilities(self, model: IsingModel) -> Tensor:
        """The law of the anneal's outcomes.

        Args:
            model: fields (groups, models, spins) and couplings (groups, spins, spins).

        Returns:
            (groups, models, 2**spins) in the dtype of the fields, differentiable once in fields and couplings; bit i
            of the index is spin i, bit 0 is +1.

        Raises:
            ValueError: more spins than `max_spins`, or a model on a device that the backend does not serve.
        """
        fed, annealer = self._fed(model)
        return differentiable(fed, annealer.law, annealer.law_gradient).to(model.fields.device)

    def amplitudes(self, model: IsingModel) -> Tensor:
        """Final amplitudes of the circuit, exactly those of `quantum.trotter_circuit`.

        Args:
            model: fields (groups, models, spins) and couplings (groups, spins, spins).

        Returns:
            (groups, models, 2**spins) in the sampler's dtype, without derivatives.

        Raises:
            ValueError: more spins than `max_spins`, or a model on a device that the backend does not serve.
        """
        fed, annealer = self._fed(model.detach())
        return annealer.amplitudes(fed, self.dtype).to(model.fields.device)

    def mean(self, model: IsingModel) -> Tensor:
        """⟨s⟩ of the annealed law itself: not of Boltzmann's, which the anneal approximates.

        Its derivatives are exact and come from running the anneal backwards (`quantum.adjoint`); memory does not grow
        with the number of steps' states.

        Args:
            model: fields (groups, models, spins) and couplings (groups, spins, spins).

        Returns:
            (groups, models, spins) in the dtype of the fields, differentiable once in fields and couplings.

        Raises:
            ValueError: more spins than `max_spins`, or a model on a device that the backend does not serve.
        """
        fed, annealer = self._fed(model)
        return differentiable(fed, annealer.mean, annealer.mean_gradient).to(model.fields.device)

    def _fed(self, model: IsingModel) -> tuple[IsingModel, ChunkedAnnealer]:
        """What the anneal is fed, where it runs, and what runs it."""
        require_spins(model, self.max_spins, "StatevectorSampler", "raise memory_limit or use fewer spins")
        device = model.fields.device if self.device is None else self.device
        if self.backend == "numba" and device.type != "cpu":
            raise ValueError(f"backend is 'numba', but the model is on {device}; use backend='torch' or device='cpu'")
        self._check_range(model)
        fed = model.scaled(*self.factors)
        fed = IsingModel(fed.fields.to(device), fed.couplings.triu(1).to(device))
        return fed, ChunkedAnnealer(self._annealer(device), self.memory_limit)

    def _annealer(self, device: torch.device | None = None) -> Annealer:
        """What anneals models on a device; by default on the sampler's own, or on the processor."""
        device = device or self.device or torch.device("cpu")
        if self.backend == "torch" or device.type != "cpu":
            return TorchAnnealer(self.angles, _REAL[self.dtype])
        from quantum.statevector_cpu import CompiledAnnealer

        return CompiledAnnealer(self.angles, _REAL[self.dtype], self.threads)


def _require_count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {value!r}; give an integer of at least 1")
    return value


def _require_device(device: torch.device | str, backend: str) -> torch.device:
    """A device that is there and that the backend serves."""
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(f"device is {device!r}; give one that torch knows, as 'cpu' or 'cuda'") from None
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device is {str(device)!r}, but torch sees {torch.cuda.device_count()} GPUs here; use device='cpu', or "
            "leave device out to simulate where the model is"
        )
    if backend == "numba" and found.type != "cpu":
        raise ValueError(f"device is {str(device)!r}, but backend is 'numba'; use backend='torch' or 'auto'")
    return found
