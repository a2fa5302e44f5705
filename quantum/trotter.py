"""Circuits of a Trotterized anneal, and nothing that runs them.

The angles are those of `quantum.schedule`. In Qiskit's sign (RZ(φ) = exp(−iφZ/2)) step k is

    RZ(−2 a_k h_i) on every qubit,  RZZ(−2 b_k J_ij) on every pair,  RX(−2 θ_k) on every qubit

after a Hadamard on every qubit. Qubit i holds spin i and |0⟩ is s = +1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantum.schedule import Angles, AnnealSchedule

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


def pairs(spins: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the strictly upper couplings, in the order in which circuits hold them."""
    return np.triu_indices(spins, 1)


def trotter_circuit(
    fields: ArrayLike, couplings: ArrayLike, schedule: AnnealSchedule, steps: int | None = None
) -> QuantumCircuit:
    """The circuit of one model, with every angle filled in and no measurement.

    H on all, then K times RZ(−2 a_k h_i), RZZ(−2 b_k J_ij), RX(−2 θ_k)

    Fields and couplings enter as they are; multiply them by `quantum.calibration.calibrate` first where the circuit
    should sample the model at temperature one. Pairs without a coupling get no gate.

    Args:
        fields: h, (spins,), dimensionless.
        couplings: J, (spins, spins), strictly upper triangular, dimensionless.
        schedule: the anneal.
        steps: Trotter steps K; may be left out for a schedule given by angles.

    Returns:
        A `qiskit.QuantumCircuit` with one qubit per spin.

    Raises:
        ValueError: shapes that do not fit together, values that are not finite, couplings on or below the diagonal,
            or steps that the schedule refuses.
    """
    from qiskit import QuantumCircuit

    h, J = require_model(fields, couplings)
    angles = schedule.angles(steps)
    circuit = QuantumCircuit(len(h), name="anneal")
    circuit.h(range(len(h)))
    for a, b, theta in zip(angles.field, angles.coupling, angles.mixer, strict=True):
        for i, field in enumerate(h):
            circuit.rz(-2.0 * a * field, i)
        for i, j in zip(*pairs(len(h)), strict=True):
            if J[i, j] != 0:
                circuit.rzz(-2.0 * b * J[i, j], int(i), int(j))
        circuit.rx(-2.0 * theta, range(len(h)))
    return circuit


