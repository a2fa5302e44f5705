"""Ising models on D-Wave's processors, with the user's own credentials."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from classical.ghost_spin import with_ghost
from classical.ising import IsingModel
from classical.random import derive_seeds, model_seeds
from classical.sampler import Seed, require_shots
from classical.samples import Samples
from quantum.checks import positive_number
from quantum.dwave.access import Access
from quantum.dwave.anneal import choose_anneal
from quantum.dwave.batch import Packed, pack_batch, timed, timing_model
from quantum.dwave.calibration import (
    Temperatures,
    fitted_temperatures,
    require_calibration,
    tabulated_temperatures,
)
from quantum.dwave.decode import Readout, decode
from quantum.dwave.embedding import Embedding, choose_chain_strength
from quantum.dwave.encode import ANSWER_MODES, Run
from quantum.dwave.estimate import Costs
from quantum.dwave.fields import choose_fields, require_named
from quantum.dwave.gather import gathered
from quantum.dwave.placement import Placement
from quantum.dwave.precision import CONTROL_ERROR, programmed_values, warn_where_drowned, warn_where_unpolarised
from quantum.dwave.solver_limits import SolverLimits
from quantum.jobs.driver import run
from quantum.jobs.estimate import Estimate
from quantum.jobs.journal import Journal, passing_journal
from quantum.jobs.service import Answer, Request, Service
from quantum.jobs.terms import IN_FLIGHT, Result, Terms
from quantum.schedule import AnnealSchedule

FLUX_BIAS = 0.005
"""Φ₀ on a pinned qubit, what D-Wave's own composite uses: a bias of about 12 in units of h at freeze-out."""

_CALIBRATION_SEED = 11


