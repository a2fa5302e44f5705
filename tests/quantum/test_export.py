"""Exports, each read back by the library it is for, against energies counted here."""

from __future__ import annotations

import io
import itertools
import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import dimod
import numpy as np
import pytest
import torch
from qiskit import qasm3, transpile
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit_aer import AerSimulator
from qiskit_optimization import QuadraticProgram
from qiskit_optimization.algorithms import MinimumEigenOptimizer
from qiskit_optimization.minimum_eigensolvers import NumPyMinimumEigensolver
from qiskit_optimization.translators import from_ising

from classical import ExactSampler, IsingModel
from quantum import AnnealSchedule, StatevectorSampler, calibrate
from quantum.export import (
    from_bqm,
    from_pauli,
    from_quadratic_program,
    from_qubo,
    to_bqm,
    to_pauli,
    to_quadratic_program,
    to_qubo,
)
from quantum.export_circuit import Anneal, anneal_circuit, to_qasm3
from quantum.export_files import FORMATS, READERS, Export, read_model, write_model

MODELS = 100
ANNEAL = Anneal(AnnealSchedule.linear(4.0), 3)
METADATA = {"step": 7, "layer": 0, "tokens": [3, 1, 4], "labels": ["⊢", "\\", "a  b", "É" * 300]}


class Model(NamedTuple):
    """One model, and every configuration in the order of basis states (bit j = spin j, 0 = +1) with its energy."""

    h: np.ndarray
    J: np.ndarray
    s: np.ndarray
    energy: np.ndarray
    number: int

    @property
    def tolerance(self) -> float:
        """Rounding of float64 in sums of this size."""
        return 1e-14 * float(np.abs(self.h).sum() + np.abs(self.J).sum())


def made(h: np.ndarray, J: np.ndarray, number: int = 0) -> Model:
    n = len(h)
    s = np.array([bits[::-1] for bits in itertools.product((1.0, -1.0), repeat=n)])
    energy = np.array(
        [
            -sum(h[j] * x[j] for j in range(n)) - sum(J[j, k] * x[j] * x[k] for j in range(n) for k in range(j, n))
            for x in s
        ]
    )
    return Model(h, J, s, energy, number)


@cache
def model(number: int) -> Model:
    """Of 1 to 6 spins, each kind at every size: plain, frustrated, without fields, couplings or both, tiny, huge."""
    rng = np.random.default_rng(number)
    n, kind = 1 + number % 6, number // 6 % 8
    h, J = rng.normal(size=n), np.triu(rng.normal(size=(n, n)), 1)
    if kind == 1:
        h, J = np.zeros(n), -np.triu(np.ones((n, n)), 1)  # antiferromagnet on a complete graph: many ground states
    elif kind == 2:
        h = 0 * h
    elif kind == 3:
        J = 0 * J
    elif kind == 4:
        h, J = 0 * h, 0 * J
    elif kind == 5:
        J *= rng.random(J.shape) < 0.5
    elif kind == 6:
        h, J = 1e-9 * h, 1e-9 * J
    elif kind == 7:
        h, J = 1e6 * h, 1e3 * J
    return made(h, J, number)


SIZES = pytest.mark.parametrize("spins", range(1, 7))


def models(spins: int) -> list[Model]:
    """Those of the hundred that have so many spins."""
    return [model(number) for number in range(MODELS) if len(model(number).h) == spins]


def contents(one: Model, form: str) -> bytes:
    return FORMATS[form](Export(one.h, one.J, ANNEAL, METADATA))


def ones_up(s: np.ndarray) -> np.ndarray:
    """dimod's bits, x = 1 ↔ s = +1."""
    return ((1 + s) / 2).astype(np.int8)


def zeros_up(s: np.ndarray) -> np.ndarray:
    """qiskit's bits, x = 0 ↔ s = +1."""
    return ((1 - s) / 2).astype(np.int8)


def require_equal(found: Any, one: Model) -> None:
    np.testing.assert_allclose(np.asarray(found), one.energy, rtol=0, atol=one.tolerance, err_msg=f"model {one.number}")


