"""ReadoutMitigated: means without bias, its parts against brute force, and what it refuses."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from dense_anneal import random_model
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.transpiler import CouplingMap, InstructionProperties
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, ReadoutError
from scipy.optimize import minimize

from classical import IsingModel, Sampler, Samples
from classical.ising import all_configurations
from quantum import AerSampler, AnnealSchedule, ReadoutMitigated, depolarizing_noise
from quantum.readout_mitigation import LARGEST_SYSTEM, nearest_distribution

LINEAR = AnnealSchedule.linear(6.0)
STEPS = 4
RATES = ((0.03, 0.12), (0.05, 0.08), (0.1, 0.02))


def matrices(rates: Any = RATES) -> torch.Tensor:
    """A[spin, read, true] from the chances of a wrong reading of +1 and of −1."""
    return torch.tensor([[[1 - up, down], [up, 1 - down]] for up, down in rates], dtype=torch.float64)


def misread(rates: Any = RATES) -> NoiseModel:
    noise = NoiseModel()
    for qubit, (up, down) in enumerate(rates):
        noise.add_readout_error(ReadoutError([[1 - up, up], [down, 1 - down]]), [qubit])
    return noise


def model_of(spins: int = 3, seed: int = 5) -> IsingModel:
    h, J = random_model(spins, seed)
    return IsingModel(torch.tensor(h)[None, None], torch.tensor(J)[None])


class Fixed:
    """A sampler that always reads the same."""

    def __init__(self, spins: Any, weights: Any) -> None:
        self.spins, self.weights = torch.tensor(spins, dtype=torch.int8), torch.tensor(weights)

    def sample(self, model: IsingModel, *, shots: int, seed: Any) -> Samples:
        shape = model.groups, model.models
        return Samples(self.spins.expand(*shape, -1, -1), self.weights.expand(*shape, -1), shots, {"origin": "fixed"})


# --- what it is for -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["given", "noise model", "measured"])
def test_means_lose_their_bias(source: str) -> None:
    model, shots = model_of(), 100_000
    ideal = AerSampler(LINEAR, STEPS).probabilities(model)[0, 0]
    sampler = AerSampler(LINEAR, STEPS, noise=misread())
    calibration = 200_000
    assignment: Any = {
        "given": matrices(),
        "noise model": sampler.readout,
        "measured": partial(sampler.readout, shots=calibration, seed=4),
    }[source]
    raw = sampler.sample(model, shots=shots, seed=3)
    mitigated = ReadoutMitigated(sampler, assignment).sample(model, shots=shots, seed=3)
    # with all 8 outcomes observed the mean of spin i is g · p̂ with g = (A⁻¹)ᵀ s_i, whose variance is known
    A = np.kron(matrices()[2], np.kron(matrices()[1], matrices()[0]))
    s, read = all_configurations(3).double().numpy(), A @ ideal.numpy()
    g = np.linalg.inv(A).T @ s
    variance = (read @ g**2 - (read @ g) ** 2) / shots
    if source == "measured":
        # to first order an error ε of one rate moves a mean by at most 2 ε/det: two rates, each ± √(e(1−e)/shots)
        det = 1 - np.array(RATES).sum(-1)
        variance = variance + sum(np.array(RATES).T * (1 - np.array(RATES).T)) * (2 / det) ** 2 / calibration
    expected, error = ideal.numpy() @ s, np.sqrt(variance)
    assert bool((np.abs(mitigated.mean()[0, 0].numpy() - expected) < 5 * error).all())
    off = np.abs(raw.mean()[0, 0].numpy() - expected) / np.sqrt((1 - (read @ s) ** 2) / shots)
    assert off.max() > 20
    assert mitigated.shots is None
    assert mitigated.diagnostics["measured_shots"] == shots


def test_with_every_outcome_observed_it_is_the_inverse() -> None:
    law = torch.tensor([0.3, 0.05, 0.15, 0.1, 0.05, 0.2, 0.1, 0.05], dtype=torch.float64)
    A = np.kron(matrices()[2], np.kron(matrices()[1], matrices()[0]))
    fixed = Fixed(all_configurations(3).tolist(), (A @ law.numpy()).tolist())
    assert isinstance(ReadoutMitigated(fixed, matrices()), Sampler)
    found = ReadoutMitigated(fixed, matrices()).sample(model_of(), shots=10, seed=0)
    np.testing.assert_allclose(found.frequencies()[0, 0], law, atol=1e-7)  # weights were float32 on their way
    assert found.diagnostics["origin"] == "fixed"
    backwards = ReadoutMitigated(fixed, matrices(RATES[::-1])).sample(model_of(), shots=10, seed=0)
    assert abs(backwards.frequencies()[0, 0] - law).max() > 1e-2


def test_among_the_observed_outcomes_columns_are_renormalised() -> None:
    # two outcomes of two spins that differ in the first: by hand, [1−e, e; e, 1−e] times the same factor in each column
    e = 0.1
    fixed = Fixed([[1, 1], [-1, 1]], [0.7, 0.3])
    model = model_of(2)
    found = ReadoutMitigated(fixed, matrices(((e, e), (0.2, 0.2)))).sample(model, shots=10, seed=0)
    expected = (0.7 - e) / (1 - 2 * e)
    assert float(found.frequencies()[0, 0, 0]) == pytest.approx(expected, abs=1e-6)
    assert float(found.frequencies()[0, 0, 1]) == pytest.approx(1 - expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_nearest_distribution_is_the_nearest(seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=6)
    x += (1 - x.sum()) / 6
    found = nearest_distribution(torch.tensor(x)).numpy()
    assert found.sum() == pytest.approx(1.0, abs=1e-12)
    assert (found >= 0).all()
    best = minimize(
        lambda p: ((p - x) ** 2).sum(),
        np.full(6, 1 / 6),
        jac=lambda p: 2 * (p - x),
        bounds=[(0, 1)] * 6,
        constraints={"type": "eq", "fun": lambda p: p.sum() - 1, "jac": lambda p: np.ones(6)},
        options={"ftol": 1e-14},
    ).x
    np.testing.assert_allclose(found, best, atol=1e-5)


@pytest.mark.parametrize("seed", [1, torch.arange(6).reshape(2, 3)], ids=["one seed", "own seeds"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_are_probabilities(seed: Any, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    model = IsingModel(
        torch.randn(2, 3, 6, generator=generator, dtype=dtype),
        torch.randn(2, 6, 6, generator=generator, dtype=dtype).triu(1) / 2,
    )
    sampler = AerSampler(LINEAR, 2, noise=depolarizing_noise(0.01, 0.001, 0.08))
    found = ReadoutMitigated(sampler, sampler.readout).sample(model, shots=40, seed=seed)
    assert found.weights.dtype == dtype
    assert bool((found.weights >= 0).all())
    torch.testing.assert_close(found.weights.sum(-1), torch.ones(2, 3, dtype=dtype))
    raw = sampler.sample(model, shots=40, seed=seed)
    assert bool((raw.frequencies()[found.frequencies() > 0] > 0).all())  # nothing that was not read


def test_the_identity_leaves_samples_as_they_are() -> None:
    model, sampler = model_of(), AerSampler(LINEAR, STEPS)
    plain = sampler.sample(model, shots=100, seed=2)
    same = ReadoutMitigated(sampler, sampler.readout).sample(model, shots=100, seed=2)
    assert torch.equal(same.spins, plain.spins)
    assert torch.equal(same.weights, plain.weights)
    assert same.shots == plain.shots
    nearly = ReadoutMitigated(sampler, matrices(((1e-12, 0),) * 3)).sample(model, shots=100, seed=2)
    torch.testing.assert_close(nearly.frequencies(), plain.frequencies(), rtol=0, atol=1e-9)


# --- how spins are read ---------------------------------------------------------------------------------------


def test_a_device_is_calibrated_on_the_qubits_that_its_circuit_reads() -> None:
    device = GenericBackendV2(6, coupling_map=CouplingMap.from_line(6), seed=11)
    rates = np.linspace(0.01, 0.3, 6)
    for qubit, rate in enumerate(rates):
        device.target.update_instruction_properties("measure", (qubit,), InstructionProperties(error=rate))
    sampler = AerSampler(LINEAR, STEPS, noise=device)
    shots = 20_000
    known = sampler.readout(model_of())[0]
    measured = sampler.readout(model_of(), shots=shots, seed=1)[0]
    assert len({round(float(A[1, 0]), 6) for A in known}) == 3
    assert all(min(abs(float(A[1, 0]) - rates)) < 1e-9 for A in known)
    # preparing −1 takes an X gate, of error 1e-4 at most
    error = (known * (1 - known) / shots).sqrt()
    assert bool(((measured - known).abs() < 5 * error + 2e-4).all())


def test_many_spins_are_calibrated_by_the_method_that_holds_them() -> None:
    sampler = AerSampler(LINEAR, 1, noise=depolarizing_noise(0.0, 0.0, 0.1), method="matrix_product_state")
    model = IsingModel(torch.zeros(1, 1, 40), torch.zeros(1, 40, 40))
    measured, shots = sampler.readout(model, shots=500, seed=2)[0], 500
    # 80 readings: the largest of 80 normal deviations exceeds 5 with probability 5e-5
    assert float((measured[:, 1, 0] - 0.1).abs().max()) < 5 * (0.1 * 0.9 / shots) ** 0.5
    assert float((measured[:, 0, 1] - 0.1).abs().max()) < 5 * (0.1 * 0.9 / shots) ** 0.5


def test_without_noise_spins_are_read_as_they_are() -> None:
    assert torch.equal(AerSampler(LINEAR, STEPS).readout(model_of()), torch.eye(2).double().expand(1, 3, 2, 2))


# --- bad input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        (torch.eye(2), r"assignment is \(2, 2\); give a tensor \(spins, 2, 2\)"),
        (torch.zeros(3, 2, 3), r"assignment is \(3, 2, 3\)"),
        (3, "assignment is a int; give a tensor or a function"),
        (matrices().transpose(-1, -2), "columns that are no probabilities"),
        (matrices() * float("nan"), "columns that are no probabilities"),
        (torch.tensor([[[1.1, 0.0], [-0.1, 1.0]]]), "columns that are no probabilities"),
        (matrices(((0.1, 0.1), (0.5, 0.5))), "reads spin 1 rightly with probability 0.5"),
        (matrices(((0.1, 0.9),)), "reads spin 0 rightly with probability 0.1.*singular"),
    ],
    ids=["shape", "not square", "no tensor", "transposed", "nan", "negative", "singular", "singular and lopsided"],
)
def test_bad_assignments(assignment: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReadoutMitigated(AerSampler(LINEAR, STEPS), assignment)


def test_assignments_for_other_models() -> None:
    sampler = Fixed([[1, 1, 1]], [1.0])
    for assignment in (matrices()[:2], matrices().expand(2, -1, -1, -1), lambda _: matrices()[:2]):
        with pytest.raises(ValueError, match=r"assignment has shape .* must be \(spins, 2, 2\) = \(3, 2, 2\)"):
            ReadoutMitigated(sampler, assignment).sample(model_of(), shots=4)
    with pytest.raises(ValueError, match="assignment is NoneType; give a tensor"):
        ReadoutMitigated(sampler, lambda _: None).sample(model_of(), shots=4)  # type: ignore[arg-type, return-value]


def test_too_many_outcomes() -> None:
    count = LARGEST_SYSTEM + 1
    sampler = Fixed(all_configurations(13)[:count].tolist(), [1 / count] * count)
    with pytest.raises(ValueError, match=f"shots gave {count} distinct outcomes .* at most {LARGEST_SYSTEM}"):
        ReadoutMitigated(sampler, matrices(((0.1, 0.1),) * 13)).sample(model_of(13), shots=count)


def test_bad_calibrations() -> None:
    sampler = AerSampler(LINEAR, STEPS, noise=depolarizing_noise(0.1))
    with pytest.raises(ValueError, match="shots is 0"):
        sampler.readout(model_of(), shots=0)
    with pytest.raises(ValueError, match=r"seed is 1\.5"):
        sampler.readout(model_of(), shots=5, seed=1.5)  # type: ignore[arg-type]
    backend = AerSimulator(method="density_matrix", noise_model=misread())
    with pytest.raises(ValueError, match="give the model as noise"):
        AerSampler(LINEAR, STEPS, backend=backend).readout(model_of())
