"""StatevectorSampler: its amplitudes, law and shots against Aer, dense matrices and golden values, and its refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from dense_anneal import circuit_state, random_model
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit_aer import AerSimulator

from classical import IsingModel, Sampler
from classical.random import model_seeds
from classical.sampler import ExactMoments
from quantum import AerSampler, AnnealSchedule, StatevectorSampler, trotter_circuit
from quantum.draw import configurations, draw
from quantum.reduced import SEGMENT
from tests.statistics import chi_squared_p

LINEAR = AnnealSchedule.linear(6.0)
# mixers beyond every quarter turn, so that reduced angles, flips and their phases all take part
WILD = AnnealSchedule.from_angles(
    field=[0.3, -0.8, 0.5, 1.1], coupling=[0.7, 0.2, -0.9, 0.4], mixer=[2.0, -0.9, 5.1, 1.7]
)
BACKENDS = ["numba", "torch"]


def single(fields: Any, couplings: Any) -> IsingModel:
    """A batch of one model, float64."""
    h = torch.as_tensor(np.asarray(fields), dtype=torch.float64)
    return IsingModel(h[None, None], torch.as_tensor(np.asarray(couplings), dtype=torch.float64)[None])


def batch(groups: int, models: int, spins: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> IsingModel:
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(groups, models, spins, generator=generator, dtype=dtype)
    J = torch.randn(groups, spins, spins, generator=generator, dtype=dtype) / spins**0.5
    return IsingModel(h, J.triu(1))


def exact(schedule: AnnealSchedule, steps: int | None = None, calibration: str = "none", **options: Any) -> Any:
    return StatevectorSampler(schedule, steps, calibration, dtype=torch.complex128, **options)


# --- amplitudes and law ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_amplitudes_are_those_of_aer(backend: str) -> None:
    simulator = AerSimulator(method="statevector", fusion_enable=False)
    for spins in (1, 2, 5, 9):
        for schedule, steps in ((LINEAR, 7), (WILD, None)):
            h, J = random_model(spins, seed=spins)
            circuit = trotter_circuit(h, J, schedule, steps)
            circuit.save_statevector()
            expected = simulator.run(circuit).result().get_statevector().data
            ours = exact(schedule, steps, backend=backend).amplitudes(single(h, J))[0, 0].numpy()
            np.testing.assert_allclose(ours, expected, atol=1e-12)
            # what a mistake in the overall sign, phase or direction of the angles would give
            for wrong in (expected.conj(), -expected, 1j * expected, expected[::-1]):
                assert abs(ours - wrong).max() > 1e-3


@pytest.mark.parametrize("spins", [1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13])
def test_kernels_agree_with_torch_at_every_layout(spins: int) -> None:
    # spins fill a part of a register, of a block, of a run, and all of them
    model = batch(2, 3, spins, seed=spins)
    for schedule, steps in ((LINEAR, 5), (WILD, None)):
        for dtype, tolerance in ((torch.complex128, 1e-13), (torch.complex64, 2e-6)):
            ours, reference = (
                StatevectorSampler(schedule, steps, "none", dtype=dtype, backend=backend) for backend in BACKENDS
            )
            reference = exact(schedule, steps, backend="torch")
            torch.testing.assert_close(
                ours.amplitudes(model).to(torch.complex128), reference.amplitudes(model), rtol=0, atol=tolerance
            )
            torch.testing.assert_close(
                ours.probabilities(model), reference.probabilities(model), rtol=0, atol=tolerance
            )


def test_long_circuits_go_on_where_they_were_left() -> None:
    # more steps than are in memory at a time, and a last part of one step
    model = batch(2, 3, 5)
    for steps in (SEGMENT, SEGMENT + 1, 3 * SEGMENT - 5):
        ours, reference = (exact(LINEAR, steps, backend=backend) for backend in BACKENDS)
        torch.testing.assert_close(ours.amplitudes(model), reference.amplitudes(model), rtol=0, atol=1e-13)
        law = ours.probabilities(model)
        torch.testing.assert_close(law, reference.probabilities(model), rtol=0, atol=1e-13)
        shots = ours.sample(model, shots=50, seed=3).spins
        assert torch.equal(shots, configurations(draw(law, 50, model_seeds(3, 2, 3)), 5))
        threads = exact(LINEAR, steps, threads=3, memory_limit=200_000)
        assert torch.equal(threads.probabilities(model), law)


@pytest.mark.parametrize("backend", BACKENDS)
def test_golden_anneals_and_circuits(golden: dict[str, Any], backend: str) -> None:
    for case in golden["cases"]:
        model = single(case["fields"], case["couplings"])
        for anneal in case["anneals"]:
            sampler = exact(AnnealSchedule.linear(anneal["duration"]), anneal["steps"], backend=backend)
            np.testing.assert_allclose(sampler.probabilities(model)[0, 0], anneal["probabilities"], atol=1e-9)
    for case in golden["circuits"]:
        model, expected = single(case["fields"], case["couplings"]), np.array(case["probabilities"])
        angles = {"field": case["field_phases"], "coupling": case["coupling_phases"], "mixer": case["mixers"]}

        def error(model: IsingModel, expected: np.ndarray = expected, **angles: list[float]) -> float:
            law = exact(AnnealSchedule.from_angles(**angles), backend=backend).probabilities(model)
            return float(abs(law[0, 0].numpy() - expected).max())

        assert error(model, **angles) < 1e-9
        # each of these mistakes must be seen
        assert error(model.scaled(-1, 1), **angles) > 1e-3
        assert error(model.scaled(1, -1), **angles) > 1e-3
        assert error(model, **{**angles, "mixer": angles["mixer"][::-1]}) > 1e-3
        assert error(model, **{**angles, "field": angles["coupling"], "coupling": angles["field"]}) > 1e-3


@pytest.mark.parametrize("calibration", ["none", "one-beta", "two-beta"])
def test_single_precision_law_is_aers(calibration: str) -> None:
    model = batch(2, 4, 8, seed=3, dtype=torch.float32)
    law = StatevectorSampler(LINEAR, 16, calibration).probabilities(model)
    assert law.dtype == torch.float32
    torch.testing.assert_close(law, AerSampler(LINEAR, 16, calibration).probabilities(model), rtol=0, atol=1e-6)


def test_dense_matrices_agree() -> None:
    h, J = random_model(5, seed=2)
    angles = WILD.angles()
    state = circuit_state(h, J, angles.field, angles.coupling, angles.mixer)
    np.testing.assert_allclose(exact(WILD).amplitudes(single(h, J))[0, 0], state, atol=1e-12)


def test_huge_angles_keep_their_phase() -> None:
    # fields of 10⁶: cosines come from a reduction by multiples of π/2 that must not lose them
    model = batch(1, 2, 5).scaled(1e6, 1e5)
    ours, reference = (exact(LINEAR, 3, backend=backend).probabilities(model) for backend in BACKENDS)
    torch.testing.assert_close(ours, reference, rtol=0, atol=1e-7)


@settings(max_examples=20, deadline=None)
@given(spins=st.integers(1, 6), seed=st.integers(0, 10_000), order=st.randoms(use_true_random=False))
def test_symmetries(spins: int, seed: int, order: Any) -> None:
    h, J = random_model(spins, seed)
    permutation = list(range(spins))
    order.shuffle(permutation)
    full, sampler = J + J.T, exact(WILD)

    def law(fields: np.ndarray, couplings: np.ndarray) -> np.ndarray:
        return sampler.probabilities(single(fields, np.triu(couplings, 1)))[0, 0].numpy()

    original = law(h, full)
    assert original.sum() == pytest.approx(1.0, abs=1e-12)
    # turning all fields round turns all spins round; bit 0 ↔ bit 1 reverses the order of configurations
    np.testing.assert_allclose(law(-h, full), original[::-1], atol=1e-12)
    # spin i of the permuted model is spin permutation[i] of the original
    bits = (np.arange(2**spins)[:, None] >> np.arange(spins)) & 1
    source = (bits << np.array(permutation)).sum(-1)
    permuted = law(h[permutation], full[np.ix_(permutation, permutation)])
    np.testing.assert_allclose(permuted, original[source], atol=1e-12)


# --- shots ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_shots_follow_the_law_and_not_a_wrong_one(backend: str) -> None:
    model = batch(2, 5, 4, seed=8)
    law = AerSampler(LINEAR, 6).probabilities(model)
    samples = StatevectorSampler(LINEAR, 6, backend=backend).sample(model, shots=4000, seed=5)
    assert chi_squared_p(samples, law) > 1e-4
    assert chi_squared_p(samples, law.flip(-1)) < 1e-9
    assert chi_squared_p(samples, law.roll(1, dims=1)) < 1e-9
    assert chi_squared_p(samples, 0.95 * law + 0.05 / 16) < 1e-3


@pytest.mark.parametrize("schedule", [LINEAR, WILD], ids=["linear", "reversed"])
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_shots_are_bit_for_bit_those_of_draw(schedule: AnnealSchedule, dtype: torch.dtype) -> None:
    # one to nine spins: rows of one to nine bytes, and one shot, which no later row can overwrite
    for spins in (1, 2, 3, 5, 8, 9):
        real = torch.float32 if dtype == torch.complex64 else torch.float64
        model = batch(2, 3, spins, dtype=real)
        steps = 4 if schedule is LINEAR else None
        sampler = StatevectorSampler(schedule, steps, "none", dtype=dtype)
        seeds = torch.randint(-(2**63), 2**63 - 1, (2, 3), generator=torch.Generator().manual_seed(0))
        law = sampler.probabilities(model).double()
        for shots in (1, 7, 100):
            expected = configurations(draw(law, shots, seeds), spins)
            assert torch.equal(sampler.sample(model, shots=shots, seed=seeds).spins, expected)


def test_what_samples_look_like() -> None:
    sampler = StatevectorSampler(LINEAR, 3)
    assert isinstance(sampler, Sampler)
    assert not isinstance(sampler, ExactMoments)  # its law is the anneal's, not Boltzmann's
    for dtype in (torch.float32, torch.float64):
        samples = sampler.sample(batch(2, 3, 5, dtype=dtype), shots=32, seed=4)
        assert samples.spins.dtype == torch.int8
        assert samples.spins.shape == (2, 3, 32, 5)
        assert bool((samples.spins.abs() == 1).all())
        assert samples.weights.dtype == dtype
        assert samples.shots == 32
        assert samples.diagnostics["calibration"] == "two-beta"


# --- bad input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dtype": torch.float32}, ["dtype is torch.float32", "complex64"]),
        ({"threads": 0}, ["threads is 0", "at least 1"]),
        ({"memory_limit": 0}, ["memory_limit is 0"]),
        ({"memory_limit": 100}, ["memory_limit is 100 bytes", "one model", "give at least"]),
        ({"backend": "jax"}, ["backend is 'jax'", "numba"]),
        ({"calibration": "three-beta"}, ["calibration is 'three-beta'"]),
        ({"steps": 0}, ["steps is 0"]),
        ({"device": "nowhere"}, ["device is 'nowhere'"]),
    ],
    ids=str,
)
def test_refusals_of_the_constructor(options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError, match="is") as error:
        StatevectorSampler(LINEAR, **{"steps": 4, **options})
    assert all(word in str(error.value) for word in words)


def test_steps_that_are_not_the_schedules_own() -> None:
    with pytest.raises(ValueError, match=r"steps is 5, but this schedule has 4 steps of its own"):
        StatevectorSampler(WILD, 5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"device is 'cuda', but torch sees 0 GPUs here; use device='cpu'"):
        StatevectorSampler(LINEAR, 4, device="cuda")


def test_other_devices_take_torch() -> None:
    # the meta device has shapes but no numbers: it shows where the work goes without a GPU
    with pytest.raises(ValueError, match=r"device is 'meta', but backend is 'numba'"):
        StatevectorSampler(LINEAR, 4, backend="numba", device="meta")
    model = batch(1, 2, 3)
    on_cpu = StatevectorSampler(LINEAR, 4, device="cpu").probabilities(model)
    torch.testing.assert_close(on_cpu, StatevectorSampler(LINEAR, 4).probabilities(model), rtol=0, atol=0)


def test_the_memory_limit_names_how_many_spins_fit() -> None:
    for backend in BACKENDS:
        sampler = StatevectorSampler(LINEAR, 4, memory_limit=200_000, threads=1, backend=backend)
        assert 3 < sampler.max_spins < 14
        assert StatevectorSampler(LINEAR, 4, backend=backend).max_spins >= 20
        for use in (sampler.sample, sampler.probabilities, sampler.amplitudes, sampler.mean):
            with pytest.raises(ValueError, match=f"holds at most {sampler.max_spins} spins; raise memory_limit"):
                use(batch(1, 1, sampler.max_spins + 1))


def test_shots_and_seeds_are_checked_before_work() -> None:
    sampler, model = StatevectorSampler(LINEAR, 4), batch(2, 3, 4)
    for shots in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="shots is"):
            sampler.sample(model, shots=shots)  # type: ignore[arg-type]
    for seed in (1.5, torch.zeros(2, 2, dtype=torch.int64), torch.zeros(2, 3)):
        with pytest.raises(ValueError, match="seed is"):
            sampler.sample(model, seed=seed)  # type: ignore[arg-type]