@SIZES
def test_bqm_read_by_dimod(spins: int) -> None:
    for one in models(spins):
        bqm = dimod.BinaryQuadraticModel.from_file(contents(one, "bqm"))
        assert bqm.vartype is dimod.SPIN
        assert bqm.offset == 0
        assert list(bqm.variables) == list(range(len(one.h)))
        require_equal(bqm.energies(one.s.astype(np.int8)), one)
        require_equal(bqm.change_vartype("BINARY", inplace=False).energies(ones_up(one.s)), one)


@SIZES
def test_qubo_as_dimods_own(spins: int) -> None:
    for one in models(spins):
        read = json.loads(contents(one, "qubo"))
        quadratic = {(j, k): value for j, k, value in read["quadratic"]}
        assert all(j < k for j, k in quadratic)
        bqm = dimod.BinaryQuadraticModel(dict(enumerate(read["linear"])), quadratic, read["offset"], "BINARY")
        require_equal(bqm.energies(ones_up(one.s)), one)
        own, offset = to_bqm(one.h, one.J).to_qubo()
        assert offset == pytest.approx(read["offset"], abs=one.tolerance)
        for (j, k), value in own.items():
            found = read["linear"][j] if j == k else quadratic[min(j, k), max(j, k)]
            assert found == pytest.approx(value, abs=one.tolerance)


@SIZES
def test_lp_read_by_dimod(spins: int) -> None:
    for one in models(spins):
        found = dimod.lp.loads(contents(one, "quadratic-program").decode("ascii"))
        names = [f"x{j}" for j in range(len(one.h))]
        assert sorted(found.variables) == sorted(names)
        assert all(found.vartype(name) is dimod.BINARY for name in names)
        assert not found.constraints
        require_equal(found.objective.energies((zeros_up(one.s), names)), one)


@SIZES
def test_quadratic_program_of_qiskit(spins: int) -> None:
    for one in models(spins):
        program = to_quadratic_program(one.h, one.J)
        require_equal([program.objective.evaluate(x) for x in zeros_up(one.s)], one)
        if one.energy.any():
            theirs = from_ising(to_pauli(one.h, one.J))
            require_equal([theirs.objective.evaluate(x) for x in zeros_up(one.s)], one)
            operator, constant = program.to_ising()
            require_equal(operator.to_matrix().diagonal().real + constant, one)


@SIZES
def test_pauli_read_by_qiskit(spins: int) -> None:
    for one in models(spins):
        operator = SparsePauliOp.from_list([tuple(term) for term in json.loads(contents(one, "pauli"))])
        assert operator.num_qubits == len(one.h)
        matrix = operator.to_matrix()
        assert not (matrix - np.diag(matrix.diagonal())).any()
        require_equal(matrix.diagonal().real, one)


@SIZES
def test_json_holds_our_own_numbers(spins: int) -> None:
    for one in models(spins):
        read = json.loads(contents(one, "json"))
        assert np.array_equal(read["fields"], one.h)
        assert np.array_equal(read["couplings"], one.J)
        assert read["tokens"] == METADATA["tokens"]


@SIZES
def test_ground_states_agree(spins: int) -> None:
    for one in models(spins):
        lowest = one.energy.min()
        low = one.energy <= lowest + one.tolerance
        grounds = {tuple(s) for s in one.s[low]}
        solved = dimod.ExactSolver().sample(dimod.BinaryQuadraticModel.from_file(contents(one, "bqm"))).record
        assert {tuple(s) for s in solved.sample[solved.energy <= lowest + one.tolerance]} == grounds
        result = MinimumEigenOptimizer(NumPyMinimumEigensolver()).solve(to_quadratic_program(one.h, one.J))
        assert tuple(1 - 2 * result.x) in grounds
        assert result.fval == pytest.approx(lowest, abs=one.tolerance)
        gap = 1.0 if low.all() else one.energy[~low].min() - lowest
        cold = IsingModel(torch.tensor(one.h)[None, None], torch.tensor(one.J)[None]).scaled(60 / gap, 60 / gap)
        drawn = ExactSampler().sample(cold, shots=256).spins[0, 0]
        assert {tuple(s) for s in drawn.tolist()} <= grounds


