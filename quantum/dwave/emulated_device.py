"""What an emulated annealer is like, and the solver that stands for it where nothing is connected."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from quantum.checks import positive_number
from quantum.dwave.schedule_table import GENERIC_TABLE, ScheduleTable

TOPOLOGIES = ("pegasus", "zephyr", "complete")
"""Graphs of emulated chips. On "complete" every two qubits are coupled, so that there are no chains."""

PROPERTY = "emulation"
"""Of an emulated solver's properties: what its device is like."""

FLUX_QUANTUM = 2.067833848e-15
"""Φ₀, Wb."""

PLANCK = 6.62607015e-34
"""J s."""

_PARAMETERS = ("answer_mode", "annealing_time", "auto_scale", "fast_anneal", "flux_biases", "label", "num_reads")

_TIMING: dict[str, Any] = {
    "version": "1.0.0",
    "typical_programming_time": 14000.0,
    "reverse_annealing_with_reinit_prog_time_delta": 0.0,
    "reverse_annealing_without_reinit_prog_time_delta": 5.0,
    "default_programming_thermalization": 1000.0,
    "default_annealing_time": 20.0,
    "readout_time_model": "pwl_log_log",
    "readout_time_model_parameters": [0.0, 1.0, 2.0, 3.0, 3.75, 1.54, 1.93, 2.2, 2.36, 2.37],
    "qpu_delay_time_per_sample": 20.5,
    "reverse_annealing_with_reinit_delay_time_delta": -4.5,
    "reverse_annealing_without_reinit_delay_time_delta": -1.5,
    "default_readout_thermalization": 0.0,
    "decorrelation_max_nominal_anneal_time": 2000.0,
    "decorrelation_time_range": [500.0, 10000.0],
}
"""In the form, and of the size, in which D-Wave's processors publish theirs, µs."""


