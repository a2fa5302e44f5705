"""An emulated annealer in the place of D-Wave's cloud: the same submissions and answers, and no account."""

from __future__ import annotations

import base64
import math
import uuid
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from classical.random import derive_seeds, uniforms
from quantum.checks import positive_number
from quantum.draw import configurations, draw
from quantum.dwave.batch import timing_model
from quantum.dwave.coherent import Course, annealed_law, components, require_work, strongest
from quantum.dwave.control import controlled, submission_seed
from quantum.dwave.emulated_device import EmulatedDevice, emulated_solver
from quantum.dwave.encode import ANSWER_MODES, Submission
from quantum.dwave.sampler import DWaveSampler
from quantum.dwave.schedule_table import ScheduleTable
from quantum.dwave.solver_limits import SolverLimits
from quantum.jobs.errors import JobError, RejectedError, UnsuitableError
from quantum.jobs.service import Answer

AT_ONCE = 20
"""Submissions in one post, as D-Wave's service takes them."""

LARGEST = 16
"""Qubits of a connected component."""

MOST_WORK = 1e11
"""Steps times amplitudes of a submission: some ten minutes of one core."""

_READS, _FLIPS = 3, 4

T = TypeVar("T")


class NotEmulatedError(RejectedError, UnsuitableError):
    """A submission that the emulator does not take, refused before any work."""

    def __init__(self, text: str) -> None:
        super().__init__(text, status=400)


