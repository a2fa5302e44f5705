"""Coherent anneals of chips: every connected component by its state vector, in steps as long as accuracy allows.

With s = t/T, A and B from the table, and C = √(B B×), B× being B where A = B,

    H(t) = −π A Σ X − π C Σ f Z − π B Σ J Z Z   [rad/ns],   f and J as in `quantum.dwave.control`

Flux acts through a qubit's persistent current, which grows as √B; couplings grow as B. A fast anneal has no linear
biases, which would grow as B too. The state begins as |+⟩ⁿ where B(0) = 0. Where it is not, flux and couplings are
there before the anneal: a slow ramp of them at constant A(0) makes the ground state of H(0) first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from classical.ising import IsingModel
from quantum.dwave.control import Control
from quantum.dwave.layout import Floats
from quantum.dwave.schedule_table import ScheduleTable
from quantum.schedule import Angles, AnnealSchedule
from quantum.statevector import StatevectorSampler

Places = NDArray[np.int64]

TOLERANCE = 1e-3
"""Total variation by which the law of no component changes when all steps are halved; steps are doubled until then."""

_PER_RADIAN = 4.0
"""Steps to begin with, for each radian of the geometric mean of phases that do not commute."""

_LEAST = 64

_PERIODS = 10
"""Of Larmor precession that the ramp before an anneal takes."""

_GRID = 2001


@dataclass(frozen=True, eq=False)
class Course:
    """An anneal as functions of time.

    Args:
        time: nanoseconds, (points,), increasing.
        mixer: π A, (points,), rad/ns.
        field: π C, (points,), rad/ns.
        coupling: π B, (points,), rad/ns.
    """

    time: Floats
    mixer: Floats
    field: Floats
    coupling: Floats

    @classmethod
    def of(cls, table: ScheduleTable, duration: float) -> Course:
        """That of a table, with the ramp before it where there is one.

        Args:
            table: A(s) and B(s).
            duration: T, nanoseconds.
        """
        s = np.union1d(np.linspace(0, 1, _GRID), table.fraction)
        a, b = table.at(s)
        time, root = duration * s, np.sqrt(b * table.crossing_ghz)
        if b[0] > 0:
            u = np.linspace(0, 1, _GRID)[:-1]
            grown = np.sin(np.pi / 2 * u) ** 2
            time = np.concatenate([_PERIODS / a[0] * (u - 1), time])
            a, b = np.append(np.full_like(u, a[0]), a), np.append(b[0] * grown**2, b)
            root = np.append(root[0] * grown, root)
        return cls(time, np.pi * a, np.pi * root, np.pi * b)

    def steps(self, field: float, coupling: float) -> int:
        """Steps that are enough for most models.

        Args:
            field: the largest |f|.
            coupling: the largest Σ_j |J_ij| of a qubit.
        """
        return max(_LEAST, math.ceil(_PER_RADIAN * float(self._elapsed(field, coupling)[-1])))

    def angles(self, steps: int, field: float, coupling: float) -> Angles:
        """The circuit of an anneal in steps that are shorter where more happens.

        dt ∝ (a e (a + e))^{−1/3},   a = π A,  e = π (C max|f| + B max Σ|J|)

        which spreads the error of Strang's splitting, a e (a + e) dt³, evenly over the steps.

        Args:
            steps: K.
            field: the largest |f|.
            coupling: the largest Σ_j |J_ij| of a qubit.
        """
        elapsed = self._elapsed(field, coupling)
        edges = np.interp(np.linspace(0, elapsed[-1], steps + 1), elapsed, self.time)
        middle, dt = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
        mixer, by_field, by_coupling = (
            np.interp(middle, self.time, values) * dt for values in (self.mixer, self.field, self.coupling)
        )
        theta = mixer / 2
        theta[:-1] += mixer[1:] / 2
        return Angles(by_field, by_coupling, theta)

    def _elapsed(self, field: float, coupling: float) -> Floats:
        """The integral of what steps are spread evenly over, (points,), radians."""
        e = field * self.field + coupling * self.coupling
        rate = np.cbrt(self.mixer * e * (self.mixer + e))
        # some steps everywhere: A and B themselves change
        rate = rate + 0.05 * rate.max() + _LEAST / (2 * (self.time[-1] - self.time[0]))
        return np.concatenate([[0.0], np.cumsum(np.diff(self.time) * (rate[1:] + rate[:-1]) / 2)])


def components(control: Control) -> Iterator[tuple[Places, IsingModel]]:
    """Qubits that are coupled to each other, and models of them.

    Args:
        control: what acts on the chip.

    Returns:
        For every size, places among the used qubits, (components, size), and models, one to a group; fields are f.
    """
    n = len(control.fields)
    i, j = control.pairs.T
    _, member = connected_components(coo_matrix((np.ones(len(i)), (i, j)), shape=(n, n)), directed=False)
    order = np.argsort(member, kind="stable")
    sizes = np.bincount(member, minlength=1)
    starts = np.cumsum([0, *sizes[:-1]])
    inside = np.empty(n, dtype=np.int64)
    inside[order] = np.arange(n) - np.repeat(starts, sizes)
    for size in np.unique(sizes).tolist():
        which = np.flatnonzero(sizes == size)
        places = order[starts[which][:, None] + np.arange(size)]
        number = np.full(len(sizes), -1)
        number[which] = np.arange(len(which))
        mine = number[member[i]] >= 0
        low, high = np.sort(inside[control.pairs[mine]], axis=1).T
        J = np.zeros((len(which), size, size))
        J[number[member[i[mine]]], low, high] = control.couplings[mine]
        yield places, IsingModel(torch.from_numpy(control.fields[places])[:, None], torch.from_numpy(J))


def strongest(model: IsingModel) -> tuple[float, float]:
    """The largest |f| and the largest Σ_j |J_ij| of a qubit.

    Args:
        model: (groups, 1, spins).
    """
    J = model.couplings.abs()
    return float(model.fields.abs().max()), float((J.sum(-1) + J.sum(-2)).max())


def annealed_law(model: IsingModel, course: Course, most_work: float = math.inf) -> torch.Tensor:
    """What anneals of components end in, to `TOLERANCE`.

    Steps are doubled until the laws of all components move by less than `TOLERANCE` in total variation; the error that
    is left is about a third of that.

    Args:
        model: fields f and couplings J, (components, 1, spins).
        course: of the anneal.
        most_work: steps times amplitudes, of all components, at which to give up.

    Returns:
        (components, 1, 2**spins) float64; bit i of the index is spin i, bit 0 is +1.

    Raises:
        ValueError: more work than that.
    """
    scale = strongest(model)
    steps, law = course.steps(*scale), None
    while True:
        require_work(model, steps, most_work)
        finer = law_in_steps(model, course, steps)
        if law is not None and float((finer - law).abs().sum(-1).max()) / 2 < TOLERANCE:
            return finer
        law, steps = finer, 2 * steps


def law_in_steps(model: IsingModel, course: Course, steps: int) -> torch.Tensor:
    """What anneals of components end in, in a number of steps that is given.

    Args:
        model: fields f and couplings J, (components, 1, spins).
        course: of the anneal.
        steps: K.

    Returns:
        (components, 1, 2**spins) float64.
    """
    angles = course.angles(steps, *strongest(model))
    schedule = AnnealSchedule.from_angles(
        field=angles.field.tolist(), coupling=angles.coupling.tolist(), mixer=angles.mixer.tolist()
    )
    return StatevectorSampler(schedule, calibration="none", dtype=torch.complex128).probabilities(model)


def require_work(model: IsingModel, steps: int, most_work: float) -> None:
    """Refuse an anneal that would take too long.

    Args:
        model: (components, 1, spins).
        steps: of the anneal.
        most_work: steps times amplitudes, of all components.

    Raises:
        ValueError: more than that.
    """
    work = float(steps) * model.groups * 2**model.spins
    if work > most_work:
        raise ValueError(
            f"anneals of {model.groups} components of {model.spins} qubits in {steps} steps take {work:.2g} updates of "
            f"amplitudes, above the limit of {most_work:.2g}; use a shorter duration, fewer qubits or copies, weaker "
            "chains or flux biases, or raise most_work"
        )
