"""Problems and answers in SAPI's `qp` format.

lin holds a float64 for every qubit of the solver, NaN where it is not used; quad one for every coupler between used
qubits, in the solver's order. An answer packs the values of a read into bits, the first in the highest bit of a byte,
1 for spin +1; every read starts a byte.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


class RefusedError(Exception):
    """What SAPI says about a problem that it does not take.

    Args:
        code: as of HTTP.
        text: why.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, eq=False)
class Programmed:
    """What stands on the chip, in the vendor's sign: energy = Σ h s + Σ J s s.

    Args:
        qubits: those used, (active,) int64.
        h: (active,).
        pairs: places in `qubits` of coupled ones, (couplers, 2) int64; only couplings that are not zero.
        J: (couplers,).
        flux: flux biases, (active,), in units of Φ₀; a positive one favours s = +1.
    """

    qubits: NDArray[np.int64]
    h: NDArray[np.float64]
    pairs: NDArray[np.int64]
    J: NDArray[np.float64]
    flux: NDArray[np.float64]

    def energies(self, spins: NDArray[np.int8]) -> NDArray[np.float64]:
        """Of configurations (rows, active), without flux biases."""
        s = spins.astype(np.float64)
        return s @ self.h + (s[:, self.pairs[:, 0]] * s[:, self.pairs[:, 1]]) @ self.J


def read_problem(properties: dict[str, Any], data: dict[str, Any], parameters: dict[str, Any]) -> Programmed:
    """What a posted problem puts on a chip.

    Raises:
        RefusedError: data that is not for this solver.
    """
    if data.get("format") != "qp":
        raise RefusedError(400, f"Unsupported format {data.get('format')!r}")
    lin, quad = (_doubles(data, name) for name in ("lin", "quad"))
    solver_qubits = np.array(properties["qubits"])
    couplers = np.array(properties["couplers"]).reshape(-1, 2)
    if len(lin) != len(solver_qubits):
        raise RefusedError(400, f"Expected {len(solver_qubits)} linear terms, got {len(lin)}")
    active = ~np.isnan(lin)
    place = np.full(properties["num_qubits"], -1)
    place[solver_qubits[active]] = np.arange(int(active.sum()))
    ends = place[couplers]
    between = (ends >= 0).all(1)
    if len(quad) != int(between.sum()):
        raise RefusedError(400, f"Expected {int(between.sum())} quadratic terms, got {len(quad)}")
    if not np.isfinite(quad).all() or not np.isfinite(lin[active]).all() or not active.any():
        raise RefusedError(400, "Problem values must be finite, and there must be some")
    there = quad != 0
    flux = np.zeros(properties["num_qubits"])
    if parameters.get("flux_biases") is not None:
        flux[:] = parameters["flux_biases"]
    qubits = solver_qubits[active]
    return Programmed(qubits, lin[active], ends[between][there], quad[there], flux[qubits])


def answer(
    programmed: Programmed, spins: NDArray[np.int8], mode: str, num_qubits: int, timing: dict[str, float]
) -> dict[str, Any]:
    """An answer in a mode: every read in its order ("raw"), or each once with how often it occurred ("histogram").

    As SAPI's, raw answers have no `num_occurrences`.
    """
    counts = None
    if mode == "histogram":
        spins, counts = np.unique(spins, axis=0, return_counts=True)
    energies = programmed.energies(spins)
    if counts is not None:
        order = np.argsort(energies, kind="stable")
        spins, counts, energies = spins[order], counts[order], energies[order]
    message: dict[str, Any] = {
        "format": "qp",
        "num_variables": num_qubits,
        "active_variables": _packed(programmed.qubits.astype("<i4")),
        "energies": _packed(energies.astype("<f8")),
        "solutions": _packed(np.packbits(spins > 0, axis=1)),
        "timing": timing,
    }
    if counts is not None:
        message["num_occurrences"] = _packed(counts.astype("<i4"))
    return message


def _doubles(data: dict[str, Any], name: str) -> NDArray[np.float64]:
    try:
        return np.frombuffer(base64.b64decode(data[name], validate=True), dtype="<f8")
    except (KeyError, TypeError, ValueError):
        raise RefusedError(400, f"Cannot read {name}") from None


def _packed(values: NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode()
