"""Anneals on Qiskit Aer: real circuits, many small ones to a call."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from classical.ising import IsingModel
from classical.random import derive_seeds, model_seeds
from classical.sampler import Seed, require_shots, require_spins
from classical.samples import Samples
from quantum.calibration import calibrate, resolve_calibration
from quantum.design_range import RangeCheck
from quantum.draw import configurations, draw
from quantum.schedule import AnnealSchedule
from quantum.trotter import Template, pairs, template

_SEED_STRIDE = 2113
"""Aer gives model j of a call the seed `seed_simulator` + 2113 j, however the models are spread over circuits."""

_SHARING_MODELS, _SHARING_SPINS = 8, range(2, 15)
"""Groups of at least so many models, and of so many spins, get a circuit with their couplings in it. For fewer models
the 2**spins numbers per step, which pass through Python once per group, cost more than they save."""


class AerSampler:
    """Samples of a Trotterized anneal, measured by Qiskit Aer's state-vector simulator.

    P(s) = |⟨s| Π_k exp(iθ_k ΣX) exp(i[a_k Σ h' s + b_k Σ J' s s]) |+⟩|²

    with h' = field_factor · h and J' = coupling_factor · J (`quantum.calibration`).

    Aer is called once for a whole batch, with one thread per circuit and the angles bound in C++. Models of a group
    share their couplings, so the RZZ gates of each step are one diagonal gate for all of them, unless the group is
    small or the backend is noisy. Aer's defaults on the textbook circuits are several times slower.

    Args:
        schedule: the anneal.
        steps: Trotter steps K; may be left out for a schedule given by angles.
        calibration: a name in `quantum.calibration.CALIBRATIONS`; by default "two-beta", and "none" for designed
            schedules, which take no other.
        threads: how many circuits Aer simulates at a time; by default one per processor this process may use. The
            samples do not depend on it.
        max_spins: refuse models with more spins.
        memory_mb: MiB of angles and probabilities in one call to Aer; a larger batch takes more calls. The samples do
            not depend on it.
        backend: an `AerSimulator`, or anything with its `run`; by default one is made at the first call. A noise
            model on it is honoured: it acts on the gates `u`, `rzz` and `rx`.

    Raises:
        ValueError: steps the schedule refuses, an unknown calibration, a response too close to zero to divide by, or
            threads, max_spins or memory_mb below 1.
    """

    def __init__(
        self,
        schedule: AnnealSchedule,
        steps: int | None = None,
        calibration: str | None = None,
        *,
        threads: int | None = None,
        max_spins: int = 20,
        memory_mb: int = 256,
        backend: Any = None,
    ) -> None:
        self.schedule = schedule
        self.angles = schedule.angles(steps)
        self.calibration = resolve_calibration(schedule, calibration)
        self.factors = calibrate(schedule, steps, self.calibration)
        self._check_range = RangeCheck(schedule.design)
        self.threads = _require_count("threads", _processors() if threads is None else threads)
        self.max_spins = _require_count("max_spins", max_spins)
        self.memory_mb = _require_count("memory_mb", memory_mb)
        self._backend = backend
        self._templates: dict[tuple[int, str], Template] = {}

    def sample(self, model: IsingModel, *, shots: int = 256, seed: Seed = 0) -> Samples:
        """Draw `shots` configurations for every model of the batch.

        With one integer as seed, Aer measures. It has one seed for a whole call, from which it seeds each circuit by
        its place in the batch, so a model's samples then depend on its place (its law never does).

        With a seed for every model, Aer computes the final state and each model's shots are drawn from |amplitude|²
        with the model's own random numbers: they do not depend on what else is in the batch. It is the same law, and
        what Aer itself does to measure a final state; it is also faster.

        Args:
            model: fields (groups, models, spins) and couplings (groups, spins, spins).
            shots: configurations per model, at least 1.
            seed: an integer, or int64 (groups, models).

        Returns:
            Measured: one row per distinct configuration with weight count/shots, padded with weight 0. With a seed
            for every model: one row per shot. In both, weights have the dtype of the fields.

        Raises:
            ValueError: shots below 1, a seed of the wrong shape, more spins than `max_spins`, or a seed for every
                model on a noisy backend whose law no single run gives.
            RuntimeError: Aer reports a failure; the message holds its status.
        """
        require_shots(shots)
        self._require_spins(model)
        self._check_range(model)
        if isinstance(seed, Tensor):
            seeds = model_seeds(seed, model.groups, model.models, device="cpu")
            index = draw(self._law(model), shots, seeds)
            weights = torch.full(index.shape, 1.0 / shots, dtype=model.fields.dtype)
            return self._samples(model, index, weights, shots, "probabilities")
        start = int(derive_seeds(model_seeds(seed, 1, 1))) & (2**62 - 1)
        counts = [data.counts for data in self._run(model, "measure", shots, start)]
        index, weights = _rows(counts, model, shots)
        return self._samples(model, index, weights, shots, "measurement")

    def probabilities(self, model: IsingModel) -> Tensor:
        """The law of the anneal's outcomes.

        Args:
            model: fields (groups, models, spins) and couplings (groups, spins, spins).

        Returns:
            (groups, models, 2**spins) in the dtype of the fields; bit i of the index is spin i, bit 0 is +1.

        Raises:
            ValueError: more spins than `max_spins`, or a noisy backend whose law no single run gives.
            RuntimeError: Aer reports a failure; the message holds its status.
        """
        self._require_spins(model)
        self._check_range(model)
        return self._law(model).to(model.fields)

    def _law(self, model: IsingModel) -> Tensor:
        """Aer's probabilities, float64 on the CPU."""
        if self._noisy() and getattr(self._backend.options, "method", None) != "density_matrix":
            raise ValueError(
                "backend has a noise model and simulates one trajectory at a time, which has no law of its own; give "
                "sample one integer as seed, or AerSampler an AerSimulator(method='density_matrix', noise_model=...)"
            )
        law = np.empty((model.groups * model.models, 2**model.spins))
        for row, data in enumerate(self._run(model, "probabilities", 1, 0)):
            law[row] = data.probabilities
        return torch.from_numpy(law).reshape(model.groups, model.models, 2**model.spins)

    def _run(self, model: IsingModel, ending: str, shots: int, seed: int) -> Iterator[Any]:
        """What Aer returns for every model of the batch, one after the other."""
        call: list[tuple[Template, np.ndarray]] = []
        limit, load, start = self.memory_mb * 2**17, 0, 0
        for circuit, values in self._pieces(model.detach(), ending, limit):
            size = circuit.fixed + values.size + values.shape[1] * 2**model.spins
            if call and load + size > limit:
                yield from self._call(call, shots, seed + _SEED_STRIDE * start)
                start += sum(bound.shape[1] for _, bound in call)
                call, load = [], 0
            call.append((circuit, values))
            load += size
        if call:
            yield from self._call(call, shots, seed + _SEED_STRIDE * start)

    def _pieces(self, model: IsingModel, ending: str, limit: int) -> Iterator[tuple[Template, np.ndarray]]:
        """The batch in its order, as circuits and the values of their parameters for some models each."""
        h = model.fields.double().cpu().numpy() * self.factors.field_factor
        rows, columns = pairs(model.spins)
        J = model.couplings.double().cpu().numpy()[:, rows, columns] * self.factors.coupling_factor
        if not h.size:
            return
        if model.models >= _SHARING_MODELS and model.spins in _SHARING_SPINS and not self._noisy():
            for fields, couplings in zip(h, J, strict=True):
                circuit = template(model.spins, self.angles, ending, couplings)
                yield from _shares(circuit, circuit.values(fields), -(-self.threads // model.groups), limit)
            return
        if (model.spins, ending) not in self._templates:
            self._templates[model.spins, ending] = template(model.spins, self.angles, ending)
        circuit = self._templates[model.spins, ending]
        values = circuit.values(h.reshape(-1, model.spins), J.repeat(model.models, axis=0))
        yield from _shares(circuit, values, self.threads, limit)

    def _call(self, pieces: list[tuple[Template, np.ndarray]], shots: int, seed: int) -> list[Any]:
        """One call to Aer."""
        result = (
            self._aer()
            .run(
                [circuit.circuit for circuit, _ in pieces],
                parameter_binds=[
                    dict(zip(circuit.parameters, values.tolist(), strict=True)) for circuit, values in pieces
                ],
                shots=shots,
                seed_simulator=seed,
                max_parallel_experiments=self.threads,
                max_parallel_threads=self.threads,
                fusion_enable=False,
                runtime_parameter_bind_enable=not self._noisy(),
                statevector_sample_measure_opt=1,
            )
            .result()
        )
        if not result.success:
            models = sum(values.shape[1] for _, values in pieces)
            raise RuntimeError(f"Aer failed on {models} models of {pieces[0][0].spins} spins: {result.status}")
        return [experiment.data for experiment in result.results]

    def _samples(self, model: IsingModel, index: Tensor, weights: Tensor, shots: int, drawn_from: str) -> Samples:
        device = model.fields.device
        spins = configurations(index, model.spins).to(device)
        diagnostics = {"drawn_from": drawn_from, "calibration": self.calibration, **self.factors._asdict()}
        return Samples(spins, weights.to(device), shots, diagnostics)

    def _aer(self) -> Any:
        if self._backend is None:
            from qiskit_aer import AerSimulator

            self._backend = AerSimulator(method="statevector", precision="double")
        return self._backend

    def _noisy(self) -> bool:
        return getattr(getattr(self._backend, "options", None), "noise_model", None) is not None

    def _require_spins(self, model: IsingModel) -> None:
        require_spins(model, self.max_spins, "AerSampler", "raise max_spins (memory and time double with each spin)")


def _rows(counts: list[dict[str, int]], model: IsingModel, shots: int) -> tuple[Tensor, Tensor]:
    """Aer's histograms as configuration indices and weights, padded to one length with weight 0."""
    width = max((len(count) for count in counts), default=0)
    index = np.zeros((len(counts), width), dtype=np.int64)
    weights = np.zeros((len(counts), width))
    for row, count in enumerate(counts):
        index[row, : len(count)] = [int(key, 16) for key in count]
        weights[row, : len(count)] = list(count.values())
    shape = (model.groups, model.models, width)
    return torch.from_numpy(index).reshape(shape), torch.from_numpy(weights / shots).to(model.fields.dtype).reshape(
        shape
    )


def _shares(circuit: Template, values: np.ndarray, shares: int, limit: int) -> Iterator[tuple[Template, np.ndarray]]:
    """Consecutive models in so many shares, or more where one would be larger than the limit."""
    models = values.shape[1]
    largest = max(1, limit // (len(values) + 2**circuit.spins))
    for share in np.array_split(values, min(models, max(shares, -(-models // largest))), axis=1):
        yield circuit, share


def _processors() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _require_count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is {value!r}; give an integer of at least 1")
    return value
