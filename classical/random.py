"""Random numbers that belong to a model, not to a batch.

Each model of a batch has a 64-bit seed, and its k-th number is a function of that seed and k alone: splitting a batch
into chunks, moving it to another device or spreading it over processes leaves every draw as it was. The generator is
SplitMix64, a counter passed through a 64-bit finaliser (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014).
"""

from __future__ import annotations

import torch
from torch import Tensor

from classical.sampler import Seed


def _signed(value: int) -> int:
    """A 64-bit pattern as the signed integer that torch stores it as."""
    return value - 2**64 if value >= 2**63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def _mix(x: Tensor) -> Tensor:
    """SplitMix64's finaliser: every input bit changes every output bit with probability one half."""
    x = (x ^ ((x >> 30) & ((1 << 34) - 1))) * _FIRST
    x = (x ^ ((x >> 27) & ((1 << 37) - 1))) * _SECOND
    return x ^ ((x >> 31) & ((1 << 33) - 1))


def derive_seeds(seed: Seed, *labels: int | Tensor) -> Tensor:
    """Fold labels (step, layer, head, row …) into a seed, one after the other.

    Args:
        seed: an integer or an int64 tensor.
        labels: integers or int64 tensors that broadcast against each other and the seed.

    Returns:
        int64 tensor of the broadcast shape; different labels give unrelated seeds.
    """
    device = next((x.device for x in (seed, *labels) if isinstance(x, Tensor)), None)
    state = _mix(torch.as_tensor(_as_int64(seed), dtype=torch.int64, device=device) + _GOLDEN)
    for label in labels:
        state = _mix((state ^ _mix(torch.as_tensor(label, dtype=torch.int64, device=device))) + _GOLDEN)
    return state


def _as_int64(seed: Seed) -> Seed:
    return seed if isinstance(seed, Tensor) else _signed(seed % 2**64)


def model_seeds(seed: Seed, groups: int, models: int, device: torch.device | str | None = None) -> Tensor:
    """One seed for every model of a batch.

    Args:
        seed: an integer, from which each (group, model) gets a seed of its own, or int64 (groups, models), used as
            it is.
        groups: number of groups.
        models: number of models in each group.
        device: where to put the result.

    Returns:
        int64 (groups, models).

    Raises:
        ValueError: a seed that is no integer, or a tensor of another shape or dtype.
    """
    if isinstance(seed, Tensor):
        if seed.shape != (groups, models) or seed.dtype != torch.int64:
            raise ValueError(
                f"seed is {seed.dtype} with shape {tuple(seed.shape)}; give an integer, or torch.int64 with shape "
                f"(groups, models) = {(groups, models)}"
            )
        return seed.to(device)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ValueError(f"seed is {seed!r}; give an integer, or torch.int64 with shape (groups, models)")
    rows = torch.arange(groups, device=device).unsqueeze(-1)
    return derive_seeds(seed, rows, torch.arange(models, device=device))


def uniforms(seeds: Tensor, count: int, skip: int = 0) -> Tensor:
    """Uniform numbers in the open interval (0, 1), `count` for every seed.

    Args:
        seeds: int64, any shape.
        count: how many numbers each seed gives.
        skip: how many of each seed's numbers come before them.

    Returns:
        (*seeds.shape, count) float64, odd multiples of 2⁻⁵³: never 0, never 1.
    """
    counter = torch.arange(skip + 1, skip + count + 1, device=seeds.device) * _GOLDEN
    bits = _mix(seeds.unsqueeze(-1) + counter)
    return ((bits >> 12) & ((1 << 52) - 1)).to(torch.float64).mul_(2.0**-52).add_(2.0**-53)
