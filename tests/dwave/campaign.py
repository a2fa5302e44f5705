"""Runs that are struck by faults and killed, and resumed until they end: is every model paid for once, and none lost?

    python -m tests.dwave.campaign --runs 240

Each run is a process of its own that draws samples through D-Wave's client from a server on the loopback interface. It
meets one kind of fault at random requests, is killed (SIGKILL) at random moments, and started again. What it ends with
is compared with a run that nothing happened to, and the journal with the server's bill.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from quantum.dwave import DWaveSampler, QPUError
from quantum.dwave.connection import Connection
from quantum.files import write_json
from quantum.jobs import Journal
from tests.contract.case import batch
from tests.loopback import Account, Boltzmann, Fault, FaultPlan, LoopbackServer, chip

MODELS, SHOTS, COPIES, SEED = 6, 20, 1, 3
IN_FLIGHT = 2
_FAILED = 5
_TIMEOUT = 2.0
_SETTLE, _LISTED_AFTER = 0.6, 0.2
"""Seconds after which a label is taken not to be there, and after which the server lists one."""
_CLIENT: dict[str, Any] = {
    "request_timeout": _TIMEOUT,
    "cache_enabled": False,
    "poll_wait_time": 1,
    "http_retry_total": 2,
}
_LONGEST = 60.0
_MOST_STARTS = 40

_RESTARTS = "server restarts"
_IMPORTED = ("quantum.dwave", "dwave.cloud.api", "dwave.graphs", "networkx", "minorminer.busclique", "numba")
"""What processes would import one after the other."""

FAULTS: dict[str, list[Fault]] = {
    "none": [],
    "401 to a post": [Fault("status", "submit", status=401)],
    "403 to a poll": [Fault("status", "poll", status=403)],
    "429 to a post": [Fault("status", "submit", status=429)],
    "429 to a post, Retry-After": [Fault("status", "submit", status=429, retry_after=1)],
    "429 to a poll": [Fault("status", "poll", status=429)],
    "500 to a post, not accepted": [Fault("status", "submit", status=500)],
    "502 to a post, accepted": [Fault("accepted-status", "submit", status=502)],
    "connection lost before a post": [Fault("drop-before", "submit")],
    "connection lost after a post": [Fault("drop-after", "submit")],
    "reply to a post cut short": [Fault("truncated", "submit")],
    "reply to a post damaged": [Fault("corrupt", "submit")],
    "late reply to a post": [Fault("slow", "submit", seconds=_TIMEOUT + 1)],
    "late reply to a poll": [Fault("slow", "poll", seconds=0.5)],
    "503 to a poll": [Fault("status", "poll", status=503)],
    "connection lost after a poll": [Fault("drop-after", "poll")],
    "500 to an answer": [Fault("status", "answer", status=500)],
    "answer cut short": [Fault("truncated", "answer")],
    "answer damaged": [Fault("corrupt", "answer")],
    "500 to a look-up": [Fault("drop-after", "submit"), Fault("status", "list", status=500)],
    _RESTARTS: [],
}


@dataclass
class Outcome:
    """What became of the runs with one fault.

    Args:
        runs: how many there were.
        starts: of processes.
        kills: of them.
        struck: faults that happened.
        double_charges: jobs at the server that were charged beyond the one that each submission takes.
        lost_answers: charged jobs whose answer no journal has.
        wrong: runs that ended with other samples or another bill than one without faults.
    """

    runs: int = 0
    starts: int = 0
    kills: int = 0
    struck: int = 0
    double_charges: int = 0
    lost_answers: int = 0
    wrong: int = 0


@dataclass
class Run:
    """One run: its server, its journal, and what is to happen to it.

    Args:
        folder: of the journal and the result.
        faults: their name.
        kills: how often it is killed at most.
        numbers: random.
        blind: whether labels are never found, as a control.
    """

    folder: Path
    faults: str
    kills: int
    numbers: random.Random
    blind: bool = False
    account: Account = field(default_factory=lambda: Account(listed_after=_LISTED_AFTER))
    starts: int = 0
    killed: int = 0
    restarts: int = 0

    def complete(self) -> tuple[LoopbackServer, FaultPlan]:
        """Start it, kill it, start it again, until it has ended by itself."""
        plan = FaultPlan()
        for fault in FAULTS[self.faults]:
            several = self.numbers.randint(1, 2)
            plan.add(Fault(**{**vars(fault), "times": several, "skip": self.numbers.randint(0, 2)}))
        server = _server(self.account, plan).start()
        try:
            while not (self.folder / "result.json").exists():
                assert self.starts < _MOST_STARTS, f"{self.faults}: no end after {self.starts} starts"
                given = server.endpoint, server.token, str(self.folder), self.blind
                process = _CONTEXT.Process(target=draw, args=given)
                process.start()
                self.starts += 1
                if self.killed + self.restarts < self.kills:
                    server = self._disturbed(process, server, plan)
                process.join(_LONGEST)
                if process.is_alive():
                    process.kill()
                    process.join()
                    raise AssertionError(f"{self.faults}: a process did not end")
                assert process.exitcode in (0, _FAILED, -9), process.exitcode
        finally:
            server.stop()
        return server, plan

    def _disturbed(self, process: Any, server: LoopbackServer, plan: FaultPlan) -> LoopbackServer:
        """Kill the process after a random time, or when a random request comes; perhaps restart the server."""
        if self.numbers.random() < 0.3:
            process.join(self.numbers.uniform(0.0, 2.0))
        else:
            until = len(server.seen) + self.numbers.randint(1, 16)
            while process.is_alive() and len(server.seen) < until:
                time.sleep(0.001)
        if self.faults == _RESTARTS:
            server.stop()
            server = _server(self.account, plan, server.port).start()
            self.restarts += 1
            if self.numbers.random() < 0.5:
                return server  # it alone was struck this time
        if process.is_alive():
            process.kill()
            self.killed += 1
        process.join()
        return server


class Blind(Connection):
    """A connection that finds no label: what a driver that posts again without looking would do."""

    def find(self, label: str) -> list[str]:
        """Nothing."""
        del label
        return []


def draw(endpoint: str, token: str, folder: str, blind: bool) -> None:
    """What a run does: sample a batch, and write the moments down."""
    from dwave.cloud import Client
    from dwave.cloud.exceptions import SolverError
    from requests.exceptions import RequestException

    torch.set_num_threads(1)
    path = Path(folder)
    try:
        with Client(endpoint=endpoint, token=token, **_CLIENT) as client:
            solver = client.get_solver()
            sampler = DWaveSampler(
                solver,
                service=(Blind if blind else Connection)(client, solver),
                anneal="standard",
                calibration="hand",
                beta=(9.0, 8.0),
                control_error=1e-3,
                copies=COPIES,
                in_flight=IN_FLIGHT,
                settle=_SETTLE,
                journal=Journal(path / "journal.sqlite"),
            )
            samples = sampler.sample(batch(spins=3, groups=1, models=MODELS), shots=SHOTS, seed=SEED)
    except (QPUError, SolverError, RequestException):  # solvers are not listed while the server restarts
        raise SystemExit(_FAILED) from None
    write_json(path / "result.json", {"mean": samples.mean().tolist(), "second": samples.second_moment().tolist()})


def campaign(
    runs: int, seed: int = 0, *, faults: Sequence[str] = tuple(FAULTS), blind: bool = False, progress: bool = True
) -> dict[str, Outcome]:
    """Outcomes by fault.

    Args:
        runs: how many, dealt to the faults in turn.
        seed: of everything random.
        faults: names in `FAULTS`.
        blind: whether labels are never found, as a control.
        progress: whether to show a bar.
    """
    outcomes = {name: Outcome() for name in faults}
    with tempfile.TemporaryDirectory() as folder:
        whole = Run(Path(folder) / "whole", "none", 0, random.Random(seed))
        whole.folder.mkdir()
        whole.complete()
        expected, bill = (whole.folder / "result.json").read_text(), whole.account.bill
        for number in tqdm(range(runs), unit="run", disable=None if progress else True):
            name = faults[number % len(faults)]
            numbers = random.Random(f"{seed} {number}")
            least = int(name == _RESTARTS)
            run = Run(Path(folder) / str(number), name, numbers.randint(least, 3), numbers, blind)
            run.folder.mkdir()
            _, plan = run.complete()
            _judge(run, outcomes[name], expected, bill)
            # of several faults the last is the one that gives the row its name
            last = FAULTS[name][-1].on if FAULTS[name] else None
            outcomes[name].struck += sum(fault.on == last for fault in plan.struck) + run.restarts
    return outcomes


def _judge(run: Run, outcome: Outcome, expected: str, bill: float) -> None:
    # one that still waits when the server stops would have been charged
    jobs = [job for job in run.account.jobs.values() if job.status not in ("FAILED", "CANCELLED")]
    journal = Journal(run.folder / "journal.sqlite")
    known = {job.problem_id: job for job in journal.jobs() if job.status == "answered"}
    outcome.runs += 1
    outcome.starts += run.starts
    outcome.kills += run.killed
    outcome.double_charges += sum(count - 1 for count in Counter(_digest(job.label) for job in jobs).values())
    outcome.lost_answers += sum(job.id not in known for job in jobs)
    charges = sum(job.charged_us or 0.0 for job in known.values())
    same = (run.folder / "result.json").read_text() == expected
    outcome.wrong += not (same and run.account.bill == bill and abs(charges - bill) < 1e-6)


def _digest(label: str | None) -> str:
    return str(label).split("-")[3]


def _server(account: Account, plan: FaultPlan, port: int = 0) -> LoopbackServer:
    return LoopbackServer([chip("pegasus", 2)], Boltzmann(9, 8), account=account, faults=plan, port=port)


def table(outcomes: dict[str, Outcome]) -> str:
    """The outcomes as Markdown."""
    head = "| fault | runs | starts | kills | faults struck | double charges | lost answers | wrong results |"
    rows = [
        f"| {name} | {one.runs} | {one.starts} | {one.kills} | {one.struck} | {one.double_charges} | "
        f"{one.lost_answers} | {one.wrong} |"
        for name, one in outcomes.items()
    ]
    sums = [str(sum(getattr(one, key) for one in outcomes.values())) for key in vars(Outcome())]
    return "\n".join([head, "|---" + "|---:" * 7 + "|", *rows, f"| **all** | {' | '.join(sums)} |"])


_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["quantum.dwave", "quantum.dwave.packing", "dwave.cloud", "tests.contract.case", "tests.loopback"]
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the campaign and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--blind", action="store_true", help="never find a label: a control that must pay twice")
    given = parser.parse_args(arguments)
    print(table(campaign(given.runs, given.seed, blind=given.blind)))


if __name__ == "__main__":
    main()
