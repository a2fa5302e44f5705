"""Two independent halves of one set of shots."""

from __future__ import annotations

import torch

from classical.random import derive_seeds, model_seeds, uniforms
from classical.sampler import Seed
from classical.samples import Samples

_HALVES = 0x68616C66  # sets the random numbers that deal shots into halves apart from those that drew them


def deal_halves(samples: Samples, seed: Seed) -> tuple[Samples, Samples]:
    """Deal the shots of every model into two halves at random.

    Independent shots make independent halves, also where equal configurations were counted together. Probability
    weights hold no sampling noise to be kept apart: both halves are then the whole.

    Args:
        samples: counted shots, or probability weights.
        seed: what the samples were drawn with; a model's halves depend on its own seed alone.

    Returns:
        The first ⌊R/2⌋ shots and the others, one row for each.

    Raises:
        ValueError: weights that are not counts of the shots.
    """
    shots = samples.shots
    if shots is None:
        return samples, samples
    counts = (samples.weights.double() * shots).round()
    last = counts.cumsum(-1).long()
    if bool(((counts / shots - samples.weights).abs() > 0.1 / shots).any()) or bool((last[..., -1:] != shots).any()):
        raise ValueError(
            f"independent_halves is True, but the weights are not counts of {shots} shots, which alone can be dealt "
            "into halves; use independent_halves=False"
        )
    groups, models, _, spins = samples.spins.shape
    seeds = derive_seeds(model_seeds(seed, groups, models, samples.spins.device), _HALVES)
    order = uniforms(seeds, shots).argsort(-1)
    row = torch.searchsorted(last, order, right=True)
    dealt = samples.spins.gather(2, row.unsqueeze(-1).expand(-1, -1, -1, spins))

    def part(rows: slice) -> Samples:
        half = dealt[:, :, rows]
        number = half.shape[2]
        return Samples(half, samples.weights.new_full(half.shape[:3], 1 / number), number, samples.diagnostics)

    return part(slice(shots // 2)), part(slice(shots // 2, None))
