"""Gibbs sampling: chains of heat-bath sweeps."""

from __future__ import annotations

import torch
from torch import Tensor

from classical.heat_bath import heat_bath, require_sweeps
from classical.ising import IsingModel
from classical.product import ProductSampler, product_spins
from classical.random import derive_seeds, model_seeds
from classical.sampler import Seed, require_shots
from classical.samples import Samples
from classical.sweeps import sweep

_START, _SWEEPS = 1, 2


class GibbsSampler:
    """Samples from chains of heat-bath sweeps, at a cost linear in shots and quadratic in spins.

    In a sweep every spin in turn is drawn from P(s_i = +1 | rest) = σ(2 h_i + 2 Σ_k J_ik s_k). Each chain starts
    from the law without couplings, makes `burn_in` sweeps that are thrown away, and then gives a configuration every
    `thinning` sweeps.

    The samples follow the Boltzmann law in the limit of many sweeps, and neighbours in a chain are correlated: with R
    shots the error is that of fewer independent ones. `classical.chains.mixing` says how many, and whether the chains
    agree; strong couplings and no fields are where they do not. A chain for every shot (chains=None) makes the shots
    independent, at the price of a burn-in for each.

    Args:
        burn_in: sweeps of every chain before its first configuration, at least 1.
        thinning: sweeps from one configuration of a chain to its next, at least 1.
        chains: how many chains share a model's shots; None gives every shot a chain of its own.

    Raises:
        ValueError: burn_in, thinning or chains below 1.

    Reference:
        S. Geman and D. Geman, IEEE Transactions on Pattern Analysis and Machine Intelligence 6, 721 (1984).
    """

    def __init__(self, burn_in: int = 20, thinning: int = 1, chains: int | None = 16) -> None:
        self.burn_in = require_sweeps("burn_in", burn_in, least=1)
        self.thinning = require_sweeps("thinning", thinning, least=1)
        if chains is not None and (isinstance(chains, bool) or not isinstance(chains, int) or chains < 1):
            raise ValueError(f"chains is {chains!r}; give an integer of at least 1, or None for a chain per shot")
        self.chains = chains

    def sample(self, model: IsingModel, *, shots: int = 256, seed: Seed = 0) -> Samples:
        """Draw `shots` configurations for every model of the batch.

        Args:
            model: fields (groups, models, spins) and couplings (groups, spins, spins).
            shots: configurations per model, at least 1.
            seed: an integer, or int64 (groups, models).

        Returns:
            One row per shot, all of the same weight, a chain's rows one after the other; the diagnostics hold the
            number of chains, the rows of each (the last may have fewer), burn_in and thinning.

        Raises:
            ValueError: shots below 1, or a seed of the wrong shape.
        """
        require_shots(shots)
        seeds = model_seeds(seed, model.groups, model.models, model.fields.device)
        kept = -(-shots // min(self.chains or shots, shots))
        chains = -(-shots // kept)
        each = torch.arange(chains, device=seeds.device)
        start = product_spins(model.fields, derive_seeds(seeds, _START), chains)
        drawn = sweep(
            model,
            start,
            derive_seeds(seeds.unsqueeze(-1), _SWEEPS, each),
            before=self.burn_in,
            kept=kept,
            every=self.thinning,
        )
        spins = drawn.flatten(2, 3)[:, :, :shots]
        weights = model.fields.detach().new_full(spins.shape[:3], 1 / shots)
        diagnostics = {"chains": chains, "rows": kept, "burn_in": self.burn_in, "thinning": self.thinning}
        return Samples(spins, weights, shots, diagnostics)

    def probabilities(self, model: IsingModel) -> Tensor:
        """The law of each chain's first configuration, by the exact kernel; later ones are closer to Boltzmann's.

        Args:
            model: fields (groups, models, spins) and couplings (groups, spins, spins), at most 24 spins.

        Returns:
            (groups, models, 2**spins) in the dtype of the fields; bit i of the index is spin i, bit 0 is +1.

        Raises:
            ValueError: more than 24 spins.
        """
        return heat_bath(ProductSampler().probabilities(model), model.detach(), self.burn_in)
