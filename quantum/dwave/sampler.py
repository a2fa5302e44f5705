"""Ising models on D-Wave's processors, with the user's own credentials."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import torch

from classical.ghost_spin import with_ghost
from classical.ising import IsingModel
from classical.random import derive_seeds, model_seeds
from classical.sampler import Seed, require_shots, require_spins
from classical.samples import Samples
from quantum.checks import positive_number
from quantum.dwave.anneal import choose_anneal
from quantum.dwave.calibration import (
    Temperatures,
    fitted_temperatures,
    require_calibration,
    tabulated_temperatures,
)
from quantum.dwave.connection import Connection
from quantum.dwave.credentials import find_solver, open_client
from quantum.dwave.driver import run_all
from quantum.dwave.embedding import choose_chain_strength, find_embedding, largest_clique, verified
from quantum.dwave.encode import ANSWER_MODES, Run, Submission, encode
from quantum.dwave.fields import choose_fields, require_named
from quantum.dwave.gather import gathered
from quantum.dwave.layout import Layout, lay_out
from quantum.dwave.precision import CONTROL_ERROR, programmed_values, warn_where_drowned
from quantum.dwave.reads import no_reversal, spin_reversal, split_reads
from quantum.dwave.solver_limits import SolverLimits
from quantum.schedule import AnnealSchedule

FLUX_BIAS = 0.005
"""Φ₀ on a pinned qubit, what D-Wave's own composite uses: a bias of about 12 in units of h at freeze-out."""

IN_FLIGHT = 200
"""Problems that wait at the service at a time; it rejects more than 1,000 of one user's."""

_CALIBRATION_SEED = 11


