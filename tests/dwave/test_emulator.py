"""The emulated annealer: its law against dense matrices, its errors against their statistics, and its service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dwave.system.temperatures import fluxbias_to_h
from scipy import stats

from classical import IsingModel, Samples
from quantum.dwave.anneal import Anneal
from quantum.dwave.coherent import TOLERANCE, Course, annealed_law, components, law_in_steps, strongest
from quantum.dwave.control import controlled
from quantum.dwave.decode import Readout, decode
from quantum.dwave.embedding import verified
from quantum.dwave.emulated_device import EmulatedDevice, emulated_solver
from quantum.dwave.emulator import EmulatedConnection, NotEmulatedError, emulated_sampler
from quantum.dwave.encode import Run, Submission, encode
from quantum.dwave.layout import lay_out
from quantum.dwave.schedule_table import GENERIC_TABLE, ScheduleTable
from quantum.dwave.solver_limits import SolverLimits
from quantum.jobs.driver import run
from quantum.jobs.errors import BudgetError, JobError, RejectedError
from quantum.jobs.journal import Journal
from quantum.jobs.service import Request
from quantum.jobs.terms import Terms
from quantum.response import response
from tests.dwave import dense_anneal
from tests.statistics import chi_squared_p

UNBIASED = 1e-4
"""p-value below which samples are not of a law; seeds are fixed."""

_S = np.linspace(0, 1, 201)
WARM_START = ScheduleTable(*(tuple(x.tolist()) for x in (_S, 6 * (1 - _S) ** 4, 0.24 + 11.76 * _S**2)))
"""A table whose B(0) is not zero, as processors have them."""


def submission(
    solver: Any,
    chains: Sequence[Sequence[Sequence[int]]],
    J: np.ndarray,
    *,
    duration: float = 1.5,
    reads: int = 100,
    mode: str = "raw",
    pinned: int | None = None,
    flux: float = 0.005,
    strength: float = 1.0,
    kind: str = "fast",
    h: np.ndarray | None = None,
    key: tuple[int, ...] = (),
) -> Submission:
    """Models of couplings J, (copies, spins, spins), on given chains, without reversals."""
    limits = SolverLimits.of(solver)
    layout = lay_out([verified(one, limits) for one in chains], limits)
    anneal = Run(Anneal(kind, duration), mode, strength, flux, reversed=False)
    gauge = np.ones((layout.copies, layout.spins), dtype=np.int8)
    h = np.zeros((layout.copies, layout.spins)) if h is None else h
    return encode(layout, h, J, anneal, reads=reads, gauge=gauge, pinned=pinned, key=key)


def couplings(copies: int, spins: int, scale: float, seed: int = 0) -> np.ndarray:
    return np.triu(np.random.default_rng(seed).normal(0, scale, (copies, spins, spins)), 1)


def simulated(one: Submission, device: EmulatedDevice) -> torch.Tensor:
    """The law of the only component, in the order of the used qubits."""
    ((places, model),) = components(controlled(one, device))
    assert places.tolist() == [list(range(len(one.layout.active)))]
    return annealed_law(model, Course.of(device.table, 1000 * one.parameters["annealing_time"]))


def read(connection: EmulatedConnection, one: Submission) -> Readout:
    (job,) = connection.post([one], ["label"])
    assert isinstance(job, str)
    return connection.answer(job, lambda answer: decode(answer.content, one))[1]


def as_samples(readout: Readout, copy: int = 0) -> Samples:
    """Counted samples of one copy."""
    spins = torch.from_numpy(readout.spins[:, copy])[None, None]
    weights = torch.from_numpy(readout.occurrences / readout.occurrences.sum())[None, None]
    return Samples(spins, weights, int(readout.occurrences.sum()))


COMPLETE = ([[0], [1], [2], [3]],)
CHAINED = ([[0, 1], [2], [3]],)


@pytest.mark.parametrize("table", [GENERIC_TABLE, WARM_START], ids=["generic", "warm start"])
@pytest.mark.parametrize(
    ("chains", "pinned", "duration"),
    [(COMPLETE, None, 0.4), (COMPLETE, None, 3.0), (CHAINED, None, 2.0), (CHAINED, 2, 2.0)],
    ids=["short", "long", "chain", "pinned"],
)
def test_laws_are_those_of_dense_matrices(
    table: ScheduleTable, chains: Any, pinned: int | None, duration: float
) -> None:
    device = EmulatedDevice(table)
    solver = emulated_solver("complete", 4, device=device)
    one = submission(solver, chains, couplings(1, len(chains[0]), 0.15, 3), duration=duration, pinned=pinned)

    def a(s: float) -> float:
        return float(np.interp(s, table.fraction, table.a_ghz))

    def b(s: float) -> float:
        return float(np.interp(s, table.fraction, table.b_ghz))

    exact = dense_anneal.law(solver, one.data(), one.parameters.get("flux_biases"), a, b, duration)
    found = simulated(one, device)[0, 0].numpy()
    assert np.abs(found - exact).sum() / 2 < TOLERANCE
    assert np.abs(exact - 1 / 16).sum() / 2 > 0.02  # something happened
    if pinned is not None:
        # the last qubit; a pin from zero does not hold it all along, one that is there before does better
        held = exact @ (1 - 2 * (np.arange(16) >> 3 & 1))
        assert (0.3 if table is GENERIC_TABLE else 0.9) < held < 1


def test_flux_becomes_a_field_as_d_wave_converts_it() -> None:
    device = EmulatedDevice(mutual_inductance=1.647)
    b = device.table.crossing_ghz
    assert device.field_per_flux == pytest.approx(-fluxbias_to_h(1.0, B=b, MAFM=1.647), rel=1e-4)
    solver = emulated_solver("complete", 3, device=device)
    one = submission(solver, ([[0], [1], [2]],), couplings(1, 3, 0.1), pinned=2)
    np.testing.assert_allclose(controlled(one, device).fields, [0, 0, 0.005 * device.field_per_flux])


@pytest.mark.parametrize("duration", [0.1, 1.0, 7.0, 40.0])
@pytest.mark.parametrize("scale", [0.02, 0.3])
def test_halving_the_steps_changes_no_law(duration: float, scale: float) -> None:
    solver = emulated_solver("complete", 5)
    for chains, pinned in (([[i] for i in range(5)], None), ([[0, 1], [2, 3], [4]], 2)):
        one = submission(solver, [chains], couplings(1, len(chains), scale), duration=duration, pinned=pinned)
        course = Course.of(GENERIC_TABLE, duration)
        ((_, model),) = components(controlled(one, EmulatedDevice()))
        finest = law_in_steps(model, course, 16 * course.steps(*strongest(model)))
        assert float((annealed_law(model, course) - finest).abs().sum()) / 2 < TOLERANCE


@pytest.mark.parametrize("mode", ["raw", "histogram"])
def test_samples_follow_the_law(mode: str) -> None:
    solver = emulated_solver("complete", 4)
    one = submission(solver, COMPLETE, couplings(1, 4, 0.2), reads=4000, mode=mode)
    readout = read(EmulatedConnection(solver), one)
    law = simulated(one, EmulatedDevice())
    assert chi_squared_p(as_samples(readout), law) > UNBIASED
    assert chi_squared_p(as_samples(readout), law.flip(-1) * 0.9 + 0.1 / 16) < UNBIASED


def test_both_modes_give_the_same_reads_and_energies() -> None:
    solver = emulated_solver("complete", 4)
    one = submission(solver, CHAINED, couplings(1, 3, 0.2), reads=300)
    connection = EmulatedConnection(solver)
    raw = connection.run(one)
    assert "num_occurrences" not in raw
    counted = connection.run(replace(one, parameters={**one.parameters, "answer_mode": "histogram"}))
    first, second = decode(raw, one), decode(counted, one)
    assert len(second.occurrences) < len(first.occurrences) == 300
    rows, counts = np.unique(first.spins.reshape(300, -1), axis=0, return_counts=True)
    order = np.lexsort(second.spins.reshape(len(second.spins), -1).T[::-1])
    # a chain that is split evenly is a toss, so compare where none is
    assert first.broken[0] == pytest.approx(second.broken[0])
    if not first.broken[0]:
        np.testing.assert_array_equal(second.spins.reshape(len(rows), -1)[order], rows)
        np.testing.assert_array_equal(second.occurrences[order], counts)


def test_the_same_request_gives_the_same_samples() -> None:
    device = EmulatedDevice(coupling_error=0.02, field_error=0.02, precision=6, readout_error=0.01)
    answers = []
    for key in ((1,), (1,), (2,)):
        solver = emulated_solver("complete", 4, device=device)
        one = submission(solver, COMPLETE, couplings(1, 4, 0.2), key=key)
        connection = EmulatedConnection(solver)
        answers.append(connection.run(one))
        assert connection.run(one) == answers[-1]
    assert answers[0] == answers[1] != answers[2]


def test_errors_have_their_standard_deviations() -> None:
    device = EmulatedDevice(coupling_error=0.03, field_error=0.05)
    solver = emulated_solver("complete", 6, device=device)
    J, chains = couplings(1, 6, 0.2), [[[i] for i in range(6)]]
    J[0, 0, 1] = 0  # a coupler that is programmed as 0 has an error too
    found = [controlled(submission(solver, chains, J, key=(k,)), device) for k in range(200)]
    programmed = J[0][np.triu_indices(6, 1)]
    by_coupling = np.array([one.couplings for one in found]) - programmed
    by_field = np.array([one.fields for one in found])
    for errors, deviation in ((by_coupling, 0.03), (by_field, 0.05)):
        scaled = errors / deviation
        assert stats.chi2.cdf((scaled**2).sum(), scaled.size) == pytest.approx(0.5, abs=0.4999)
        assert stats.kstest(scaled.flatten(), "norm").pvalue > UNBIASED
        correlation = np.corrcoef(scaled.T) - np.eye(scaled.shape[1])
        assert np.abs(correlation).max() < 5 / np.sqrt(len(scaled))  # each coupler has its own
    both = np.corrcoef(by_coupling[:, 0], by_field[:, 0])[0, 1]
    assert abs(both) < 5 / np.sqrt(200)


def test_another_specimen_has_other_errors() -> None:
    device = EmulatedDevice(coupling_error=0.03)
    solver = emulated_solver("complete", 4, device=device)
    one = submission(solver, COMPLETE, couplings(1, 4, 0.2))
    again = controlled(one, device).couplings
    np.testing.assert_array_equal(controlled(one, device).couplings, again)
    assert np.abs(controlled(one, replace(device, seed=1)).couplings - again).min() > 0
    assert emulated_solver("complete", 4, device=replace(device, seed=1)).graph_id != solver.graph_id


@pytest.mark.parametrize("bits", [1, 5, 8])
def test_couplings_lie_on_the_grid_of_the_precision(bits: int) -> None:
    device = EmulatedDevice(precision=bits)
    solver = emulated_solver("complete", 6, device=device)
    J = couplings(1, 5, 0.3).clip(-1, 1)
    one = submission(solver, [[[0, 1], [2], [3], [4], [5]]], J)
    control = controlled(one, device)
    step = 2.0 / 2**bits
    exact = dict(zip(map(tuple, one.layout.ends.tolist()), (-one.couplings).tolist(), strict=True))
    kept = dict(zip(map(tuple, control.pairs.tolist()), control.couplings.tolist(), strict=True))
    for pair, value in exact.items():
        on_grid = kept.get(pair, 0.0)  # what is rounded to zero couples nothing
        assert on_grid / step == round(on_grid / step)
        assert abs(on_grid - value) <= step / 2
    assert kept[0, 1] == 1.0


def test_readout_errors_turn_single_qubits_over() -> None:
    device = EmulatedDevice(readout_error=0.1)
    solver = emulated_solver("complete", 3, device=device)
    # chains so strong, and an anneal so long, that all three agree
    J = np.triu(np.full((1, 3, 3), 1.0), 1)
    one = submission(solver, ([[0], [1], [2]],), J, duration=20.0, reads=4000)
    spins = read(EmulatedConnection(solver), one).spins[:, 0]
    split = np.abs(spins.sum(1)) == 1
    expected = 3 * 0.1 * 0.9**2 + 3 * 0.1**2 * 0.9
    assert abs(split.mean() - expected) < 5 * np.sqrt(expected / 4000)
    clean = emulated_solver("complete", 3)
    untouched = submission(clean, ([[0], [1], [2]],), J, duration=20.0, reads=4000)
    assert (np.abs(read(EmulatedConnection(clean), untouched).spins[:, 0].sum(1)) == 3).mean() > 0.999


def test_models_side_by_side_are_independent() -> None:
    solver = emulated_solver("complete", 12)
    chains = [[[3 * copy + i] for i in range(3)] for copy in range(4)]
    J = couplings(4, 3, 0.2)
    J[3] = J[2]  # equal models have samples of their own
    one = submission(solver, chains, J, reads=4000)
    ((places, model),) = components(controlled(one, EmulatedDevice()))
    assert places.shape == (4, 3)  # couplers between them are left alone
    laws = annealed_law(model, Course.of(GENERIC_TABLE, 1.5))
    readout = read(EmulatedConnection(solver), one)
    for copy in range(4):
        assert chi_squared_p(as_samples(readout, copy), laws[copy : copy + 1]) > UNBIASED
    index = ((1 - readout.spins) // 2) @ (1 << np.arange(3))
    for first, second in ((0, 1), (1, 2), (2, 3)):
        table = np.zeros((8, 8))
        np.add.at(table, (index[:, first], index[:, second]), 1)
        table = table[table.sum(1) > 0][:, table.sum(0) > 0]
        assert stats.chi2_contingency(table).pvalue > UNBIASED


def test_what_is_not_coherent_or_too_large_is_refused_before_any_work() -> None:
    solver = emulated_solver("complete", 8)
    connection, J = EmulatedConnection(solver, largest=5, most_work=1e6), couplings(1, 4, 0.1)
    long = submission(solver, COMPLETE, J, duration=2e6)
    other = submission(emulated_solver("complete", 8, device=EmulatedDevice(seed=1)), COMPLETE, J)
    cases = [
        (submission(solver, COMPLETE, J, kind="standard", duration=20000.0), "not coherent.*anneal='fast'"),
        (submission(solver, COMPLETE, J, h=np.full((1, 4), 0.1)), "linear biases.*ghost"),
        (submission(solver, [[[0, 1, 2], [3, 4], [5]]], couplings(1, 3, 0.1)), "3 spins takes 6 .*at most 5 .*fewer"),
        (long, "updates of amplitudes.*shorter duration"),
        (submission(solver, COMPLETE, J, duration=3e6), "3e\\+06 ns"),
        (submission(solver, COMPLETE, J, reads=10001), "10001 reads.*1 to 10000"),
        (other, "is for Emulated_complete8.*solver that the connection was made with"),
    ]
    for one, words in cases:
        with pytest.raises(NotEmulatedError, match=words):
            connection.require(one)
    replies = connection.post([one for one, _ in cases], [str(k) for k in range(len(cases))])
    for reply in replies:
        assert isinstance(reply, RejectedError)
        assert isinstance(reply, ValueError)
        assert reply.status == 400
        assert "\n" not in str(reply)
    assert connection.find("0") == []


def test_work_that_shows_only_while_annealing_is_refused_too() -> None:
    solver = emulated_solver("complete", 4)
    one = submission(solver, CHAINED, couplings(1, 3, 0.02), duration=100.0)
    ((_, model),) = components(controlled(one, EmulatedDevice()))
    course = Course.of(GENERIC_TABLE, 100.0)
    with pytest.raises(ValueError, match="updates of amplitudes"):
        annealed_law(model, course, 2.5 * 16 * course.steps(*strongest(model)) / 2)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"coupling_error": -0.1}, "coupling_error is -0.1"),
        ({"field_error": float("nan")}, "field_error is nan"),
        ({"precision": 0}, "precision is 0.*1 to 52"),
        ({"precision": 5.0}, "precision is 5.0"),
        ({"readout_error": 0.6}, "readout_error is 0.6"),
        ({"mutual_inductance": 0.0}, "mutual_inductance is 0.0"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"table": ScheduleTable((0.0, 1.0), (1.0, 1.0), (0.0, 0.5))}, "do not cross"),
    ],
)
def test_devices_that_make_no_sense_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EmulatedDevice(**settings)


def test_solvers_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="topology is 'chimera'; choose one of pegasus, zephyr, complete"):
        emulated_solver("chimera")
    with pytest.raises(ValueError, match="size is 1"):
        emulated_solver("pegasus", 1)
    with pytest.raises(ValueError, match="which is not emulated"):
        EmulatedConnection(object())
    with pytest.raises(ValueError, match="largest is 40"):
        EmulatedConnection(emulated_solver("complete", 4), largest=40)
    with pytest.raises(ValueError, match="most_work is -1"):
        EmulatedConnection(emulated_solver("complete", 4), most_work=-1)
    with pytest.raises(ValueError, match="hold no emulated device"):
        EmulatedDevice.from_json({"table": {}, "colour": "red"})


@pytest.mark.parametrize(("topology", "size"), [("pegasus", 2), ("zephyr", 1), ("complete", 5)])
def test_solvers_are_those_of_the_client_library(topology: str, size: int) -> None:
    device = EmulatedDevice(coupling_error=0.01, precision=7)
    solver = emulated_solver(topology, size, device=device)
    assert solver.client is None
    limits = SolverLimits.of(solver)
    assert limits.graph_id == solver.identity.version.graph_id
    assert limits.fast_anneal_time_range == (0.0001, 2000.0)
    assert limits.qubits.max() < limits.num_qubits
    assert EmulatedDevice.of(solver) == device
    assert solver.estimate_qpu_access_time(num_qubits=5, num_reads=100, annealing_time=0.007) > 1e4


def request(solver: Any, one: Submission) -> Request:
    cost = solver.estimate_qpu_access_time(
        num_qubits=len(one.layout.active), num_reads=one.reads, annealing_time=one.parameters["annealing_time"]
    )
    return Request(one.digest, one, one.layout.copies, one.reads, len(one.layout.active), np.ceil(1000 * cost) / 1000)


def test_jobs_are_charged_what_the_timing_model_says(tmp_path: Path) -> None:
    solver = emulated_solver("complete", 4)
    requests = [
        request(solver, submission(solver, COMPLETE, couplings(1, 4, 0.1, k), reads=50 + k, key=(k,))) for k in range(3)
    ]
    journal, connection = Journal(tmp_path / "jobs"), EmulatedConnection(solver)

    def reader(answer: Any, one: Request) -> Readout:
        return decode(answer.content, one.payload)

    budget = 1e-6 * sum(one.estimate_us for one in requests[:2])
    with pytest.raises(BudgetError):
        run(connection, requests, journal, reader, Terms(budget=budget + 1e-9))
    paid = run(connection, requests[:2], journal, reader, Terms(budget=budget + 1e-9))
    assert [one.charged_us for one in paid] == [one.estimate_us for one in requests[:2]]
    whole = run(connection, requests, journal, reader, Terms(budget=None))
    for one in whole:
        timing = one.value.timing
        assert timing["qpu_access_time"] == one.charged_us
        assert 0 < timing["qpu_sampling_time"] < timing["qpu_access_time"]
    journal.close()


def test_refused_submissions_leave_nothing_in_the_journal(tmp_path: Path) -> None:
    solver = emulated_solver("complete", 4)
    one = submission(solver, COMPLETE, couplings(1, 4, 0.1), kind="standard", duration=20000.0)
    journal = Journal(tmp_path / "jobs")
    with pytest.raises(ValueError, match="not coherent"):
        run(EmulatedConnection(solver), [request(solver, one)], journal, lambda answer, one: None, Terms())
    assert [job.status for job in journal.jobs() if job.status != "retracted"] == []
    journal.close()


def test_jobs_of_a_process_that_has_ended_are_cancelled() -> None:
    solver = emulated_solver("complete", 4)
    connection = EmulatedConnection(solver)
    one = submission(solver, COMPLETE, couplings(1, 4, 0.1))
    first, second = connection.post([one, one], ["a", "a"])
    assert isinstance(first, str)
    assert isinstance(second, str)
    assert first != second
    assert connection.find("a") == [second, first]
    connection.cancel([first])
    expected = {first: "CANCELLED", second: "COMPLETED", "gone": "CANCELLED"}
    assert connection.statuses([first, second, "gone"]) == expected
    with pytest.raises(JobError, match="submit it again"):
        connection.answer(first, lambda answer: None)


def test_a_sampler_finds_the_temperatures_of_a_short_anneal() -> None:
    beta = response(GENERIC_TABLE.schedule(1.0), 4000)
    model = IsingModel(torch.zeros(2, 1, 3, dtype=torch.float64), torch.from_numpy(couplings(2, 3, 0.3)))
    chains = [[i] for i in range(4)]
    with emulated_sampler(
        topology="complete", size=4, embedding=chains, duration=1.0, field="ghost", calibration_shots=2000
    ) as sampler:
        found = sampler.temperatures(3)
        assert found.fit is not None
        assert found.coupling == pytest.approx(beta.beta_J, rel=0.3)
        samples = sampler.sample(model, shots=2000, seed=1)
    assert samples.spins.shape[-1] == 3
    exact = model.couplings[:, 0, 1].tanh()  # to first order
    pair = (samples.spins[..., 0] * samples.spins[..., 1] * samples.weights).sum(-1).flatten()
    assert float((pair - exact).abs().max()) < 0.15
    assert bool((samples.diagnostics["qpu_access_time"] > 0).all())


def test_a_sampler_on_a_chip_packs_models_and_sees_their_chains() -> None:
    with emulated_sampler(size=2, duration=2.0, field="ghost", calibration="hand", beta=(6.0, 6.0)) as sampler:
        model = IsingModel(torch.full((2, 2, 4), 0.4, dtype=torch.float64), torch.zeros(2, 4, 4, dtype=torch.float64))
        samples = sampler.sample(model, shots=200, seed=3)
    assert samples.spins.shape[:2] == (2, 2)
    assert samples.diagnostics["submissions"] < 4
    assert float(samples.diagnostics["broken_chains"].max()) < 0.01
    assert bool((samples.mean() > 0).all())
