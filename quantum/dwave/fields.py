"""Three ways to give a processor fields, by name.

Fast anneals take no linear biases, so that fields have to be couplings to one more spin: one that flux biases hold at
+1, or a free one whose value every outcome is multiplied by. Samples are Boltzmann's in all three only as far as the
anneal's are; for a coherent anneal the second has a law of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from classical.ghost_spin import with_ghost
from classical.ising import IsingModel
from quantum.dwave.anneal import Anneal
from quantum.dwave.solver_limits import SolverLimits

Spins = NDArray[np.int8]
Weights = NDArray[np.float64]


class Fields(ABC):
    """How fields are programmed and outcomes read."""

    name: str
    extra = 0
    pinned = False
    biased = False

    def require(self, anneal: Anneal, limits: SolverLimits) -> None:
        """Refuse an anneal or solver that this is not for.

        Raises:
            ValueError: says what to use instead.
        """
        if self.biased and anneal.kind == "fast":
            raise ValueError(
                f"field is {self.name!r}, but a fast anneal takes no linear biases; use 'ancilla' or 'ghost', or "
                "anneal='standard'"
            )
        if self.pinned and "flux_biases" not in limits.parameters:
            raise ValueError(f"field is {self.name!r}, but {limits.name} takes no flux biases; use 'ghost'")

    def factors(self, beta_field: float, beta_coupling: float) -> tuple[float, float]:
        """What multiplies fields and couplings so that they arrive as they are."""
        return 1 / beta_field, 1 / beta_coupling

    def programmed(self, model: IsingModel) -> IsingModel:
        """The model that goes onto the chip, every model a group of its own, (models, 1, spins + extra).

        Args:
            model: (groups, models, spins).
        """
        return with_ghost(model)

    @abstractmethod
    def read(self, spins: Spins, weights: Weights) -> tuple[Spins, Weights | None]:
        """Outcomes of the models, and ⟨Z⟩ of an ancilla where there is one, (models,).

        Args:
            spins: as read, (rows, models, spins + extra).
            weights: (rows,), sum 1.
        """


class NativeFields(Fields):
    """Linear biases, as the processor has them under standard anneals."""

    name = "native"
    biased = True

    def programmed(self, model: IsingModel) -> IsingModel:
        """The model itself."""
        n = model.spins
        couplings = model.couplings.repeat_interleave(model.models, 0)
        return IsingModel(model.fields.reshape(-1, 1, n), couplings)

    def read(self, spins: Spins, weights: Weights) -> tuple[Spins, Weights | None]:
        """Outcomes as they are."""
        return spins, None


class AncillaFields(Fields):
    """Couplings to one spin that flux biases hold at +1.

    The fields are static only if the ancilla is polarised all along, which its mean does not prove but may disprove:
    flux acts as √B(s), weakly at first. So ⟨Z⟩ is measured and reported.
    """

    name = "ancilla"
    extra = 1
    pinned = True

    def read(self, spins: Spins, weights: Weights) -> tuple[Spins, Weights | None]:
        """Outcomes without the ancilla, and its mean."""
        return spins[..., :-1], weights @ spins[..., -1]


class GhostFields(Fields):
    """Couplings to one free spin, by which outcomes are multiplied (`classical.GhostSpin`)."""

    name = "ghost"
    extra = 1

    def factors(self, beta_field: float, beta_coupling: float) -> tuple[float, float]:
        """Fields are couplings here, and arrive as those do."""
        return 1 / beta_coupling, 1 / beta_coupling

    def read(self, spins: Spins, weights: Weights) -> tuple[Spins, Weights | None]:
        """Outcomes relative to the ghost."""
        return spins[..., :-1] * spins[..., -1:], None


FIELDS: dict[str, Fields] = {one.name: one for one in (NativeFields(), AncillaFields(), GhostFields())}
"""Ways to give fields, by name."""


def choose_fields(field: str | None, anneal: Anneal, limits: SolverLimits) -> Fields:
    """The way that is asked for, if it works here.

    Args:
        field: a name in `FIELDS`; by default "native" under a standard anneal, and none under a fast one.
        anneal: fast or standard.
        limits: of the solver.

    Raises:
        ValueError: an unknown name, or one that the anneal or solver does not support.
    """
    if field is None:
        return FIELDS["native"]
    if field not in FIELDS:
        raise ValueError(f"field is {field!r}; choose one of {', '.join(FIELDS)}")
    FIELDS[field].require(anneal, limits)
    return FIELDS[field]


def require_named(field: str | None, anneal: Anneal, model: IsingModel) -> None:
    """Refuse fields under a fast anneal where no way to give them was chosen.

    Raises:
        ValueError: names the ways there are.
    """
    if field is None and anneal.kind == "fast" and bool(model.fields.any()):
        raise ValueError(
            "model has fields, and a fast anneal takes no linear biases; choose field='ancilla' (a spin pinned by flux "
            "biases) or field='ghost' (a free spin), or leave the fields zero"
        )
