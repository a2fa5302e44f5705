"""What a solver has and takes, as arrays in the order in which its problems are encoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Range = tuple[float, float]


@dataclass(frozen=True, eq=False)
class SolverLimits:
    """A solver's graph, ranges and parameters.

    Args:
        name: of the solver.
        graph_id: of its working graph, which changes when qubits do; "" where it has none.
        topology: "pegasus", "zephyr" or another.
        shape: of the topology.
        num_qubits: sites of the graph, working or not; flux biases are listed for all of them.
        qubits: those that work, (qubits,) int64, in the order of encoding.
        couplers: pairs of qubits, (couplers, 2) int64, in the order of encoding.
        h_range: of linear biases, in the vendor's sign.
        j_range: of couplings.
        extended_j_range: of couplings that are stronger than `j_range` has them.
        per_qubit_coupling_range: of the sum of a qubit's couplings where the extended range is used, or None.
        annealing_time_range: of standard anneals, µs.
        fast_anneal_time_range: of fast anneals, µs, or None where there are none.
        default_annealing_time: of standard anneals, µs.
        num_reads_range: reads of one submission.
        longest_run: of one submission, µs.
        programming_thermalization: µs.
        readout_thermalization: µs.
        parameters: names that the solver takes.
    """

    name: str
    graph_id: str
    topology: str
    shape: tuple[int, ...]
    num_qubits: int
    qubits: NDArray[np.int64]
    couplers: NDArray[np.int64]
    h_range: Range
    j_range: Range
    extended_j_range: Range
    per_qubit_coupling_range: Range | None
    annealing_time_range: Range
    fast_anneal_time_range: Range | None
    default_annealing_time: float
    num_reads_range: tuple[int, int]
    longest_run: float
    programming_thermalization: float
    readout_thermalization: float
    parameters: frozenset[str]

    @classmethod
    def of(cls, solver: Any) -> SolverLimits:
        """Those of a solver of D-Wave's client.

        Args:
            solver: a `dwave.cloud.solver.StructuredSolver`.

        Raises:
            ValueError: something that is no such solver, takes no Ising models, or lacks a property.
        """
        properties = getattr(solver, "properties", None)
        if not isinstance(properties, Mapping) or "qubits" not in properties:
            raise ValueError(
                f"solver is {type(solver).__name__}; give a QPU of dwave.cloud.Client, as from client.get_solver()"
            )
        if "ising" not in properties.get("supported_problem_types", ()):
            raise ValueError(f"solver {solver.name} takes no Ising problems; choose a QPU")
        try:
            return cls._read(solver, properties)
        except KeyError as error:
            raise ValueError(f"solver {solver.name} lacks the property {error}; choose a QPU") from None

    @classmethod
    def _read(cls, solver: Any, properties: Mapping[str, Any]) -> SolverLimits:
        topology = properties.get("topology", {})
        j_range = _range(properties["j_range"])
        fast = properties.get("fast_anneal_time_range")
        per_qubit = properties.get("per_qubit_coupling_range")
        reads = properties["num_reads_range"]
        return cls(
            name=str(solver.name),
            graph_id=str(getattr(solver, "graph_id", None) or ""),
            topology=str(topology.get("type", "")),
            shape=tuple(topology.get("shape", ())),
            num_qubits=int(properties["num_qubits"]),
            qubits=np.array(properties["qubits"], dtype=np.int64),
            couplers=np.array(properties["couplers"], dtype=np.int64).reshape(-1, 2),
            h_range=_range(properties["h_range"]),
            j_range=j_range,
            extended_j_range=_range(properties.get("extended_j_range", j_range)),
            per_qubit_coupling_range=None if per_qubit is None else _range(per_qubit),
            annealing_time_range=_range(properties["annealing_time_range"]),
            fast_anneal_time_range=None if fast is None else _range(fast),
            default_annealing_time=float(properties.get("default_annealing_time", 20.0)),
            num_reads_range=(int(reads[0]), int(reads[1])),
            longest_run=float(properties["problem_run_duration_range"][1]),
            programming_thermalization=float(properties.get("default_programming_thermalization", 0.0)),
            readout_thermalization=float(properties.get("default_readout_thermalization", 0.0)),
            parameters=frozenset(properties.get("parameters", ())),
        )

    def require_reads(self, shots: int) -> None:
        """Refuse more reads than the solver takes.

        Raises:
            ValueError: names its range.
        """
        low, high = self.num_reads_range
        if not low <= shots <= high:
            raise ValueError(f"shots is {shots}, but {self.name} takes {low} to {high} reads; give a number within")

    def most_reads(self, annealing_time: float) -> int:
        """Reads that fit one submission, by their own limit and by that of its run time.

        programming thermalization + reads · (annealing time + readout thermalization) ≤ longest run

        Args:
            annealing_time: µs.

        Raises:
            ValueError: an anneal so long that no read fits.
        """
        read = annealing_time + self.readout_thermalization
        fit = int((self.longest_run - self.programming_thermalization) / read)
        if fit < self.num_reads_range[0]:
            raise ValueError(
                f"duration is {1000 * annealing_time:g} ns, of which {self.name} fits no read into its longest run of "
                f"{self.longest_run:g} µs; choose a shorter one"
            )
        return min(self.num_reads_range[1], fit)


def _range(values: Any) -> Range:
    low, high = values
    return float(low), float(high)
