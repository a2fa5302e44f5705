"""The loopback server's bill against the timing model as D-Wave's client computes it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.loopback import Boltzmann, LoopbackServer, chip


@pytest.mark.parametrize("topology", ["pegasus", "zephyr"])
def test_the_bill_is_what_the_client_estimates(topology: str) -> None:
    with LoopbackServer([chip(topology, 2)], Boltzmann()) as server, server.client() as client:
        solver = client.get_solver()
        expected = 0.0
        for edges, parameters in (
            (1, {"num_reads": 1}),
            (3, {"num_reads": 100, "annealing_time": 50.0}),
            (6, {"num_reads": 10, "fast_anneal": True, "annealing_time": 0.007, "auto_scale": False}),
            (6, {"num_reads": 10, "readout_thermalization": 5.0, "programming_thermalization": 20.0}),
        ):
            J = dict.fromkeys(solver._encoding_couplers[:edges], 0.1)
            future = solver.sample_ising({}, J, **parameters)
            qubits = len({qubit for edge in J for qubit in edge})
            timing: dict[str, Any] = {
                key: parameters[key] for key in parameters if key not in ("num_reads", "auto_scale")
            }
            estimate = solver.estimate_qpu_access_time(qubits, num_reads=parameters["num_reads"], **timing)
            assert future.timing["qpu_access_time"] == pytest.approx(estimate, abs=1e-3)
            expected += future.timing["qpu_access_time"]
        assert server.account.bill == pytest.approx(expected, abs=1e-9)
        assert [job.charge for job in server.account.jobs.values()] == [
            job.timing["qpu_access_time"] for job in server.account.jobs.values()
        ]
