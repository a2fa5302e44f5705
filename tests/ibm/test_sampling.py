"""Samples of IBM's client on simulators and fake backends: their law, their seeds, and how many jobs they take."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from classical import IsingModel
from hybrid_attention import BoltzmannAttention
from quantum import AerSampler, AnnealSchedule
from quantum.ibm import IBMSampler
from quantum.ibm.options import Options
from tests.contract import anneal
from tests.contract.case import batch
from tests.statistics import chi_squared_p

pytest.importorskip("qiskit_ibm_runtime", reason='needs qiskit-ibm-runtime: pip install "hybrid-attention[ibm]"')

LINEAR = AnnealSchedule.linear(6.0)
PRESET = AnnealSchedule.preset(4)
SHOTS = 4096


def simulator() -> Any:
    from qiskit_aer import AerSimulator

    return AerSimulator(max_parallel_threads=1)  # tests run side by side


def manila() -> Any:
    from qiskit_ibm_runtime.fake_provider import FakeManilaV2

    return FakeManilaV2()


def clean_manila() -> Any:
    """That device's couplings and gates without its errors."""
    from qiskit_aer import AerSimulator

    backend = AerSimulator.from_backend(manila())
    backend.set_options(noise_model=None, max_parallel_threads=1)
    return backend


def jakarta() -> Any:
    from qiskit_ibm_runtime.fake_provider import FakeJakartaV2

    return FakeJakartaV2()


@pytest.mark.parametrize(("schedule", "steps", "calibration"), [(LINEAR, 6, "two-beta"), (LINEAR, 4, "one-beta")])
def test_without_noise_samples_follow_the_law_of_the_circuit(
    schedule: AnnealSchedule, steps: int, calibration: str
) -> None:
    sampler = IBMSampler(simulator(), schedule, steps, calibration)
    model = batch(spins=5, groups=2, models=3)
    assert chi_squared_p(sampler.sample(model, shots=SHOTS, seed=3), anneal(schedule, steps, calibration)(model)) > 1e-5


def test_a_circuit_compiled_for_a_line_of_qubits_has_the_same_law() -> None:
    # routing must not mix up spins
    sampler = IBMSampler(clean_manila(), LINEAR, 3)
    model = batch(spins=5, groups=1, models=4, field=1.0)
    drawn = sampler.sample(model, shots=SHOTS, seed=5)
    assert drawn.diagnostics["circuits"][0].two_qubit_gates > 2 * 3 * 10  # with swaps
    assert chi_squared_p(drawn, anneal(LINEAR, 3)(model)) > 1e-5


def test_bit_i_is_spin_i_and_bit_zero_is_up() -> None:
    strong = torch.tensor([[[3.0, -3.0, 3.0, -3.0, -3.0]]], dtype=torch.float64)
    model = IsingModel(strong, torch.zeros(1, 5, 5, dtype=torch.float64))
    for backend in (simulator(), manila()):
        mean = IBMSampler(backend, LINEAR, 6).sample(model, shots=500).mean()
        assert torch.equal(mean.sign(), strong.sign())


def test_groups_with_other_pairs_coupled_get_circuits_of_their_own_in_one_job() -> None:
    model = batch(spins=4, groups=3, models=2)
    couplings = model.couplings.clone()
    couplings[1] = 0.0
    couplings[1, 0, 3] = 0.8
    model = IsingModel(model.fields, couplings)
    drawn = IBMSampler(simulator(), LINEAR, 4).sample(model, shots=SHOTS, seed=1)
    assert chi_squared_p(drawn, anneal(LINEAR, 4)(model)) > 1e-5
    gates = [facts.two_qubit_gates for facts in drawn.diagnostics["circuits"]]
    assert gates == [24, 4, 24]
    assert drawn.diagnostics["jobs"] == 1


def test_six_spins_on_a_noisy_device(record_property: Callable[[str, object], None]) -> None:
    model = batch(spins=6, groups=1, models=8)
    law = AerSampler(PRESET).probabilities(model)
    backend = jakarta()
    drawn = IBMSampler(backend, PRESET).sample(model, shots=SHOTS, seed=1)
    distance = (drawn.frequencies() - law).abs().sum(-1) / 2
    mean, error = float(distance.mean()), float(distance.std() / math.sqrt(model.models))
    record_property("total variation", f"{mean:.3f} ± {error:.3f}")
    # E|n/N − p| ≤ √(p/N), so chance alone gives at most ½ Σ √(p/N) ≤ ½ √(64/N)
    chance = 0.5 * math.sqrt(2**model.spins / SHOTS)
    clean = IBMSampler(simulator(), PRESET).sample(model, shots=SHOTS, seed=1)
    assert float(((clean.frequencies() - law).abs().sum(-1) / 2).mean()) < chance
    # noise is there, and does no more than if every error made the outcome worthless: 1 − Π (1 − ε)
    facts = drawn.diagnostics["circuits"][0]
    gate, read = (max(one.error for one in backend.target[name].values()) for name in ("cx", "measure"))
    worst = 1 - (1 - gate) ** facts.two_qubit_gates * (1 - read) ** model.spins
    assert chance + 5 * error < mean < worst + chance
    # and something of the anneal is left: closer to its law than guessing
    guess = (law - 1 / 2**model.spins).abs().sum(-1) / 2
    assert bool((distance < guess).all())


