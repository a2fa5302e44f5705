"""Random Ising models to design and to calibrate anneals on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from classical.ising import IsingModel

LARGEST_SPINS = 14
"""Designs simulate hundreds of models at a time; beyond this their amplitudes no longer fit ordinary memory."""

Range = tuple[float, float]


@dataclass(frozen=True)
class ModelDistribution:
    """Fields and couplings drawn independently, with scales that may themselves vary from model to model.

    h_i ~ N(0, σ_h²),   J_ij ~ N(0, σ²/n),   σ_h and σ uniform in a range each, n one of `spins`

    Args:
        field_scale: σ_h, a number or (lowest, highest), dimensionless.
        coupling_scale: σ, a number or (lowest, highest), dimensionless.
        spins: n, an integer or several; each gets an equal share of the models.

    Raises:
        ValueError: a scale that is negative, not finite or a range upside down, both scales zero, or no spins, fewer
            than one, or more than `LARGEST_SPINS`.
    """

    field_scale: float | Range
    coupling_scale: float | Range
    spins: int | tuple[int, ...] = 8

    def __post_init__(self) -> None:
        for name in ("field_scale", "coupling_scale"):
            object.__setattr__(self, name, _range(name, getattr(self, name)))
        if self.fields[1] == 0 and self.couplings[1] == 0:
            raise ValueError("field_scale and coupling_scale are both 0, a distribution of nothing; raise one of them")
        spins = (self.spins,) if isinstance(self.spins, int) else tuple(self.spins)
        if not spins:
            raise ValueError("spins is empty; give at least one number of spins")
        for n in spins:
            if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= LARGEST_SPINS:
                raise ValueError(f"spins contains {n!r}; give integers from 1 to {LARGEST_SPINS}")
        object.__setattr__(self, "spins", spins)

    @property
    def fields(self) -> Range:
        """Lowest and highest σ_h."""
        return self.field_scale  # type: ignore[return-value]

    @property
    def couplings(self) -> Range:
        """Lowest and highest σ."""
        return self.coupling_scale  # type: ignore[return-value]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Every n."""
        return self.spins  # type: ignore[return-value]

    def draw(self, models: int, seed: int, dtype: torch.dtype = torch.float64) -> list[IsingModel]:
        """Independent models.

        Args:
            models: how many, shared out evenly among the numbers of spins (each gets at least one).
            seed: fixes them.
            dtype: of fields and couplings; the numbers are drawn in float64.

        Returns:
            One batch for every number of spins: every model is a group of its own, with its own couplings.

        Raises:
            ValueError: models below 1.
        """
        if isinstance(models, bool) or not isinstance(models, int) or models < 1:
            raise ValueError(f"models is {models!r}; give an integer of at least 1")
        generator = torch.Generator().manual_seed(seed)
        each = -(-models // len(self.sizes))
        return [self._batch(each, n, generator, dtype) for n in self.sizes]

    def _batch(self, models: int, n: int, generator: torch.Generator, dtype: torch.dtype) -> IsingModel:
        def scale(limits: Range) -> Tensor:
            uniform = torch.rand(models, 1, 1, generator=generator, dtype=torch.float64)
            return limits[0] + (limits[1] - limits[0]) * uniform

        h = torch.randn(models, 1, n, generator=generator, dtype=torch.float64) * scale(self.fields)
        J = torch.randn(models, n, n, generator=generator, dtype=torch.float64) * scale(self.couplings) / math.sqrt(n)
        return IsingModel(h.to(dtype), J.triu(1).to(dtype))


def single_models(batches: Sequence[IsingModel], most: int, seed: int) -> list[IsingModel]:
    """Models picked from batches, each as a group of its own, gathered by their number of spins.

    Args:
        batches: for instance the Hamiltonians of a training run.
        most: pick at most so many of all the models, evenly at random.
        seed: fixes which.

    Returns:
        One batch (models, 1, spins) for every number of spins that was picked, in float64 and in random order.

    Raises:
        ValueError: there is no model, or one with more spins than `LARGEST_SPINS`.
    """
    total = sum(batch.groups * batch.models for batch in batches)
    if total == 0:
        raise ValueError("distribution is empty; give at least one model")
    largest = max(batch.spins for batch in batches)
    if largest > LARGEST_SPINS:
        raise ValueError(f"distribution holds a model of {largest} spins; give at most {LARGEST_SPINS} spins")
    chosen = torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:most]
    fields: dict[int, list[Tensor]] = {}
    couplings: dict[int, list[Tensor]] = {}
    starts = torch.tensor([0, *(batch.groups * batch.models for batch in batches)]).cumsum(0)
    owner = torch.searchsorted(starts, chosen, right=True) - 1
    for which, place in zip(owner.tolist(), (chosen - starts[owner]).tolist(), strict=True):
        batch = batches[which]
        group, model = divmod(place, batch.models)
        fields.setdefault(batch.spins, []).append(batch.fields[group, model].detach().double().cpu())
        couplings.setdefault(batch.spins, []).append(batch.couplings[group].detach().double().cpu())
    return [IsingModel(torch.stack(fields[n]).unsqueeze(1), torch.stack(couplings[n])) for n in sorted(fields)]


def _range(name: str, value: float | Sequence[float]) -> Range:
    limits = (value, value) if isinstance(value, int | float) else tuple(value)
    good = len(limits) == 2 and all(isinstance(x, int | float) and not isinstance(x, bool) for x in limits)
    if not good or not all(math.isfinite(x) and x >= 0 for x in limits) or limits[0] > limits[1]:
        raise ValueError(f"{name} is {value!r}; give a number of at least 0, or two such numbers in rising order")
    return float(limits[0]), float(limits[1])


NARROW = ModelDistribution((0.4, 2.4), (0.3, 1.2), 8)
"""What attention's models look like in training: the shipped narrow presets are designed for it."""

WIDE = ModelDistribution((1.5, 3.5), (0.8, 2.2), 8)
"""Strong fields and couplings too, at some cost where they are weak: for the wide presets."""
