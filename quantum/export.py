"""One Ising model as other programs write it down, and back.

They minimise an energy, which is minus our log-weight. The sign is flipped here, by `_flipped`, and nowhere else:

    E(s) = −log-weight(s) = Σ_j (−h_j) s_j + Σ_{j<k} (−J_jk) s_j s_k

Every export has exactly this energy: the constants that bits bring with them are part of it, so none is left to state.
Bits are counted in two ways. dimod says x = 1 for s = +1 and qiskit x = 0, like a qubit in |0⟩:

    s = d (2x − 1),   d = +1 for dimod and −1 for qiskit
    E = Σ_j 2 (d a_j − Σ_k b_jk) x_j + Σ_{j<k} 4 b_jk x_j x_k + Σ_{j<k} b_jk − d Σ_j a_j,   a = −h,  b = −J
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from quantum.trotter import require_model

if TYPE_CHECKING:
    import dimod
    from qiskit.quantum_info import SparsePauliOp
    from qiskit_optimization import QuadraticProgram

Vector = NDArray[np.float64]

DIMOD, QISKIT = 1, -1
"""d in the head of this file: which spin a bit x = 1 stands for."""


class ReadModel(NamedTuple):
    """A model read from an energy.

    E(s) = constant − Σ_j h_j s_j − Σ_{j<k} J_jk s_j s_k

    Args:
        fields: h, (spins,) float64.
        couplings: J, (spins, spins) float64, strictly upper triangular.
        constant: what the energy has besides; 0, but for rounding, in whatever was written here.
    """

    fields: Vector
    couplings: Vector
    constant: float


def to_bqm(fields: ArrayLike | Tensor, couplings: ArrayLike | Tensor) -> dimod.BinaryQuadraticModel:
    """The energy as dimod's binary quadratic model, in spins labelled 0, 1, 2, …

    E(s) = Σ_j (−h_j) s_j + Σ_{j<k} (−J_jk) s_j s_k;  x = 1 ↔ s = +1 where dimod turns spins into bits

    Args:
        fields: h, (spins,), dimensionless.
        couplings: J, (spins, spins), strictly upper triangular, dimensionless. Those that are zero are left out.

    Returns:
        A `dimod.BinaryQuadraticModel` of vartype SPIN, without offset.

    Raises:
        ValueError: as `quantum.trotter.require_model`.
    """
    import dimod

    linear, quadratic = _energy(fields, couplings)
    there = np.nonzero(quadratic)
    return dimod.BinaryQuadraticModel.from_numpy_vectors(linear, (*there, quadratic[there]), 0.0, dimod.SPIN)


def from_bqm(bqm: dimod.BinaryQuadraticModel) -> ReadModel:
    """The model whose energy a binary quadratic model is.

    Args:
        bqm: in spins or bits. Its variables are the spins in the order of their labels where these are integers, and
            otherwise in its own order.

    Raises:
        ValueError: something else, or one without variables.
    """
    import dimod

    if not isinstance(bqm, dimod.BinaryQuadraticModel) or not bqm.num_variables:
        raise ValueError(f"bqm is {bqm!r}; give a dimod.BinaryQuadraticModel with at least one variable")
    labels: list[Any] = list(bqm.variables)
    if all(isinstance(label, int) for label in labels):
        labels.sort()
    found = bqm.spin.to_numpy_vectors(variable_order=labels)
    rows, columns, values = found.quadratic
    quadratic = np.zeros((len(labels), len(labels)))
    quadratic[np.minimum(rows, columns), np.maximum(rows, columns)] = values
    return _read(found.linear_biases.astype(np.float64), quadratic, float(found.offset))


def to_bits(fields: ArrayLike | Tensor, couplings: ArrayLike | Tensor, direction: int) -> tuple[float, Vector, Vector]:
    """The energy as a polynomial in bits.

    E = constant + Σ_j linear_j x_j + Σ_{j<k} quadratic_jk x_j x_k

    Args:
        fields: h, (spins,), dimensionless.
        couplings: J, (spins, spins), strictly upper triangular, dimensionless.
        direction: `DIMOD` (x = 1 ↔ s = +1) or `QISKIT` (x = 0 ↔ s = +1).

    Returns:
        Constant, linear (spins,) and quadratic (spins, spins), strictly upper triangular.

    Raises:
        ValueError: as `quantum.trotter.require_model`.
    """
    a, b = _energy(fields, couplings)
    pulls = b.sum(0) + b.sum(1)
    return float(b.sum() - direction * a.sum()), 2 * (direction * a - pulls), 4 * b


def from_bits(constant: float, linear: Vector, quadratic: Vector, direction: int) -> ReadModel:
    """The model whose energy a polynomial in bits is.

    Args:
        constant: of the polynomial.
        linear: (spins,).
        quadratic: (spins, spins), strictly upper triangular.
        direction: `DIMOD` (x = 1 ↔ s = +1) or `QISKIT` (x = 0 ↔ s = +1).
    """
    pulls = quadratic.sum(0) + quadratic.sum(1)
    shift = linear.sum() / 2 + quadratic.sum() / 4
    return _read(direction * (linear / 2 + pulls / 4), quadratic / 4, float(constant + shift))


def to_qubo(fields: ArrayLike | Tensor, couplings: ArrayLike | Tensor) -> dict[str, Any]:
    """The energy in dimod's bits, x = 1 ↔ s = +1, as a dictionary that JSON can hold.

    E = offset + Σ_j linear_j x_j + Σ quadratic_jk x_j x_k

    Args:
        fields: h, (spins,), dimensionless.
        couplings: J, (spins, spins), strictly upper triangular, dimensionless.

    Returns:
        offset, linear (one number for each spin) and quadratic (rows j, k, value with j < k, for couplings that are
        not zero).

    Raises:
        ValueError: as `quantum.trotter.require_model`.
    """
    offset, linear, quadratic = to_bits(fields, couplings, DIMOD)
    there = np.argwhere(quadratic).tolist()
    return {
        "offset": offset,
        "linear": linear.tolist(),
        "quadratic": [[j, k, float(quadratic[j, k])] for j, k in there],
    }


def from_qubo(qubo: dict[str, Any]) -> ReadModel:
    """The model whose energy a dictionary of `to_qubo` is.

    Args:
        qubo: offset, linear and quadratic.

    Raises:
        ValueError: a key that is missing, or indices out of range.
    """
    try:
        linear = np.array(qubo["linear"], dtype=np.float64)
        quadratic = np.zeros((len(linear), len(linear)))
        for j, k, value in qubo["quadratic"]:
            if not 0 <= j < k < len(linear):
                raise IndexError(f"the pair {j}, {k} is not two spins in order")
            quadratic[j, k] += value
        offset = float(qubo["offset"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueError(f"qubo is not one that to_qubo makes ({error!r}); give offset, linear, quadratic") from None
    return from_bits(offset, linear, quadratic, DIMOD)


def to_quadratic_program(fields: ArrayLike | Tensor, couplings: ArrayLike | Tensor) -> QuadraticProgram:
    """The energy as qiskit-optimization's quadratic program, to be minimised over bits x0, x1, …, x = 0 ↔ s = +1.

    Args:
        fields: h, (spins,), dimensionless.
        couplings: J, (spins, spins), strictly upper triangular, dimensionless.

    Returns:
        A `qiskit_optimization.QuadraticProgram` without constraints; its objective's constant makes it the energy.

    Raises:
        ValueError: as `quantum.trotter.require_model`.
    """
    from qiskit_optimization import QuadraticProgram

    constant, linear, quadratic = to_bits(fields, couplings, QISKIT)
    program = QuadraticProgram("ising")
    for j in range(len(linear)):
        program.binary_var(f"x{j}")
    program.minimize(constant=constant, linear=linear, quadratic=quadratic)
    return program


def from_quadratic_program(program: QuadraticProgram) -> ReadModel:
    """The model whose energy a quadratic program minimises.

    Args:
        program: over bits, without constraints; to maximise is to minimise the opposite.

    Raises:
        ValueError: something else.
    """
    from qiskit_optimization import QuadraticProgram

    free = isinstance(program, QuadraticProgram) and program.get_num_vars() == program.get_num_binary_vars() > 0
    if not free or program.get_num_linear_constraints() or program.get_num_quadratic_constraints():
        raise ValueError(
            f"program is {program!r}; give a qiskit_optimization.QuadraticProgram of binary variables without "
            "constraints"
        )
    objective = program.objective
    sense = objective.sense.value  # 1 to minimise, −1 to maximise
    square = objective.quadratic.to_array(symmetric=True)
    quadratic = np.triu(square + square.T, 1)
    linear = objective.linear.to_array() + np.diag(square)  # x² = x
    return from_bits(sense * objective.constant, sense * linear, sense * quadratic, QISKIT)


def to_pauli(fields: ArrayLike | Tensor, couplings: ArrayLike | Tensor) -> SparsePauliOp:
    """The operator whose value in every basis state is the energy there, Z = +1 ↔ s = +1.

    H = Σ_j (−h_j) Z_j + Σ_{j<k} (−J_jk) Z_j Z_k

    Args:
        fields: h, (spins,), dimensionless.
        couplings: J, (spins, spins), strictly upper triangular, dimensionless.

    Returns:
        A `qiskit.quantum_info.SparsePauliOp`, qubit j being spin j (rightmost in labels for j = 0), without the terms
        that are zero; a model that is all zero is 0 times the identity.

    Raises:
        ValueError: as `quantum.trotter.require_model`.
    """
    from qiskit.quantum_info import SparsePauliOp

    linear, quadratic = _energy(fields, couplings)
    terms: list[tuple[str, list[int], float]] = [("Z", [j], float(a)) for j, a in enumerate(linear) if a]
    terms += [("ZZ", [j, k], float(quadratic[j, k])) for j, k in np.argwhere(quadratic).tolist()]
    return SparsePauliOp.from_sparse_list(terms or [("", [], 0.0)], num_qubits=len(linear))


def from_pauli(operator: SparsePauliOp) -> ReadModel:
    """The model whose energy an operator is.

    Args:
        operator: of Z on one or two qubits, and the identity.

    Raises:
        ValueError: an operator with other terms, or with coefficients that are not real.
    """
    terms = list(zip(operator.paulis.to_labels(), operator.coeffs, strict=True))
    linear, constant = np.zeros(operator.num_qubits), 0.0
    quadratic = np.zeros((len(linear), len(linear)))
    for label, coefficient in terms:
        where = [qubit for qubit, letter in enumerate(reversed(label)) if letter == "Z"]
        if set(label) - {"I", "Z"} or len(where) > 2 or np.imag(coefficient):
            raise ValueError(f"operator has the term {coefficient:g} {label}; an Ising energy has I, Z and ZZ alone")
        if len(where) == 2:
            quadratic[where[0], where[1]] += coefficient.real
        elif where:
            linear[where[0]] += coefficient.real
        else:
            constant += coefficient.real
    return _read(linear, quadratic, float(constant))


def _energy(fields: ArrayLike | Tensor, couplings: ArrayLike | Tensor) -> tuple[Vector, Vector]:
    """Linear (spins,) and quadratic (spins, spins) coefficients of the energy in spins."""
    return _flipped(*require_model(detached(fields), detached(couplings)))


def _read(linear: Vector, quadratic: Vector, constant: float) -> ReadModel:
    """The model with given coefficients of its energy."""
    return ReadModel(*_flipped(linear, quadratic), constant)


def _flipped(linear: Vector, quadratic: Vector) -> tuple[Vector, Vector]:
    """From log-weight to energy or back; zeros stay free of a sign."""
    return 0.0 - linear, 0.0 - quadratic


def detached(values: ArrayLike | Tensor) -> ArrayLike:
    """Something that numpy reads, for tensors of any device and graph too."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else values