@dataclass(frozen=True, eq=False)
class Template:
    """A circuit with open parameters, built once and bound for any number of models.

    The same unitary as `trotter_circuit` up to a global phase, with fewer gates: a qubit's mixer and the field's
    phase after it are one gate, RZ(φ) RX(α) = U(α, φ − π/2, π/2), and RZ(φ) H = U(π/2, φ, π). Every gate is one that
    Aer runs natively, so there is nothing to transpile. Each open gate has a plain parameter of its own, because Aer
    evaluates parameter expressions in Python, one model at a time.

    Args:
        circuit: the circuit.
        parameters: its parameters, in the order of the rows of `values`.
        angles: the anneal's angles.
        spins: number of spins.
        fixed: how many numbers the circuit holds beside its parameters.
        present: which of all pairs have an RZZ gate, in the order of `pairs`.
    """

    circuit: QuantumCircuit
    parameters: list[Any]
    angles: Angles
    spins: int
    fixed: int
    present: NDArray[np.intp]

    def values(self, fields: NDArray[np.float64], couplings: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """What each parameter is for each model.

        Args:
            fields: h, (models, spins), after calibration.
            couplings: J, (models, pairs), after calibration, in the order of `pairs`; left out where they are part
                of the circuit.

        Returns:
            (parameters, models) float64, radians.
        """
        a, b = self.angles.field[:, None, None], self.angles.coupling[:, None, None]
        offset = np.full_like(a, -np.pi / 2)
        offset[0] = 0.0
        values = -2.0 * a * fields.T + offset
        if couplings is not None:
            values = np.concatenate([values, -2.0 * b * couplings.T[self.present]], axis=1)
        return values.reshape(len(self.parameters), len(fields))


def template(
    spins: int,
    angles: Angles,
    ending: str,
    couplings: NDArray[np.float64] | None = None,
    present: NDArray[np.intp] | None = None,
    chain: bool = False,
) -> Template:
    """The parametrised circuit of a number of spins.

    With couplings left open each pair has an RZZ gate. With couplings given, all models share them and the RZZ gates
    of a step are multiplied out into one diagonal gate, diag exp(i b_k Σ J s s): many times fewer gates.

    Args:
        spins: number of spins.
        angles: the anneal's angles.
        ending: "measure" (all qubits, bit i = spin i), "probabilities" (Aer saves |amplitude|² of the final state) or
            "none".
        couplings: J, (pairs,), after calibration, in the order of `pairs`; None leaves them open.
        present: indices into `pairs` of those that have a gate where couplings are open; by default all. A gate that
            would be the identity for every model is better left out.
        chain: act on neighbouring qubits alone. Each spin is swapped along to its partners and back, which is what
            matrix-product states need: Aer moves distant qubits together by itself but leaves them there, so that
            neighbours drift apart and bonds grow step by step.

    Returns:
        The circuit and how to fill it.

    Raises:
        ValueError: an ending that is none of these.
    """
    from qiskit import QuantumCircuit
    from qiskit.circuit import Parameter
    from qiskit.circuit.library import DiagonalGate

    if ending not in ("measure", "probabilities", "none"):
        raise ValueError(f"ending is {ending!r}; it must be 'measure', 'probabilities' or 'none'")
    circuit = QuantumCircuit(spins, spins if ending == "measure" else 0, name="anneal")
    parameters = []
    if present is None:
        present = np.arange(spins * (spins - 1) // 2)
    rows, columns = (index[present].tolist() for index in pairs(spins))
    last_partner = dict(zip(rows, columns, strict=True))
    log_weight = None if couplings is None else _coupling_log_weight(spins, couplings)
    for k in range(angles.steps):
        rotation, last = (np.pi / 2, np.pi) if k == 0 else (-2.0 * angles.mixer[k - 1], np.pi / 2)
        for i in range(spins):
            parameters.append(Parameter(f"h{k}_{i}"))
            circuit.u(rotation, parameters[-1], last, i)
        if log_weight is not None:
            circuit.append(DiagonalGate(np.exp(1j * angles.coupling[k] * log_weight).tolist()), range(spins))
            continue
        place = list(range(spins))  # where each spin i is while its own pairs (i, j) are worked through, j upwards
        for i, j in zip(rows, columns, strict=True):
            parameters.append(Parameter(f"J{k}_{i}_{j}"))
            if chain:
                _move(circuit, i, place, j - 1)
            circuit.rzz(parameters[-1], place[i], j)
            if chain and j == last_partner[i]:
                _move(circuit, i, place, i)
    circuit.rx(-2.0 * angles.mixer[-1], range(spins))
    if ending == "measure":
        circuit.measure(range(spins), range(spins))
    elif ending == "probabilities":
        import qiskit_aer.library  # noqa: F401  (teaches QuantumCircuit to save probabilities)

        circuit.save_probabilities()
    return Template(circuit, parameters, angles, spins, 0 if couplings is None else angles.steps * 2**spins, present)


def _move(circuit: QuantumCircuit, spin: int, place: list[int], target: int) -> None:
    """Swap a spin with its neighbours until it is at a qubit."""
    step = 1 if target > place[spin] else -1
    for qubit in range(place[spin], target, step):
        circuit.swap(qubit, qubit + step)
    place[spin] = target


def _coupling_log_weight(spins: int, couplings: NDArray[np.float64]) -> NDArray[np.float64]:
    """Σ_{i<j} J_ij s_i s_j of every configuration, (2**spins,), bit i = spin i, bit 0 = +1."""
    s = 1.0 - 2.0 * ((np.arange(2**spins)[:, None] >> np.arange(spins)) & 1)
    rows, columns = pairs(spins)
    J = np.zeros((spins, spins))
    J[rows, columns] = couplings
    return ((s @ J) * s).sum(-1)


def require_model(fields: ArrayLike, couplings: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fields and couplings of one model as float64 arrays, refused where they are not one.

    Args:
        fields: h, (spins,), dimensionless.
        couplings: J, (spins, spins), strictly upper triangular, dimensionless.

    Raises:
        ValueError: shapes that do not fit together, values that are not finite, or couplings on or below the diagonal.
    """
    h, J = np.asarray(fields, dtype=np.float64), np.asarray(couplings, dtype=np.float64)
    if h.ndim != 1 or len(h) == 0:
        raise ValueError(f"fields has shape {h.shape}; give (spins,) with at least one spin")
    if J.shape != (len(h), len(h)):
        raise ValueError(f"couplings has shape {J.shape}; for these fields it must be {(len(h), len(h))}")
    for name, value in (("fields", h), ("couplings", J)):
        if not bool(np.isfinite(value).all()):
            raise ValueError(f"{name} contains {value[~np.isfinite(value)].flat[0]}; every value must be finite")
    lower = np.argwhere(np.tril(J) != 0)
    if len(lower):
        row, column = (int(x) for x in lower[0])
        raise ValueError(
            f"couplings[{row}, {column}] is {J[row, column]:g}; couplings are strictly upper triangular "
            "(numpy.triu(J, 1))"
        )
    return h, J