@SIZES
@pytest.mark.parametrize("form", READERS)
def test_what_is_written_is_read_back(spins: int, form: str) -> None:
    for one in models(spins):
        read = READERS[form](contents(one, form))
        exact = form in ("bqm", "pauli", "json")  # bits mix fields and couplings, which costs a rounding
        tolerance = 0 if exact else one.tolerance
        np.testing.assert_allclose(read.fields, one.h, rtol=0, atol=tolerance)
        np.testing.assert_allclose(read.couplings, one.J, rtol=0, atol=tolerance)
        assert read.constant == pytest.approx(0, abs=tolerance)


@SIZES
def test_qasm_read_back_and_simulated(spins: int) -> None:
    pytest.importorskip("qiskit_qasm3_import")
    for one in models(spins):
        kind, number = one.number // 6 % 8, one.number
        if kind == 7:  # no double precision in angles of a million turns
            one = made(one.h * 1e-5, one.J * 1e-2)
        calibration = ("two-beta", "one-beta", "none")[number % 3]
        anneal = Anneal(AnnealSchedule.linear(2.0 + number % 4), 1 + number % 3, calibration)
        circuit = qasm3.loads(contents_of_circuit(one, anneal))
        assert circuit.num_clbits == len(one.h)
        state = Statevector(circuit.remove_final_measurements(inplace=False)).data
        ours = StatevectorSampler(anneal.schedule, anneal.steps, calibration, dtype=torch.complex128)
        batch = IsingModel(torch.tensor(one.h)[None, None], torch.tensor(one.J)[None])
        np.testing.assert_allclose(np.abs(state) ** 2, ours.probabilities(batch)[0, 0].numpy(), rtol=0, atol=1e-12)
        # circuits with all angles turned round have the same probabilities, but not the same amplitudes
        assert abs(np.vdot(state, ours.amplitudes(batch)[0, 0].numpy())) == pytest.approx(1, abs=1e-12)


def contents_of_circuit(one: Model, anneal: Anneal) -> str:
    return FORMATS["qasm3"](Export(one.h, one.J, anneal, METADATA)).decode("ascii")


@pytest.mark.parametrize("anneal", [ANNEAL, Anneal(AnnealSchedule.preset(4))], ids=["linear", "designed"])
def test_measured_bits_are_spins(anneal: Anneal) -> None:
    one = made(0.5 * model(5).h, 0.5 * model(5).J)
    circuit = anneal_circuit(torch.tensor(one.h, requires_grad=True), torch.tensor(one.J), anneal)
    counts = AerSimulator(seed_simulator=1).run(transpile(circuit, basis_gates=["h", "rx", "rz", "rzz"]), shots=50_000)
    found = np.zeros(2 ** len(one.h))
    for bits, count in counts.result().get_counts().items():
        found[int(bits, 2)] = count / 50_000
    ours = StatevectorSampler(anneal.schedule, anneal.steps, anneal.calibration)
    law = ours.probabilities(IsingModel(torch.tensor(one.h)[None, None], torch.tensor(one.J)[None]))[0, 0].numpy()
    assert np.abs(found - law).max() < 5 * 0.5 / 50_000**0.5


def test_the_program_has_every_digit() -> None:
    h, J = np.array([np.pi / 8 + 3e-11, 1e-12]), np.array([[0, 1 / 3], [0, 0]])
    schedule = AnnealSchedule.from_angles(field=[2.0], coupling=[1.0], mixer=[np.pi / 4 + 1e-10])
    program = to_qasm3(h, J, Anneal(schedule, calibration="none"))
    for gate, angle in (("rz", -4 * h[0]), ("rz", -4 * h[1]), ("rzz", -2 / 3), ("rx", -np.pi / 2 - 2e-10)):
        values = [
            float(line[len(gate) + 1 : line.index(")")]) for line in program.split("\n") if line.startswith(f"{gate}(")
        ]
        assert any(value == pytest.approx(angle, rel=1e-15, abs=0) for value in values), (gate, angle, values)
    assert "pi" not in program