@dataclass(frozen=True)
class EmulatedDevice:
    """A coherent annealer with the errors of a real one; by default without any.

    What is programmed as J and Φ acts as

        J' = round(J / step) step + N(0, coupling_error²),   step = (width of j_range) / 2^precision
        f' = f(Φ) + N(0, field_error²)

    f is the strength of a flux bias in units of h where A = B. The errors of a submission follow from its digest and
    `seed` alone: they are the same for the same submission, and independent for all others. A coupler of a model that
    is programmed as 0 has an error too; a coupler between models has none.

    Args:
        table: A(s) and B(s), for anneals of any duration.
        coupling_error: standard deviation of J, in units of J.
        field_error: standard deviation of the field on every qubit, in units of h where A = B. A fast anneal has no
            linear biases; what remains on a qubit is flux, and acts as such.
        precision: bits of a programmed coupling over the solver's `j_range`, or None for exact values. Flux biases are
            not rounded.
        readout_error: probability with which a qubit is read wrong, independently of all others.
        mutual_inductance: M_AFM, pH, by which a flux bias becomes a field.
        seed: of the errors; another seed is another specimen of the same device.

    Raises:
        ValueError: an error below zero, a precision below 1, a probability above ½, or a table without a crossing.
    """

    table: ScheduleTable = field(default=GENERIC_TABLE, repr=False)
    coupling_error: float = 0.0
    field_error: float = 0.0
    precision: int | None = None
    readout_error: float = 0.0
    mutual_inductance: float = 1.65
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("coupling_error", "field_error"):
            value = getattr(self, name)
            if value != 0:
                positive_number(name, value)
        bits = self.precision
        if bits is not None and (isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= 52):
            raise ValueError(f"precision is {bits!r}; give a number of bits from 1 to 52, or None for exact values")
        if self.readout_error != 0 and positive_number("readout_error", self.readout_error) > 0.5:
            raise ValueError(f"readout_error is {self.readout_error:g}; give a probability of at most 0.5")
        positive_number("mutual_inductance", self.mutual_inductance)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise ValueError(f"seed is {self.seed!r}; give an integer")
        _ = self.table.crossing_ghz  # refuses a table without one

    @property
    def field_per_flux(self) -> float:
        """By how much one Φ₀ of flux bias acts as h where A = B.

        (B/2) h = I_p Φ,   B = 2 M I_p²   ⟹   h = Φ₀ √(2 / (M h_Planck B))

        At other s it acts as h √(B(A=B)/B(s)), because I_p grows as √B.

        Reference:
            D-Wave, "Flux-bias offsets"; `dwave.system.temperatures.fluxbias_to_h`.
        """
        inductance, frequency = 1e-12 * self.mutual_inductance, 1e9 * self.table.crossing_ghz
        return FLUX_QUANTUM * math.sqrt(2 / (inductance * PLANCK * frequency))

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it; `from_json` reads it back without loss."""
        data = asdict(self)
        data["table"] = {name: list(column) for name, column in data["table"].items()}
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EmulatedDevice:
        """The device that `to_json` wrote.

        Raises:
            ValueError: keys that are missing or unknown, or values that the device refuses.
        """
        try:
            columns = {name: tuple(column) for name, column in data["table"].items()}
            return cls(**{**data, "table": ScheduleTable(**columns)})
        except (AttributeError, KeyError, TypeError):
            raise ValueError("the properties hold no emulated device; make the solver by emulated_solver") from None

    @classmethod
    def of(cls, solver: Any) -> EmulatedDevice:
        """That of an emulated solver.

        Args:
            solver: from `emulated_solver`.

        Raises:
            ValueError: another solver.
        """
        properties = getattr(solver, "properties", None)
        if not isinstance(properties, Mapping) or PROPERTY not in properties:
            raise ValueError(f"solver is {solver!r}, which is not emulated; make one by emulated_solver")
        return cls.from_json(properties[PROPERTY])


def emulated_solver(
    topology: str = "pegasus", size: int = 4, *, device: EmulatedDevice | None = None, name: str | None = None
) -> Any:
    """A solver of D-Wave's client library without a client: the definition of an emulated processor.

    The device is part of its properties and, as a digest, of its `graph_id`: no journal takes an answer of one device
    for an answer of another.

    Args:
        topology: a name in `TOPOLOGIES`.
        size: m of a Pegasus or Zephyr graph (16 and 12 are in service, 2 to 4 are quick), or qubits of a complete one.
        device: what it is like; by default an ideal one.
        name: of the solver; by default from its graph.

    Returns:
        A `dwave.cloud.solver.StructuredSolver`.

    Raises:
        ValueError: an unknown topology, or a size that its graph does not have.
    """
    from dwave.cloud.solver import StructuredSolver

    device = EmulatedDevice() if device is None else device
    nodes, edges, sites, shape = _graph(topology, size)
    name = f"Emulated_{topology}{size}" if name is None else name
    described = device.to_json()
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]
    properties = {
        "category": "qpu",
        "chip_id": name,
        "supported_problem_types": ["ising"],
        "topology": {"type": topology, "shape": shape},
        "num_qubits": sites,
        "qubits": nodes,
        "couplers": edges,
        "h_range": [-4.0, 4.0],
        "j_range": [-1.0, 1.0],
        "extended_j_range": [-2.0, 1.0],
        "per_qubit_coupling_range": [-18.0, 15.0],
        "annealing_time_range": [0.5, 2000.0],
        "default_annealing_time": 20.0,
        # shorter than any processor's: studies reach where coherent anneals are hot
        "fast_anneal_time_range": [0.0001, 2000.0],
        "num_reads_range": [1, 10000],
        "problem_run_duration_range": [0.0, 1000000.0],
        "default_programming_thermalization": 1000.0,
        "default_readout_thermalization": 0.0,
        "quota_conversion_rate": 1,
        "tags": [],
        "problem_timing_data": _TIMING,
        "parameters": dict.fromkeys(_PARAMETERS, ""),
        PROPERTY: described,
    }
    definition = {
        "identity": {"name": name, "version": {"graph_id": f"{topology}{size}-{digest}"}},
        "status": "ONLINE",
        "description": "An emulated annealer",
        "avg_load": 0.0,
        "properties": properties,
    }
    return StructuredSolver(client=None, data=definition)


def _graph(topology: str, size: int) -> tuple[list[int], list[list[int]], int, list[int]]:
    """Qubits, couplers, sites and shape."""
    if topology not in TOPOLOGIES:
        raise ValueError(f"topology is {topology!r}; choose one of {', '.join(TOPOLOGIES)}")
    least = 1 if topology == "zephyr" else 2
    if isinstance(size, bool) or not isinstance(size, int) or size < least:
        raise ValueError(f"size is {size!r}; give an integer of at least {least}")
    if topology == "complete":
        pairs = [[i, j] for i in range(size) for j in range(i + 1, size)]
        return list(range(size)), pairs, size, [size]
    from dwave.graphs import pegasus_graph, zephyr_graph

    graph = pegasus_graph(size) if topology == "pegasus" else zephyr_graph(size, 4)
    # Pegasus numbers sites that its fabric does not have
    sites = 24 * size * (size - 1) if topology == "pegasus" else len(graph)
    edges = sorted(sorted(edge) for edge in graph.edges)
    return sorted(graph.nodes), edges, sites, [size] if topology == "pegasus" else [size, 4]