class EmulatedConnection:
    """Runs submissions of fast anneals in this process, by state vectors: a `quantum.jobs.service.Service`.

    Every model with its chains is a connected component of its own and is annealed with all its qubits and with the
    chip's errors (`EmulatedDevice`, `quantum.dwave.coherent`). The same submission gives the same answer.

    Work is done when an answer is fetched; what is posted and not fetched is lost with the process, and is reported as
    cancelled afterwards. Jobs cost nothing. They are still charged the QPU time that the solver's timing model has for
    them, so that costs and budgets can be rehearsed.

    Args:
        solver: from `emulated_solver`.
        largest: most qubits of a connected component, chains and extra spin included.
        most_work: most steps times amplitudes of a submission.

    Raises:
        ValueError: another solver, or limits that are not above zero.
    """

    def __init__(self, solver: Any, *, largest: int = LARGEST, most_work: float = MOST_WORK) -> None:
        self.device = EmulatedDevice.of(solver)
        self.limits = SolverLimits.of(solver)
        if isinstance(largest, bool) or not isinstance(largest, int) or not 1 <= largest <= 24:
            raise ValueError(f"largest is {largest!r}; give a number of qubits from 1 to 24")
        self.largest, self.most_work = largest, positive_number("most_work", most_work)
        self._estimate = timing_model(solver)
        self._jobs: dict[str, Submission] = {}
        self._labels: dict[str, list[str]] = {}

    def __repr__(self) -> str:
        return f"EmulatedConnection({self.name!r})"

    @property
    def name(self) -> str:
        """Of the solver."""
        return self.limits.name

    @property
    def at_once(self) -> int:
        """Most submissions in one post."""
        return AT_ONCE

    def post(self, payloads: Sequence[Submission], labels: Sequence[str]) -> list[str | RejectedError]:
        """Take submissions, or say why not; nothing is computed yet.

        Args:
            payloads: encoded for the emulated solver.
            labels: under which they can be found.

        Returns:
            A job's id for each, or a `NotEmulatedError`, which is also a ValueError: no fast anneal, another solver's
            submission, or one that is too large.
        """
        replies: list[str | RejectedError] = []
        for submission, label in zip(payloads, labels, strict=True):
            try:
                self.require(submission)
            except NotEmulatedError as error:
                replies.append(error)
                continue
            job = str(uuid.uuid4())
            self._jobs[job] = submission
            self._labels.setdefault(label, []).insert(0, job)
            replies.append(job)
        return replies

    def statuses(self, job_ids: Sequence[str]) -> dict[str, str]:
        """COMPLETED for jobs whose answer can be fetched, CANCELLED for those of a process that has ended."""
        return {job: "COMPLETED" if job in self._jobs else "CANCELLED" for job in job_ids}

    def find(self, label: str) -> list[str]:
        """Ids of jobs with a label, newest first."""
        return list(self._labels.get(label, ()))

    def answer(self, job_id: str, read: Callable[[Answer], T]) -> tuple[Answer, T]:
        """Run a job and read its answer; another time the answer is the same.

        Args:
            job_id: of `post`.
            read: makes what is wanted of the answer, or raises an AnswerError.

        Raises:
            JobError: no such job, or it was cancelled.
            ValueError: more work than `most_work`, which some models show only while they are annealed.
        """
        if job_id not in self._jobs:
            raise JobError(f"job {job_id} is not in this process any more; submit it again", job_id, "CANCELLED")
        content = self.run(self._jobs[job_id])
        answer = Answer(content, content["timing"]["qpu_access_time"])
        return answer, read(answer)

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Forget jobs."""
        for job in job_ids:
            self._jobs.pop(job, None)

    def require(self, submission: Submission) -> None:
        """Refuse what this device does not take.

        Args:
            submission: encoded.

        Raises:
            NotEmulatedError: says what it takes.
        """
        limits, parameters = submission.layout.limits, submission.parameters
        if (limits.name, limits.graph_id) != (self.limits.name, self.limits.graph_id):
            raise NotEmulatedError(
                f"the submission is for {limits.name} ({limits.graph_id}), but this connection emulates {self.name} "
                f"({self.limits.graph_id}); give DWaveSampler the solver that the connection was made with"
            )
        if parameters.get("fast_anneal") is not True:
            raise NotEmulatedError(
                "the submission is a standard anneal, which lasts microseconds and is not coherent; the emulator "
                "anneals coherently: use anneal='fast'"
            )
        if submission.biases.any():
            raise NotEmulatedError(
                "the submission has linear biases, which no fast anneal takes; use field='ghost' or 'ancilla'"
            )
        span, duration = self.limits.fast_anneal_time_range, parameters["annealing_time"]
        if span is None or not span[0] <= duration <= span[1]:
            raise NotEmulatedError(f"the anneal lasts {1000 * duration:g} ns, but {self.name} takes {span} µs")
        if parameters["answer_mode"] not in ANSWER_MODES:
            raise NotEmulatedError(
                f"answer_mode is {parameters['answer_mode']!r}; use one of {', '.join(ANSWER_MODES)}"
            )
        low, high = self.limits.num_reads_range
        if not low <= submission.reads <= high:
            raise NotEmulatedError(
                f"the submission asks for {submission.reads} reads; {self.name} takes {low} to {high}"
            )
        self._require_size(submission)

    def run(self, submission: Submission) -> dict[str, Any]:
        """An answer in SAPI's `qp` format.

        Args:
            submission: that `require` takes.

        Raises:
            ValueError: more work than `most_work`.
        """
        spins, counts = self._spins(submission), None
        if submission.parameters["answer_mode"] == "histogram":
            spins, counts = np.unique(spins, axis=0, return_counts=True)
        energies = _energies(submission, spins)
        if counts is not None:
            order = np.argsort(energies, kind="stable")
            spins, counts, energies = spins[order], counts[order], energies[order]
        qubits = self.limits.qubits[submission.layout.active]
        content: dict[str, Any] = {
            "format": "qp",
            "num_variables": self.limits.num_qubits,
            "active_variables": _packed(qubits.astype("<i4")),
            "energies": _packed(energies.astype("<f8")),
            "solutions": _packed(np.packbits(spins > 0, axis=1)),
            "timing": self._timing(submission),
        }
        if counts is not None:
            content["num_occurrences"] = _packed(counts.astype("<i4"))
        return content

    def _require_size(self, submission: Submission) -> None:
        course = _course(self.device.table, 1000 * submission.parameters["annealing_time"])
        spins, longest = submission.layout.spins, submission.layout.longest_chain
        for _, model in components(controlled(submission, self.device)):
            if model.spins > self.largest:
                raise NotEmulatedError(
                    f"a model of {spins} spins takes {model.spins} coupled qubits (chains of up to {longest}), but the "
                    f"emulator anneals at most {self.largest} together; use models of fewer spins, a solver of "
                    "topology 'complete', which needs no chains, or raise largest"
                )
            try:
                require_work(model, 2 * course.steps(*strongest(model)), self.most_work)
            except ValueError as error:
                raise NotEmulatedError(str(error)) from None

    def _spins(self, submission: Submission) -> NDArray[np.int8]:
        """All reads, (reads, active)."""
        course = _course(self.device.table, 1000 * submission.parameters["annealing_time"])
        seed, reads = submission_seed(submission), submission.reads
        qubits = torch.from_numpy(self.limits.qubits[submission.layout.active])
        spins = np.empty((reads, len(qubits)), dtype=np.int8)
        for places, model in components(controlled(submission, self.device)):
            law = annealed_law(model, course, self.most_work)
            # a component's numbers are its own: they do not depend on what else is on the chip
            seeds = derive_seeds(seed, _READS, qubits[places[:, 0]])[:, None]
            drawn = configurations(draw(law, reads, seeds), model.spins)[:, 0].numpy()
            spins[:, places.reshape(-1)] = drawn.transpose(1, 0, 2).reshape(reads, -1)
        if self.device.readout_error:
            wrong = uniforms(derive_seeds(seed, self.device.seed, _FLIPS, qubits), reads) < self.device.readout_error
            spins[wrong.numpy().T] *= -1
        return spins

    def _timing(self, submission: Submission) -> dict[str, float]:
        anneal, reads, qubits = submission.parameters["annealing_time"], submission.reads, len(submission.layout.active)
        cost, more = (
            self._estimate(num_qubits=qubits, num_reads=number, annealing_time=anneal) for number in (reads, reads + 1)
        )
        return {
            # as requests are estimated, so that a budget is met to the last digit
            "qpu_access_time": math.ceil(1000 * cost) / 1000,
            "qpu_sampling_time": round(reads * (more - cost), 3),
            "qpu_anneal_time_per_sample": anneal,
        }


def emulated_sampler(
    device: EmulatedDevice | None = None,
    *,
    topology: str = "pegasus",
    size: int = 4,
    largest: int = LARGEST,
    most_work: float = MOST_WORK,
    **options: Any,
) -> DWaveSampler:
    """A `DWaveSampler` whose submissions are emulated.

    Args:
        device: what the annealer is like; by default an ideal one with the generic schedule.
        topology: of its chip, a name in `quantum.dwave.emulated_device.TOPOLOGIES`.
        size: likewise.
        largest: most qubits of a model with its chains.
        most_work: most steps times amplitudes of a submission.
        options: of `DWaveSampler`, such as duration and field.

    Raises:
        ValueError: what the parts refuse.
    """
    solver = emulated_solver(topology, size, device=device)
    service = EmulatedConnection(solver, largest=largest, most_work=most_work)
    return DWaveSampler(solver, service=service, **options)


@lru_cache(maxsize=16)
def _course(table: ScheduleTable, duration: float) -> Course:
    return Course.of(table, duration)


def _energies(submission: Submission, spins: NDArray[np.int8]) -> NDArray[np.float64]:
    """Of the problem as it was posted, in the vendor's sign, (rows,)."""
    s = spins.astype(np.float64)
    first, second = submission.layout.ends.T
    energies: NDArray[np.float64] = s @ submission.biases + (s[:, first] * s[:, second]) @ submission.couplings
    return energies


def _packed(values: NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode()
