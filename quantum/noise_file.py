"""Noise models from JSON.

Aer writes them, `NoiseModel.to_dict(serializable=True)`, but its own way back is deprecated and misreads complex
matrices. Such a file knows errors and the gates they act on, and not the model's basis gates.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def load_noise(path: Path) -> Any:
    """The noise model in a JSON file.

    Args:
        path: a file with `json.dumps(model.to_dict(serializable=True))`.

    Returns:
        A `qiskit_aer.noise.NoiseModel`.

    Raises:
        ValueError: the file is missing, is no JSON, or holds no noise model.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"noise file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"noise file {path} is no JSON: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("errors"), list):
        raise ValueError(f"noise file {path} has no list 'errors'; write NoiseModel.to_dict(serializable=True) to it")
    from qiskit.exceptions import QiskitError
    from qiskit_aer.noise import NoiseModel

    model = NoiseModel()
    for number, entry in enumerate(data["errors"]):
        try:
            _add(model, entry)
        except (QiskitError, KeyError, TypeError, ValueError) as problem:
            raise ValueError(
                f"noise file {path}: errors[{number}] is not one that Aer writes: {problem!r}"
            ) from problem
    return model


def _add(model: Any, error: dict[str, Any]) -> None:
    """One error, on the qubits it names or on all."""
    from qiskit_aer.noise import QuantumError, ReadoutError

    if error["type"] == "roerror":
        readout = ReadoutError(error["probabilities"])
        for qubits in error.get("gate_qubits", []):
            model.add_readout_error(readout, qubits)
        if "gate_qubits" not in error:
            model.add_all_qubit_readout_error(readout)
        return
    if error["type"] != "qerror":
        raise ValueError(f"type is {error['type']!r}")
    size = 1 + max(qubit for term in error["instructions"] for step in term for qubit in step["qubits"])
    terms = [_circuit(term, size) for term in error["instructions"]]
    quantum = QuantumError(list(zip(terms, error["probabilities"], strict=True)))
    for qubits in error.get("gate_qubits", []):
        model.add_quantum_error(quantum, error["operations"], qubits)
    if "gate_qubits" not in error:
        model.add_all_qubit_quantum_error(quantum, error["operations"])


def _circuit(steps: list[dict[str, Any]], qubits: int) -> Any:
    """One term of an error: what happens with some probability."""
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(qubits)
    for step in steps:
        circuit.append(_operation(step["name"], step.get("params", [])), step["qubits"])
    return circuit


def _operation(name: str, params: list[Any]) -> Any:
    from qiskit.circuit import Reset
    from qiskit.circuit.library import PauliGate, UnitaryGate
    from qiskit.circuit.library.standard_gates import get_standard_gate_name_mapping
    from qiskit.quantum_info import Kraus

    if name == "pauli":
        return PauliGate(params[0])
    if name == "kraus":
        return Kraus([_matrix(rows) for rows in params]).to_instruction()
    if name == "unitary":
        return UnitaryGate(_matrix(params[0]))
    return Reset() if name == "reset" else get_standard_gate_name_mapping()[name]


def _matrix(rows: Any) -> Any:
    """Complex numbers are pairs (real, imaginary)."""
    parts = np.asarray(rows, dtype=np.float64)
    return parts[..., 0] + 1j * parts[..., 1]
