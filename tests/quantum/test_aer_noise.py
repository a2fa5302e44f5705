"""AerSampler under noise: its law against dense density matrices, devices, command-line noise, and what it refuses."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from dense_anneal import circuit_state, random_model
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.transpiler import CouplingMap
from qiskit_aer import AerSimulator
from qiskit_aer.noise import (
    NoiseModel,
    ReadoutError,
    amplitude_damping_error,
    coherent_unitary_error,
    depolarizing_error,
    thermal_relaxation_error,
)

from classical import IsingModel
from quantum import AerSampler, AnnealSchedule, depolarizing_noise, read_noise
from tests.quantum.dense_noise import noisy_law
from tests.statistics import chi_squared_p

LINEAR = AnnealSchedule.linear(6.0)
STEPS = 4
RATES = {"two_qubit": 0.03, "one_qubit": 0.01, "readout": 0.04}


def single(h: Any, J: Any) -> IsingModel:
    """A batch of one model."""
    return IsingModel(torch.tensor(np.asarray(h))[None, None], torch.tensor(np.asarray(J))[None])


def dense(h: np.ndarray, J: np.ndarray, steps: int = STEPS, **rates: float) -> torch.Tensor:
    """The law by density matrices of numpy, for the models that AerSampler's circuits are fed."""
    angles, factors = LINEAR.angles(steps), AerSampler(LINEAR, steps).factors
    fed = h * factors.field_factor, J * factors.coupling_factor
    return torch.tensor(noisy_law(*fed, angles.field, angles.coupling, angles.mixer, **rates))[None, None]


def line(qubits: int, **options: Any) -> GenericBackendV2:
    """A device whose qubits form a line."""
    return GenericBackendV2(qubits, coupling_map=CouplingMap.from_line(qubits), seed=3, **options)


# --- the law --------------------------------------------------------------------------------------------------


def test_the_reference_is_the_state_vector_where_nothing_fails() -> None:
    h, J = random_model(3, seed=1)
    angles = LINEAR.angles(STEPS)
    state = circuit_state(h, J, angles.field, angles.coupling, angles.mixer)
    law = noisy_law(h, J, angles.field, angles.coupling, angles.mixer)
    np.testing.assert_allclose(law, abs(state) ** 2, atol=1e-13)


@pytest.mark.parametrize("name", [*RATES, "all"])
def test_law_is_that_of_dense_density_matrices(name: str) -> None:
    rates = RATES if name == "all" else {"two_qubit": 0.0, name: RATES[name]}
    h, J = random_model(3, seed=4)
    law = AerSampler(LINEAR, STEPS, noise=depolarizing_noise(**rates)).probabilities(single(h, J))
    torch.testing.assert_close(law, dense(h, J, **rates), rtol=0, atol=1e-9)
    # a rate that is a tenth off would be seen a hundred thousand times over
    wrong = dense(h, J, **{name: 1.1 * rate for name, rate in rates.items()})
    assert float((law - wrong).abs().max()) > 1e-4


@pytest.mark.parametrize(
    ("method", "seed"),
    [("statevector", 5), ("density_matrix", 5), (None, 5), (None, torch.tensor([[5]])), ("matrix_product_state", 6)],
    ids=["trajectories", "density matrix", "default", "own seeds", "matrix-product states"],
)
def test_samples_follow_the_law(method: str | None, seed: Any) -> None:
    shots = 1_000 if method in ("statevector", "matrix_product_state") else 20_000
    h, J = random_model(3, seed=4)
    samples = AerSampler(LINEAR, STEPS, noise=depolarizing_noise(0.1, 0.02, 0.05), method=method).sample(
        single(h, J), shots=shots, seed=seed
    )
    assert chi_squared_p(samples, dense(h, J, two_qubit=0.1, one_qubit=0.02, readout=0.05)) > 1e-4
    assert chi_squared_p(samples, dense(h, J)) < 1e-9


