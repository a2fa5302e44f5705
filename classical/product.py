"""Independent spins: the law without couplings."""

from __future__ import annotations

import torch
from torch import Tensor

from classical.ising import IsingModel, all_configurations
from classical.random import model_seeds, uniforms
from classical.sampler import Seed, require_shots
from classical.samples import Samples
from classical.threads import in_pieces


class ProductSampler:
    """Samples of the fields alone; the couplings are not looked at.

    P(s) = Π_j σ(2 h_j s_j)

    It costs nothing and is what anything else has to beat: a sampler that is no closer to the Boltzmann law after a
    few heat-bath sweeps than this one after as many (`classical.polished`) has added nothing.
    """

    def sample(self, model: IsingModel, *, shots: int = 256, seed: Seed = 0) -> Samples:
        """Draw `shots` independent configurations for every model of the batch.

        Args:
            model: fields (groups, models, spins) and couplings (groups, spins, spins).
            shots: configurations per model, at least 1.
            seed: an integer, or int64 (groups, models).

        Returns:
            One row per shot, all of the same weight.

        Raises:
            ValueError: shots below 1, or a seed of the wrong shape.
        """
        require_shots(shots)
        seeds = model_seeds(seed, model.groups, model.models, model.fields.device)
        spins = product_spins(model.fields, seeds, shots)
        return Samples(spins, model.fields.new_full(spins.shape[:3], 1 / shots).detach(), shots)

    def probabilities(self, model: IsingModel) -> Tensor:
        """The product law of every configuration.

        Args:
            model: fields (groups, models, spins) and couplings (groups, spins, spins), at most 24 spins.

        Returns:
            (groups, models, 2**spins) in the dtype of the fields; bit i of the index is spin i, bit 0 is +1.

        Raises:
            ValueError: more than 24 spins.
        """
        s = all_configurations(model.spins, model.fields.device).to(model.fields)
        return torch.nn.functional.logsigmoid(2 * model.fields.detach().unsqueeze(2) * s).sum(-1).exp()


def product_spins(fields: Tensor, seeds: Tensor, count: int) -> Tensor:
    """Configurations of spins in fields of their own.

    Args:
        fields: (…, spins), dimensionless.
        seeds: int64 (…).
        count: configurations for every seed.

    Returns:
        (…, count, spins) int8.
    """
    n = fields.shape[-1]
    up = torch.sigmoid(2 * fields.detach().double())
    if fields.device.type != "cpu":
        u = uniforms(seeds, count * n).unflatten(-1, (count, n))
        return torch.where(u < up.unsqueeze(-2), 1, -1).to(torch.int8)
    from classical.random_kernel import product_kernel

    out = torch.empty(seeds.numel(), count, n, dtype=torch.int8)
    shares, own = up.reshape(-1, n).numpy(), seeds.reshape(-1).contiguous().numpy().view("uint64")
    kernel, drawn = product_kernel(), out.numpy()
    in_pieces(len(out), lambda begin, end: kernel(shares, own, drawn, begin, end))
    return out.reshape(*seeds.shape, count, n)
