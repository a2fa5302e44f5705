"""D-Wave's own client against the loopback server: what it finds, posts and reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from dwave.cloud.api import Problems
from dwave.cloud.exceptions import CanceledFutureError, SolverAuthenticationError, SolverNotFoundError

from classical import ExactSampler, IsingModel, Samples
from quantum import AnnealSchedule, StatevectorSampler
from tests.contract.case import batch
from tests.contract.laws import boltzmann
from tests.loopback import Account, Annealed, Boltzmann, LoopbackServer, chip
from tests.loopback.problem import Programmed
from tests.loopback.processors import _tree_decomposition
from tests.statistics import chi_squared_p


@pytest.fixture(scope="module")
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer([chip("pegasus", 3), chip("zephyr", 2, load=0.5)], Boltzmann(1.5, 2.0)) as running:
        yield running
        assert running.failures == []


@pytest.fixture(scope="module")
def client(server: LoopbackServer) -> Iterator[Any]:
    with server.client() as opened:
        yield opened


def random_problem(solver: Any, seed: int, qubits: int = 7) -> tuple[dict[int, float], dict[tuple[int, int], float]]:
    """Biases and couplings on some coupled qubits."""
    numbers = np.random.default_rng(seed)
    edges = [solver._encoding_couplers[i] for i in numbers.choice(len(solver.edges) // 2, qubits, replace=False)]
    J = {edge: float(numbers.normal(0, 0.3)) for edge in edges}
    h = {qubit: float(numbers.normal(0, 0.3)) for edge in edges for qubit in edge}
    return h, J


def test_the_client_finds_solvers_with_all_their_properties(client: Any, server: LoopbackServer) -> None:
    solvers = client.get_solvers()
    assert [solver.name for solver in solvers] == ["Loopback_pegasus3", "Loopback_zephyr2"]  # by load
    for solver in solvers:
        assert solver.properties == server.solvers[solver.name]["properties"]
        assert solver.qpu
        assert solver.online
        assert solver.num_active_qubits == len(solver.properties["qubits"])
    assert client.get_solver(topology__type="zephyr").name == "Loopback_zephyr2"
    with pytest.raises(SolverNotFoundError):
        client.get_solver(name="Advantage_system99")


def test_a_wrong_token_is_not_let_in(server: LoopbackServer) -> None:
    with server.client(token="LOOP-other") as stranger, pytest.raises(SolverAuthenticationError):
        stranger.get_solvers()


@pytest.mark.parametrize("name", ["Loopback_pegasus3", "Loopback_zephyr2"])
@pytest.mark.parametrize("mode", ["raw", "histogram"])
def test_answers_arrive_as_they_were_sampled(client: Any, server: LoopbackServer, name: str, mode: str) -> None:
    solver = client.get_solver(name=name)
    h, J = random_problem(solver, 1)
    future = solver.sample_ising(h, J, num_reads=400, answer_mode=mode, auto_scale=False, label="one")
    result = future.result()
    job = server.account.jobs[future.wait_id()]
    assert job.spins is not None
    qubits = job.programmed.qubits
    assert list(result["active_variables"]) == qubits.tolist() == sorted(h)
    spins = np.array(result["solutions"])[:, qubits]
    energies = [sum(h[q] * s[q] for q in h) + sum(J[i, j] * s[i] * s[j] for i, j in J) for s in result["solutions"]]
    np.testing.assert_allclose(result["energies"], energies, rtol=0, atol=1e-12)
    if mode == "raw":
        assert "num_occurrences" not in result
        np.testing.assert_array_equal(spins, job.spins)
    else:
        assert sum(result["num_occurrences"]) == 400
        assert result["energies"] == sorted(result["energies"])
        repeated = np.repeat(spins, result["num_occurrences"], axis=0)
        np.testing.assert_array_equal(sorted(repeated.tolist()), sorted(job.spins.tolist()))
    assert future.label == "one"


def test_the_same_request_gives_the_same_samples(client: Any) -> None:
    solver = client.get_solver(name="Loopback_pegasus3")
    h, J = random_problem(solver, 2)
    drawn = [
        solver.sample_ising(h, J, num_reads=50, answer_mode="raw", label=label).result()["solutions"]
        for label in ("a", "a", "b")
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_problems_are_found_by_label_and_fetched_by_another_client(client: Any, server: LoopbackServer) -> None:
    solver = client.get_solver(name="Loopback_pegasus3")
    h, J = random_problem(solver, 3)
    future = solver.sample_ising(h, J, num_reads=20, label="to be found")
    future.result()
    with server.client() as other, Problems.from_config(other.config) as problems:
        found = problems.list_problems(label="to be found")
        assert [one.id for one in found] == [future.wait_id()]
        assert problems.list_problems(label="to be") == []
        assert problems.get_problem_answer(found[0].id).timing == future.timing
        assert other.retrieve_answer(found[0].id).result()["energies"] == future.result()["energies"]


def test_waiting_problems_can_be_cancelled_and_are_not_charged(client: Any, server: LoopbackServer) -> None:
    solver = client.get_solver(name="Loopback_pegasus3")
    h, J = random_problem(solver, 4)
    before = server.account.bill
    server.account.hold()
    try:
        future = solver.sample_ising(h, J, num_reads=20)
        future.wait_id()
        future.cancel()
        with pytest.raises(CanceledFutureError):
            future.result()
    finally:
        server.account.release()
    assert server.account.bill == before


def test_what_is_accepted_outlasts_a_restart() -> None:
    account = Account()
    with LoopbackServer(account=account) as first:
        with first.client(poll_wait_time=1) as client:
            solver = client.get_solver()
            h, J = random_problem(solver, 5)
            account.hold()
            waiting = solver.sample_ising(h, J, num_reads=20, label="waiting")
            problem_id = waiting.wait_id()
            client.close(wait=False)
        port = first.port
    account.release()
    with LoopbackServer(account=account, port=port) as second, second.client() as client:
        assert len(client.retrieve_answer(problem_id).result()["energies"]) > 0
    assert account.bill > 0


def test_components_are_sampled_apart_and_follow_their_law() -> None:
    model = batch(spins=4, groups=3, models=1, seed=2)
    n = model.spins
    pairs = np.array([(n * g + i, n * g + j) for g in range(3) for i in range(n) for j in range(i + 1, n)])
    J = np.concatenate([-model.couplings[g][*np.triu_indices(n, 1)].numpy() for g in range(3)])
    programmed = Programmed(np.arange(12), -model.fields.flatten().numpy() / 2, pairs, J / 4, np.zeros(12))
    spins = Boltzmann(2.0, 4.0)(programmed, {}, 5000, seed=1)
    drawn = torch.from_numpy(spins).reshape(5000, 3, 1, n).permute(1, 2, 0, 3)
    samples = Samples(drawn, torch.full((3, 1, 5000), 1 / 5000, dtype=torch.float64), 5000)
    assert chi_squared_p(samples, boltzmann(model)) > 1e-5


def test_tree_decomposition_follows_the_same_law() -> None:
    model = batch(spins=4, groups=2, models=1, seed=3)
    spins = torch.from_numpy(_tree_decomposition(model, 5000, torch.tensor([[1], [2]])))
    samples = Samples(spins[:, None], torch.full((2, 1, 5000), 1 / 5000, dtype=torch.float64), 5000)
    assert chi_squared_p(samples, boltzmann(model)) > 1e-5


def test_anneals_follow_the_law_of_our_own_simulation() -> None:
    schedule = AnnealSchedule.linear(4.0)
    h, J = torch.tensor([0.3, -0.4, 0.2]).double(), torch.tensor([0.5, -0.3]).double()
    programmed = Programmed(
        np.array([3, 5, 9]), -h.numpy(), np.array([[0, 1], [1, 2]]), -J.numpy(), np.array([0.0, 1e-4, 0.0])
    )
    spins = Annealed(schedule, 8)(programmed, {}, 5000, seed=1)
    couplings = torch.zeros(1, 3, 3, dtype=torch.float64)
    couplings[0, 0, 1], couplings[0, 1, 2] = J
    flux = torch.tensor([0.0, 0.2374, 0.0])
    law = StatevectorSampler(schedule, 8, "none", backend="torch").probabilities(
        IsingModel((h + flux)[None, None], couplings)
    )
    samples = Samples(torch.from_numpy(spins)[None, None], torch.full((1, 1, 5000), 1 / 5000).double(), 5000)
    assert chi_squared_p(samples, law) > 1e-5


def test_a_flux_bias_pins_its_qubit() -> None:
    programmed = Programmed(
        np.array([7]), np.zeros(1), np.zeros((0, 2), dtype=np.int64), np.zeros(0), np.array([0.005])
    )
    assert (Boltzmann(4.0, 4.0)(programmed, {}, 100, seed=1) == 1).all()
    exact = ExactSampler().mean(IsingModel(torch.full((1, 1, 1), 0.2374).double(), torch.zeros(1, 1, 1).double()))
    weak = Programmed(programmed.qubits, programmed.h, programmed.pairs, programmed.J, np.array([1e-4]))
    drawn = Boltzmann(1.0, 1.0)(weak, {}, 20_000, seed=1)
    assert abs(drawn.mean() - float(exact)) < 5 / 20_000**0.5
