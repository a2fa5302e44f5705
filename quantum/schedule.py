"""Annealing schedules: how the transverse field fades and the Ising Hamiltonian grows.

The Hamiltonian, its sign and the way it becomes a circuit stand here:

    H(t) = −A(u) Σ X_i − B(u) [ Σ h_i Z_i + Σ_{i<j} J_ij Z_i Z_j ],   u = t/T ∈ [0, 1],  ħ = 1,  start |+⟩ⁿ

With K steps dt = T/K and midpoints u_k = (k+½)/K, the Strang splitting (half mixer, phase, half mixer) merges its
neighbouring half mixers, and the leading one does nothing to |+⟩. So every anneal is K times

    phase exp(i [a_k Σ h s + b_k Σ J s s]),  then mixer exp(iθ_k Σ X),
    a_k = b_k = B(u_k) dt,   θ_k = (A(u_k) + A(u_{k+1})) dt/2,   θ_{K−1} = A(u_{K−1}) dt/2
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from quantum.checks import Vector, number_columns, positive_number, require_finite, require_fraction
from quantum.design_range import Design
from quantum.files import write_json
from quantum.presets import preset_file


@dataclass(frozen=True, eq=False)
class Angles:
    """A circuit's angles: phase k with `field` and `coupling`, then mixer k, for k = 0 … K−1.

    Args:
        field: a_k, (K,) float64, radians per unit of h.
        coupling: b_k, (K,) float64, radians per unit of J.
        mixer: θ_k, (K,) float64, radians.
    """

    field: Vector
    coupling: Vector
    mixer: Vector

    @property
    def steps(self) -> int:
        """Number of (phase, mixer) pairs, K."""
        return len(self.mixer)


@dataclass(frozen=True)
class AnnealSchedule:
    """A(u) and B(u) over a duration, or the K angles of a circuit that needs neither.

    Make one with `linear`, `tabulated`, `from_angles`, `preset` or `quantum.design_schedule`. Equal content makes equal
    schedules, which hash alike.

    Args:
        kind: "linear", "tabulated" or "angles".
        duration: T, in units of 1/energy (ħ = 1); nanoseconds for tabulated schedules; None for angles.
        table: rows (u, A, B) of a tabulated schedule, in rad/ns, empty otherwise.
        steps_angles: rows (a_k, b_k, θ_k) of a schedule given by angles, empty otherwise.
        design: what a designed schedule was designed for; such a schedule is calibrated by itself. None for others.

    Raises:
        ValueError: a duration that is not positive and finite, a table that does not run from 0 to 1 in increasing
            order, or values that are not finite.
    """

    kind: str
    duration: float | None
    table: tuple[tuple[float, float, float], ...] = field(default=(), repr=False)
    steps_angles: tuple[tuple[float, float, float], ...] = field(default=(), repr=False)
    design: Design | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(f"kind is {self.kind!r}; it must be one of {', '.join(_KINDS)}")
        if self.design is not None and self.design.recipe.steps != self.own_steps:
            raise ValueError(f"design is for {self.design.recipe.steps} steps, but the schedule has {self.own_steps}")
        if self.kind == "angles":
            if not self.steps_angles or self.duration is not None or self.table:
                raise ValueError("kind is 'angles', which takes steps_angles alone; use AnnealSchedule.from_angles")
            require_finite("steps_angles", np.array(self.steps_angles))
            return
        if self.steps_angles or bool(self.table) != (self.kind == "tabulated"):
            raise ValueError(f"kind is {self.kind!r}, but other data came with it; use AnnealSchedule.{self.kind}")
        if self.duration is None or not np.isfinite(self.duration) or self.duration <= 0:
            raise ValueError(f"duration is {self.duration!r}; give a finite number above zero")
        if self.table:
            table = np.array(self.table)
            require_finite("table", table)
            require_fraction(table[:, 0])

    @classmethod
    def linear(cls, duration: float = 6.0) -> AnnealSchedule:
        """The linear anneal, A = 1 − u and B = u.

        Args:
            duration: T, dimensionless (ħ = 1, A(0) = B(1) = 1).

        Raises:
            ValueError: duration is not a finite number above zero.
        """
        return cls("linear", positive_number("duration", duration))

    @classmethod
    def tabulated(
        cls, *, fraction: Sequence[float], a_ghz: Sequence[float], b_ghz: Sequence[float], duration_ns: float
    ) -> AnnealSchedule:
        """A schedule from the table that D-Wave publishes for a processor.

        There H/h_Planck = −A(s)/2 Σ X + B(s)/2 (…), with A and B in GHz. With ħ = 1 and time in nanoseconds that is
        H = −πA Σ X + πB (…), so our

            A(u) = π a_ghz,   B(u) = π b_ghz    [rad/ns]

        The sign in front of (…) belongs to the vendor's h and J, which are ours with the sign flipped; the schedule
        itself has none. Between rows A and B are interpolated linearly.

        Args:
            fraction: s, (rows,), from 0 to 1, strictly increasing.
            a_ghz: A(s), (rows,), GHz.
            b_ghz: B(s), (rows,), GHz.
            duration_ns: T, nanoseconds.

        Raises:
            ValueError: columns of unequal length, values that are not finite, a fraction that is unsorted, does not
                start at 0 or does not end at 1, or a duration that is not above zero.
        """
        columns = {"fraction": fraction, "a_ghz": a_ghz, "b_ghz": b_ghz}
        s, a, b = number_columns(columns, least=2)
        require_fraction(s)
        rows = np.stack([s, np.pi * a, np.pi * b], axis=1)
        return cls("tabulated", positive_number("duration_ns", duration_ns), table=_rows(rows))

    @classmethod
    def from_angles(
        cls,
        *,
        field: Sequence[float],
        coupling: Sequence[float],
        mixer: Sequence[float],
        design: Design | None = None,
    ) -> AnnealSchedule:
        """A schedule that is its own circuit: phase k, then mixer k.

        Args:
            field: a_k, (K,), radians per unit of h.
            coupling: b_k, (K,), radians per unit of J.
            mixer: θ_k, (K,), radians.
            design: what the angles were designed for, if they were.

        Raises:
            ValueError: lists that are empty, of unequal length or not finite, or a design for other steps.
        """
        columns = number_columns({"field": field, "coupling": coupling, "mixer": mixer}, least=1)
        return cls("angles", None, steps_angles=_rows(np.stack(columns, axis=1)), design=design)

    @classmethod
    def preset(cls, preset: int | str, *, wide: bool = False) -> AnnealSchedule:
        """A designed schedule that ships with this package; it is calibrated by itself.

        Args:
            preset: number of steps, or a name in `quantum.presets.PRESETS`, as "8-wide".
            wide: designed for stronger fields and couplings too, at some cost where they are weak.

        Raises:
            ValueError: no such preset.
        """
        return cls.load(preset_file(preset, wide))

    @property
    def own_steps(self) -> int | None:
        """K of a schedule given by angles; None where the number of steps is the caller's choice."""
        return len(self.steps_angles) or None

    def amplitudes(self, fraction: Vector | Sequence[float]) -> tuple[Vector, Vector]:
        """A(u) and B(u), in rad per unit of the duration.

        Args:
            fraction: u, any shape, each in [0, 1].

        Returns:
            A and B, in the shape of `fraction`.

        Raises:
            ValueError: u outside [0, 1], or a schedule that is given by angles and so has no A(u).
        """
        u = np.asarray(fraction, dtype=np.float64)
        if self.kind == "angles":
            raise ValueError("fraction has no meaning here: this schedule is given by angles; use angles()")
        if not bool(((u >= 0) & (u <= 1)).all()):
            raise ValueError(f"fraction contains {u[~((u >= 0) & (u <= 1))].flat[0]}; give numbers from 0 to 1")
        if self.kind == "linear":
            return 1.0 - u, u.copy()
        s, a, b = np.array(self.table).T
        return np.interp(u, s, a), np.interp(u, s, b)

    def angles(self, steps: int | None = None) -> Angles:
        """The circuit's angles, as in the head of this file.

        Args:
            steps: K; may be left out for a schedule given by angles, and must equal its own if it is not.

        Returns:
            K angles each for fields, couplings and mixer.

        Raises:
            ValueError: steps is missing, not a positive integer, or not the schedule's own.
        """
        if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
            raise ValueError(f"steps is {steps!r}; give an integer of at least 1")
        if self.own_steps is not None:
            if steps is not None and steps != self.own_steps:
                raise ValueError(
                    f"steps is {steps}, but this schedule has {self.own_steps} steps of its own; leave steps out"
                )
            return Angles(*np.array(self.steps_angles).T.copy())
        if steps is None:
            raise ValueError(f"steps is None; a {self.kind} schedule needs a number of Trotter steps, as in steps=12")
        assert self.duration is not None
        dt = self.duration / steps
        a, b = self.amplitudes((np.arange(steps) + 0.5) / steps)
        mixer = a * dt / 2
        mixer[:-1] += a[1:] * dt / 2
        return Angles(field=b * dt, coupling=b * dt, mixer=mixer)

    def to_json(self) -> dict[str, Any]:
        """The schedule as a dictionary that JSON can hold; `from_json` reads it back without loss."""
        if self.kind == "angles":
            a, b, theta = (list(column) for column in zip(*self.steps_angles, strict=True))
            angles = {"kind": self.kind, "field": a, "coupling": b, "mixer": theta}
            return angles if self.design is None else {**angles, "design": self.design.to_json()}
        if self.kind == "tabulated":
            u, a, b = (list(column) for column in zip(*self.table, strict=True))
            return {"kind": self.kind, "duration": self.duration, "fraction": u, "A": a, "B": b}
        return {"kind": self.kind, "duration": self.duration}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> AnnealSchedule:
        """The schedule that `to_json` wrote.

        Raises:
            ValueError: an unknown kind, a key that is missing or unknown, or values the schedule refuses.
        """
        kind = data.get("kind") if isinstance(data, dict) else None
        if kind not in _KINDS:
            raise ValueError(f"kind is {kind!r}; a schedule's kind is one of {', '.join(_KINDS)}")
        expected = _KINDS[kind]
        if set(data) - ({"design"} if kind == "angles" else set()) != {"kind", *expected}:
            raise ValueError(f"keys are {sorted(data)}; a {kind} schedule has kind, {', '.join(expected)}")
        if kind == "linear":
            return cls.linear(data["duration"])
        if kind == "angles":
            design = Design.from_json(data["design"]) if "design" in data else None
            return cls.from_angles(field=data["field"], coupling=data["coupling"], mixer=data["mixer"], design=design)
        columns = number_columns({name: data[name] for name in ("fraction", "A", "B")}, least=2)
        return cls("tabulated", positive_number("duration", data["duration"]), table=_rows(np.stack(columns, axis=1)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the schedule to a JSON file; the file is either whole or not there.

        Args:
            path: where to write; an existing file is replaced.
        """
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> AnnealSchedule:
        """Read a schedule from a JSON file.

        Raises:
            ValueError: the file is no JSON or holds no schedule.
            FileNotFoundError: there is no such file.
        """
        text = Path(path).read_text(encoding="utf-8")
        try:
            return cls.from_json(json.loads(text))
        except ValueError as error:
            raise ValueError(f"schedule file {os.fspath(path)}: {error}") from error

    def __repr__(self) -> str:
        if self.kind == "linear":
            return f"AnnealSchedule.linear(duration={self.duration:g})"
        if self.kind == "tabulated":
            return f"<AnnealSchedule tabulated, {len(self.table)} rows, duration {self.duration:g} ns>"
        return f"<AnnealSchedule {'from angles' if self.design is None else 'designed'}, {self.own_steps} steps>"


_KINDS = {
    "linear": ("duration",),
    "tabulated": ("duration", "fraction", "A", "B"),
    "angles": ("field", "coupling", "mixer"),
}


def _rows(rows: Vector) -> tuple[tuple[float, float, float], ...]:
    return tuple((float(x), float(y), float(z)) for x, y, z in rows)