class DWaveSampler:
    """Samples of a quantum annealer in D-Wave's cloud.

    P(s) ≈ exp(Σ_j h_j s_j + Σ_{j<k} J_jk s_j s_k) / Z, as far as the processor's law is Boltzmann's at (β_h, β_J), by
    which fields and couplings are divided. Values outside the solver's ranges are refused; nothing is clipped or
    rescaled. A processor takes no seed: `seed` decides which spins are turned over, breaks ties of chains and marks
    submissions.

    Every model is a submission of its own, or several where its reads do not fit one.

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

    Raises:
        ValueError: no credentials, a solver that is not there, an anneal that it does not have, a duration outside its
            range, or any other argument that makes no sense, with what to give instead.
        DWaveError: the service cannot be reached.

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
    ) -> None:
        if isinstance(spin_reversals, bool) or not isinstance(spin_reversals, int) or spin_reversals < 0:
            raise ValueError(f"spin_reversals is {spin_reversals!r}; give an integer of at least 0")
        if answer_mode not in ANSWER_MODES:
            raise ValueError(f"answer_mode is {answer_mode!r}; choose one of {', '.join(ANSWER_MODES)}")
        if not isinstance(solver, str | None) and not hasattr(solver, "properties"):
            raise ValueError(f"solver is {solver!r}; give a name, a solver of dwave.cloud.Client, or None")
        require_shots(calibration_shots)
        self.control_error = positive_number("control_error", control_error)
        self._own_client = None
        if isinstance(solver, str | None) and client is None:
            client = self._own_client = open_client()
        try:
            if isinstance(solver, str | None):
                solver = find_solver(client, solver)
            self._client = solver.client if client is None else client
            self.limits = SolverLimits.of(solver)
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
            self._embedding = None if embedding is None else verified(embedding, self.limits)
            self._most_reads = self.limits.most_reads(self.anneal.annealing_time)
            self._layouts: dict[int, Layout] = {}
            self._temperatures: dict[int, Temperatures] = {}
            self.connection = Connection(self._client, solver)
        except BaseException:
            # the caller gets no sampler to close
            if self._own_client is not None:
                self._own_client.close(wait=False)
            raise

    @cached_property
    def max_spins(self) -> int:
        """Most spins of a model: as many as are embedded or can be, less one where fields take one."""
        held = largest_clique(self.limits) if self._embedding is None else self._embedding.spins
        return held - self._fields.extra

    def sample(self, model: IsingModel, *, shots: int = 256, seed: Seed = 0) -> Samples:
        """Draw `shots` configurations for every model of the batch.

        Args:
            model: fields (groups, models, spins) and couplings (groups, spins, spins), in units of the temperature.
            shots: configurations per model, at least 1; more than one submission takes are split.
            seed: an integer, or int64 (groups, models).

        Returns:
            Rows as they were read, with weight occurrences/shots, padded with weight 0. The diagnostics hold solver,
            anneal, temperatures, embedding, programmed values, and for every model (groups, models) the share of
            broken chains, ⟨Z⟩ of an ancilla, problem ids and the QPU access time that was charged, in µs.

        Raises:
            ValueError: shots below 1, a seed of the wrong shape, more spins than `max_spins`, fields that the anneal
                does not take, values outside the solver's ranges, or a calibration that gives no temperatures.
            DWaveError: the service failed; see `quantum.dwave.errors` for what that means.
        """
        require_shots(shots)
        seeds = model_seeds(seed, model.groups, model.models, "cpu")
        self._require_spins(model.spins)
        require_named(self.field, self.anneal, model)
        detached = IsingModel(model.fields.detach().double().cpu(), model.couplings.detach().double().cpu())
        beta = self.temperatures(model.spins)
        submissions, owners = self._encoded(
            detached.scaled(*self._fields.factors(beta.field, beta.coupling)), shots, seeds
        )
        values = programmed_values(submissions, self._fields.extra, self.control_error)
        warn_where_drowned(values, self.limits.name)
        results = run_all(self.connection, submissions, IN_FLIGHT)
        drawn = gathered(results, owners, (model.groups, model.models), shots, self._fields)
        layout = self._layout(model.spins)
        drawn.diagnostics.update(
            solver=self.limits.name,
            graph_id=self.limits.graph_id,
            anneal=self.anneal,
            field=self.field,
            temperatures=beta,
            embedding=layout.embeddings[0],
            chain_strength=self.chain_strength,
            programmed=values,
            submissions=len(submissions),
        )
        weights = drawn.weights.to(model.fields.device, model.fields.dtype)
        return Samples(drawn.spins.to(model.fields.device), weights, shots, drawn.diagnostics)

    def temperatures(self, spins: int) -> Temperatures:
        """β_h and β_J for models of a number of spins; under "fit" the first call submits a calibration batch.

        Args:
            spins: of the models.

        Raises:
            ValueError: a calibration that gives no temperatures, or chains that its table does not hold for.
            DWaveError: the service failed.
        """
        self._require_spins(spins)
        if spins not in self._temperatures:
            self._temperatures[spins] = self._calibrated(spins)
        return self._temperatures[spins]

    def close(self) -> None:
        """Close the connection, and the client if it was opened here."""
        self.connection.close()
        if self._own_client is not None:
            self._own_client.close(wait=False)

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

    def _require_spins(self, spins: int) -> None:
        # the largest clique takes a search of the whole graph; a layout that is there already needs none
        if spins in self._layouts:
            return
        blank = IsingModel(torch.zeros(1, 1, spins), torch.zeros(1, spins, spins))
        require_spins(blank, self.max_spins, f"DWaveSampler on {self.limits.name}", "choose a larger processor")

    def _layout(self, spins: int) -> Layout:
        if spins not in self._layouts:
            held = spins + self._fields.extra
            whole = self._embedding
            if whole is None:
                embedding = find_embedding(held, self.limits)
            else:
                # the spin that stands for fields has the last chain, whatever the model's size
                own = whole.chains[:spins] + whole.chains[whole.spins - self._fields.extra :]
                embedding = verified(own, self.limits)
            self._layouts[spins] = lay_out([embedding], self.limits)
        return self._layouts[spins]

    def _calibrated(self, spins: int) -> Temperatures:
        if self.calibration == "hand":
            assert self.beta is not None
            return Temperatures(*self.beta, "hand")
        if self.calibration == "table":
            assert self.schedule is not None
            return tabulated_temperatures(self.schedule, self._layout(spins).longest_chain)
        return fitted_temperatures(spins, self.field is not None, self.beta, self._probe)

    def _probe(self, programmed: IsingModel) -> tuple[Samples, IsingModel]:
        """Samples of models as they are programmed, and the models whose temperatures they show."""
        seeds = derive_seeds(_CALIBRATION_SEED, torch.arange(programmed.groups))[:, None]
        submissions, owners = self._encoded(programmed, self.calibration_shots, seeds)
        results = run_all(self.connection, submissions, IN_FLIGHT)
        drawn = gathered(results, owners, (programmed.groups, 1), self.calibration_shots, self._fields)
        if self._fields.name != "ghost":
            return drawn, programmed
        # relative to the ghost it is always up, and turning all spins over changes nothing
        up = torch.ones_like(drawn.spins[..., :1])
        return Samples(torch.cat([drawn.spins, up], -1), drawn.weights, drawn.shots), with_ghost(programmed)

    def _encoded(self, programmed: IsingModel, shots: int, seeds: torch.Tensor) -> tuple[list[Submission], list[int]]:
        """Submissions for every model, already divided by its temperatures, and whose they are."""
        layout = self._layout(programmed.spins)
        chip = self._fields.programmed(programmed)
        h, J = chip.fields[:, 0].numpy(), chip.couplings.numpy()
        pinned = chip.spins - 1 if self._fields.pinned else None
        submissions, owners = [], []
        parts = split_reads(shots, self._most_reads, max(1, self.spin_reversals))
        for row, one in enumerate(seeds.flatten().tolist()):
            for part, reads in enumerate(parts):
                turned = self.spin_reversals > 0
                gauge = spin_reversal(one, part, chip.spins) if turned else no_reversal(chip.spins)
                where = slice(row, row + 1)
                submissions.append(
                    encode(
                        layout, h[where], J[where], self._run, reads=reads, gauge=gauge, pinned=pinned, key=(one, part)
                    )
                )
                owners.append(row)
        return submissions, owners
