"""Fields as couplings to one more spin, for devices that have no fields."""

from __future__ import annotations

import torch
from torch import Tensor

from classical.ising import IsingModel
from classical.random import model_seeds
from classical.sampler import KnownLaw, Sampler, Seed, require_spins
from classical.samples import Samples


class GhostSpin:
    """A sampler that is given couplings only: a free spin stands for the direction of the fields.

    log-weight(s, g) = Σ_j h_j g s_j + Σ_{j<k} J_jk s_j s_k,   s_j ← g s_j

    Turning all n + 1 spins over changes nothing, so s g has the law of the model with its fields, if the sampler's law
    is Boltzmann's. If it is an anneal's, fields then respond as couplings do: both at the inverse temperature β_J, and
    of a calibration only the factor for J matters. The ghost is the last spin.

    Models of a group no longer share their couplings, so each becomes a group of its own.

    Args:
        sampler: is given models of one more spin and no fields.

    Raises:
        ValueError: a sampler that holds a single spin.
    """

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        held = getattr(sampler, "max_spins", None)
        if held is not None:
            if held < 2:
                raise ValueError(f"sampler holds {held} spin; a ghost spin takes one that holds at least 2")
            self.max_spins: int = held - 1

    def sample(self, model: IsingModel, *, shots: int = 256, seed: Seed = 0) -> Samples:
        """Draw configurations of all spins and multiply them by the ghost.

        Args:
            model: fields (groups, models, spins) and couplings (groups, spins, spins).
            shots: configurations per model, at least 1.
            seed: an integer, or int64 (groups, models).

        Returns:
            The sampler's rows and weights, without the ghost.

        Raises:
            ValueError: what the sampler refuses.
        """
        self._require_spins(model)
        if isinstance(seed, Tensor):
            seed = model_seeds(seed, model.groups, model.models).reshape(-1, 1)
        drawn = self.sampler.sample(with_ghost(model), shots=shots, seed=seed)
        spins = drawn.spins[..., :-1] * drawn.spins[..., -1:]
        shape = (model.groups, model.models, *spins.shape[2:])
        return Samples(spins.reshape(shape), drawn.weights.reshape(shape[:3]), drawn.shots, drawn.diagnostics)

    def probabilities(self, model: IsingModel) -> Tensor:
        """The law of s g.

        Args:
            model: fields (groups, models, spins) and couplings (groups, spins, spins).

        Returns:
            (groups, models, 2**spins) in the dtype of the sampler's probabilities.

        Raises:
            TypeError: the sampler does not know its law.
            ValueError: what the sampler refuses.
        """
        if not isinstance(self.sampler, KnownLaw):
            raise TypeError(f"{type(self.sampler).__name__} has no probabilities; use its samples")
        self._require_spins(model)
        up, down = self.sampler.probabilities(with_ghost(model)).unflatten(-1, (2, -1)).unbind(-2)
        # with the ghost down the configuration that counts is the opposite one, the x-th from the end
        return (up + down.flip(-1)).reshape(model.groups, model.models, -1)

    def _require_spins(self, model: IsingModel) -> None:
        held = getattr(self, "max_spins", model.spins)
        require_spins(model, held, "GhostSpin", f"{type(self.sampler).__name__} needs one spin for the ghost")


def with_ghost(model: IsingModel) -> IsingModel:
    """The model without fields on one more spin, (groups · models, 1, spins + 1).

    Args:
        model: fields (groups, models, spins) and couplings (groups, spins, spins).
    """
    n, batch = model.spins, model.groups * model.models
    h = model.fields.reshape(batch, n)
    J = torch.zeros(batch, n + 1, n + 1, dtype=h.dtype, device=h.device)
    J[:, :n, :n] = model.couplings.repeat_interleave(model.models, 0)
    J[:, :n, n] = h
    return IsingModel(torch.zeros(batch, 1, n + 1, dtype=h.dtype, device=h.device), J)
