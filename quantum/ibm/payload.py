"""One job as it is posted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum.ibm.circuits import Anneal

Primitive = Callable[..., Any]
"""Makes what runs circuits, of a mode and options: `qiskit_ibm_runtime.executor_sampler.Sampler`, or a double of it."""


@dataclass(frozen=True, eq=False)
class Payload:
    """Circuits, each with the parameters of some models.

    Args:
        work: circuits, and values (models, parameters) in radians for each.
        spins: of all models.
        shots: of every model.
        options: of IBM's sampler, without tags and seeds.
        seed: of a simulator; of a processor it only marks the job.
    """

    work: tuple[tuple[Anneal, NDArray[np.float64]], ...] = field(repr=False)
    spins: int
    shots: int
    options: dict[str, Any]
    seed: int

    @property
    def models(self) -> list[int]:
        """Of every circuit."""
        return [len(values) for _, values in self.work]

    def pubs(self) -> list[Any]:
        """What IBM's sampler runs."""
        return [anneal.bound(values) for anneal, values in self.work]


def default_primitive() -> Primitive:
    """IBM's own sampler."""
    from qiskit_ibm_runtime.executor_sampler import Sampler

    return Sampler
