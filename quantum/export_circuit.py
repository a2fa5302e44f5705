"""The anneal of one Ising model as a circuit that other programs can run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.typing import ArrayLike
from torch import Tensor

from quantum.calibration import calibrate, resolve_calibration
from quantum.export import detached
from quantum.schedule import AnnealSchedule
from quantum.trotter import require_model, trotter_circuit

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


class Anneal(NamedTuple):
    """How a model is annealed.

    Args:
        schedule: the anneal.
        steps: Trotter steps K; may be left out for a schedule given by angles.
        calibration: a name in `quantum.CALIBRATIONS`; the schedule's own by default.
    """

    schedule: AnnealSchedule
    steps: int | None = None
    calibration: str | None = None

    def to_json(self) -> dict[str, Any]:
        """What metadata say of it, as JSON can hold it."""
        return {
            "schedule": self.schedule.to_json(),
            "trotter_steps": self.schedule.own_steps or self.steps,
            "calibration": resolve_calibration(self.schedule, self.calibration),
        }


def anneal_circuit(fields: ArrayLike | Tensor, couplings: ArrayLike | Tensor, anneal: Anneal) -> QuantumCircuit:
    """The anneal of a model as it runs: calibrated, and measured at its end.

    H on all, then K times RZ(−2 a_k f_h h_i), RZZ(−2 b_k f_J J_ij), RX(−2 θ_k), then a measurement of all

    Args:
        fields: h, (spins,), dimensionless, before calibration.
        couplings: J, (spins, spins), strictly upper triangular, dimensionless, before calibration.
        anneal: schedule, steps, and the calibration that gives f_h and f_J.

    Returns:
        A `qiskit.QuantumCircuit`; classical bit j is spin j, 0 ↔ s = +1.

    Raises:
        ValueError: as `quantum.trotter_circuit` and `quantum.calibrate`.
    """
    h, J = require_model(detached(fields), detached(couplings))
    factors = calibrate(*anneal)
    circuit = trotter_circuit(factors.field_factor * h, factors.coupling_factor * J, anneal.schedule, anneal.steps)
    circuit.measure_all()
    return circuit


def to_qasm3(fields: ArrayLike | Tensor, couplings: ArrayLike | Tensor, anneal: Anneal) -> str:
    """The circuit of `anneal_circuit` as an OpenQASM 3 program, with every digit of its angles.

    Args:
        fields: h, (spins,), dimensionless, before calibration.
        couplings: J, (spins, spins), strictly upper triangular, dimensionless, before calibration.
        anneal: schedule, steps and calibration.

    Raises:
        ValueError: as `anneal_circuit`.
    """
    from qiskit import qasm3

    # with symbolic constants, angles within 1e-9 of a fraction of π are rounded to it and smaller ones to zero
    return str(qasm3.dumps(anneal_circuit(fields, couplings, anneal), disable_constants=True))
