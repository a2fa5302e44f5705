"""Files of one Ising model, by format.

    bqm                dimod's own file (`BinaryQuadraticModel.to_file`), with metadata as one more key of its header
    qubo               JSON {offset, linear, quadratic, metadata}
    quadratic-program  LP text, which CPLEX, Gurobi, HiGHS, SCIP and `dimod.lp` read; metadata in comments
    pauli              JSON list of [label, coefficient], which `SparsePauliOp.from_list` takes; no place for metadata
    qasm3              OpenQASM 3: the anneal as it runs; metadata in comments
    json               JSON {fields, couplings, tokens, metadata}: our own h and J, no sign flipped

In the first four the energy is −log-weight for every configuration, with the constant included. The fields and
couplings of all but `qasm3` are the model's own, before any calibration.
"""

from __future__ import annotations

import io
import json
import os
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from quantum.calibration import calibrate
from quantum.export import (
    QISKIT,
    ReadModel,
    Vector,
    from_bits,
    from_bqm,
    from_pauli,
    from_qubo,
    to_bits,
    to_bqm,
    to_pauli,
    to_qubo,
)
from quantum.export_circuit import Anneal, to_qasm3
from quantum.files import write_bytes
from quantum.trotter import require_model

_WIDTH = 120  # of comment lines; some readers of LP refuse lines above 510 characters
_KEY = "metadata"


@dataclass(frozen=True, eq=False)
class Export:
    """One model, and what is said of it in its file.

    Args:
        fields: h, (spins,) float64, dimensionless, before calibration.
        couplings: J, (spins, spins) float64, strictly upper triangular, dimensionless, before calibration.
        anneal: which `qasm3` cannot do without; in the metadata of the other formats.
        metadata: what else is known of the model (step, layer, head, query, tokens, …), as JSON can hold it.

    Raises:
        ValueError: as `quantum.trotter.require_model`.
    """

    fields: Vector
    couplings: Vector
    anneal: Anneal | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_model(self.fields, self.couplings)

    def described(self, convention: str) -> dict[str, Any]:
        """All metadata.

        Args:
            convention: how to read the numbers of the file.
        """
        anneal = {} if self.anneal is None else self.anneal.to_json()
        return {"convention": convention, **self.metadata, **anneal}


def _bqm(export: Export) -> bytes:
    # dimod reads the keys of the header that it knows and passes over others
    from dimod.binary.binary_quadratic_model import BQM_MAGIC_PREFIX
    from dimod.serialization.fileview import read_header, write_header

    metadata = export.described("energy = -log-weight, offset 0; variable j is spin j, as spins; x = 1 is s = +1")
    with to_bqm(export.fields, export.couplings).to_file() as plain, io.BytesIO() as file:
        header = read_header(cast(BinaryIO, plain), BQM_MAGIC_PREFIX)
        write_header(file, BQM_MAGIC_PREFIX, {**header.data, _KEY: metadata}, version=header.version)
        return file.getvalue() + plain.read()


def _qubo(export: Export) -> bytes:
    metadata = export.described("energy = -log-weight, offset included; x_j = 1 is s_j = +1")
    return _json({**to_qubo(export.fields, export.couplings), _KEY: metadata})


def _quadratic_program(export: Export) -> bytes:
    metadata = export.described("energy = -log-weight, constant included; x_j = 0 is s_j = +1")
    return "\n".join([*_comments("\\", metadata), *_lp(*to_bits(export.fields, export.couplings, QISKIT))]).encode()


def _pauli(export: Export) -> bytes:
    operator = to_pauli(export.fields, export.couplings)
    return _json([[label, coefficient.real] for label, coefficient in operator.to_list()])


def _qasm3(export: Export) -> bytes:
    if export.anneal is None:
        raise ValueError("anneal is None, but a circuit needs one; give Anneal(schedule, steps, calibration)")
    factors = calibrate(*export.anneal)
    convention = "qubit j is spin j, outcome 0 is s_j = +1; fields and couplings enter times their factors"
    metadata = {**export.described(convention), **factors._asdict()}
    program = to_qasm3(export.fields, export.couplings, export.anneal)
    return "\n".join([*_comments("//", metadata), program]).encode()


def _own(export: Export) -> bytes:
    metadata = export.described(
        "log-weight(s) = sum_j fields[j] s_j + sum_{j<k} couplings[j][k] s_j s_k, P(s) ~ exp(log-weight(s)), s = +1 "
        "attends; energy = -log-weight"
    )
    tokens = metadata.pop("tokens", None)
    numbers = {"fields": export.fields.tolist(), "couplings": export.couplings.tolist()}
    return _json({**numbers, "tokens": tokens, _KEY: metadata})


