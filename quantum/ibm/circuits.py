"""The anneal as a backend runs it: compiled once, its angles left open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from json import dumps
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum.ibm.device import Device
from quantum.jobs.journal import Journal
from quantum.schedule import AnnealSchedule
from quantum.trotter import Template, template

REGISTER = "c"
"""Name of the classical register that is measured into."""


@dataclass(frozen=True)
class CircuitFacts:
    """What came of compiling a circuit.

    Args:
        depth: number of layers.
        two_qubit_gates: how many there are.
        qubits: where spin i starts.
        duration: of one shot, seconds; None where the backend does not say how long its gates take.
    """

    depth: int
    two_qubit_gates: int
    qubits: tuple[int, ...]
    duration: float | None


@dataclass(frozen=True, eq=False)
class Anneal:
    """A circuit for models with the same couplings present.

    Args:
        template: with the parameters in their order.
        circuit: compiled for the backend; None where jobs are only replayed.
        facts: of the compiled circuit; None where a replayed journal does not know them.
        description: of the circuit, for the digests of requests.
    """

    template: Template
    circuit: Any
    facts: CircuitFacts | None
    description: dict[str, Any]

    def bound(self, values: NDArray[np.float64]) -> tuple[Any, dict[tuple[str, ...], NDArray[np.float64]]]:
        """One PUB: the circuit with all models' parameters.

        Args:
            values: (models, parameters), radians.
        """
        # compilation drops what cannot change an outcome, such as phases right before a measurement
        left = {parameter.name for parameter in self.circuit.parameters}
        kept = [i for i, parameter in enumerate(self.template.parameters) if parameter.name in left]
        names = tuple(self.template.parameters[i].name for i in kept)
        return self.circuit, {names: values[:, kept]}


class Circuits:
    """The compiled circuits of one sampler.

    Args:
        schedule: the anneal.
        steps: Trotter steps K.
        device: what they are compiled for.
        backend: likewise; None where jobs are only replayed.
        journal: keeps the facts, for replays.
        optimization_level: of Qiskit's transpiler, 0 … 3.
        seed_transpiler: of its random choices.
        initial_layout: where spin i starts; by default the transpiler chooses.

    Raises:
        ValueError: a level that there is not, a seed that is no integer, or a layout that names a qubit twice or one
            that the device does not have.
    """

    def __init__(
        self,
        schedule: AnnealSchedule,
        steps: int | None,
        device: Device,
        backend: Any,
        journal: Journal,
        *,
        optimization_level: int,
        seed_transpiler: int,
        initial_layout: Sequence[int] | None,
    ) -> None:
        if isinstance(optimization_level, bool) or optimization_level not in (0, 1, 2, 3):
            raise ValueError(f"optimization_level is {optimization_level!r}; choose 0, 1, 2 or 3")
        if isinstance(seed_transpiler, bool) or not isinstance(seed_transpiler, int) or seed_transpiler < 0:
            raise ValueError(f"seed_transpiler is {seed_transpiler!r}; give an integer of at least 0")
        self._schedule = schedule
        self._angles = schedule.angles(steps)
        self._device, self._backend, self._journal = device, backend, journal
        self._level, self._seed = optimization_level, seed_transpiler
        self._layout = None if initial_layout is None else _checked(initial_layout, device)
        self._known: dict[tuple[int, bytes], Anneal] = {}
        self._new: dict[str, dict[str, Any]] = {}

    def anneal(self, spins: int, present: NDArray[np.intp]) -> Anneal:
        """The circuit of models with some pairs coupled, compiled when it is first asked for.

        Args:
            spins: of the models.
            present: indices of the coupled pairs, in the order of `quantum.trotter.pairs`.

        Raises:
            ValueError: a layout for another number of spins.
        """
        if self._layout is not None and len(self._layout) != spins:
            raise ValueError(f"initial_layout has {len(self._layout)} qubits, but the models have {spins} spins")
        key = spins, present.tobytes()
        if key not in self._known:
            self._known[key] = self._made(spins, present)
        return self._known[key]

    def remember(self) -> None:
        """Keep facts of circuits in the journal, for replays."""
        while self._new:
            named, facts = self._new.popitem()
            self._journal.keep_solver(named, _digest(facts), facts)

    def _made(self, spins: int, present: NDArray[np.intp]) -> Anneal:
        opened = template(spins, self._angles, "measure", present=present)
        description = {
            "spins": spins,
            "schedule": self._schedule.to_json(),
            "steps": self._angles.steps,
            "pairs": present.tolist(),
            "optimization_level": self._level,
            "seed_transpiler": self._seed,
            "initial_layout": self._layout,
        }
        named = f"{self._device.name} {self._device.variant} circuit {_digest(description)}"
        if self._backend is None:
            kept = self._journal.solver(named)
            facts = None if kept is None else CircuitFacts(**{**kept, "qubits": tuple(kept["qubits"])})
            return Anneal(opened, None, facts, description)
        circuit = self._compiled(opened.circuit)
        facts = _facts(circuit, spins, self._backend)
        self._new[named] = asdict(facts)
        return Anneal(opened, circuit, facts, description)

    def _compiled(self, circuit: Any) -> Any:
        from qiskit.transpiler import generate_preset_pass_manager

        manager = generate_preset_pass_manager(
            optimization_level=self._level,
            backend=self._backend,
            seed_transpiler=self._seed,
            initial_layout=self._layout,
        )
        return manager.run(circuit)


def _checked(layout: Sequence[int], device: Device) -> list[int]:
    qubits = list(layout)
    for qubit in qubits:
        if isinstance(qubit, bool) or not isinstance(qubit, int) or not 0 <= qubit < device.qubits:
            raise ValueError(f"initial_layout contains {qubit!r}; {device.name} has qubits 0 … {device.qubits - 1}")
    if len(set(qubits)) != len(qubits):
        raise ValueError(f"initial_layout is {qubits}; give every spin a qubit of its own")
    return qubits


def _facts(circuit: Any, spins: int, backend: Any) -> CircuitFacts:
    layout = circuit.layout
    qubits = range(spins) if layout is None else layout.initial_index_layout(filter_ancillas=True)
    pairs = circuit.num_nonlocal_gates()
    return CircuitFacts(int(circuit.depth()), int(pairs), tuple(int(i) for i in qubits), _duration(circuit, backend))


def _duration(circuit: Any, backend: Any) -> float | None:
    from qiskit.exceptions import QiskitError

    try:
        return float(circuit.estimate_duration(backend.target, "s"))
    except (QiskitError, TypeError):  # a target without times
        return None


def _digest(content: dict[str, Any]) -> str:
    return sha256(dumps(content, sort_keys=True).encode()).hexdigest()
