"""AerSampler's other simulators: matrix-product states, fusion, devices, and what each refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import qiskit_aer
import torch
from dense_anneal import circuit_state, random_model
from qiskit.quantum_info import Statevector

from classical import IsingModel
from quantum import AerSampler, AnnealSchedule, StatevectorSampler
from quantum.trotter import pairs, template
from tests.statistics import chi_squared_p

LINEAR = AnnealSchedule.linear(6.0)
MPS = "matrix_product_state"


def banded(spins: int, seed: int = 0) -> IsingModel:
    """One model, each spin coupled to those one and two places away."""
    rng = np.random.default_rng(seed)
    J = rng.normal(scale=0.3, size=(spins, spins))
    near = np.triu(np.tril(J, 2), 1)
    return IsingModel(torch.tensor(rng.normal(scale=0.3, size=(1, 1, spins))), torch.tensor(near)[None])


def part(model: IsingModel, first: int, last: int) -> IsingModel:
    """Spins first … last without the others."""
    return IsingModel(model.fields[..., first : last + 1], model.couplings[:, first : last + 1, first : last + 1])


# --- matrix-product states ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [3, torch.tensor([[3]])], ids=["one seed", "own seeds"])
def test_samples_follow_the_dense_law(seed: Any) -> None:
    h, J = random_model(5, seed=2)
    J[0, 3] = J[1, 4] = 0.0
    model = IsingModel(torch.tensor(h)[None, None], torch.tensor(J)[None])
    sampler = AerSampler(LINEAR, 4, method=MPS)
    angles, factors = LINEAR.angles(4), sampler.factors
    fed = h * factors.field_factor, J * factors.coupling_factor
    law = torch.tensor(abs(circuit_state(*fed, angles.field, angles.coupling, angles.mixer)) ** 2)[None, None]
    samples = sampler.sample(model, shots=20_000, seed=seed)
    assert samples.diagnostics["drawn_from"] == "measurement"
    assert chi_squared_p(samples, law) > 1e-4
    assert chi_squared_p(samples, law.flip(-1)) < 1e-9
    torch.testing.assert_close(sampler.probabilities(model), law, rtol=0, atol=1e-6)


def test_a_spin_in_the_middle_of_forty_is_that_of_its_light_cone() -> None:
    # four steps, each of which couples spins up to two places apart: spin 20 depends on spins 12 … 28 and no others
    model, steps, middle, shots = banded(40), 4, 20, 2000
    cone = part(model, middle - 8, middle + 8)
    assert cone.spins == 17
    up = torch.arange(2**17) >> 8 & 1 == 0
    exact = StatevectorSampler(LINEAR, steps, backend="torch")
    expected = float(exact.probabilities(cone)[0, 0][up].sum())
    error = (expected * (1 - expected) / shots) ** 0.5

    def deviation(max_bond: int | None) -> float:
        samples = AerSampler(LINEAR, steps, method=MPS, max_bond=max_bond).sample(model, shots=shots, seed=1)
        return abs(float(samples.up_probability()[0, 0, middle]) - expected) / error

    assert deviation(None) < 5
    # bonds of one number leave a product state, which is seen to be another
    assert deviation(1) > 10


def test_more_spins_than_an_integer_has_bits() -> None:
    # uncoupled spins are product states: each spin's share of +1 is that of a spin alone
    h = torch.linspace(-1.5, 1.5, 100, dtype=torch.float64)
    model = IsingModel(h[None, None], torch.zeros(1, 100, 100, dtype=torch.float64))
    alone = IsingModel(h[None, :, None], torch.zeros(1, 1, 1, dtype=torch.float64))
    expected = AerSampler(LINEAR, 2).probabilities(alone)[0, :, 0]
    shots = 2000
    samples = AerSampler(LINEAR, 2, method=MPS).sample(model, shots=shots, seed=0)
    error = (expected * (1 - expected) / shots).sqrt()
    # 100 spins: the largest of 100 normal deviations exceeds 5 with probability 6e-5
    assert float(((samples.up_probability()[0, 0] - expected).abs() / error).max()) < 5


def test_own_seeds_make_a_model_independent_of_its_batch() -> None:
    model = banded(8)
    other = model.couplings.clone()
    other[0, 0, 1] = 0.0  # a group with another pattern of couplings
    pair = IsingModel(model.fields.expand(2, 3, -1).clone(), torch.cat([other, model.couplings]))
    sampler, seeds = AerSampler(LINEAR, 3, method=MPS), torch.arange(6).reshape(2, 3)
    whole = sampler.sample(pair, shots=50, seed=seeds).frequencies()
    alone = sampler.sample(model, shots=50, seed=seeds[1:, 2:]).frequencies()
    assert torch.equal(whole[1:, 2:], alone)
    assert not torch.equal(whole[1, 1], whole[1, 2])


@pytest.mark.parametrize("coupled", ["all", "some", "none"])
def test_chained_templates_are_the_same_unitary(coupled: str) -> None:
    h, J = random_model(6, seed=5)
    keep = {"all": np.ones_like(J), "some": np.random.default_rng(0).random(J.shape) < 0.5, "none": np.zeros_like(J)}
    J = J * keep[coupled]
    angles = AnnealSchedule.from_angles(field=[0.3, 0.6], coupling=[0.2, 0.5], mixer=[0.9, 0.5]).angles()
    present = J[pairs(6)].nonzero()[0]
    circuit = template(6, angles, "none", present=present, chain=True)
    values = circuit.values(h[None], J[pairs(6)][None])[:, 0]
    assert len(circuit.parameters) == 2 * (6 + len(present))
    bound = circuit.circuit.assign_parameters(dict(zip(circuit.parameters, values, strict=True)))
    expected = circuit_state(h, J, angles.field, angles.coupling, angles.mixer)
    assert abs(np.vdot(expected, Statevector(bound).data)) == pytest.approx(1.0, abs=1e-12)
    for step in circuit.circuit.data:
        places = [circuit.circuit.find_bit(qubit).index for qubit in step.qubits]
        assert len(places) == 1 or abs(places[0] - places[1]) == 1


def test_state_vectors_leave_out_the_gates_of_absent_couplings() -> None:
    model = banded(15)
    sampler = AerSampler(LINEAR, 2)
    circuit = sampler._circuits.measured(model)[0].circuit
    assert circuit.count_ops()["rzz"] == 2 * (14 + 13)
    expected = StatevectorSampler(LINEAR, 2, dtype=torch.complex128, backend="torch").probabilities(model)
    torch.testing.assert_close(sampler.probabilities(model), expected, rtol=0, atol=1e-12)  # with fusion


@pytest.mark.parametrize("spins", [12, 13])
def test_fusion_changes_no_law(spins: int) -> None:
    h, J = random_model(spins, seed=3)
    model = IsingModel(torch.tensor(h)[None, None], torch.tensor(J)[None])
    expected = StatevectorSampler(LINEAR, 2, dtype=torch.complex128, backend="torch").probabilities(model)
    torch.testing.assert_close(AerSampler(LINEAR, 2).probabilities(model), expected, rtol=0, atol=1e-12)


def test_density_matrices_without_noise_have_the_law_of_state_vectors() -> None:
    law = AerSampler(LINEAR, 3).probabilities(banded(4))
    sampler = AerSampler(LINEAR, 3, method="density_matrix")
    torch.testing.assert_close(sampler.probabilities(banded(4)), law, rtol=0, atol=1e-12)
    assert chi_squared_p(sampler.sample(banded(4), shots=10_000, seed=0), law) > 1e-4


# --- bad input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "magic"}, "method is 'magic'; choose one of statevector, density_matrix, matrix_product_state"),
        ({"method": MPS, "max_bond": 0}, "max_bond is 0; give an integer of at least 1, or None"),
        ({"method": MPS, "max_bond": 2.0}, r"max_bond is 2\.0"),
        ({"method": MPS, "max_bond": True}, "max_bond is True"),
        ({"method": MPS, "truncation": 1.0}, r"truncation is 1\.0; give a number from 0 to below 1"),
        ({"method": MPS, "truncation": -1e-9}, "truncation is -1e-09"),
        ({"method": MPS, "truncation": float("nan")}, "truncation is nan"),
        ({"max_bond": 4}, "max_bond is 4, but method 'statevector' has no bonds"),
        ({"truncation": 0.1}, r"truncation is 0\.1, but method 'statevector' has no bonds"),
        ({"device": "abacus"}, "device is 'abacus', but this Aer has CPU"),
        ({"method": MPS, "device": "GPU"}, "device is 'GPU', but Aer has matrix-product states on 'CPU' alone"),
    ],
)
def test_bad_construction(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AerSampler(LINEAR, 3, **arguments)


def test_laws_too_large_to_write_out() -> None:
    with pytest.raises(ValueError, match="spins is 21, but a law is written out for at most 20 spins; draw samples"):
        AerSampler(LINEAR, 2, method=MPS).probabilities(banded(21))


@pytest.mark.parametrize(("method", "spins"), [(None, 20), (MPS, 128), ("density_matrix", 10)])
def test_too_many_spins(method: str | None, spins: int) -> None:
    sampler = AerSampler(LINEAR, 2, method=method)
    assert sampler.max_spins == spins
    with pytest.raises(
        ValueError, match=f"spins is {spins + 1}, but AerSampler holds at most {spins} spins; raise max"
    ):
        sampler.sample(banded(spins + 1))


def test_a_device_that_is_there_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []

    class Simulator(qiskit_aer.AerSimulator):
        def __init__(self, **options: Any) -> None:
            made.append(dict(options))
            super().__init__(**{**options, "device": "CPU"})

        def available_devices(self) -> list[str]:
            return ["CPU", "GPU"]

    monkeypatch.setattr(qiskit_aer, "AerSimulator", Simulator)
    AerSampler(LINEAR, 2, device="GPU").sample(banded(3), shots=4)
    assert made[-1]["device"] == "GPU"
    AerSampler(LINEAR, 2, method=MPS, max_bond=7, truncation=1e-8).sample(banded(3), shots=4)
    assert made[-1]["matrix_product_state_max_bond_dimension"] == 7
    assert made[-1]["matrix_product_state_truncation_threshold"] == 1e-8
