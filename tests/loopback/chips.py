"""Solver definitions as SAPI sends them, with the properties of D-Wave's processors on real graphs of any size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dwave.cloud.testing.mocks import qpu_problem_timing_data
from dwave.graphs import pegasus_graph, zephyr_graph

PARAMETERS = (
    "anneal_offsets",
    "anneal_schedule",
    "annealing_time",
    "answer_mode",
    "auto_scale",
    "fast_anneal",
    "flux_biases",
    "flux_drift_compensation",
    "h_gain_schedule",
    "initial_state",
    "max_answers",
    "num_reads",
    "programming_thermalization",
    "readout_thermalization",
    "reduce_intersample_correlation",
    "reinitialize_state",
    "label",
)
"""What D-Wave's processors take besides a problem."""


def chip(
    topology: str = "pegasus",
    size: int = 3,
    *,
    name: str | None = None,
    missing: Sequence[int] = (),
    fast: bool = True,
    load: float = 0.1,
    **properties: Any,
) -> dict[str, Any]:
    """The definition of a solver.

    Args:
        topology: "pegasus" or "zephyr".
        size: m of the graph: Pegasus P16 and Zephyr Z12 and Z15 are in service, 2 to 4 are quick.
        name: of the solver; by default from its graph.
        missing: qubits that do not work, with their couplers.
        fast: whether it offers fast anneals.
        load: its average load.
        properties: replace any other property; None leaves one out.
    """
    graph = pegasus_graph(size) if topology == "pegasus" else zephyr_graph(size, 4)
    shape = [size] if topology == "pegasus" else [size, 4]
    gone = set(missing)
    qubits = sorted(set(graph.nodes) - gone)
    couplers = sorted(sorted(edge) for edge in graph.edges if not gone & set(edge))
    name = f"Loopback_{topology}{size}" if name is None else name
    # the timing model that D-Wave published for Advantage_system4.1
    timing = qpu_problem_timing_data("advantage")
    known: dict[str, Any] = {
        "category": "qpu",
        "chip_id": name,
        "supported_problem_types": ["ising", "qubo"],
        "topology": {"type": topology, "shape": shape},
        # Pegasus numbers sites that its fabric does not have
        "num_qubits": size * (size - 1) * 24 if topology == "pegasus" else len(graph),
        "qubits": qubits,
        "couplers": couplers,
        "h_range": [-4.0, 4.0],
        "j_range": [-1.0, 1.0],
        "extended_j_range": [-2.0, 1.0],
        "per_qubit_coupling_range": [-18.0, 15.0],
        "annealing_time_range": [0.5, 2000.0],
        "default_annealing_time": 20.0,
        "default_programming_thermalization": 1000.0,
        "default_readout_thermalization": 0.0,
        "fast_anneal_time_range": [0.005, 2000.0],
        "num_reads_range": [1, 10000],
        "problem_run_duration_range": [0.0, 1000000.0],
        "programming_thermalization_range": [0.0, 10000.0],
        "readout_thermalization_range": [0.0, 10000.0],
        "max_anneal_schedule_points": 12,
        "max_h_gain_schedule_points": 20,
        "h_gain_schedule_range": [-3.0, 3.0],
        "quota_conversion_rate": 1,
        "tags": [],
        "problem_timing_data": timing,
        "parameters": {parameter: f"What {parameter} does." for parameter in PARAMETERS},
    }
    if not fast:
        del known["fast_anneal_time_range"], known["parameters"]["fast_anneal"]
    known.update(properties)
    known = {key: value for key, value in known.items() if value is not None}
    return {
        "identity": {"name": name, "version": {"graph_id": f"{topology}{size}-{len(qubits)}-{len(couplers)}"}},
        "status": "ONLINE",
        "description": "A processor on this machine",
        "avg_load": load,
        "properties": known,
    }
