"""Anneals on Qiskit Aer: real circuits, many small ones to a call, without noise or with that of a device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from classical.ising import IsingModel
from classical.random import derive_seeds, model_seeds
from classical.sampler import Seed, require_shots, require_spins
from classical.samples import Samples
from quantum.aer_batches import Piece, calls, histograms, processors
from quantum.aer_circuits import AerCircuits
from quantum.aer_simulators import COSTS, LARGEST_LAW, METHODS, TRUNCATION, Simulators
from quantum.calibration import calibrate, resolve_calibration
from quantum.design_range import RangeCheck
from quantum.draw import configurations, draw
from quantum.noisy_circuits import NoisyCircuits, read_out
from quantum.schedule import AnnealSchedule

_SEED_STRIDE = 2113
"""Aer gives model j of a call the seed `seed_simulator` + 2113 j, however the models are spread over circuits."""

_AER_SEEDS = 2**62 - 1
"""Bits of a seed that Aer is given."""

_FUSING_SPINS = 13
"""From so many spins on Aer multiplies gates of few qubits together before it applies them. Below, that costs more than
the passes over the state that it saves; and diagonal gates of all qubits leave nothing to fuse."""

_DENSE_SPINS = 8
"""Up to so many spins a density matrix is faster than one trajectory for each of a few hundred shots."""


class AerSampler:
    """Samples of a Trotterized anneal, measured by Qiskit Aer.

    P(s) = |⟨s| Π_k exp(iθ_k ΣX) exp(i[a_k Σ h' s + b_k Σ J' s s]) |+⟩|²

    with h' = field_factor · h and J' = coupling_factor · J (`quantum.calibration`); under noise P(s) = ⟨s|ρ|s⟩, read
    with the noise model's readout errors.

    Aer is called once for a whole batch, with one thread per circuit and the angles bound in C++. Models of a group
    share their couplings, so the RZZ gates of each step are one diagonal gate for all of them, unless the group is
    small or there is noise. Pairs that a group does not couple get no gate, and so no noise either.

    Args:
        schedule: the anneal.
        steps: Trotter steps K; may be left out for a schedule given by angles.
        calibration: a name in `quantum.calibration.CALIBRATIONS`; by default "two-beta", and "none" for designed
            schedules, which take no other.
        threads: how many circuits Aer simulates at a time; by default one per processor this process may use. The
            samples do not depend on it.
        max_spins: refuse models with more spins; by default what `quantum.aer_simulators.METHODS` says of the method.
        memory_mb: MiB of angles and probabilities in one call to Aer; a larger batch takes more calls. The samples do
            not depend on it.
        noise: a `qiskit_aer.noise.NoiseModel` (`quantum.depolarizing_noise`), which acts on the gates `u`, `rzz` and
            `rx` if it names no others, and else on the circuit in its basis gates; or a Qiskit backend, whose gates,
            couplings and errors the circuit then has (`quantum.noisy_circuits`).
        method: what Aer measures: "statevector" (under noise a trajectory for each shot), "density_matrix", or
            "matrix_product_state", for many spins with few couplings each. By default "statevector", and under noise
            "density_matrix" up to 8 spins.
        max_bond: most Schmidt coefficients at each bond of a matrix-product state; by default no limit.
        truncation: Schmidt coefficients are dropped while their squares sum to less.
        device: "CPU", or another that Aer was built for.
        backend: an `AerSimulator`, or anything with its `run`, instead of the simulators that noise, method, max_bond,
            truncation and device describe. A noise model on it is honoured: it acts on the gates `u`, `rzz` and `rx`.

    Raises:
        ValueError: steps the schedule refuses, an unknown calibration or method, a response too close to zero to
            divide by, threads, max_spins, memory_mb or max_bond below 1, a truncation outside [0, 1), a device that
            Aer does not have, noise that is neither model nor backend or that cannot be simulated, or a backend
            together with what it replaces.
    """

    def __init__(
        self,
        schedule: AnnealSchedule,
        steps: int | None = None,
        calibration: str | None = None,
        *,
        threads: int | None = None,
        max_spins: int | None = None,
        memory_mb: int = 256,
        noise: Any = None,
        method: str | None = None,
        max_bond: int | None = None,
        truncation: float = TRUNCATION,
        device: str = "CPU",
        backend: Any = None,
    ) -> None:
        self.schedule = schedule
        self.angles = schedule.angles(steps)
        self.calibration = resolve_calibration(schedule, calibration)
        self.factors = calibrate(schedule, steps, self.calibration)
        self._check_range = RangeCheck(schedule.design)
        self.threads = _require_count("threads", processors() if threads is None else threads)
        self.memory_mb = _require_count("memory_mb", memory_mb)
        self._simulators = Simulators("statevector" if method is None else method, max_bond, truncation, device)
        self.method = self._simulators.method
        self.max_spins = _require_count("max_spins", METHODS[self.method] if max_spins is None else max_spins)
        if backend is not None and (noise, method, device) != (None, None, "CPU"):
            raise ValueError("backend comes with a noise model, method and device of its own; set them there")
        self._noise = None if noise is None else NoisyCircuits(noise)
        self._dense_spins = 0 if self._noise is None or method is not None else _DENSE_SPINS
        self._backend = backend
        self._made: dict[str, Any] = {}
        ideal = self._noise is None and not self._noisy_backend()
        chain = ideal and self.method == "matrix_product_state"
        self._circuits = AerCircuits(
            self.angles, self.factors, self.threads, self._noise, ideal and self.method == "statevector", chain
        )

    def sample(self, model: IsingModel, *, shots: int = 256, seed: Seed = 0) -> Samples:
        """Draw `shots` configurations for every model of the batch.

        With one integer as seed, Aer measures. It has one seed for a whole call, from which it seeds each circuit by
        its place in the batch, so a model's samples then depend on its place (its law never does).

        With a seed for every model, Aer computes the law and each model's shots are drawn from it with the model's
        own random numbers: they do not depend on what else is in the batch. It is the same law, and what Aer itself
        does to measure a final state; it is also faster. Where the law is out of reach (matrix-product states; noise
        on more than 10 spins), Aer measures the models one by one, each with its own seed.

        Args:
            model: fields (groups, models, spins) and couplings (groups, spins, spins).
            shots: configurations per model, at least 1.
            seed: an integer, or int64 (groups, models).

        Returns:
            Measured: one row per distinct configuration with weight count/shots, padded with weight 0. Drawn from the
            law: one row per shot. In both, weights have the dtype of the fields.

        Raises:
            ValueError: shots below 1, a seed of the wrong shape, more spins than `max_spins` or the noise's backend,
                noise that would never act, or a seed for every model on a noisy backend whose law no single run gives.
            RuntimeError: Aer reports a failure; the message holds its status.
        """
        require_shots(shots)
        self._require_spins(model)
        self._check_range(model)
        if not isinstance(seed, Tensor):
            start = int(derive_seeds(model_seeds(seed, 1, 1))) & _AER_SEEDS
            counts = [data.counts for data in self._run(model, "measure", shots, start)]
            return self._samples(model, *histograms(counts, model, shots), shots, "measurement")
        seeds = model_seeds(seed, model.groups, model.models, device="cpu")
        if self.law_obstacle(model.spins) or self.method == "matrix_product_state":
            counts = list(self._one_by_one(model, shots, seeds))
            return self._samples(model, *histograms(counts, model, shots), shots, "measurement")
        spins = configurations(draw(self._law(model), shots, seeds), model.spins)
        weights = torch.full(spins.shape[:3], 1.0 / shots, dtype=model.fields.dtype)
        return self._samples(model, spins, weights, shots, "probabilities")

    def probabilities(self, model: IsingModel) -> Tensor:
        """The law of the anneal's outcomes.

        Args:
            model: fields (groups, models, spins) and couplings (groups, spins, spins).

        Returns:
            (groups, models, 2**spins) in the dtype of the fields; bit i of the index is spin i, bit 0 is +1.

        Raises:
            ValueError: more spins than `max_spins`, the noise's backend, or a law that can be written out; noise that
                would never act; or a noisy backend whose law no single run gives.
            RuntimeError: Aer reports a failure; the message holds its status.
        """
        self._require_spins(model)
        self._check_range(model)
        if obstacle := self.law_obstacle(model.spins):
            raise ValueError(obstacle)
        return self._law(model).to(model.fields)

    def readout(self, model: IsingModel, *, shots: int | None = None, seed: int = 0) -> Tensor:
        """How the spins of each group are read: A[spin, m, t] = P(reads m | is t), 0 for +1.

        Args:
            model: says which qubits a device reads for each group; its values do not matter.
            shots: None for the noise model's own numbers, or how often |0…0⟩ and |1…1⟩ are prepared and measured to
                find them, with errors of the preparation included.
            seed: of these measurements.

        Returns:
            (groups, spins, 2, 2) float64, columns sum to one; the identity without noise.

        Raises:
            ValueError: shots below 1, a seed that is no integer, noise on a `backend`, or whatever `sample` refuses.
            RuntimeError: Aer reports a failure; the message holds its status.
        """
        self._require_spins(model)
        if shots is not None:
            require_shots(shots)
        start = int(derive_seeds(model_seeds(seed, 1, 1))) & _AER_SEEDS
        if self._noisy_backend():
            raise ValueError("backend has a noise model, which readout does not look into; give the model as noise")
        perfect = torch.eye(2, dtype=torch.float64).repeat(model.groups, model.spins, 1, 1)
        if self._noise is None:
            return perfect
        for group, circuit in enumerate(self._circuits.measured(model)):
            if shots is None:
                perfect[group] = torch.from_numpy(self._noise.assignment(circuit))
                continue
            prepared = [self._noise.prepared(circuit, down) for down in (False, True)]
            result = (
                self._aer(self._method("measure", model.spins))
                .run(prepared, shots=shots, seed_simulator=start)
                .result()
            )
            counts = [data.counts for data in _data(result, 2, model.spins)]
            blank = IsingModel(torch.zeros(1, 2, model.spins, dtype=torch.float64), model.couplings[:1].double().cpu())
            up = Samples(*histograms(counts, blank, shots), shots).up_probability()[0]
            perfect[group] = torch.stack([up, 1 - up]).permute(2, 0, 1)
        return perfect

    def _law(self, model: IsingModel) -> Tensor:
        """Probabilities of what is read, float64 on the CPU."""
        if self._noisy_backend() and getattr(self._backend.options, "method", None) != "density_matrix":
            raise ValueError(
                "backend has a noise model and simulates one trajectory at a time, which has no law of its own; give "
                "sample one integer as seed, or AerSampler an AerSimulator(method='density_matrix', noise_model=...)"
            )
        law = np.empty((model.groups * model.models, 2**model.spins))
        for row, data in enumerate(self._run(model, "probabilities", 1, 0)):
            law[row] = data.probabilities
        law = law.reshape(model.groups, model.models, 2**model.spins)
        noise = NoisyCircuits(self._backend.options.noise_model) if self._noisy_backend() else self._noise
        if noise is not None:
            for group, circuit in enumerate(self._circuits.measured(model)):
                law[group] = read_out(law[group], noise.assignment(circuit))
        return torch.from_numpy(law)

    def _run(self, model: IsingModel, ending: str, shots: int, seed: int) -> Iterator[Any]:
        """What Aer returns for every model of the batch, one after the other."""
        # a matrix-product state is not written out unless its law is asked for
        listed = ending == "probabilities" or self.method != "matrix_product_state"
        numbers, limit = 2**model.spins if listed else shots, self.memory_mb * 2**17
        start = 0
        for call in calls(self._circuits.pieces(model, ending, numbers, limit), numbers, limit):
            yield from self._call(call, ending, shots, seed + _SEED_STRIDE * start)
            start += sum(bound.shape[1] for _, bound in call)

    def _one_by_one(self, model: IsingModel, shots: int, seeds: Tensor) -> Iterator[dict[str, int]]:
        """Histograms of every model, measured alone."""
        for group, row in enumerate((derive_seeds(seeds) & _AER_SEEDS).tolist()):
            for number, seed in enumerate(row):
                fields = model.fields[group, number][None, None]
                alone = IsingModel(fields, model.couplings[group][None])
                yield from (data.counts for data in self._run(alone, "measure", shots, seed))

    def _call(self, pieces: list[Piece], ending: str, shots: int, seed: int) -> list[Any]:
        """One call to Aer."""
        first = pieces[0][0]
        noisy = self._noise is not None or self._noisy_backend()
        fusing = self.method == "statevector" and first.spins >= _FUSING_SPINS and not first.fixed and not noisy
        result = (
            self._aer(self._method(ending, first.spins))
            .run(
                [circuit.circuit for circuit, _ in pieces],
                parameter_binds=[
                    dict(zip(circuit.parameters, values.tolist(), strict=True)) for circuit, values in pieces
                ],
                shots=shots,
                seed_simulator=seed,
                max_parallel_experiments=self.threads,
                max_parallel_threads=self.threads,
                fusion_enable=fusing,
                fusion_threshold=_FUSING_SPINS - 1,  # Aer fuses above it
                runtime_parameter_bind_enable=not noisy,
                statevector_sample_measure_opt=1,
            )
            .result()
        )
        return _data(result, sum(values.shape[1] for _, values in pieces), first.spins)

    def _samples(self, model: IsingModel, spins: Tensor, weights: Tensor, shots: int, drawn_from: str) -> Samples:
        device = model.fields.device
        diagnostics = {"drawn_from": drawn_from, "calibration": self.calibration, **self.factors._asdict()}
        return Samples(spins.to(device), weights.to(device), shots, diagnostics)

    def _method(self, ending: str, spins: int) -> str:
        """Aer's method for circuits with an ending: under noise only a density matrix holds a law."""
        dense = self._noise is not None and (ending == "probabilities" or spins <= self._dense_spins)
        return "density_matrix" if dense else self.method

    def _aer(self, method: str) -> Any:
        if self._backend is not None:
            return self._backend
        if method not in self._made:
            self._made[method] = self._simulators.make(method, None if self._noise is None else self._noise.model)
        return self._made[method]

    def _noisy_backend(self) -> bool:
        return getattr(getattr(self._backend, "options", None), "noise_model", None) is not None

    def law_obstacle(self, spins: int) -> str | None:
        """Why the law of so many spins cannot be written out, or None.

        Args:
            spins: number of spins.
        """
        dense = max(METHODS["density_matrix"], self.max_spins if self.method == "density_matrix" else 0)
        if self._noise is not None and spins > dense:
            return (
                f"spins is {spins}, but the law under noise takes a density matrix, which holds at most {dense} spins; "
                "draw samples instead"
            )
        if self.method == "matrix_product_state" and spins > LARGEST_LAW:
            return f"spins is {spins}, but a law is written out for at most {LARGEST_LAW} spins; draw samples instead"
        return None

    def require_noise_fits(self, spins: int) -> None:
        """Refuse models of so many spins that the noise is not for.

        Args:
            spins: number of spins.

        Raises:
            ValueError: more spins than the noise's backend has qubits, or fewer than the noise names.
        """
        if self._noise is not None:
            self._noise.require_spins(spins)

    def _require_spins(self, model: IsingModel) -> None:
        require_spins(model, self.max_spins, "AerSampler", f"raise max_spins ({COSTS[self.method]})")
        self.require_noise_fits(model.spins)


def _data(result: Any, models: int, spins: int) -> list[Any]:
    """What Aer returned for every model."""
    if not result.success:
        raise RuntimeError(f"Aer failed on {models} models of {spins} spins: {result.status}")
    return [experiment.data for experiment in result.results]


def _require_count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {value!r}; give an integer of at least 1")
    return value