FORMATS: dict[str, Callable[[Export], bytes]] = {
    "bqm": _bqm,
    "qubo": _qubo,
    "quadratic-program": _quadratic_program,
    "pauli": _pauli,
    "qasm3": _qasm3,
    "json": _own,
}
"""From a format's name to what makes the contents of a file of it."""


def write_model(path: str | os.PathLike[str], export: Export, file_format: str) -> None:
    """Write a model to a file; it is either whole or not there.

    Args:
        path: where to write; an existing file is replaced.
        export: the model.
        file_format: a name in `FORMATS`.

    Raises:
        ValueError: an unknown format, or `qasm3` without an anneal or with one that cannot be calibrated.
    """
    write_bytes(path, _known(file_format, FORMATS)(export))


def _read_bqm(data: bytes) -> ReadModel:
    import dimod

    return from_bqm(dimod.BinaryQuadraticModel.from_file(data))


def _read_lp(data: bytes) -> ReadModel:
    """By dimod, since qiskit-optimization reads LP only where CPLEX is installed."""
    import dimod

    found = dimod.lp.loads(data.decode())
    place = {f"x{j}": j for j in range(len(found.variables))}
    if not place or place.keys() != set(found.variables) or found.constraints:
        raise ValueError(f"its variables are {list(found.variables)}, not x0, x1, …, or it has constraints")
    if any(found.vartype(name) is not dimod.BINARY for name in place):
        raise ValueError("its variables are not all binary")
    linear, quadratic = np.zeros(len(place)), np.zeros((len(place), len(place)))
    for name, value in found.objective.linear.items():
        linear[place[name]] = value
    for pair, value in found.objective.quadratic.items():
        j, k = sorted(place[name] for name in pair)
        quadratic[j, k] = value
    return from_bits(float(found.objective.offset), linear, quadratic, QISKIT)


def _read_pauli(data: bytes) -> ReadModel:
    from qiskit.quantum_info import SparsePauliOp

    return from_pauli(SparsePauliOp.from_list([(label, value) for label, value in json.loads(data)]))


def _read_own(data: bytes) -> ReadModel:
    read = json.loads(data)
    return ReadModel(*require_model(read["fields"], read["couplings"]), constant=0.0)


READERS: dict[str, Callable[[bytes], ReadModel]] = {
    "bqm": _read_bqm,
    "qubo": lambda data: from_qubo(json.loads(data)),
    "quadratic-program": _read_lp,
    "pauli": _read_pauli,
    "json": _read_own,
}
"""From a format's name to what reads a model from the contents of a file of it. (A circuit is no model.)"""


def read_model(path: str | os.PathLike[str], file_format: str) -> ReadModel:
    """Read a model from a file that `write_model` wrote.

    Args:
        path: the file.
        file_format: a name in `READERS`.

    Raises:
        ValueError: an unknown format, or a file that does not have it.
        FileNotFoundError: there is no such file.
    """
    reader, data = _known(file_format, READERS), Path(path).read_bytes()
    try:
        return reader(data)
    except Exception as error:  # whatever three libraries make of a wrong file
        message = str(error).partition("\n")[0]
        raise ValueError(f"path is {os.fspath(path)}, which holds no model as {file_format} ({message})") from error


def _known(file_format: str, table: dict[str, Any]) -> Any:
    if file_format not in table:
        raise ValueError(f"file_format is {file_format!r}; use one of {', '.join(table)}")
    return table[file_format]


def _json(value: Any) -> bytes:
    return (json.dumps(value, allow_nan=False) + "\n").encode()


def _comments(mark: str, metadata: dict[str, Any]) -> Iterator[str]:
    """Comment lines that tell the metadata, in ASCII, which is all that the formats promise to take."""
    for key, value in metadata.items():
        told = value if isinstance(value, str) and value.isascii() else json.dumps(value)
        for line in textwrap.wrap(f"{key}: {told}", _WIDTH, subsequent_indent="    ", break_on_hyphens=False):
            yield f"{mark} {line}"


def _lp(constant: float, linear: Vector, quadratic: Vector) -> Iterator[str]:
    """Lines of LP text with every digit; qiskit-optimization's own writer keeps twelve decimals, and is to go.

    The format wants a term, so that x0 stands there with 0 too, and halves what is in brackets.
    """
    yield "Minimize"
    yield f" obj: {_signed(linear[0])} x0"
    yield from (f"  {_signed(linear[j])} x{j}" for j in range(1, len(linear)) if linear[j])
    there = np.argwhere(quadratic).tolist()
    if there:
        yield "  + ["
        yield from (f"  {_signed(2 * quadratic[j, k])} x{j} * x{k}" for j, k in there)
        yield "  ] / 2"
    yield f"  {_signed(constant)}"
    yield "Subject To"
    yield "Binaries"
    yield from (f" x{j}" for j in range(len(linear)))
    yield "End\n"


def _signed(value: float) -> str:
    return f"{'-' if value < 0 else '+'} {abs(float(value))!r}"