def test_sixty_four_models_are_one_job(record_property: Callable[[str, object], None]) -> None:
    model = batch(spins=4, groups=4, models=16)
    sampler = IBMSampler(simulator(), PRESET)
    drawn = sampler.sample(model, shots=64, seed=2)
    assert drawn.diagnostics["jobs"] == 1
    ids = {one for row in drawn.diagnostics["problem_ids"] for one in row}
    assert len(ids) == 1
    (job,) = sampler.journal.jobs()
    assert (job.models, job.reads, job.qubits, job.problem_id) == (64, 64, 4, ids.pop())
    sampler.sample(batch(spins=4, groups=4, models=16, seed=1), shots=64, seed=2)
    assert len(sampler.journal.jobs()) == 2
    assert drawn.diagnostics["estimated_us"].sum() >= 64 * 64 * 250  # what a processor waits between shots


def test_models_per_job_splits_a_batch_and_leaves_it_in_order() -> None:
    model = batch(spins=3, groups=2, models=5)
    sampler = IBMSampler(simulator(), LINEAR, 4, models_per_job=3)
    drawn = sampler.sample(model, shots=SHOTS, seed=2)
    assert [job.models for job in sampler.journal.jobs()] == [3, 3, 3, 1]
    assert drawn.diagnostics["jobs"] == 4
    assert chi_squared_p(drawn, anneal(LINEAR, 4)(model)) > 1e-5


@pytest.mark.parametrize("make", [simulator, manila], ids=["simulator", "fake device"])
def test_samples_follow_from_the_seed_alone(make: Callable[[], Any]) -> None:
    model = batch(spins=4, groups=1, models=1)
    first, again = (IBMSampler(make(), PRESET).sample(model, shots=100, seed=8) for _ in range(2))
    other = IBMSampler(make(), PRESET).sample(model, shots=100, seed=9)
    assert torch.equal(first.spins, again.spins)
    assert torch.equal(first.weights, again.weights)
    assert not torch.equal(first.frequencies(), other.frequencies())
    own = torch.tensor([[1]])
    drawn = [IBMSampler(make(), PRESET).sample(model, shots=100, seed=own + k).frequencies() for k in (0, 0, 5)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_twirling_leaves_the_law_where_there_is_no_noise() -> None:
    twirling = {"enable_gates": True, "enable_measure": True, "num_randomizations": 7}
    model = batch(spins=2, groups=1, models=2)
    drawn = IBMSampler(clean_manila(), LINEAR, 3, twirling=twirling).sample(model, shots=1000, seed=4)
    counts = drawn.weights * 1000
    assert torch.equal(counts.sum(-1).round(), torch.full((1, 2), 1000.0, dtype=torch.float64))
    assert float((counts - counts.round()).abs().max()) < 1e-9
    assert chi_squared_p(drawn, anneal(LINEAR, 3)(model)) > 1e-5


@pytest.mark.parametrize("twirls", ["auto", 1, 7, 40])
@pytest.mark.parametrize("each", ["auto", 1, 64])
def test_twirled_shots_are_counted_as_ibm_counts_them(twirls: int | str, each: int | str) -> None:
    from qiskit_ibm_runtime.executor.calculate_twirling_shots import calculate_twirling_shots

    twirling = {"enable_gates": True, "num_randomizations": twirls, "shots_per_randomization": each}
    options = Options.of("job", twirling, False, None)
    for shots in (1, 63, 256, 5000):
        assert options.executed(shots) == math.prod(calculate_twirling_shots(shots, twirls, each))
    assert Options.of("job", {**twirling, "enable_gates": False}, False, None).executed(100) == 100


def test_decoupling_is_added_on_a_device() -> None:
    model = batch(spins=2, groups=1, models=1)
    drawn = IBMSampler(manila(), PRESET, dynamical_decoupling="XY4").sample(model, shots=50)
    assert float(drawn.weights.sum()) == pytest.approx(1.0)


def test_attention_is_trained_through_it() -> None:
    torch.manual_seed(0)
    sampler = IBMSampler(simulator(), PRESET)
    attention = BoltzmannAttention(8, 2, max_length=3, sampler=sampler, shots=128)
    tokens, wanted = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    learned = [p for p in attention.parameters() if p.requires_grad]
    losses = []
    for _ in range(4):
        loss = (attention(tokens)[0] - wanted).square().mean()
        gradients = torch.autograd.grad(loss, learned)
        assert all(bool(gradient.isfinite().all()) for gradient in gradients)
        with torch.no_grad():
            for parameter, gradient in zip(learned, gradients, strict=True):
                parameter -= 0.5 * gradient
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert all(job.status == "answered" and job.charged_us == 0 for job in sampler.journal.jobs())


def test_diagnostics_name_backend_circuit_and_cost() -> None:
    model = batch(spins=3, groups=2, models=2)
    found = IBMSampler(manila(), PRESET, initial_layout=[3, 1, 2]).sample(model, shots=50).diagnostics
    assert found["backend"] == "fake_manila"
    assert found["local"] is True
    assert [facts.qubits for facts in found["circuits"]] == [(3, 1, 2)] * 2
    assert found["circuits"][0].depth > 0
    assert found["circuits"][0].duration == pytest.approx(20e-6, rel=1)
    assert np.shape(found["problem_ids"]) == found["charged_us"].shape == (2, 2)
    assert not found["charged_us"].any()
    # 2 s, and for each of 4 · 50 shots 250 µs and the circuit
    expected = 2e6 + 200 * (250 + 1e6 * found["circuits"][0].duration)
    assert float(found["estimated_us"].sum()) == pytest.approx(expected)


def test_an_empty_batch_takes_no_job() -> None:
    sampler = IBMSampler(simulator(), PRESET)
    drawn = sampler.sample(IsingModel(torch.zeros(2, 0, 3), torch.zeros(2, 3, 3)), shots=10)
    assert drawn.spins.shape == (2, 0, 0, 3)
    assert sampler.journal.jobs() == []