def test_readout_error_is_a_product_of_assignments() -> None:
    h, J = random_model(3, seed=5)
    ideal = AerSampler(LINEAR, STEPS).probabilities(single(h, J))[0, 0].numpy()
    noise, matrices = NoiseModel(), []
    for qubit, (up, down) in enumerate(((0.02, 0.1), (0.0, 0.07), (0.05, 0.01))):
        noise.add_readout_error(ReadoutError([[1 - up, up], [down, 1 - down]]), [qubit])
        matrices.append(np.array([[1 - up, down], [up, 1 - down]]))
    sampler = AerSampler(LINEAR, STEPS, noise=noise)
    expected = np.kron(matrices[2], np.kron(matrices[1], matrices[0])) @ ideal  # qubit 0 is the lowest bit
    np.testing.assert_allclose(sampler.probabilities(single(h, J))[0, 0], expected, atol=1e-12)
    backwards = np.kron(matrices[0], np.kron(matrices[1], matrices[2])) @ ideal
    assert abs(expected - backwards).max() > 1e-3
    np.testing.assert_allclose(sampler.readout(single(h, J))[0], matrices, atol=1e-15)
    # the simulator's own measurements agree, and so does a backend that brings the noise itself
    assert chi_squared_p(sampler.sample(single(h, J), shots=20_000, seed=1), torch.tensor(expected)[None, None]) > 1e-4
    backend = AerSimulator(method="density_matrix", noise_model=noise)
    np.testing.assert_allclose(AerSampler(LINEAR, STEPS, backend=backend).probabilities(single(h, J))[0, 0], expected)


def test_more_noise_is_further_from_the_ideal_law() -> None:
    h, J = random_model(4, seed=2)
    ideal = AerSampler(LINEAR, STEPS).probabilities(single(h, J))
    distances = [
        float(
            (AerSampler(LINEAR, STEPS, noise=depolarizing_noise(rate)).probabilities(single(h, J)) - ideal).abs().sum()
        )
        for rate in (0.0, 0.01, 0.05, 0.2)
    ]
    assert distances[0] < 1e-12
    assert all(near + 1e-3 < far for near, far in pairwise(distances))


def test_couplings_that_are_zero_have_no_gate_and_no_noise_whatever_the_batch() -> None:
    h, J = random_model(3, seed=6)
    sparse = J.copy()
    sparse[0, 2] = 0.0
    model = IsingModel(torch.tensor(h).expand(3, 2, 3), torch.tensor(np.stack([J, sparse, 0 * J])))
    sampler = AerSampler(LINEAR, STEPS, noise=depolarizing_noise(**RATES))
    law = sampler.probabilities(model)
    for group, couplings in enumerate((J, sparse, 0 * J)):
        expected = dense(h, couplings, **RATES)[0].expand(2, -1)
        torch.testing.assert_close(law[group], expected, rtol=0, atol=1e-9)


def test_trajectories_do_not_depend_on_threads() -> None:
    h, J = random_model(3, seed=7)
    model = IsingModel(torch.tensor(h).expand(1, 3, 3), torch.tensor(J)[None])
    drawn = [
        AerSampler(LINEAR, 2, noise=depolarizing_noise(0.1), method="statevector", threads=threads)
        .sample(model, shots=100, seed=1)
        .frequencies()
        for threads in (1, 2, 3)
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])


def test_own_seeds_beyond_the_density_matrix_measure_models_one_by_one() -> None:
    generator = torch.Generator().manual_seed(0)
    couplings = torch.diag(torch.full((10,), 0.4), 1)[None]
    model = IsingModel(torch.randn(1, 2, 11, generator=generator), couplings)
    sampler = AerSampler(LINEAR, 1, noise=depolarizing_noise(0.01))
    samples = sampler.sample(model, shots=20, seed=torch.tensor([[3, 4]]))
    assert samples.diagnostics["drawn_from"] == "measurement"
    alone = IsingModel(model.fields[:, 1:], couplings)
    again = sampler.sample(alone, shots=20, seed=torch.tensor([[4]]))
    assert torch.equal(samples.frequencies()[:, 1:], again.frequencies())
    with pytest.raises(ValueError, match=r"spins is 11, but the law under noise takes a density matrix.*at most 10"):
        sampler.probabilities(model)


# --- noise models in other gates, and devices -----------------------------------------------------------------