def test_the_circuit_is_calibrated_and_the_models_are_not() -> None:
    one = model(3)
    factors = calibrate(*ANNEAL)
    text = contents_of_circuit(one, ANNEAL)
    angle = float(-2 * ANNEAL.schedule.angles(3).field[0] * (factors.field_factor * one.h[0]))
    assert f"rz({angle!r}) q[0];" in text
    assert f"// field_factor: {factors.field_factor!r}" in text
    assert f"// coupling_factor: {factors.coupling_factor!r}" in text
    assert READERS["json"](contents(one, "json")).fields[0] == one.h[0]


def test_metadata_are_where_each_format_has_a_place() -> None:
    one = model(2)
    expected = {**METADATA, "schedule": {"kind": "linear", "duration": 4.0}, "trotter_steps": 3}
    expected |= {"calibration": "two-beta"}
    for form in ("qubo", "json"):
        read = json.loads(contents(one, form))
        found = {"tokens": read.get("tokens"), **read["metadata"]}
        assert found.pop("convention")
        assert found == expected
    header = contents(one, "bqm")
    header = header[14 : 14 + int.from_bytes(header[10:14], "little")]
    found = json.loads(header)["metadata"]
    assert found.pop("convention")
    assert found == expected
    for form, mark in (("quadratic-program", "\\ "), ("qasm3", "// ")):
        lines = contents(one, form).decode("ascii").split("\n")
        assert all(len(line) <= 130 for line in lines)
        assert mark + "step: 7" in lines
        assert mark + "tokens: [3, 1, 4]" in lines
        assert mark + "calibration: two-beta" in lines
        assert mark + 'schedule: {"kind": "linear", "duration": 4.0}' in lines


def test_a_bqm_file_is_one_to_dimods_own_eyes() -> None:
    one = model(4)
    data = contents(one, "bqm")
    assert dimod.serialization.fileview.load(io.BytesIO(data)) == to_bqm(one.h, one.J)
    assert (14 + int.from_bytes(data[10:14], "little")) % 64 == 0


def test_files_are_whole_and_read_by_name(tmp_path: Path) -> None:
    one = model(5)
    for form in FORMATS:
        path = tmp_path / form
        write_model(path, Export(one.h, one.J, ANNEAL), form)
        assert path.read_bytes() == FORMATS[form](Export(one.h, one.J, ANNEAL))
        if form in READERS:
            np.testing.assert_allclose(read_model(path, form).fields, one.h, atol=1e-12)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FORMATS)


def test_without_metadata_or_anneal() -> None:
    one = model(1)
    for form in READERS:
        np.testing.assert_allclose(READERS[form](FORMATS[form](Export(one.h, one.J))).fields, one.h, atol=1e-12)
    with pytest.raises(ValueError, match="anneal is None, but a circuit needs one; give Anneal"):
        FORMATS["qasm3"](Export(one.h, one.J))


def test_models_of_other_programs() -> None:
    bqm = dimod.BinaryQuadraticModel({"b": 1.0, "a": -2.0}, {("b", "a"): 3.0}, 5.0, "BINARY")
    read = from_bqm(bqm)
    assert read.fields.tolist() == [-1.25, 0.25]  # b, a: 1/2 + 3/4 and −2/2 + 3/4, with the sign turned
    assert read.couplings.tolist() == [[0, -0.75], [0, 0]]
    assert read.constant == 5.0 + 0.5 - 1.0 + 0.75
    shuffled = dimod.BinaryQuadraticModel({2: 1.0, 0: 2.0, 1: 3.0}, {(2, 0): 4.0}, "SPIN")
    assert from_bqm(shuffled).fields.tolist() == [-2, -3, -1]
    assert from_bqm(shuffled).couplings[0, 2] == -4
    program = QuadraticProgram()
    program.binary_var_list(2)
    program.maximize(1.0, [2.0, 0.0], {(0, 0): 3.0, (1, 0): 8.0})
    read = from_quadratic_program(program)
    for x in itertools.product((0, 1), repeat=2):
        s = 1 - 2 * np.array(x)
        energy = read.constant - read.fields @ s - s @ read.couplings @ s
        assert energy == pytest.approx(-program.objective.evaluate(np.array(x)))
    operator = SparsePauliOp.from_list([("II", 2.0), ("ZI", 1.0), ("ZI", 0.5), ("ZZ", -1.0)])
    assert from_pauli(operator).fields.tolist() == [0, -1.5]
    assert from_pauli(operator).couplings[0, 1] == 1
    assert from_pauli(operator).constant == 2


