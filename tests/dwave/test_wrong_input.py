"""Every wrong argument is refused in one line, before anything is submitted."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from classical import IsingModel
from quantum import AnnealSchedule
from quantum.dwave import DWaveSampler, QPUError
from tests.contract.case import batch
from tests.dwave.service import client, loopback_sampler, service, solver
from tests.loopback import LoopbackServer, chip

TABLE = {"fraction": [0.0, 1.0], "a_ghz": [6.0, 0.0], "b_ghz": [0.0, 12.0]}
SEVEN = AnnealSchedule.tabulated(**TABLE, duration_ns=7.0)
STRONG = batch(spins=3, field=80.0)
DENSE = batch(spins=3, coupling=80.0)


def make(**options: Any) -> Callable[[], object]:
    return lambda: loopback_sampler(**options)


def draw(model: IsingModel, shots: Any = 10, **options: Any) -> Callable[[], object]:
    return lambda: loopback_sampler(**options).sample(model, shots=shots)


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "unknown solver": (
        lambda: DWaveSampler("Advantage_system99", client=client()),
        "solver is 'Advantage_system99', which is not there or not online; choose one of Loopback_pegasus2, "
        "Loopback_zephyr2, Slow",
    ),
    "no solver": (
        lambda: DWaveSampler(17),
        "solver is 17; give a name, a solver of dwave.cloud.Client, or None",
    ),
    "fast anneal on a solver without it": (
        lambda: DWaveSampler(solver("Slow")),
        "anneal is 'fast', but Slow has no fast anneals; use 'standard' or another solver",
    ),
    "unknown anneal": (make(anneal="reverse"), "anneal is 'reverse'; choose one of fast, standard"),
    "duration too short": (
        make(anneal="fast", duration=4),
        "duration is 4 ns, but fast anneals of Loopback_pegasus2 take 5 to 2e+06 ns",
    ),
    "duration too long": (
        make(anneal="standard", duration=3e6),
        "duration is 3e+06 ns, but standard anneals of Loopback_pegasus2 take 500 to 2e+06 ns",
    ),
    "negative duration": (make(duration=-7), "duration is -7; give a finite number above zero"),
    "fields under a fast anneal": (
        draw(batch(), anneal="fast"),
        "model has fields, and a fast anneal takes no linear biases; choose field='ancilla' (a spin pinned by flux "
        "biases) or field='ghost' (a free spin), or leave the fields zero",
    ),
    "native fields under a fast anneal": (
        make(anneal="fast", field="native"),
        "field is 'native', but a fast anneal takes no linear biases; use 'ancilla' or 'ghost', or anneal='standard'",
    ),
    "unknown field": (make(field="flux"), "field is 'flux'; choose one of native, ancilla, ghost"),
    "unknown calibration": (make(calibration="guess"), "calibration is 'guess'; choose one of fit, table, hand"),
    "hand without beta": (
        make(beta=None),
        "calibration is 'hand', which takes beta=(field, coupling); give the two, or use 'fit'",
    ),
    "beta of zero": (make(beta=(1.0, 0.0)), "beta[1] is 0.0; give a finite number above zero"),
    "beta of three": (make(beta=(1.0, 2.0, 3.0)), "beta is (1.0, 2.0, 3.0); give two numbers, (field, coupling)"),
    "table without a schedule": (
        make(calibration="table", beta=None),
        "calibration is 'table' and schedule is None; a schedule belongs to 'table' and to no other: give "
        "AnnealSchedule.tabulated(...) with the processor's published A(s) and B(s)",
    ),
    "a schedule without table": (
        make(schedule=SEVEN),
        "calibration is 'hand' and schedule is <AnnealSchedule tabulated, 2 rows, duration 7 ns>; a schedule belongs "
        "to 'table' and to no other: give AnnealSchedule.tabulated(...) with the processor's published A(s) and B(s)",
    ),
    "a schedule that is no table": (
        make(calibration="table", beta=None, schedule=AnnealSchedule.linear(7.0)),
        "schedule is AnnealSchedule.linear(duration=7); 'table' takes AnnealSchedule.tabulated(...), in GHz",
    ),
    "a schedule of another duration": (
        make(calibration="table", beta=None, schedule=SEVEN, anneal="fast", duration=8),
        "schedule lasts 7 ns, but the anneal 8 ns; give both the same duration",
    ),
    "table with beta": (
        make(calibration="table", schedule=SEVEN, anneal="fast", duration=7),
        "beta is (9.0, 8.0), which 'table' computes; leave it out, or use 'hand'",
    ),
    "table with chains": (
        draw(batch(spins=4), calibration="table", beta=None, schedule=SEVEN, anneal="fast", duration=7, field="ghost"),
        "calibration is 'table', which holds for single qubits, but the embedding has chains of up to 2; use 'fit', "
        "or so few spins that no chains are needed",
    ),
    "too many spins": (
        draw(batch(spins=11)),
        "spins is 11, but DWaveSampler on Loopback_pegasus2 holds at most 10 spins; choose a larger processor",
    ),
    "too many spins beside a ghost": (
        draw(batch(spins=10), field="ghost"),
        "spins is 10, but DWaveSampler on Loopback_pegasus2 holds at most 9 spins; choose a larger processor",
    ),
    "fields outside the range": (
        draw(STRONG),
        f"fields come to {float(STRONG.fields.abs().max()) / 9:.4g} on a qubit or coupler after division by β_h, but "
        "Loopback_pegasus2 takes -4 to 4; use weaker fields (nothing is clipped or rescaled)",
    ),
    "couplings outside the range": (
        draw(DENSE),
        f"couplings come to {float(DENSE.couplings.abs().max()) / 8:.4g} on a qubit or coupler after division by "
        "β_J, but Loopback_pegasus2 takes -1 to 1; use weaker couplings (nothing is clipped or rescaled)",
    ),
    "chains too strong": (
        make(chain_strength=2.5),
        "chain_strength is 2.5, but Loopback_pegasus2 takes at most 2",
    ),
    "no chain strength": (make(chain_strength=0), "chain_strength is 0; give a finite number above zero"),
    "no shots": (draw(batch(), shots=0), "shots is 0; give an integer of at least 1"),
    "broken reversals": (make(spin_reversals=-1), "spin_reversals is -1; give an integer of at least 0"),
    "answer mode": (make(answer_mode="all"), "answer_mode is 'all'; choose one of histogram, raw"),
    "no control error": (make(control_error=0), "control_error is 0; give a finite number above zero"),
    "an embedding on a qubit that is not there": (
        make(embedding=[[0]]),
        "embedding uses qubit 0, which Loopback_pegasus2 does not have; leave it out",
    ),
    "an embedding that uses a qubit twice": (
        make(embedding=[[4], [4]]),
        "embedding uses qubit 4 for spins 0 and 1; use it once",
    ),
    "an embedding with an empty chain": (
        make(embedding=[[4], []]),
        "embedding has an empty chain; give at least one qubit for every spin",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_refused_before_anything_is_submitted(name: str) -> None:
    call, message = WRONG[name]
    jobs = len(service().account.jobs)
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        call()
    assert str(refused.value) == message
    assert len(service().account.jobs) == jobs


def test_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DWAVE_API_TOKEN", "DWAVE_CONFIG_FILE", "DWAVE_PROFILE", "DWAVE_API_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no credentials for D-Wave") as refused:
        DWaveSampler()
    text = str(refused.value)
    assert "API token not defined" in text
    assert "DWAVE_API_TOKEN" in text
    assert "dwave.conf" in text
    assert "\n" not in text


def test_credentials_of_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with LoopbackServer([chip("pegasus", 2, name="Mine"), chip("pegasus", 2, name="Other", load=0.01)]) as server:
        file = tmp_path / "dwave.conf"
        file.write_text(
            f"[defaults]\ntoken = {server.token}\nendpoint = {server.endpoint}\nsolver = Mine\n"
            f"cache_home = {tmp_path / 'cache'}\n"
        )
        monkeypatch.setenv("DWAVE_CONFIG_FILE", str(file))
        monkeypatch.delenv("DWAVE_API_TOKEN", raising=False)
        with DWaveSampler() as sampler:
            assert sampler.limits.name == "Mine"
        with DWaveSampler("Other") as sampler:
            assert sampler.limits.name == "Other"
        monkeypatch.setenv("DWAVE_API_TOKEN", "LOOP-wrong-token")
        with pytest.raises(ValueError, match=r"the token is refused by http://127\.0\.0\.1") as refused:
            DWaveSampler()
        assert "LOOP-wrong-token" not in str(refused.value)
        file.write_text(f"token = {server.token}")  # no section: it cannot be parsed
        with pytest.raises(ValueError, match="no credentials") as refused:
            DWaveSampler()
        assert server.token not in str(refused.value)


def test_a_service_that_is_not_there() -> None:
    with LoopbackServer() as server:
        opened = server.client(http_retry_total=1)
    with pytest.raises(QPUError, match=r"cannot list solvers of http://127\.0\.0\.1") as refused:
        DWaveSampler(client=opened)
    assert server.token not in str(refused.value)
    opened.close(wait=False)


def test_a_solver_that_takes_no_flux_biases() -> None:
    parameters = {"num_reads": "", "annealing_time": "", "fast_anneal": "", "answer_mode": "", "auto_scale": ""}
    with (
        LoopbackServer([chip("pegasus", 2, parameters=parameters)]) as server,
        server.client() as opened,
        pytest.raises(ValueError, match="takes no flux biases; use 'ghost'"),
    ):
        DWaveSampler(client=opened, field="ancilla")


def test_nothing_of_ocean_is_loaded_before_it_is_needed() -> None:
    code = (
        "import sys, quantum, quantum.dwave\n"
        "heavy = {'dwave', 'dimod', 'minorminer', 'networkx', 'requests'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_seeds_of_the_wrong_shape() -> None:
    with pytest.raises(ValueError, match="seed is"):
        loopback_sampler().sample(batch(), shots=3, seed=torch.zeros(3, dtype=torch.int64))
