"""What makes no sense is refused in one line, and no message holds a token."""

from __future__ import annotations

import logging
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
import torch

from classical import IsingModel
from quantum import AnnealSchedule
from quantum.ibm import IBMSampler
from quantum.ibm.account import find_backend
from quantum.ibm.connection import Connection
from quantum.ibm.payload import Payload
from quantum.jobs import JobError, Journal, QPUError, RejectedError
from quantum.jobs.errors import UnknownOutcomeError
from tests.contract.case import batch
from tests.ibm.double import TOKEN, DoubleService, lost, refused

LINEAR = AnnealSchedule.linear(6.0)
MODEL = batch(spins=2, groups=1, models=1)


def test_without_the_extra_the_message_names_it_and_importing_loads_no_quantum_library(tmp_path: Path) -> None:
    # a package of that name that cannot be imported stands before the real one, if there is one
    (tmp_path / "qiskit_ibm_runtime.py").write_text("raise ImportError('not here')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from quantum.ibm import IBMSampler\n"
        "heavy = {'qiskit', 'qiskit_aer', 'qiskit_ibm_runtime', 'dimod', 'dwave'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))\n"
        "try:\n    IBMSampler('ibm_any')\n"
        "except ImportError as error:\n    print(error)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, message = found.stdout.splitlines()
    assert loaded == "[]"
    assert 'pip install "hybrid-attention[ibm]"' in message


def simulator() -> Any:
    pytest.importorskip("qiskit_ibm_runtime", reason='needs qiskit-ibm-runtime: pip install "hybrid-attention[ibm]"')
    from qiskit_aer import AerSimulator

    return AerSimulator(max_parallel_threads=1)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mode": "queue"}, "mode is 'queue'; choose one of job, batch, session"),
        ({"twirling": "yes"}, "twirling is 'yes'; give True, False"),
        ({"twirling": {"nope": 1}}, "twirling.nope is 1; Extra inputs"),
        ({"twirling": {"num_randomizations": 0}}, "twirling.num_randomizations"),
        ({"dynamical_decoupling": "XX8"}, "dynamical_decoupling is 'XX8'; give True"),
        ({"optimization_level": 4}, "optimization_level is 4; choose 0, 1, 2 or 3"),
        ({"optimization_level": True}, "optimization_level is True"),
        ({"seed_transpiler": -1}, "seed_transpiler is -1"),
        ({"initial_layout": [0, 0]}, "initial_layout is .0, 0.; give every spin"),
        ({"initial_layout": [0, 99]}, "initial_layout contains 99; aer_simulator has qubits 0 … "),
        ({"models_per_job": 0}, "models_per_job is 0; give an integer of at least 1"),
        ({"max_execution_time": 1.5}, "max_execution_time is 1.5; give whole seconds"),
        ({"max_execution_time": 0}, "max_execution_time is 0; give at least 1 second"),
        ({"in_flight": 0}, "in_flight is 0; give an integer of at least 1"),
        ({"budget": 0}, "budget is 0; give a finite number above zero"),
        ({"budget": 5, "mode": "session"}, "budget is 5, but a session is charged by the clock"),
        ({"replay": True}, "replay is True, but there is no journal"),
        ({"steps": None}, "steps is None"),
        ({"calibration": "three-beta"}, "calibration is 'three-beta'"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_wrong_arguments_are_refused_in_one_line(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        IBMSampler(simulator(), **{"schedule": LINEAR, "steps": 4, **options})
    assert "\n" not in str(caught.value)


def test_backends_that_are_none_are_refused() -> None:
    service = DoubleService(simulator())
    with pytest.raises(ValueError, match="backend is 7; give a name, a Qiskit BackendV2, or None"):
        IBMSampler(7)
    with pytest.raises(ValueError, match="'ibm_nowhere', which this account does not have; choose one of aer_simul"):
        IBMSampler("ibm_nowhere", service=service)
    assert IBMSampler(service=service).device.name == "aer_simulator"  # the least busy one


def test_a_device_with_fractional_gates_is_refused() -> None:
    simulator()
    from qiskit_ibm_runtime.fake_provider import FakeFractionalBackend

    with pytest.raises(ValueError, match="fractional gates, whose angles are limited"):
        IBMSampler(FakeFractionalBackend())


def test_models_that_do_not_fit_are_refused() -> None:
    from qiskit_ibm_runtime.fake_provider import FakeManilaV2

    simulator()
    with pytest.raises(ValueError, match="spins is 6, but IBMSampler on fake_manila holds at most 5 spins"):
        IBMSampler(FakeManilaV2()).sample(IsingModel(torch.zeros(1, 1, 6), torch.zeros(1, 6, 6)))
    with pytest.raises(ValueError, match="initial_layout has 3 qubits, but the models have 2 spins"):
        IBMSampler(FakeManilaV2(), initial_layout=[0, 1, 2]).sample(MODEL)
    with pytest.raises(ValueError, match="shots is 20000000, but a job of IBM's takes at most 10000000"):
        IBMSampler(FakeManilaV2()).sample(MODEL, shots=20_000_000)


def test_a_replay_needs_a_journal_that_knows_the_backend(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "empty.sqlite")
    with pytest.raises(ValueError, match="has no backend 'ibm_any' to replay"):
        IBMSampler("ibm_any", LINEAR, 4, journal=journal, replay=True)
    with pytest.raises(ValueError, match="backend is None; name the one whose jobs are replayed"):
        IBMSampler(None, LINEAR, 4, journal=journal, replay=True)


def test_without_credentials_the_message_says_where_they_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator()
    from qiskit_ibm_runtime import QiskitRuntimeService
    from qiskit_ibm_runtime.accounts.exceptions import InvalidAccountError

    from quantum.ibm.account import open_service

    monkeypatch.delenv("QISKIT_IBM_TOKEN", raising=False)
    with pytest.raises(ValueError, match=r"no credentials .*QISKIT_IBM_TOKEN.*qiskit-ibm\.json") as caught:
        open_service(lambda: QiskitRuntimeService(filename=str(tmp_path / "nothing.json")))
    assert "\n" not in str(caught.value)

    def failing(error: Exception) -> Any:
        raise error

    with pytest.raises(ValueError, match="no credentials") as caught:
        open_service(lambda: failing(InvalidAccountError(f"Invalid `token` value, got '{TOKEN}'.")))
    shown = traceback.format_exception(caught.value)
    with pytest.raises(QPUError, match=r"cannot be reached \(ConnectionError\)") as unreached:
        open_service(lambda: failing(ConnectionError(TOKEN)))
    assert not any(TOKEN in text for text in [*shown, *traceback.format_exception(unreached.value)])


class Refusing:
    """A service whose every question fails with its token in the message."""

    def active_account(self) -> dict[str, str]:
        return {"token": TOKEN}

    def backend(self, name: str) -> Any:
        raise RuntimeError(f"apikey={TOKEN}")


def test_a_planted_token_shows_up_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for logger in ("quantum", "qiskit_ibm_runtime", "filelock"):
        caplog.set_level(logging.DEBUG, logger=logger)
    backend = simulator()
    shown: list[str] = []
    faults: list[tuple[dict[str, Any], type[QPUError]]] = [
        ({"faults": [refused(403)]}, RejectedError),
        ({"ends": ["ERROR"] * 3}, JobError),
    ]
    for number, (options, kind) in enumerate(faults):
        service = DoubleService(backend, waits=(), **options)
        journal = Journal(tmp_path / f"{number}.sqlite")
        one = IBMSampler(
            "aer_simulator", LINEAR, 2, service=service, primitive=service.primitive, journal=journal, settle=0.01
        )
        with pytest.raises(kind) as caught:
            one.sample(MODEL, shots=10)
        shown += [str(caught.value), repr(caught.value), repr(one), repr(one._access.connection), repr(one.journal)]
        shown += traceback.format_exception(caught.value)
        shown.append((tmp_path / f"{number}.sqlite").read_bytes().decode("latin-1"))
    service = DoubleService(backend, faults=[lost(after=False)])
    connection = Connection(service, backend, primitive=service.primitive)
    with pytest.raises(UnknownOutcomeError) as unknown:
        connection.post([Payload((), 2, 10, {}, 0)], ["label"])
    shown += [str(unknown.value), *traceback.format_exception(unknown.value)]
    with pytest.raises(QPUError) as refusal:
        find_backend(Refusing(), "ibm_any")
    shown += [str(refusal.value), *traceback.format_exception(refusal.value)]
    assert any("***" in text for text in shown)
    assert not any(TOKEN in text for text in [*shown, caplog.text])