def constrained() -> QuadraticProgram:
    program = to_quadratic_program([1.0, 2.0], np.zeros((2, 2)))
    program.linear_constraint([1, 1], "<=", 1)
    return program


def integers() -> QuadraticProgram:
    program = QuadraticProgram()
    program.integer_var(0, 3)
    return program


@pytest.mark.parametrize(
    ("read", "given", "message"),
    [
        (from_bqm, {"a": 1}, "bqm is .*give a dimod.BinaryQuadraticModel"),
        (from_bqm, dimod.BinaryQuadraticModel("SPIN"), "at least one variable"),
        (from_quadratic_program, constrained(), "without constraints"),
        (from_quadratic_program, integers(), "binary variables"),
        (from_quadratic_program, "minimize", "program is 'minimize'"),
        (from_pauli, SparsePauliOp(["XI"], [1.0]), "term 1.* XI; an Ising energy has"),
        (from_pauli, SparsePauliOp(["ZZZ"], [1.0]), "ZZZ"),
        (from_pauli, SparsePauliOp(["Z"], [1j]), "Z; an Ising"),
        (from_qubo, {"linear": [1.0], "quadratic": []}, "qubo is not one .*offset"),
        (from_qubo, {"linear": [1.0], "quadratic": [[0, 1, 2.0]], "offset": 0.0}, "the pair 0, 1"),
        (from_qubo, [1.0], "qubo is not one"),
    ],
)
def test_what_is_no_ising_model_is_refused(read: Any, given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(given)


@pytest.mark.parametrize("write", [to_bqm, to_qubo, to_quadratic_program, to_pauli])
@pytest.mark.parametrize(
    ("fields", "couplings", "message"),
    [
        ([[1.0]], [[0.0]], "fields has shape"),
        ([], np.zeros((0, 0)), "at least one spin"),
        ([1.0, np.nan], np.zeros((2, 2)), "fields contains nan"),
        ([1.0, 2.0], np.zeros((3, 3)), "couplings has shape"),
        ([1.0, 2.0], [[0, 1], [1, 0]], "strictly upper"),
        ([1.0, 2.0], [[0, np.inf], [0, 0]], "couplings contains inf"),
    ],
)
def test_bad_models_are_refused(write: Any, fields: Any, couplings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write(fields, couplings)
    with pytest.raises(ValueError, match=message):
        Export(np.asarray(fields), np.asarray(couplings))


def test_bad_files_are_refused(tmp_path: Path) -> None:
    one, path = model(2), tmp_path / "file"
    with pytest.raises(
        ValueError, match="format is 'mps'; use one of bqm, qubo, quadratic-program, pauli, qasm3, json"
    ):
        write_model(path, Export(one.h, one.J), "mps")
    assert not path.exists()
    with pytest.raises(ValueError, match="format is 'qasm3'; use one of bqm, qubo, quadratic-program, pauli, json"):
        read_model(path, "qasm3")
    with pytest.raises(FileNotFoundError):
        read_model(path, "bqm")
    for form in READERS:
        for content in (b"", b"{", b"[1, 2]", b'{"a": 1}', FORMATS[form](Export(one.h, one.J))[:-30]):
            path.write_bytes(content)
            with pytest.raises(ValueError, match=f"path is {path}, which holds no model as {form}"):
                read_model(path, form)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, path = model(2), tmp_path / "file"
    path.write_text("mine")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_model(path, Export(one.h, one.J), "json")
    assert path.read_text() == "mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
