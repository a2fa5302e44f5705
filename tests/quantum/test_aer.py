"""AerSampler: its law, its shots, its seeds, its batches, and what it refuses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from dense_anneal import circuit_state, random_model
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, depolarizing_error
from scipy.stats import chi2

from classical.ising import IsingModel, all_configurations
from classical.sampler import Sampler
from quantum import AerSampler, AnnealSchedule, response

LINEAR = AnnealSchedule.linear(6.0)


def single(fields: Any, couplings: Any) -> IsingModel:
    """A batch of one model, float64."""
    h = torch.as_tensor(np.asarray(fields), dtype=torch.float64)
    return IsingModel(h[None, None], torch.as_tensor(np.asarray(couplings), dtype=torch.float64)[None])


def batch(groups: int, models: int, spins: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> IsingModel:
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(groups, models, spins, generator=generator, dtype=dtype)
    J = torch.randn(groups, spins, spins, generator=generator, dtype=dtype) / spins**0.5
    return IsingModel(h, J.triu(1))


def p_value(counts: torch.Tensor, law: torch.Tensor) -> float:
    """χ² of counts against a law, outcomes expected fewer than 5 times pooled into one."""
    expected = law * counts.sum()
    rare = expected < 5
    observed = torch.cat([counts[~rare], counts[rare].sum()[None]])
    expected = torch.cat([expected[~rare], expected[rare].sum()[None]])
    observed, expected = observed[expected > 0], expected[expected > 0]
    return float(chi2.sf(float(((observed - expected) ** 2 / expected).sum()), len(expected) - 1))


class CountingBackend:
    """An `AerSimulator` that notes what it was asked."""

    def __init__(self) -> None:
        self.simulator = AerSimulator(method="statevector")
        self.calls: list[dict[str, Any]] = []

    def run(self, circuits: Any, **options: Any) -> Any:
        self.calls.append({"circuits": circuits, **options})
        return self.simulator.run(circuits, **options)


# --- the law --------------------------------------------------------------------------------------------------


def test_golden_anneals(golden: dict[str, Any]) -> None:
    for case in golden["cases"]:
        model = single(case["fields"], case["couplings"])
        for anneal in case["anneals"]:
            sampler = AerSampler(AnnealSchedule.linear(anneal["duration"]), anneal["steps"], "none")
            law = sampler.probabilities(model)[0, 0]
            np.testing.assert_allclose(law, anneal["probabilities"], atol=1e-10)


def test_golden_circuits_and_wrong_ones(golden: dict[str, Any]) -> None:
    for case in golden["circuits"]:
        model, expected = single(case["fields"], case["couplings"]), np.array(case["probabilities"])
        angles = {"field": case["field_phases"], "coupling": case["coupling_phases"], "mixer": case["mixers"]}

        def error(model: IsingModel, expected: np.ndarray = expected, **angles: list[float]) -> float:
            sampler = AerSampler(AnnealSchedule.from_angles(**angles), calibration="none")
            return float(abs(sampler.probabilities(model)[0, 0].numpy() - expected).max())

        assert error(model, **angles) < 1e-10
        # each of these mistakes must be seen
        assert error(model.scaled(-1, 1), **angles) > 1e-3
        assert error(model.scaled(1, -1), **angles) > 1e-3
        assert error(model, **{**angles, "mixer": angles["mixer"][::-1]}) > 1e-3
        assert error(model, **{**angles, "field": angles["coupling"], "coupling": angles["field"]}) > 1e-3
        spins = model.spins
        swapped = expected.reshape((2,) * spins).transpose(range(spins)[::-1]).reshape(-1)
        assert error(model, expected=swapped, **angles) > 1e-3


def test_calibrated_law_is_the_dense_one() -> None:
    h, J = random_model(4, seed=2)
    beta, angles = response(LINEAR, 12), LINEAR.angles(12)
    for calibration, scales in (
        ("none", (1.0, 1.0)),
        ("one-beta", (beta.beta_J, beta.beta_J)),
        ("two-beta", (beta.beta_h, beta.beta_J)),
    ):
        state = circuit_state(h / scales[0], J / scales[1], angles.field, angles.coupling, angles.mixer)
        law = AerSampler(LINEAR, 12, calibration).probabilities(single(h, J))[0, 0]
        np.testing.assert_allclose(law, abs(state) ** 2, atol=1e-12)


def test_free_spins_at_the_sizes_people_use() -> None:
    # without couplings the law is a product of one-spin laws, whatever the number of spins
    sampler = AerSampler(LINEAR, 2)
    for spins in (1, 8, 13, 16):
        h = torch.linspace(-1, 1.5, spins, dtype=torch.float64)
        one = sampler.probabilities(IsingModel(h[None, :, None], torch.zeros(1, 1, 1, dtype=torch.float64)))[0]
        product = torch.ones(1, dtype=torch.float64)
        for law in one:
            product = torch.outer(law, product).flatten()
        np.testing.assert_allclose(
            sampler.probabilities(single(h, torch.zeros(spins, spins)))[0, 0], product, atol=1e-12
        )


@settings(max_examples=15, deadline=None)
@given(spins=st.integers(1, 5), seed=st.integers(0, 10_000), order=st.randoms(use_true_random=False))
def test_symmetries(spins: int, seed: int, order: Any) -> None:
    h, J = random_model(spins, seed)
    permutation = list(range(spins))
    order.shuffle(permutation)
    full = J + J.T
    sampler = AerSampler(AnnealSchedule.linear(3.0), 4)

    def law(fields: np.ndarray, couplings: np.ndarray) -> np.ndarray:
        return sampler.probabilities(single(fields, np.triu(couplings, 1)))[0, 0].numpy()

    original = law(h, full)
    assert original.sum() == pytest.approx(1.0, abs=1e-12)
    # turning all fields round turns all spins round; bit 0 ↔ bit 1 reverses the order of configurations
    np.testing.assert_allclose(law(-h, full), original[::-1], atol=1e-12)
    free = law(0 * h, full)
    np.testing.assert_allclose(free, free[::-1], atol=1e-12)
    # spin i of the permuted model is spin permutation[i] of the original
    permuted = law(h[permutation], full[np.ix_(permutation, permutation)])
    bits = (np.arange(2**spins)[:, None] >> np.arange(spins)) & 1
    source = (bits << np.array(permutation)).sum(-1)
    np.testing.assert_allclose(permuted, original[source], atol=1e-12)


def test_strong_calibrated_couplings_order_the_spins() -> None:
    # a check of the sign that needs no formula: fields up, couplings equal
    law = AerSampler(LINEAR, 12).probabilities(single([0.5, 0.0], [[0, 2.0], [0, 0]]))[0, 0]
    assert law[0] > law[3] > law[1]


# --- shots ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [5, torch.tensor([[5]])], ids=["measured by Aer", "drawn from Aer's law"])
def test_shots_follow_the_law_and_not_a_wrong_one(seed: Any) -> None:
    model = single(*random_model(4, seed=8))
    angles = LINEAR.angles(6)
    factors = AerSampler(LINEAR, 6).factors
    h, J = (x[0].numpy() for x in (model.fields[0], model.couplings))
    state = circuit_state(
        h * factors.field_factor, J * factors.coupling_factor, angles.field, angles.coupling, angles.mixer
    )
    law = torch.from_numpy(abs(state) ** 2)
    samples = AerSampler(LINEAR, 6).sample(model, shots=20_000, seed=seed)
    counts = samples.frequencies()[0, 0] * 20_000
    assert p_value(counts, law) > 1e-4
    assert p_value(counts, law.flip(0)) < 1e-9
    assert p_value(counts, law.reshape(2, 2, 2, 2).permute(3, 2, 1, 0).flatten()) < 1e-9
    biased = 0.95 * law + 0.05 * torch.full_like(law, 1 / 16)
    assert p_value(counts, biased) < 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("own_seeds", [False, True])
def test_what_samples_look_like(dtype: torch.dtype, own_seeds: bool) -> None:
    model = batch(2, 3, 5, dtype=dtype)
    sampler = AerSampler(LINEAR, 3)
    assert isinstance(sampler, Sampler)
    samples = sampler.sample(model, shots=32, seed=torch.arange(6).reshape(2, 3) if own_seeds else 4)
    assert samples.spins.dtype == torch.int8
    assert samples.spins.shape[:2] == (2, 3)
    assert samples.spins.shape[3] == 5
    assert bool((samples.spins.abs() == 1).all())
    assert samples.weights.dtype == dtype
    assert bool((samples.weights >= 0).all())
    torch.testing.assert_close(samples.weights.sum(-1), torch.ones(2, 3, dtype=dtype))
    assert samples.shots == 32
    assert samples.diagnostics["drawn_from"] == ("probabilities" if own_seeds else "measurement")
    assert sampler.probabilities(model).dtype == dtype


def test_many_models_at_once_each_follow_their_own_law() -> None:
    model, sampler = batch(3, 40, 3, seed=1), AerSampler(LINEAR, 4, threads=2)
    law = sampler.probabilities(model)
    for seed in (0, torch.arange(120).reshape(3, 40)):
        counts = sampler.sample(model, shots=4000, seed=seed).frequencies() * 4000
        p = torch.tensor([p_value(c, p) for c, p in zip(counts.flatten(0, 1), law.flatten(0, 1), strict=True)])
        # 120 values uniform in (0, 1): the smallest and the mean
        assert p.min() > 1e-5
        assert abs(p.mean() - 0.5) < 5 * (1 / 12 / 120) ** 0.5


# --- seeds and batches ----------------------------------------------------------------------------------------


def same(first: Any, second: Any) -> bool:
    return torch.equal(first.spins, second.spins) and torch.equal(first.weights, second.weights)


def test_integer_seeds() -> None:
    model, sampler = batch(2, 4, 4), AerSampler(LINEAR, 3)
    assert same(sampler.sample(model, shots=64, seed=1), sampler.sample(model, shots=64, seed=1))
    frequencies = [sampler.sample(model, shots=64, seed=seed).frequencies() for seed in (1, 2, -1, 2**63)]
    for i, first in enumerate(frequencies):
        assert all(not torch.equal(first, second) for second in frequencies[i + 1 :])


def test_neighbouring_integers_give_unrelated_samples() -> None:
    # Aer's own seeds of neighbouring circuits lie 2113 apart: seeds 0 and 2113 must not share samples one place on
    model = IsingModel(torch.zeros(1, 6, 8), torch.zeros(1, 8, 8))
    sampler = AerSampler(LINEAR, 2)
    first, second = (sampler.sample(model, shots=64, seed=seed).frequencies()[0] for seed in (0, 2113))
    assert all(not torch.equal(first[i + 1], second[i]) for i in range(5))


def test_own_seeds_make_a_model_independent_of_its_batch() -> None:
    model, sampler = batch(3, 4, 4), AerSampler(LINEAR, 3)
    seeds = torch.arange(12).reshape(3, 4) * 7 - 5
    whole = sampler.sample(model, shots=64, seed=seeds)
    part = IsingModel(model.fields[1:2, 2:], model.couplings[1:2])
    alone = sampler.sample(part, shots=64, seed=seeds[1:2, 2:])
    assert torch.equal(whole.spins[1:2, 2:], alone.spins)
    assert not torch.equal(whole.spins[1, 2], whole.spins[1, 3])


def test_law_does_not_depend_on_the_batch() -> None:
    model, sampler = batch(3, 4, 4), AerSampler(LINEAR, 3)
    law = sampler.probabilities(model)
    for group in range(3):
        for number in range(4):
            alone = single(model.fields[group, number], model.couplings[group])
            torch.testing.assert_close(sampler.probabilities(alone)[0, 0], law[group, number], rtol=0, atol=1e-14)


@pytest.mark.parametrize("seed", [3, torch.arange(14).reshape(2, 7)], ids=["integer", "own"])
def test_neither_threads_nor_memory_change_samples(seed: Any) -> None:
    model = batch(2, 7, 10)
    reference = AerSampler(LINEAR, 2, threads=1).sample(model, shots=50, seed=seed)
    assert same(reference, AerSampler(LINEAR, 2, threads=3).sample(model, shots=50, seed=seed))
    wide = batch(2, 200, 10)  # 200 models share a circuit with their group
    backend, seeds = CountingBackend(), seed if isinstance(seed, int) else torch.arange(400).reshape(2, 200)
    small = AerSampler(LINEAR, 1, memory_mb=1, backend=backend).sample(wide, shots=8, seed=seeds)
    assert len(backend.calls) > 1
    assert same(small, AerSampler(LINEAR, 1).sample(wide, shots=8, seed=seeds))


def test_one_call_and_one_template_for_a_batch() -> None:
    backend = CountingBackend()
    sampler = AerSampler(LINEAR, 3, backend=backend, threads=2)
    for _ in range(2):
        sampler.sample(batch(2, 5, 3), shots=8, seed=0)
    assert len(backend.calls) == 2
    circuits = {id(circuit) for call in backend.calls for circuit in call["circuits"]}  # 5 models share no circuit
    assert len(circuits) == 1
    assert len(backend.calls[0]["circuits"]) == 2


def test_empty_batches() -> None:
    sampler = AerSampler(LINEAR, 3, backend=CountingBackend())
    for groups, models in ((0, 3), (2, 0)):
        model = IsingModel(torch.zeros(groups, models, 2), torch.zeros(groups, 2, 2))
        assert sampler.probabilities(model).shape == (groups, models, 4)
        assert sampler.sample(model, shots=8, seed=0).spins.shape[:2] == (groups, models)
        own = torch.zeros(groups, models, dtype=torch.int64)
        assert sampler.sample(model, shots=8, seed=own).spins.shape == (groups, models, 8, 2)


@pytest.mark.parametrize("spins", [2, 3, 6])
def test_shared_couplings_give_the_law_of_single_gates(spins: int) -> None:
    # ten models of a group share one circuit, a model alone has an RZZ gate for every pair
    model, backend = batch(2, 10, spins), CountingBackend()
    sampler = AerSampler(LINEAR, 3, backend=backend, threads=1)
    law = sampler.probabilities(model)
    for group in range(2):
        alone = IsingModel(model.fields[group, :, None], model.couplings[group].expand(10, -1, -1))
        torch.testing.assert_close(sampler.probabilities(alone)[:, 0], law[group], rtol=0, atol=1e-13)
    gates = [set(circuit.count_ops()) for call in backend.calls for circuit in call["circuits"]]
    assert all("diagonal" in names and "rzz" not in names for names in gates[:2])
    assert all("diagonal" not in names for names in gates[2:])


# --- noise ----------------------------------------------------------------------------------------------------


def noise(rate: float) -> NoiseModel:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(rate, 2), ["rzz"])
    return model


def test_a_noise_model_is_honoured() -> None:
    model = single(*random_model(3, seed=4))
    law = AerSampler(LINEAR, 6).probabilities(model)[0, 0]
    dense = AerSimulator(method="density_matrix", noise_model=noise(0.05))
    noisy = AerSampler(LINEAR, 6, backend=dense).probabilities(model)[0, 0]
    assert 0.05 < (noisy - law).abs().sum() / 2 < 0.8
    trajectories = AerSampler(LINEAR, 6, backend=AerSimulator(method="statevector", noise_model=noise(0.05)))
    counts = trajectories.sample(model, shots=4000, seed=0).frequencies()[0, 0] * 4000
    assert p_value(counts, noisy) > 1e-4
    assert p_value(counts, law) < 1e-9


def test_noisy_trajectories_have_no_law() -> None:
    backend = AerSimulator(method="statevector", noise_model=noise(0.05))
    sampler, model = AerSampler(LINEAR, 6, backend=backend), batch(1, 1, 2)
    with pytest.raises(ValueError, match=r"backend has a noise model.*method='density_matrix'"):
        sampler.probabilities(model)
    with pytest.raises(ValueError, match="give sample one integer as seed"):
        sampler.sample(model, shots=8, seed=torch.tensor([[1]]))


# --- bad input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": None}, "steps is None; a linear schedule needs"),
        ({"steps": 0}, "steps is 0; give an integer of at least 1"),
        ({"calibration": "best"}, "calibration is 'best'; choose one of none, one-beta, two-beta"),
        ({"threads": 0}, "threads is 0; give an integer of at least 1"),
        ({"threads": 1.5}, r"threads is 1\.5; give an integer"),
        ({"max_spins": 0}, "max_spins is 0; give an integer of at least 1"),
        ({"memory_mb": -1}, "memory_mb is -1; give an integer of at least 1"),
    ],
)
def test_bad_construction(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AerSampler(LINEAR, **{"steps": 3, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shots": 0}, "shots is 0; give an integer of at least 1"),
        ({"shots": 2.0}, r"shots is 2\.0; give an integer"),
        ({"seed": 1.5}, r"seed is 1\.5; give an integer, or"),
        ({"seed": torch.zeros(3, 2, dtype=torch.int64)}, r"seed is torch.int64 with shape \(3, 2\)"),
        ({"seed": torch.zeros(2, 3)}, r"seed is torch.float32"),
    ],
)
def test_bad_requests(arguments: dict[str, Any], message: str) -> None:
    backend = CountingBackend()
    with pytest.raises(ValueError, match=message):
        AerSampler(LINEAR, 3, backend=backend).sample(batch(2, 3, 2), **{"shots": 8, "seed": 0, **arguments})
    assert not backend.calls


def test_too_many_spins() -> None:
    sampler = AerSampler(LINEAR, 3, max_spins=4)
    for request in (sampler.probabilities, sampler.sample):
        with pytest.raises(ValueError, match="spins is 5, but AerSampler holds at most 4 spins; raise max_spins"):
            request(batch(1, 1, 5))


def test_a_failure_in_aer_is_raised_with_its_status() -> None:
    class FailingBackend:
        def run(self, *_: Any, **__: Any) -> Any:
            return SimpleNamespace(result=lambda: SimpleNamespace(success=False, status="ERROR: out of qubits"))

    with pytest.raises(RuntimeError, match=r"Aer failed on 6 models of 2 spins: ERROR: out of qubits"):
        AerSampler(LINEAR, 3, backend=FailingBackend()).sample(batch(2, 3, 2), shots=8, seed=0)


def test_configurations_are_in_the_projects_order() -> None:
    # a strong field on each spin alone picks out the one configuration that all_configurations lists there
    fields = 3.0 * all_configurations(3).double()
    law = AerSampler(LINEAR, 12).probabilities(IsingModel(fields[None], torch.zeros(1, 3, 3, dtype=torch.float64)))
    assert law[0].argmax(-1).tolist() == list(range(8))