def test_noise_on_other_gates_acts_on_the_circuit_in_those() -> None:
    # RZZ is CX RZ CX: a fault after each CX is two faults, of which the first is carried through the RZ and a CX
    noise = NoiseModel()
    noise.add_all_qubit_quantum_error(depolarizing_error(0.05, 2), ["cx"])
    h, J = random_model(2, seed=3)
    law = AerSampler(LINEAR, 1, noise=noise).probabilities(single(h, J))
    # both are depolarizing channels of the whole pair, which all gates leave as they are: λ adds up to 1 − (1 − λ)²
    rate = (1 - 0.95**2) * 15 / 16
    torch.testing.assert_close(law, dense(h, J, steps=1, two_qubit=rate), rtol=0, atol=1e-9)


@pytest.mark.parametrize("qubits", [4, 30])
def test_a_device_without_errors_gives_the_ideal_law_however_spins_are_moved(qubits: int) -> None:
    h, J = random_model(4, seed=8)
    model = IsingModel(torch.tensor(np.stack([h, 2 * h[::-1]]))[None], torch.tensor(J)[None])
    with pytest.warns(UserWarning, match="no QubitProperties"):
        sampler = AerSampler(LINEAR, STEPS, noise=line(qubits, noise_info=False))
    law = sampler.probabilities(model)
    ideal = AerSampler(LINEAR, STEPS).probabilities(model)
    torch.testing.assert_close(law, ideal, rtol=0, atol=1e-6)
    samples = sampler.sample(model, shots=20_000, seed=2)
    assert chi_squared_p(samples, ideal) > 1e-4
    for order in ([3, 2, 1, 0], [1, 0, 2, 3], [0, 1, 3, 2]):  # spins in another order would be seen
        spins = ideal.reshape(1, 2, 2, 2, 2, 2).permute(0, 1, *(2 + i for i in order)).reshape(1, 2, 16)
        assert chi_squared_p(samples, spins) < 1e-9
    circuit = sampler._circuits.measured(model)[0].circuit
    edges = set(CouplingMap.from_line(qubits).get_edges())
    assert {step.operation.name for step in circuit.data} <= {"cx", "rz", "sx", "x", "measure"}
    used = [tuple(circuit.find_bit(q).index for q in step.qubits) for step in circuit.data if len(step.qubits) == 2]
    assert set(used) <= edges
    assert len(used) > 2 * 6 * STEPS  # an all-to-all model on a line takes swaps besides two CX for each RZZ


def test_a_noisy_device_is_compiled_once_and_worse_than_an_ideal_one() -> None:
    h, J = random_model(3, seed=9)
    sampler = AerSampler(LINEAR, STEPS, noise=line(5))
    first = sampler._circuits.measured(single(h, J))[0]
    law = sampler.probabilities(single(h, J))
    assert sampler._circuits.measured(single(2 * h, 3 * J))[0] is first
    distance = float((law - AerSampler(LINEAR, STEPS).probabilities(single(h, J))).abs().sum()) / 2
    assert 1e-3 < distance < 0.5
    assert chi_squared_p(sampler.sample(single(h, J), shots=20_000, seed=1), law) > 1e-4
    trajectories = AerSampler(LINEAR, STEPS, noise=line(5), method="statevector")
    assert chi_squared_p(trajectories.sample(single(h, J), shots=300, seed=1), law) > 1e-4


def test_a_device_is_noisier_where_more_gates_are_needed() -> None:
    # at a readout error of its own, the law of an uncoupled model is that of its few one-qubit gates
    h, J = random_model(3, seed=10)
    device = line(3)
    distances = [
        float(
            (
                AerSampler(LINEAR, 8, noise=device).probabilities(single(h, couplings))
                - AerSampler(LINEAR, 8).probabilities(single(h, couplings))
            )
            .abs()
            .sum()
        )
        for couplings in (0 * J, J)
    ]
    assert distances[1] > 1.5 * distances[0]


# --- noise from the command line ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("depolarizing:0.005", {"two_qubit": 0.005}),
        ("depolarizing:0.005,readout:0.02,single:0.0005", {"two_qubit": 0.005, "one_qubit": 0.0005, "readout": 0.02}),
        ("readout:0.1", {"two_qubit": 0.0, "readout": 0.1}),
    ],
)
def test_rates_are_read(text: str, rates: dict[str, float]) -> None:
    assert read_noise(text) == depolarizing_noise(**rates)


