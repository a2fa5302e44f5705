"""The contract that every sampler keeps."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from classical.ising import IsingModel
from classical.samples import Samples

Seed = int | Tensor
"""One integer for a whole batch, or an int64 tensor (groups, models) with a seed of its own for every model."""


@runtime_checkable
class Sampler(Protocol):
    """Anything that draws spin configurations for a batch of Ising models.

    One method makes a sampler. The same model, shots and seed give the same samples. Given per-model seeds, a model's
    samples do not depend on what else is in the batch.
    """

    def sample(self, model: IsingModel, *, shots: int, seed: Seed) -> Samples:
        """Draw `shots` configurations for every model of the batch.

        Args:
            model: fields (groups, models, spins) and couplings (groups, spins, spins).
            shots: configurations per model, at least 1.
            seed: an integer, or int64 (groups, models).

        Returns:
            Samples with spins int8 (groups, models, rows, spins) and weights in the dtype of the fields.

        Raises:
            ValueError: shots below 1, a seed of the wrong shape, or more spins than the sampler holds.
        """
        ...


@runtime_checkable
class ExactMoments(Protocol):
    """A sampler that also knows its law in closed form, differentiable in fields and couplings."""

    def up_probability(self, model: IsingModel, visible: Tensor | None = None) -> Tensor:
        """P(s_j = +1), (groups, models, spins), differentiable; spins that are not visible are absent."""
        ...


@runtime_checkable
class KnownLaw(Protocol):
    """A sampler that can tell the probability of every configuration, for few spins."""

    def probabilities(self, model: IsingModel) -> Tensor:
        """(groups, models, 2**spins); bit i of the index is spin i, bit 0 is +1."""
        ...


def require_shots(shots: int, least: int = 1) -> None:
    """Refuse a number of shots that a sampler cannot draw.

    Raises:
        ValueError: shots is not an integer or is below `least`.
    """
    if isinstance(shots, bool) or not isinstance(shots, int) or shots < least:
        raise ValueError(f"shots is {shots!r}; give an integer of at least {least}")


def require_spins(model: IsingModel, largest: int, sampler: str, instead: str) -> None:
    """Refuse models with more spins than a sampler holds.

    Raises:
        ValueError: names how many spins the sampler holds and what to use instead.
    """
    if model.spins > largest:
        raise ValueError(f"spins is {model.spins}, but {sampler} holds at most {largest} spins; {instead}")
