"""Circuits against dense matrices: amplitudes, the continuous anneal they approximate, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dense_anneal import circuit_state, continuous_state, random_model
from qiskit.quantum_info import Statevector

from quantum import AnnealSchedule, trotter_circuit
from quantum.trotter import pairs, template


def scrambled(steps: int, seed: int) -> AnnealSchedule:
    """A schedule whose 3K angles are all different."""
    a, b, theta = np.random.default_rng(seed).normal(size=(3, steps))
    return AnnealSchedule.from_angles(field=a, coupling=b, mixer=theta)


def dense(h: np.ndarray, J: np.ndarray, schedule: AnnealSchedule, steps: int | None = None) -> np.ndarray:
    angles = schedule.angles(steps)
    return circuit_state(h, J, angles.field, angles.coupling, angles.mixer)


@pytest.mark.parametrize("spins", [1, 2, 3, 5])
def test_amplitudes_equal_dense_matrices(spins: int) -> None:
    h, J = random_model(spins, seed=spins)
    schedule = scrambled(3, seed=spins)
    amplitudes = Statevector(trotter_circuit(h, J, schedule)).data
    np.testing.assert_allclose(amplitudes, dense(h, J, schedule), atol=1e-13)


@pytest.mark.parametrize("spins", [1, 2, 4])
def test_template_is_the_same_unitary_up_to_a_phase(spins: int) -> None:
    schedule = scrambled(3, seed=7)
    models = [random_model(spins, seed=seed) for seed in range(4)]
    circuit = template(spins, schedule.angles(), "none")
    h = np.stack([model[0] for model in models])
    J = np.stack([model[1][pairs(spins)] for model in models])
    values = circuit.values(h, J)
    assert values.shape == (len(circuit.parameters), 4)
    for number, (fields, couplings) in enumerate(models):
        bound = circuit.circuit.assign_parameters(dict(zip(circuit.parameters, values[:, number], strict=True)))
        amplitudes, expected = Statevector(bound).data, dense(fields, couplings, schedule)
        phase = np.vdot(expected, amplitudes)
        assert abs(phase) == pytest.approx(1.0, abs=1e-13)
        np.testing.assert_allclose(amplitudes, phase * expected, atol=1e-13)


@pytest.mark.parametrize("spins", [1, 2, 4])
def test_template_with_couplings_in_it(spins: int) -> None:
    schedule = scrambled(3, seed=9)
    h, J = random_model(spins, seed=6)
    circuit = template(spins, schedule.angles(), "none", J[pairs(spins)])
    values = circuit.values(h[None])[:, 0]
    amplitudes = Statevector(circuit.circuit.assign_parameters(dict(zip(circuit.parameters, values, strict=True)))).data
    expected = dense(h, J, schedule)
    phase = np.vdot(expected, amplitudes)
    assert abs(phase) == pytest.approx(1.0, abs=1e-13)
    np.testing.assert_allclose(amplitudes, phase * expected, atol=1e-13)


def test_golden_circuits(golden: dict[str, Any]) -> None:
    for case in golden["circuits"]:
        schedule = AnnealSchedule.from_angles(
            field=case["field_phases"], coupling=case["coupling_phases"], mixer=case["mixers"]
        )
        law = Statevector(trotter_circuit(case["fields"], case["couplings"], schedule)).probabilities()
        np.testing.assert_allclose(law, case["probabilities"], atol=1e-9)


def test_amplitudes_see_every_sign() -> None:
    # a wrong sign of all angles leaves the probabilities alone, one of fields or mixers alone does not
    h, J = random_model(3, seed=3)
    a, b, theta = np.random.default_rng(3).normal(size=(3, 2))
    right = Statevector(trotter_circuit(h, J, AnnealSchedule.from_angles(field=a, coupling=b, mixer=theta))).data
    np.testing.assert_allclose(right, circuit_state(h, J, a, b, theta), atol=1e-13)
    everything = circuit_state(h, J, -a, -b, -theta)
    np.testing.assert_allclose(abs(right) ** 2, abs(everything) ** 2, atol=1e-13)
    for wrong in (everything, circuit_state(h, J, a, b, -theta), circuit_state(-h, J, a, b, theta)):
        assert abs(right - wrong).max() > 0.05
    swapped = right.reshape(2, 2, 2).transpose(2, 1, 0).reshape(-1)
    assert abs(abs(right) ** 2 - abs(swapped) ** 2).max() > 0.01


def test_trotter_error_falls_with_the_square_of_the_step() -> None:
    h, J = random_model(3, seed=5)
    exact = continuous_state(h, J, duration=4.0, intervals=2000)
    schedule = AnnealSchedule.linear(4.0)
    errors = []
    for steps in (16, 32, 64):
        amplitudes = Statevector(trotter_circuit(h, J, schedule, steps)).data
        # the half mixer left out at the start only turns |+⟩ⁿ's phase
        overlap = np.vdot(amplitudes, exact)
        errors.append(np.linalg.norm(amplitudes * overlap / abs(overlap) - exact))
    assert errors[-1] < 5e-3
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4.0, rel=0.05)


def test_gates_are_counted() -> None:
    h, J = random_model(4, seed=1)
    J[0, 3] = 0.0
    circuit = trotter_circuit(h, J, AnnealSchedule.linear(), 3)
    assert circuit.count_ops() == {"h": 4, "rz": 12, "rzz": 15, "rx": 12}
    assert template(4, AnnealSchedule.linear().angles(3), "measure").circuit.count_ops() == {
        "u": 12,
        "rzz": 18,
        "rx": 4,
        "measure": 4,
    }


@pytest.mark.parametrize(
    ("fields", "couplings", "message"),
    [
        ([[1.0]], [[0.0]], r"fields has shape \(1, 1\); give \(spins,\)"),
        ([], [], r"fields has shape \(0,\)"),
        ([1.0, 2.0], [[0.0]], r"couplings has shape \(1, 1\); for these fields it must be \(2, 2\)"),
        ([1.0, np.nan], np.zeros((2, 2)), r"fields contains nan"),
        ([1.0, 1.0], [[0, np.inf], [0, 0]], r"couplings contains inf"),
        ([1.0, 1.0], [[0, 0], [0.5, 0]], r"couplings\[1, 0\] is 0.5; couplings are strictly upper"),
        ([1.0, 1.0], [[0, 0], [0, 0.5]], r"couplings\[1, 1\] is 0.5"),
    ],
)
def test_bad_models(fields: Any, couplings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trotter_circuit(fields, couplings, AnnealSchedule.linear(), 2)


def test_bad_ending() -> None:
    with pytest.raises(ValueError, match="ending is 'counts'; it must be 'measure'"):
        template(2, AnnealSchedule.linear().angles(1), "counts")
