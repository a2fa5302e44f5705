"""Which jobs a batch of models becomes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from json import dumps
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classical.ising import IsingModel
from quantum.calibration import Factors
from quantum.ibm.circuits import Anneal, Circuits
from quantum.ibm.device import Device
from quantum.ibm.estimate import quantum_seconds
from quantum.ibm.options import Options
from quantum.ibm.payload import Payload
from quantum.jobs.estimate import Estimate
from quantum.jobs.records import MICROSECONDS
from quantum.jobs.service import Request
from quantum.trotter import pairs

MOST_EXECUTIONS = 10_000_000
"""Shots times models in one job, by IBM's job limits."""

_SEED_BITS = 2**62 - 1
"""Bits of a seed that Aer takes."""

Work = list[tuple[Anneal, NDArray[np.float64], NDArray[np.intp]]]
"""Circuits, the values of their parameters (models, parameters), and which models these are."""


@dataclass(frozen=True, eq=False)
class Part:
    """A job, and whose it is.

    Args:
        request: for the driver.
        payload: what it posts.
        owners: models of every circuit, counted through the batch.
        estimate_us: what a processor would be charged, µs.
    """

    request: Request
    payload: Payload
    owners: tuple[NDArray[np.intp], ...]
    estimate_us: float


class Batches:
    """Makes jobs of batches.

    Args:
        circuits: of the sampler.
        factors: what multiplies fields and couplings.
        device: that runs them.
        options: of every job.
        models_per_job: most models in a job; by default as many as IBM takes.
        free: jobs are not charged.
    """

    def __init__(
        self,
        circuits: Circuits,
        factors: Factors,
        device: Device,
        options: Options,
        models_per_job: int | None,
        free: bool,
    ) -> None:
        if models_per_job is not None and (
            isinstance(models_per_job, bool) or not isinstance(models_per_job, int) or models_per_job < 1
        ):
            raise ValueError(f"models_per_job is {models_per_job!r}; give an integer of at least 1")
        self._circuits, self._factors, self._device, self._options = circuits, factors, device, options
        self._models_per_job, self._free = models_per_job, free

    def parts(self, model: IsingModel, shots: int, seeds: NDArray[np.int64]) -> list[Part]:
        """The jobs of a batch: one, unless it is larger than a job may be.

        Models with the same pairs coupled share a circuit, and all circuits share a job. What a group does not couple
        gets no gate, and so no noise.

        Args:
            model: fields and couplings as they are asked for.
            shots: of every model.
            seeds: (models of all groups).

        Raises:
            ValueError: more shots than one job takes.
        """
        executed = self._options.executed(shots)
        if executed > MOST_EXECUTIONS:
            raise ValueError(f"shots is {shots}, but a job of IBM's takes at most {MOST_EXECUTIONS} executions")
        most = MOST_EXECUTIONS // executed
        if self._models_per_job is not None:
            most = min(most, self._models_per_job)
        return [self._part(work, model.spins, shots, executed, seeds) for work in _divided(self._work(model), most)]

    def estimate(self, models: int, spins: int, shots: int) -> Estimate:
        """What a batch of models with all pairs coupled would be charged.

        Args:
            models: how many.
            spins: of each.
            shots: of each.
        """
        if models == 0:
            return Estimate()
        anneal = self._circuits.anneal(spins, np.arange(len(pairs(spins)[0])))
        executed = self._options.executed(shots)
        most = min(self._models_per_job or models, MOST_EXECUTIONS // executed)
        counts = [most] * (models // most) + [models % most] * bool(models % most)
        seconds = {n: quantum_seconds(self._device, [(anneal.facts, n)], executed) for n in {1, *counts}}
        total = sum(seconds[n] for n in counts)
        return Estimate(models, len(counts), max(counts), total, models * seconds[1])

    def _work(self, model: IsingModel) -> Work:
        fields = model.fields.detach().double().cpu().numpy() * self._factors.field_factor
        rows, columns = pairs(model.spins)
        couplings = model.couplings.detach().double().cpu().numpy()[:, rows, columns] * self._factors.coupling_factor
        present = [np.flatnonzero(J) for J in couplings]
        order = sorted(range(model.groups), key=lambda group: present[group].tobytes())
        work = []
        for _, run in groupby(order, key=lambda group: present[group].tobytes()):
            groups = sorted(run)
            anneal = self._circuits.anneal(model.spins, present[groups[0]])
            h = fields[groups].reshape(-1, model.spins)
            values = anneal.template.values(h, couplings[groups].repeat(model.models, axis=0))
            owners = np.array(groups, dtype=np.intp)[:, None] * model.models + np.arange(model.models)
            work.append((anneal, np.ascontiguousarray(values.T), owners.reshape(-1)))
        return work

    def _part(self, work: Work, spins: int, shots: int, executed: int, seeds: NDArray[np.int64]) -> Part:
        owners = tuple(which for _, _, which in work)
        mixed = sha256(np.ascontiguousarray(seeds[np.concatenate(owners)], dtype="<i8").tobytes()).digest()
        content = self._options.content
        payload = Payload(
            tuple((anneal, values) for anneal, values, _ in work),
            spins,
            shots,
            content,
            int.from_bytes(mixed[:8], "little") & _SEED_BITS,
        )
        described: dict[str, Any] = {
            "format": 1,
            "backend": self._device.name,
            "variant": self._device.variant,
            "circuits": [anneal.description for anneal, _, _ in work],
            "values": [sha256(values.astype("<f8").tobytes()).hexdigest() for _, values, _ in work],
            "models": payload.models,
            "shots": shots,
            "mode": self._options.mode,
            "options": content,
            "seeds": mixed.hex(),
        }
        digest = sha256(dumps(described, sort_keys=True).encode()).hexdigest()
        loads = [(anneal.facts, len(values)) for anneal, values, _ in work]
        estimate = quantum_seconds(self._device, loads, executed) * MICROSECONDS
        charged = 0.0 if self._free else estimate
        request = Request(digest, payload, sum(payload.models), shots, spins, charged)
        return Part(request, payload, owners, estimate)


def _divided(work: Work, most: int) -> Iterator[Work]:
    """Work in jobs of at most so many models, in order."""
    job: Work = []
    room = most
    for anneal, values, owners in work:
        start = 0
        while start < len(values):
            count = min(room, len(values) - start)
            job.append((anneal, values[start : start + count], owners[start : start + count]))
            start, room = start + count, room - count
            if not room:
                yield job
                job, room = [], most
    if job:
        yield job