def test_a_generic_device_is_read_and_always_the_same() -> None:
    first, second = read_noise("generic:3"), read_noise("generic:3")
    assert isinstance(first, GenericBackendV2)
    assert first.num_qubits == 3
    assert NoiseModel.from_backend(first) == NoiseModel.from_backend(second)


def every_kind_of_error() -> NoiseModel:
    """Paulis, resets, Kraus operators and unitaries; on all qubits and on some."""
    noise = depolarizing_noise(0.02, 0.01, 0.03)
    noise.add_quantum_error(amplitude_damping_error(0.1), ["rx"], [0])
    noise.add_quantum_error(thermal_relaxation_error(50.0, 30.0, 5.0), ["u"], [1])
    turn = np.diag(np.exp(1j * np.array([0.1, -0.1])))
    noise.add_quantum_error(coherent_unitary_error(turn).compose(thermal_relaxation_error(50, 70, 5)), ["u"], [0])
    noise.add_readout_error(ReadoutError([[0.9, 0.1], [0.2, 0.8]]), [1])
    return noise


def test_a_noise_model_survives_its_file(tmp_path: Path) -> None:
    noise = every_kind_of_error()
    path = tmp_path / "noise.json"
    path.write_text(json.dumps(noise.to_dict(serializable=True)))
    h, J = random_model(2, seed=2)
    laws = [
        AerSampler(LINEAR, 3, noise=model).probabilities(single(h, J))
        for model in (noise, read_noise(str(path)), depolarizing_noise(0.02, 0.01, 0.03))
    ]
    torch.testing.assert_close(laws[1], laws[0], rtol=0, atol=1e-12)
    assert float((laws[2] - laws[0]).abs().max()) > 1e-3


def test_fake_backends_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class FakeSmallV2(GenericBackendV2):
        def __init__(self) -> None:
            super().__init__(3, seed=1)

    module = ModuleType("qiskit_ibm_runtime.fake_provider")
    module.FakeSmallV2, module.FakeNothing = FakeSmallV2, 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "qiskit_ibm_runtime", ModuleType("qiskit_ibm_runtime"))
    monkeypatch.setitem(sys.modules, "qiskit_ibm_runtime.fake_provider", module)
    assert isinstance(read_noise("FakeSmallV2"), FakeSmallV2)
    for name in ("FakeNothing", "FakeManilaV2"):
        with pytest.raises(ValueError, match=f"noise is '{name}', but .* no such fake backend; it has FakeSmallV2"):
            read_noise(name)


