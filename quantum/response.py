"""Linear response of an annealing circuit: the temperatures at which fields and couplings arrive."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from quantum.schedule import AnnealSchedule


class Response(NamedTuple):
    """How strongly a circuit answers to weak fields and couplings, as inverse temperatures.

    ⟨s_i⟩ = β_h h_i + …,   ⟨s_i s_j⟩ = β_J J_ij + …   (a Boltzmann law would give 1 and 1)
    """

    beta_h: float
    beta_J: float  # noqa: N815


def response(schedule: AnnealSchedule, steps: int | None = None) -> Response:
    """First-order response of a schedule's circuit, exact at any number of steps.

    β_h = 2 Σ_k a_k sin 2Φ_k,   β_J = 2 Σ_k b_k sin 4Φ_k,   Φ_k = Σ_{l≥k} θ_l

    A phase in front of the remaining mixers is rotated by their total angle Φ_k before it shows in a measurement; a
    coupling sits on two spins and turns twice as far. Fields and couplings therefore respond at different
    temperatures even in an ideal anneal.

    Args:
        schedule: the anneal.
        steps: Trotter steps K; may be left out for a schedule given by angles.

    Returns:
        (beta_h, beta_J), dimensionless.

    Raises:
        ValueError: steps is missing, not a positive integer, or not the schedule's own.
    """
    angles = schedule.angles(steps)
    remaining = np.cumsum(angles.mixer[::-1])[::-1]
    return Response(
        beta_h=2.0 * float(angles.field @ np.sin(2.0 * remaining)),
        beta_J=2.0 * float(angles.coupling @ np.sin(4.0 * remaining)),
    )
