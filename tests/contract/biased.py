"""Samplers that are wrong by exactly as much as they are told, in ways that are easy or hard to see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from classical import IsingModel, Samples
from classical.ising import all_configurations
from classical.random import model_seeds, uniforms
from classical.sampler import Seed, require_shots
from tests.contract.laws import Law, boltzmann


def tilted(law: Tensor, distance: float) -> Tensor:
    """Half of the probability raised, half lowered, each in proportion: of all biases the least visible to χ²."""
    raised = torch.zeros_like(law, dtype=torch.bool)
    total = torch.zeros(law.shape[:-1], dtype=law.dtype)
    for index in law.argsort(-1, descending=True).unbind(-1):
        p = law.gather(-1, index.unsqueeze(-1)).squeeze(-1)
        fits = total + p <= 0.5
        raised.scatter_(-1, index.unsqueeze(-1), fits.unsqueeze(-1))
        total = total + p * fits
    total = total.unsqueeze(-1)
    return law * torch.where(raised, 1 + distance / total, 1 - distance / (1 - total))


def stuck(law: Tensor, distance: float) -> Tensor:
    """Some shots show the likeliest configuration whatever was drawn."""
    likeliest = torch.zeros_like(law).scatter_(-1, law.argmax(-1, keepdim=True), 1.0)
    return _mixed(law, likeliest, distance)


def noisy(law: Tensor, distance: float) -> Tensor:
    """Some shots show any configuration."""
    return _mixed(law, torch.full_like(law, 1 / law.shape[-1]), distance)


def _mixed(law: Tensor, other: Tensor, distance: float) -> Tensor:
    share = distance / ((law - other).abs().sum(-1, keepdim=True) / 2)
    return (1 - share) * law + share * other


BIASES: dict[str, Callable[[Tensor, float], Tensor]] = {"tilted": tilted, "stuck": stuck, "noisy": noisy}
"""From a law to another one at a given total variation ½ Σ|q − p| from it."""


@dataclass(frozen=True)
class BiasedSampler:
    """Independent shots of a law at an exact total variation from the declared one; otherwise a good sampler.

    Args:
        bias: a name in `BIASES`.
        distance: total variation, 0 for an honest sampler.
        law: the law it declares.
    """

    bias: str = "tilted"
    distance: float = 0.05
    law: Law = boltzmann

    def sample(self, model: IsingModel, *, shots: int = 256, seed: Seed = 0) -> Samples:
        """Shots by inverting the cumulative law."""
        require_shots(shots)
        seeds = model_seeds(seed, model.groups, model.models)
        law = self.law(model.detach())
        if self.distance:
            law = BIASES[self.bias](law, self.distance)
        cumulative = law.cumsum(-1)
        index = torch.searchsorted(cumulative, uniforms(seeds, shots) * cumulative[..., -1:])
        weights = model.fields.new_full(index.shape, 1 / shots).detach()
        return Samples(all_configurations(model.spins)[index.clamp(max=law.shape[-1] - 1)], weights, shots)