def test_fake_backends_name_the_extra_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qiskit_ibm_runtime", None)
    monkeypatch.delitem(sys.modules, "qiskit_ibm_runtime.fake_provider", raising=False)
    with pytest.raises(ValueError, match=r"FakeManilaV2.*not installed; pip install 'hybrid-attention\[ibm\]'"):
        read_noise("FakeManilaV2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "noise is ''; give 'depolarizing:0.005'.*generic:5.*FakeManilaV2.*JSON"),
        ("depolarising:0.1", "noise is 'depolarising:0.1'; give 'depolarizing:0.005'"),
        ("depolarizing", "give 'depolarizing:0.005'"),
        ("depolarizing:much", "noise is 'depolarizing:much'; give 'depolarizing:0.005'"),
        ("depolarizing:0.1,double:0.2", "give 'depolarizing:0.005'"),
        ("depolarizing:0.1,depolarizing:0.2", "name each of depolarizing, single, readout at most once"),
        ("depolarizing:1.5", "two_qubit is 1.5; give a probability from 0 to 1"),
        ("depolarizing:nan", "two_qubit is nan"),
        ("generic:1", "noise is 'generic:1'; give 'generic:N' with a number of qubits of at least 2"),
        ("generic:many", "generic:N"),
        ("missing.json", "noise file missing.json cannot be read: No such file"),
        (3, "noise is 3; give 'depolarizing:0.005'"),
    ],
)
def test_wrong_texts(text: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_noise(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "has no list 'errors'"),
        ('{"errors": [{"type": "other"}]}', r"errors\[0\] is not one that Aer writes: ValueError\(\"type is 'other'"),
        ('{"errors": [3]}', r"errors\[0\] is not one"),
        ('{"errors": [{"type": "roerror", "probabilities": [[2, 0], [0, 1]]}]}', r"errors\[0\] is not one"),
    ],
)
def test_wrong_files(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "noise.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_noise(str(path))


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"two_qubit": -0.1}, "two_qubit is -0.1; give a probability from 0 to 1"),
        ({"two_qubit": True}, "two_qubit is True"),
        ({"two_qubit": 0.1, "one_qubit": 2}, "one_qubit is 2; give a probability from 0 to 1"),
        ({"two_qubit": 0.1, "readout": 0.6}, "readout is 0.6; give a probability from 0 to 0.5"),
        ({"two_qubit": "0.1"}, "two_qubit is '0.1'"),
    ],
)
def test_wrong_rates(rates: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        depolarizing_noise(**rates)


# --- noise that AerSampler refuses ----------------------------------------------------------------------------


def with_error(qubits: list[int] | None, *names: str, size: int = 1) -> NoiseModel:
    noise = NoiseModel()
    error = depolarizing_error(0.1, size)
    if qubits is None:
        noise.add_all_qubit_quantum_error(error, list(names))
    else:
        noise.add_quantum_error(error, list(names), qubits)
    return noise


def together() -> NoiseModel:
    noise = NoiseModel()
    noise.add_readout_error(ReadoutError(np.eye(4)[[1, 0, 2, 3]]), [0, 1])
    return noise


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (0.01, "noise is 0.01; give a qiskit_aer.noise.NoiseModel or a Qiskit backend"),
        (AerSimulator(), "noise is an Aer simulator; give it as backend"),
        (with_error(None, "measure"), "noise has a quantum error on 'measure'; give a readout error"),
        (together(), r"readout error of qubits \(0, 1\) together"),
    ],
    ids=["number", "simulator", "measure", "joint readout"],
)
def test_noise_refused_at_construction(noise: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AerSampler(LINEAR, STEPS, noise=noise)


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (with_error([3], "u"), "noise has errors on qubit 3, but the model has 3 spins"),
        (with_error([1, 0], "rzz", size=2), r"2-qubit errors on rzz, but none of these gates occurs.*i < j"),
        (with_error(None, "ccx", size=3), "3-qubit errors on ccx, but none"),
        (with_error(None, "id"), "1-qubit errors on id, but none of these gates occurs.*which has cx"),
        (with_error(None, "someone's own"), "1-qubit errors on someone's own, but none"),
        (GenericBackendV2(2, seed=1), "spins is 3, but the backend generic_backend_2q has 2 qubits"),
    ],
    ids=["qubit beyond", "reversed pair", "three qubits", "absent gate", "label", "small backend"],
)
def test_noise_that_would_not_act_is_refused_before_work(
    noise: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AerSimulator, "run", lambda *_, **__: pytest.fail("Aer ran"))
    sampler, model = AerSampler(LINEAR, STEPS, noise=noise), single(*random_model(3, seed=0))
    for request in (sampler.probabilities, sampler.sample):
        with pytest.raises(ValueError, match=message):
            request(model)


def test_one_spin_has_no_pair_that_noise_could_miss() -> None:
    # a uniform model is not at fault where a batch has single or uncoupled spins
    law = AerSampler(LINEAR, STEPS, noise=depolarizing_noise(0.1)).probabilities(single([0.5], [[0.0]]))
    torch.testing.assert_close(law, AerSampler(LINEAR, STEPS).probabilities(single([0.5], [[0.0]])))


def test_noise_and_a_backend_of_its_own_exclude_each_other() -> None:
    for options in ({"noise": depolarizing_noise(0.1)}, {"method": "density_matrix"}):
        with pytest.raises(ValueError, match="backend comes with a noise model, method and device of its own"):
            AerSampler(LINEAR, STEPS, backend=AerSimulator(), **options)