class DWaveSampler:
    """Samples of a quantum annealer in D-Wave's cloud.

    P(s) ≈ exp(Σ_j h_j s_j + Σ_{j<k} J_jk s_j s_k) / Z, as far as the processor's law is Boltzmann's at (β_h, β_J), by
    which fields and couplings are divided. Values outside the solver's ranges are refused; nothing is clipped or
    rescaled. A processor takes no seed: `seed` decides which spins are turned over, breaks ties of chains and marks
    submissions.

    Models of a batch stand side by side on the chip, as many in a submission as fit; reads beyond what one submission
    takes are split. Every submission is written to a journal before it is posted, and is never paid for twice.

    Args:
        solver: a solver's name, a solver of `dwave.cloud.Client`, or None for the one that the configuration names, or
            else the least busy.
        client: a `dwave.cloud.Client`, which stays open; by default one from the user's own environment and
            configuration files, closed by `close`.
        anneal: "fast" (diabatic, nanoseconds, no linear biases) or "standard".
        duration: of an anneal, nanoseconds; by default the shortest fast one, or the solver's default standard one.
        field: how fields are given: "native" linear biases (standard anneals), "ancilla" (couplings to a spin that flux
            biases pin), "ghost" (couplings to a free spin that outcomes are multiplied by). By default native under
            standard anneals; under fast ones models with fields are then refused.
        calibration: "fit" (measured on random models, once for each number of spins), "table" (from `schedule`, for
            embeddings without chains), or "hand" (`beta`).
        beta: (β_h, β_J) for "hand"; where to begin for "fit". β_h is that of fields as they are given: through an
            ancilla they may arrive at another temperature than linear biases.
        schedule: `AnnealSchedule.tabulated` with the processor's published A(s) and B(s) in GHz, of this duration.
        chain_strength: ferromagnetic coupling inside chains; by default the strongest of the solver's `j_range`.
        embedding: chains of qubits for every spin (and one more, the last, for "ancilla" and "ghost"); by default they
            are searched for.
        spin_reversals: over how many random choices of spins to turn over reads are spread, each a submission; 0 turns
            none over.
        answer_mode: "histogram" or "raw".
        flux_bias: on every qubit of a pinned spin, Φ₀.
        control_error: standard deviation of a programmed value, with which values are compared.
        calibration_shots: for each model of a calibration batch.
        copies: most models in a submission; by default as many as fit.
        journal: where submissions and answers are kept; by default a file that lasts as long as the sampler.
        budget: most QPU time that all submissions of the journal may come to, seconds; None for no limit.
        replay: take answers from the journal alone; nothing is submitted, and nothing is asked of D-Wave.
        in_flight: most submissions that wait at the service at a time.
        settle: seconds after which a submission without a reply is found by its label if it was accepted.
        service: takes the place of a connection to D-Wave, for the solver that is given.

    Raises:
        ValueError: no credentials, a solver that is not there, an anneal that it does not have, a duration outside its
            range, or any other argument that makes no sense, with what to give instead.
        QPUError: the service cannot be reached.

    Reference:
        D-Wave, "Solver properties and parameters"; for fast anneals A. D. King et al., Nature Physics 18, 1324 (2022).
    """

    def __init__(
        self,
        solver: Any = None,
        *,
        client: Any = None,
        anneal: str = "fast",
        duration: float | None = None,
        field: str | None = None,
        calibration: str = "fit",
        beta: tuple[float, float] | None = None,
        schedule: AnnealSchedule | None = None,
        chain_strength: float | None = None,
        embedding: Sequence[Sequence[int]] | None = None,
        spin_reversals: int = 1,
        answer_mode: str = "histogram",
        flux_bias: float = FLUX_BIAS,
        control_error: float = CONTROL_ERROR,
        calibration_shots: int = 500,
        copies: int | None = None,
        journal: Journal | None = None,
        budget: float | None = None,
        replay: bool = False,
        in_flight: int = IN_FLIGHT,
        settle: float = 10.0,
        service: Service | None = None,
    ) -> None:
        if isinstance(spin_reversals, bool) or not isinstance(spin_reversals, int) or spin_reversals < 0:
            raise ValueError(f"spin_reversals is {spin_reversals!r}; give an integer of at least 0")
        if answer_mode not in ANSWER_MODES:
            raise ValueError(f"answer_mode is {answer_mode!r}; choose one of {', '.join(ANSWER_MODES)}")
        if replay and journal is None:
            raise ValueError("replay is True, but there is no journal to replay; give one")
        require_shots(calibration_shots)
        self.control_error = positive_number("control_error", control_error)
        self.budget = None if budget is None else positive_number("budget", budget)
        if replay:
            assert journal is not None
            self._access = Access.replayed(journal, solver)
        else:
            self._access = Access.open(solver, client, service)
        try:
            self.limits = SolverLimits.of(self._access.solver)
            self.anneal = choose_anneal(anneal, duration, self.limits)
            self._fields = choose_fields(field, self.anneal, self.limits)
            self.field = self._fields.name if field or self.anneal.kind == "standard" else None
            self.calibration = calibration
            self.beta = require_calibration(calibration, beta, schedule, self.anneal)
            self.schedule = schedule
            self.spin_reversals = spin_reversals
            self.calibration_shots = calibration_shots
            self.chain_strength = choose_chain_strength(chain_strength, self.limits)
            flux = positive_number("flux_bias", flux_bias)
            self._run = Run(self.anneal, answer_mode, self.chain_strength, flux, spin_reversals > 0)
            self.placement = Placement(self.limits, self._fields.extra, embedding, copies)
            self._most_reads = self.limits.most_reads(self.anneal.annealing_time)
            self._estimate = timing_model(self._access.solver)
            self._temperatures: dict[int, tuple[Temperatures, ...]] = {}
            self._warned: set[str] = set()
            self._in_flight, self._settle, self._remembered = in_flight, settle, False
            self._lasting = journal is not None
            self.journal = passing_journal(self) if journal is None else journal
        except BaseException:
            self._access.close()  # the caller gets no sampler to close
            raise
        # a sampler that is dropped leaves no threads of a client behind
        self._closing = weakref.finalize(self, self._access.close)

    @property
    def connection(self) -> Service | None:
        """Where submissions go; None where they are only replayed."""
        return self._access.service

    @property
    def max_spins(self) -> int:
        """Most spins of a model: as many as are embedded or can be, less one where fields take one."""
        return self.placement.max_spins

    def sample(self, model: IsingModel, *, shots: int = 256, seed: Seed = 0) -> Samples:
        """Draw `shots` configurations for every model of the batch.

        Args:
            model: fields (groups, models, spins) and couplings (groups, spins, spins), in units of the temperature.
            shots: configurations per model, at least 1 and at most what the solver takes; what does not fit into the
                run time of one submission is split.
            seed: an integer, or int64 (groups, models).

        Returns:
            Rows as they were read, with weight occurrences/shots, padded with weight 0. The diagnostics hold solver,
            anneal, temperatures, embedding, programmed values, and for every model (groups, models) the share of
            broken chains, ⟨Z⟩ of an ancilla, problem ids and the QPU access time that was charged, in µs.

        Raises:
            ValueError: shots outside the solver's range, a seed of the wrong shape, more spins than `max_spins`, fields
                that the anneal does not take, values outside the solver's ranges, or a calibration that gives no
                temperatures.
            QPUError: the service failed; see `quantum.jobs.errors` for what that means.
        """
        require_shots(shots)
        self.limits.require_reads(shots)
        seeds = model_seeds(seed, model.groups, model.models, "cpu")
        self.placement.require(model.spins)
        require_named(self.field, self.anneal, model)
        detached = IsingModel(model.fields.detach().double().cpu(), model.couplings.detach().double().cpu())
        packed = self.packed(detached, shots, seeds)
        values = programmed_values([one.submission for one in packed], self._fields.extra, self.control_error)
        warn_where_drowned(values, self.limits.name, self._warned)
        drawn = gathered(self._run_all(packed, "sampling"), packed, (model.groups, model.models), shots, self._fields)
        warn_where_unpolarised(drawn.diagnostics["ancilla"], self.limits.name, self._warned)
        drawn.diagnostics.update(
            solver=self.limits.name,
            graph_id=self.limits.graph_id,
            anneal=self.anneal,
            field=self.field,
            temperatures=self.temperatures(model.spins),
            embeddings=_embeddings(packed),
            chain_strength=self.chain_strength,
            programmed=values,
            submissions=len(packed),
        )
        weights = drawn.weights.to(model.fields.device, model.fields.dtype)
        return Samples(drawn.spins.to(model.fields.device), weights, shots, drawn.diagnostics)

    def packed(self, model: IsingModel, shots: int, seeds: torch.Tensor) -> list[Packed]:
        """Submissions for models, divided by the temperatures of where they stand; nothing of them is submitted.

        Args:
            model: (groups, models, spins), float64.
            shots: of every model.
            seeds: int64, (groups, models).

        Raises:
            UnsuitableError: a value outside the solver's ranges, or a calibration that gives no temperatures.
            QPUError: the service failed at a calibration.
        """
        betas = self.temperatures_by_kind(model.spins)
        factors = np.array([self._fields.factors(one.field, one.coupling) for one in betas])
        shares = self.placement.shares(model.spins, model.groups * model.models)
        return self._pack(model, shots, seeds, shares, factors)

    def estimate(self, models: int, spins: int, shots: int, *, calibrated: bool = True) -> Estimate:
        """What sampling would be charged, by the solver's own timing model; nothing is submitted.

        Args:
            models: how many.
            spins: of each.
            shots: of each.
            calibrated: whether temperatures are known already, or the cost of measuring them is added.

        Raises:
            ValueError: more spins than `max_spins`.
        """
        self.placement.require(spins)
        time = self.anneal.annealing_time
        costs = Costs(self.placement, self._estimate, time, self._most_reads, self.spin_reversals)
        found = costs.batch(models, spins, shots)
        if calibrated or self.calibration != "fit":
            return found
        return found + costs.calibration(spins, self.calibration_shots, self.beta is not None)

    def temperatures(self, spins: int) -> Temperatures:
        """β_h and β_J for models of a number of spins, on the kind of copy that there is most of.

        Args:
            spins: of the models.

        Raises:
            ValueError: a calibration that gives no temperatures, or chains that its table does not hold for.
            QPUError: the service failed.
        """
        kinds = self.placement.kinds(spins)
        return self.temperatures_by_kind(spins)[max(set(kinds), key=kinds.count)]

    def temperatures_by_kind(self, spins: int) -> tuple[Temperatures, ...]:
        """β_h and β_J on every kind of copy (`Placement.kinds`); under "fit" the first call submits a batch.

        Args:
            spins: of the models.

        Raises:
            ValueError: as `temperatures`.
            QPUError: the service failed.
        """
        self.placement.require(spins)
        if spins not in self._temperatures:
            self._temperatures[spins] = self._calibrated(spins)
        return self._temperatures[spins]

    def close(self) -> None:
        """Close what was opened here; a journal or client that was given stays open."""
        self._closing()
        if not self._lasting:
            self.journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"DWaveSampler({self.limits.name!r}, anneal={self.anneal.kind!r}, duration={self.anneal.duration:g}, "
            f"field={self.field!r}, calibration={self.calibration!r})"
        )

    def _calibrated(self, spins: int) -> tuple[Temperatures, ...]:
        kinds = max(self.placement.kinds(spins)) + 1
        if self.calibration == "hand":
            assert self.beta is not None
            return (Temperatures(*self.beta, "hand"),) * kinds
        if self.calibration == "table":
            assert self.schedule is not None
            longest = max(one.longest for one in self.placement.embeddings(spins))
            return (tabulated_temperatures(self.schedule, longest),) * kinds
        return fitted_temperatures(spins, self.field is not None, self.beta, kinds, self._probe)

    def _probe(self, programmed: IsingModel, kinds: Sequence[int]) -> tuple[Samples, IsingModel]:
        """Samples of models as they are programmed on copies of some kinds, and whose temperatures they show."""
        seeds = derive_seeds(_CALIBRATION_SEED, torch.arange(programmed.groups))[:, None]
        shares = self.placement.shares_on(programmed.spins, kinds)
        as_they_are = np.ones((max(self.placement.kinds(programmed.spins)) + 1, 2))
        packed = self._pack(programmed, self.calibration_shots, seeds, shares, as_they_are)
        results = self._run_all(packed, "calibration")
        drawn = gathered(results, packed, (programmed.groups, 1), self.calibration_shots, self._fields)
        if self._fields.name != "ghost":
            return drawn, programmed
        # relative to the ghost it is always up, and turning all spins over changes nothing
        up = torch.ones_like(drawn.spins[..., :1])
        return Samples(torch.cat([drawn.spins, up], -1), drawn.weights, drawn.shots), with_ghost(programmed)

    def _pack(
        self,
        model: IsingModel,
        shots: int,
        seeds: torch.Tensor,
        shares: Sequence[tuple[int, ...]],
        factors: NDArray[np.float64],
    ) -> list[Packed]:
        return pack_batch(
            model,
            seeds,
            shots,
            shares,
            factors,
            placement=self.placement,
            fields=self._fields,
            run=self._run,
            most_reads=self._most_reads,
            reversals=self.spin_reversals,
        )

    def _run_all(self, packed: Sequence[Packed], purpose: str) -> list[Result[Readout]]:
        if not self._remembered:
            self._access.remember(self.journal)
            self._remembered = True
        requests = [timed(one, self._estimate, self.anneal.annealing_time) for one in packed]
        terms = Terms(purpose, self.budget, self._in_flight, self._settle, cancel=not self._lasting)
        return run(self.connection, requests, self.journal, _read, terms)


def _read(answer: Answer, request: Request) -> Readout:
    return decode(answer.content, request.payload)


def _embeddings(packed: Sequence[Packed]) -> list[Embedding]:
    """Of every model; all parts of a model have the same."""
    layouts = {one.first: one.submission.layout for one in packed}
    return [embedding for layout in layouts.values() for embedding in layout.embeddings]
