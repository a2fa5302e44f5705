"""Ising models on IBM's processors, with the user's own account; or on simulators, through the same client."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from classical.ising import IsingModel
from classical.random import model_seeds
from classical.sampler import Seed, require_shots, require_spins
from classical.samples import Samples
from quantum.calibration import calibrate, resolve_calibration
from quantum.checks import positive_number
from quantum.design_range import RangeCheck
from quantum.ibm.access import Access
from quantum.ibm.answer import Bits, unpacked
from quantum.ibm.batch import Batches
from quantum.ibm.circuits import Circuits
from quantum.ibm.gather import gathered
from quantum.ibm.options import Options
from quantum.ibm.payload import Payload, Primitive
from quantum.jobs.driver import run
from quantum.jobs.estimate import Estimate
from quantum.jobs.journal import Journal, passing_journal
from quantum.jobs.service import Answer, Request
from quantum.jobs.terms import Terms
from quantum.schedule import AnnealSchedule

SETTLE = 30.0
"""Seconds after which a job without a reply is found by its tag if it was accepted."""

IN_FLIGHT = 3
"""Jobs that wait at the service at a time; what IBM's open plan allows."""


class IBMSampler:
    """Samples of a Trotterized anneal, measured by one of IBM's processors.

    P(s) = |⟨s| Π_k exp(iθ_k ΣX) exp(i[a_k Σ h' s + b_k Σ J' s s]) |+⟩|²

    with h' = field_factor · h and J' = coupling_factor · J (`quantum.calibration`), as far as the processor is without
    noise. The circuit is compiled once for each number of spins (and pattern of couplings that are not zero), with its
    angles left open; all models of a batch are parameters of that circuit in one job. Every job is written to a journal
    before it is posted, and is never paid for twice.

    A backend that is an object and none of IBM's cloud, such as an `AerSimulator` or a fake backend, runs here, for
    nothing. Its samples follow from the seeds of the batch together: with a seed for every model, samples still depend
    on what else is in the batch. A processor takes no seed: there `seed` only tells jobs apart, so that another seed is
    another job and the same one is answered by the journal.

    Args:
        backend: a name; a Qiskit `BackendV2`; or None for the least busy processor (give a name where a journal is to
            be resumed).
        schedule: the anneal; by default the preset of 4 steps, the shortest that ships.
        steps: Trotter steps K; may be left out for a schedule given by angles.
        calibration: a name in `quantum.calibration.CALIBRATIONS`; by default "two-beta", and "none" for designed
            schedules, which take no other.
        service: a `QiskitRuntimeService`; by default one with the user's own account, from its environment and files.
        mode: "job", "batch", or "session" (the processor is reserved and charged by the clock, idle or not; the
            journal's charges are then those of the jobs alone).
        twirling: True twirls gates and measurements; a dictionary holds fields of IBM's `TwirlingOptions`.
        dynamical_decoupling: True, or "XX", "XpXm" or "XY4". Without effect on simulators.
        optimization_level: of Qiskit's transpiler, 0 … 3.
        seed_transpiler: of its random choices.
        initial_layout: the qubit where each spin starts; by default the transpiler chooses.
        models_per_job: most models in a job; by default as many as IBM takes.
        max_execution_time: whole seconds of QPU time after which the service stops a job, a bound that no estimate
            gives; None for the service's own.
        journal: where jobs and answers are kept; by default a file that lasts as long as the sampler.
        budget: most QPU time that all jobs of the journal may come to, seconds (`quantum.ibm.estimate`); None for no
            limit.
        replay: take answers from the journal alone; nothing is posted, and nothing is asked of IBM.
        settle: seconds after which a job without a reply is found by its tag if it was accepted.
        in_flight: most jobs that wait at the service at a time.
        primitive: takes the place of `qiskit_ibm_runtime.executor_sampler.Sampler`.

    Raises:
        ImportError: qiskit-ibm-runtime is not installed; names the extra.
        ValueError: no credentials, a backend that is not there, or any other argument that makes no sense, with what
            to give instead.
        QPUError: the service cannot be reached.

    Reference:
        IBM Quantum documentation, "Job limits" and "Workload usage".
    """

    def __init__(
        self,
        backend: Any = None,
        schedule: AnnealSchedule | None = None,
        steps: int | None = None,
        calibration: str | None = None,
        *,
        service: Any = None,
        mode: str = "job",
        twirling: bool | dict[str, Any] = False,
        dynamical_decoupling: bool | str = False,
        optimization_level: int = 3,
        seed_transpiler: int = 0,
        initial_layout: Sequence[int] | None = None,
        models_per_job: int | None = None,
        max_execution_time: int | None = None,
        journal: Journal | None = None,
        budget: float | None = None,
        replay: bool = False,
        settle: float = SETTLE,
        in_flight: int = IN_FLIGHT,
        primitive: Primitive | None = None,
    ) -> None:
        if replay and journal is None:
            raise ValueError("replay is True, but there is no journal to replay; give one")
        if isinstance(in_flight, bool) or not isinstance(in_flight, int) or in_flight < 1:
            raise ValueError(f"in_flight is {in_flight!r}; give an integer of at least 1")
        self.budget = None if budget is None else positive_number("budget", budget)
        if self.budget is not None and mode == "session":
            raise ValueError(
                f"budget is {budget!r}, but a session is charged by the clock, which no estimate of jobs bounds; use "
                "mode='job' or 'batch'"
            )
        self.schedule = AnnealSchedule.preset(4) if schedule is None else schedule
        self.calibration = resolve_calibration(self.schedule, calibration)
        self.factors = calibrate(self.schedule, steps, self.calibration)
        self._check_range = RangeCheck(self.schedule.design)
        self.mode = mode
        options = Options.of(mode, twirling, dynamical_decoupling, max_execution_time)
        if replay:
            assert journal is not None
            self._access = Access.replayed(journal, backend)
        else:
            self._access = Access.open(backend, service, mode, primitive)
        try:
            self.device = self._access.device
            self._settle = 0.0 if self._access.local else positive_number("settle", settle)
            self._in_flight = in_flight
            self._lasting = journal is not None
            self.journal = passing_journal(self) if journal is None else journal
            self._circuits = Circuits(
                self.schedule,
                steps,
                self.device,
                self._access.backend,
                self.journal,
                optimization_level=optimization_level,
                seed_transpiler=seed_transpiler,
                initial_layout=initial_layout,
            )
            self._batches = Batches(
                self._circuits, self.factors, self.device, options, models_per_job, free=self._access.local
            )
        except BaseException:
            self._access.close()  # the caller gets no sampler to close
            raise

    @property
    def max_spins(self) -> int:
        """Most spins of a model: as many as the backend has qubits that are connected with each other."""
        return self.device.connected

    def sample(self, model: IsingModel, *, shots: int = 256, seed: Seed = 0) -> Samples:
        """Draw `shots` configurations for every model of the batch.

        Args:
            model: fields (groups, models, spins) and couplings (groups, spins, spins).
            shots: configurations per model, at least 1.
            seed: an integer, or int64 (groups, models).

        Returns:
            Distinct outcomes with weight occurrences/shots, padded with weight 0. The diagnostics hold the backend,
            the calibration, for every group its circuit (`CircuitFacts`: depth, two-qubit gates, qubits), and for every
            model (groups, models) the id of its job, and its share of what that job was charged and was expected to be
            charged on a processor, in µs.

        Raises:
            ValueError: shots below 1 or more than a job takes, a seed of the wrong shape, more spins than `max_spins`,
                or a layout for another number of spins.
            QPUError: the service failed; see `quantum.jobs.errors` for what that means.
        """
        require_shots(shots)
        require_spins(model, self.max_spins, f"IBMSampler on {self.device.name}", "choose a larger backend")
        self._check_range(model)
        seeds = model_seeds(seed, model.groups, model.models, device="cpu").numpy().reshape(-1)
        parts = self._batches.parts(model, shots, seeds)
        if self._access.connection is not None:
            self.device.remember(self.journal)
            self._circuits.remember()
        terms = Terms("sampling", self.budget, self._in_flight, self._settle, cancel=not self._lasting)
        results = run(self._access.connection, [part.request for part in parts], self.journal, _read, terms)
        drawn = gathered(results, parts, model, shots)
        drawn.diagnostics.update(
            drawn_from="measurement",
            backend=self.device.name,
            local=self._access.local,
            calibration=self.calibration,
            **self.factors._asdict(),
        )
        return drawn

    def estimate(self, models: int, spins: int, shots: int, *, calibrated: bool = True) -> Estimate:
        """What sampling would be charged on a processor; nothing is submitted. Good to a factor of two.

        Args:
            models: how many.
            spins: of each.
            shots: of each.
            calibrated: takes part in no estimate here: calibrations of circuits cost nothing.

        Raises:
            ValueError: more spins than `max_spins`.
        """
        del calibrated
        if spins > self.max_spins:
            raise ValueError(f"spins is {spins}, but {self.device.name} holds at most {self.max_spins}; use fewer")
        return self._batches.estimate(models, spins, shots)

    def close(self) -> None:
        """Close the batch or session that was opened here; the service stays open."""
        self._access.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"IBMSampler({self.device.name!r}, {self.schedule!r}, calibration={self.calibration!r}, mode={self.mode!r})"
        )


def _read(answer: Answer, request: Request) -> list[Bits]:
    payload: Payload = request.payload
    return unpacked(answer.content, payload.models, payload.spins, payload.shots)
