"""Samples of `DWaveSampler` against those that the loopback server drew, and against Boltzmann's law."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from classical import IsingModel, Samples
from classical.random import model_seeds
from quantum.dwave import DWaveSampler
from quantum.dwave.reads import no_reversal, spin_reversals
from tests.contract.case import batch
from tests.contract.laws import boltzmann
from tests.dwave.service import BETA, loopback_sampler, service, solver
from tests.statistics import chi_squared_p

WAYS = {
    "native": {"anneal": "standard"},
    "ancilla": {"anneal": "fast", "duration": 7, "field": "ancilla", "beta": (8.0, 8.0)},
    "ghost": {"anneal": "fast", "duration": 7, "field": "ghost"},
    "standard, ancilla": {"anneal": "standard", "field": "ancilla", "beta": (8.0, 8.0)},
}
"""Fields that are couplings arrive at β_J at this processor, whose law is Boltzmann's."""


def served(samples: Samples, sampler: DWaveSampler, spins: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """⟨s⟩ and ⟨s sᵀ⟩ of the server's own reads, with chains, reversals and fields undone one read at a time."""
    groups, models = samples.spins.shape[:2]
    seeds = model_seeds(seed, groups, models)
    mean = torch.zeros(groups, models, spins, dtype=torch.float64)
    second = torch.zeros(groups, models, spins, spins, dtype=torch.float64)
    for row, ids in enumerate(samples.diagnostics["problem_ids"]):
        g, m = divmod(row, models)
        chains = samples.diagnostics["embeddings"][row].chains
        total = 0
        for part, problem_id in enumerate(ids):
            job = service().account.jobs[problem_id]
            assert job.spins is not None
            n = len(chains)
            turned = spin_reversals(seeds[g, m][None], part, n) if sampler.spin_reversals else no_reversal(1, n)
            place = {qubit: i for i, qubit in enumerate(job.programmed.qubits.tolist())}
            for read in job.spins.tolist():
                s = []
                for spin, chain in enumerate(chains):
                    values = {read[place[qubit]] for qubit in chain}
                    assert len(values) == 1, "chains hold in this test"
                    s.append(values.pop() * int(turned[0, spin]))
                if sampler.field == "ancilla":
                    s = s[:-1]
                if sampler.field == "ghost":
                    s = [one * s[-1] for one in s[:-1]]
                vector = torch.tensor(s, dtype=torch.float64)
                mean[g, m] += vector
                second[g, m] += vector[:, None] * vector
                total += 1
        assert total == samples.shots
        mean[g, m] /= total
        second[g, m] /= total
    return mean, second


@pytest.mark.parametrize("reversals", [0, 1, 3])
@pytest.mark.parametrize("mode", ["raw", "histogram"])
@pytest.mark.parametrize("way", WAYS)
def test_moments_are_those_of_the_servers_own_samples(way: str, mode: str, reversals: int) -> None:
    sampler = loopback_sampler(**WAYS[way], answer_mode=mode, spin_reversals=reversals)
    model = batch(spins=5, groups=2, models=2, seed=3)
    samples = sampler.sample(model, shots=100, seed=4)
    embeddings = samples.diagnostics["embeddings"]
    assert len(embeddings) == 4
    assert max(one.longest for one in embeddings) > 1
    packed = len(sampler.placement.shares(5, 4))
    assert packed < 4  # some stand side by side
    assert samples.diagnostics["submissions"] == packed * max(1, reversals)
    mean, second = served(samples, sampler, 5, seed=4)
    torch.testing.assert_close(samples.mean(), mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(samples.second_moment(), second, rtol=0, atol=1e-12)
    assert bool((samples.diagnostics["broken_chains"] == 0).all())


def test_both_modes_hold_the_same_reads() -> None:
    model = batch(spins=4, seed=5)
    rows = {}
    for mode in ("raw", "histogram"):
        sampler = loopback_sampler(answer_mode=mode, spin_reversals=0)
        rows[mode] = sampler.sample(model, shots=200, seed=1)
        assert rows[mode].spins.shape[2] <= 200
    assert rows["raw"].spins.shape[2] == 200
    assert bool((rows["raw"].weights == 1 / 200).all())
    # which reads they are is the label's choice, and a mode is part of it: only each with its server's can be compared
    assert rows["histogram"].spins.shape[2] < 200


@pytest.mark.parametrize("name", ["Loopback_pegasus2", "Loopback_zephyr2"])
@pytest.mark.parametrize("way", WAYS)
def test_samples_follow_the_model(way: str, name: str) -> None:
    options: dict[str, Any] = {"calibration": "hand", "beta": BETA, "control_error": 1e-3, **WAYS[way]}
    model = batch(spins=4, seed=2)
    for reversals in (0, 2):
        sampler = DWaveSampler(solver(name), **options, spin_reversals=reversals)
        assert chi_squared_p(sampler.sample(model, shots=5_000, seed=1), boltzmann(model)) > 1e-5


def test_more_reads_than_a_submission_takes_are_split() -> None:
    sampler = loopback_sampler(duration=400_000, spin_reversals=1)  # 0.4 ms, of which 2,497 fit a second
    model = batch(spins=3, groups=1, models=2, seed=7)
    samples = sampler.sample(model, shots=5_000, seed=1)
    jobs = [[service().account.jobs[i].reads for i in ids] for ids in samples.diagnostics["problem_ids"]]
    assert jobs == [[1667, 1667, 1666]] * 2
    assert samples.shots == 5_000
    assert chi_squared_p(samples, boltzmann(model)) > 1e-5


def test_what_was_charged_is_reported() -> None:
    before = service().account.bill
    samples = loopback_sampler().sample(batch(), shots=50, seed=11)
    assert float(samples.diagnostics["qpu_access_time"].sum()) == pytest.approx(
        service().account.bill - before, abs=1e-6
    )


def test_flux_biases_turn_over_with_their_spin() -> None:
    sampler = loopback_sampler(**WAYS["ancilla"], spin_reversals=8)
    samples = sampler.sample(batch(spins=3, groups=1, models=1), shots=80, seed=1)
    signs = set()
    for problem_id in samples.diagnostics["problem_ids"][0]:
        flux = service().account.jobs[problem_id].programmed.flux
        signs |= set(np.sign(flux[flux != 0]).tolist())
    assert signs == {-1.0, 1.0}
    assert float(samples.diagnostics["ancilla"]) == 1.0


def test_an_ancilla_that_is_not_polarised_is_reported() -> None:
    weak = loopback_sampler(**WAYS["ancilla"], flux_bias=2e-5)
    held = weak.sample(batch(spins=3, groups=1, models=2), shots=2_000, seed=1).diagnostics["ancilla"]
    assert held.shape == (1, 2)
    assert bool((held < 0.9).all())
    assert loopback_sampler(field="ghost").sample(batch(), shots=9).diagnostics["ancilla"] is None


def test_broken_chains_are_counted_and_read_by_majority() -> None:
    sampler = loopback_sampler(chain_strength=0.05)
    samples = sampler.sample(batch(spins=5, groups=1, models=2), shots=500, seed=1)
    broken = samples.diagnostics["broken_chains"]
    expected = []
    for ids, embedding in zip(samples.diagnostics["problem_ids"], samples.diagnostics["embeddings"], strict=True):
        job = service().account.jobs[ids[0]]
        assert job.spins is not None
        place = {qubit: i for i, qubit in enumerate(job.programmed.qubits.tolist())}
        chains = [[place[qubit] for qubit in chain] for chain in embedding.chains]
        split = [len(set(read[chain].tolist())) > 1 for read in job.spins for chain in chains]
        expected.append(np.mean(split))
    torch.testing.assert_close(broken, torch.tensor([expected], dtype=torch.float64))
    assert bool((broken > 0.02).all())


def test_a_batch_of_many_models_comes_back_in_order() -> None:
    fields = torch.linspace(-1.5, 1.5, 60, dtype=torch.float64).reshape(3, 20, 1)
    model = IsingModel(fields, torch.zeros(3, 1, 1, dtype=torch.float64))
    samples = loopback_sampler().sample(model, shots=400, seed=1)
    error = (samples.mean() - fields.tanh()).abs() / ((1 - fields.tanh() ** 2) / 400).sqrt()
    assert float(error.max()) < 5
