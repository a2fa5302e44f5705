"""What a noise model or a device makes of an anneal's circuit.

A noise model acts on gates by name. If every gate that it names is one of the template's (`u`, `rzz`, `rx`), it acts on
those as they are; otherwise the template is translated to the model's basis gates. For a device the template becomes
what the device would run: its gates, its couplings, spins placed and moved about. The order of spins is kept, since
each is measured into a bit of its own. Idle qubits have no noise: nothing is scheduled.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum.trotter import Template

TEMPLATE_GATES = {"u", "rzz", "rx"}
_OPTIMIZATION, _TRANSPILER_SEED = 2, 0


class NoisyCircuits:
    """A noise model, and the device it belongs to if there is one.

    Args:
        noise: a `qiskit_aer.noise.NoiseModel`, or a Qiskit backend (`BackendV2`).

    Raises:
        ValueError: neither of these, or errors that `AerSampler` does not simulate: quantum errors of measurements, and
            readout errors of several qubits at once.
    """

    def __init__(self, noise: Any) -> None:
        from qiskit.providers import BackendV2
        from qiskit_aer.backends.aerbackend import AerBackend
        from qiskit_aer.noise import NoiseModel

        if isinstance(noise, AerBackend):
            raise ValueError("noise is an Aer simulator; give it as backend, or its noise model as noise")
        if not isinstance(noise, NoiseModel | BackendV2):
            raise ValueError(f"noise is {noise!r}; give a qiskit_aer.noise.NoiseModel or a Qiskit backend (BackendV2)")
        self.device = noise if isinstance(noise, BackendV2) else None
        self.model = noise if self.device is None else NoiseModel.from_backend(noise)
        errors = self.model.to_dict()["errors"]
        self._quantum = [error for error in errors if error["type"] == "qerror"]
        if any("measure" in error["operations"] for error in self._quantum):
            raise ValueError("noise has a quantum error on 'measure'; give a readout error instead")
        self._readout: dict[int | None, NDArray[np.float64]] = {}
        for error in errors:
            if error["type"] == "roerror":
                qubits = error.get("gate_qubits", [(None,)])[0]
                if len(qubits) != 1:
                    raise ValueError(
                        f"noise has a readout error of qubits {tuple(qubits)} together, but spins are measured one by "
                        "one and it would never act; give an error of each qubit"
                    )
                self._readout[qubits[0]] = np.asarray(error["probabilities"], dtype=np.float64).T

    def require_spins(self, spins: int) -> None:
        """Refuse models that do not fit the device, or noise of qubits that the model does not have.

        Args:
            spins: number of spins.

        Raises:
            ValueError: names both numbers.
        """
        if self.device is not None:
            if spins > self.device.num_qubits:
                raise ValueError(
                    f"spins is {spins}, but the backend {self.device.name} has {self.device.num_qubits} qubits; take a "
                    "larger backend or fewer spins"
                )
        elif self.model.noise_qubits and (last := max(self.model.noise_qubits)) >= spins:
            raise ValueError(
                f"noise has errors on qubit {last}, but the model has {spins} spins, so that they would never act; "
                "give errors of those qubits alone, or the backend that they belong to"
            )

    def compiled(self, measured: Template) -> Template:
        """The template as the noise acts on it.

        Args:
            measured: with ending "measure".

        Returns:
            A template with the same parameters, in the gates of the device or noise model, on its qubits.

        Raises:
            ValueError: errors that would never act, because no gate of theirs occurs.
        """
        from qiskit.transpiler import generate_preset_pass_manager

        if self.device is None and {name for error in self._quantum for name in error["operations"]} <= TEMPLATE_GATES:
            self._require_acting(measured.circuit, measured)
            return measured
        options = {"basis_gates": self.model.basis_gates} if self.device is None else {"backend": self.device}
        manager = generate_preset_pass_manager(_OPTIMIZATION, seed_transpiler=_TRANSPILER_SEED, **options)
        circuit = manager.run(measured.circuit)
        circuit.global_phase = 0.0  # of no account, and Aer would evaluate its expression for every model
        if self.device is None:
            self._require_acting(circuit, measured)
        return replace(measured, circuit=circuit)

    def prepared(self, measured: Template, down: bool) -> Any:
        """A circuit that sets the qubits of the spins all to |0⟩, or all to |1⟩, and measures them.

        Args:
            measured: what `compiled` returned.
            down: |1⟩, by an X gate on each, with whatever noise the device's own gates have.
        """
        from qiskit import QuantumCircuit
        from qiskit.transpiler import generate_preset_pass_manager

        spins, qubits = range(measured.spins), measured_qubits(measured.circuit)
        circuit = QuantumCircuit(measured.spins, measured.spins)
        if down:
            circuit.x(spins)
        circuit.measure(spins, spins)
        if self.device is None:
            return circuit  # no error of a bare noise model is on another qubit than its spin's
        # no optimization: a device must not be spared the very gates and qubits that are to be calibrated
        return generate_preset_pass_manager(0, backend=self.device, initial_layout=qubits).run(circuit)

    def assignment(self, measured: Template) -> NDArray[np.float64]:
        """How the spins of a circuit are read, from the noise model.

        Args:
            measured: what `compiled` returned.

        Returns:
            P(reads m | is t) at [spin, m, t], (spins, 2, 2), 0 for +1; columns sum to one.
        """
        default = self._readout.get(None, np.eye(2))
        return np.stack([self._readout.get(qubit, default) for qubit in measured_qubits(measured.circuit)])

    def _require_acting(self, circuit: Any, measured: Template) -> None:
        """Errors of gates of one, two … qubits: some of each must meet a gate, or else noise is silently lost."""
        gates = {(step.operation.name, _indices(circuit, step)) for step in circuit.data}
        names = {name for name, _ in gates}
        for size in sorted({_size(error) for error in self._quantum}):
            errors = [error for error in self._quantum if _size(error) == size]
            acting = any(
                (name, tuple(error["gate_qubits"][0])) in gates if "gate_qubits" in error else name in names
                for error in errors
                for name in error["operations"]
            )
            # without couplings there is no gate of two qubits that an error could follow
            if not acting and (size == 1 or len(measured.present)):
                named = sorted({name for error in errors for name in error["operations"]})
                raise ValueError(
                    f"noise has {size}-qubit errors on {', '.join(named)}, but none of these gates occurs on those "
                    f"qubits in the circuit, which has {', '.join(sorted(names - {'measure'}))}; give errors of "
                    "'rzz', 'u' and 'rx', each rzz on (i, j) with i < j"
                )


def measured_qubits(circuit: Any) -> list[int]:
    """The qubit that ends in each classical bit, so that of each spin."""
    qubits = {
        circuit.find_bit(step.clbits[0]).index: circuit.find_bit(step.qubits[0]).index
        for step in circuit.data
        if step.operation.name == "measure"
    }
    return [qubits[bit] for bit in range(len(qubits))]


def with_probabilities(measured: Template) -> Template:
    """The same gates, and Aer saves the probabilities of its spins where it would measure them.

    Args:
        measured: with ending "measure", compiled or not.
    """
    import qiskit_aer.library  # noqa: F401  (teaches QuantumCircuit to save probabilities)

    circuit = measured.circuit.copy_empty_like()
    for step in measured.circuit.data:
        if step.operation.name != "measure":
            circuit.append(step)
    circuit.save_probabilities(measured_qubits(measured.circuit))
    return replace(measured, circuit=circuit)


def read_out(law: NDArray[np.float64], assignment: NDArray[np.float64]) -> NDArray[np.float64]:
    """The law of what is read, given that of what is there.

    P(m) = Σ_t Π_i A_i[m_i, t_i] P(t)

    Args:
        law: (models, 2**spins), bit i = spin i.
        assignment: A, (spins, 2, 2).

    Returns:
        In the shape of `law`.
    """
    for spin, matrix in enumerate(assignment):
        law = np.einsum("mt,xath->xamh", matrix, law.reshape(len(law), -1, 2, 2**spin)).reshape(law.shape)
    return law


def _indices(circuit: Any, step: Any) -> tuple[int, ...]:
    return tuple(circuit.find_bit(qubit).index for qubit in step.qubits)


def _size(error: dict[str, Any]) -> int:
    """How many qubits an error acts on."""
    if "gate_qubits" in error:
        return len(error["gate_qubits"][0])
    return 1 + max((qubit for term in error["instructions"] for step in term for qubit in step["qubits"]), default=0)
