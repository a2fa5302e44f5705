"""Heat-bath sweeps of many chains at once.

A chain is one configuration of one model. In every sweep each of its spins, from the first to the last, is drawn anew
given the others (`classical.heat_bath`). All chains of a group share its couplings: their local fields h + J s are one
matrix product a sweep, and a spin that turns over corrects those of the spins behind it.

A chain's random numbers are its own, from a seed of its own (`classical.random`), so that it does not matter which
other chains there are. Conditional probabilities are resolved to 2⁻²⁴.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from classical.ising import IsingModel, symmetric
from classical.random import uniforms
from classical.threads import in_pieces

_NUMBERS_AT_ONCE = 2**22
_LARGEST = 80.0  # of 2 × a local field, as in the compiled sweeps


def sweep(model: IsingModel, spins: Tensor, seeds: Tensor, *, before: int, kept: int = 1, every: int = 1) -> Tensor:
    """Run chains and keep some of their configurations.

    Compiled on the CPU; elsewhere `sweep_by_tensors`.

    Args:
        model: fields (groups, models, spins) and couplings (groups, spins, spins).
        spins: where the chains start, int8 (groups, models, chains, spins).
        seeds: of the chains, int64 (groups, models, chains).
        before: sweeps before the first configuration that is kept, at least 1.
        kept: how many configurations are kept.
        every: sweeps from one kept configuration to the next.

    Returns:
        (groups, models, chains, kept, spins) int8.
    """
    if model.fields.device.type != "cpu":
        return sweep_by_tensors(model, spins, seeds, before=before, kept=kept, every=every)
    from classical.sweep_kernel import CHAINS_AT_ONCE, sweep_kernel

    groups, models, chains, n = spins.shape
    h = model.fields.detach().float().unsqueeze(2).expand(-1, -1, chains, -1).reshape(-1, n).numpy()
    J = symmetric(model.couplings.detach()).float().contiguous().numpy()
    start, own = spins.reshape(-1, n).numpy(), seeds.reshape(-1).numpy().view("uint64")
    out = torch.empty(len(h), kept, n, dtype=torch.int8)
    kernel, drawn = sweep_kernel(), out.numpy()

    def work(begin: int, end: int) -> None:
        kernel(h, J, own, start, before - 1, every, drawn, models * chains, begin, end)

    in_pieces(groups * -(-models * chains // CHAINS_AT_ONCE), work)
    return out.reshape(groups, models, chains, kept, n)


def sweep_by_tensors(
    model: IsingModel, spins: Tensor, seeds: Tensor, *, before: int, kept: int = 1, every: int = 1
) -> Tensor:
    """The same sweeps in torch, on any device; arguments and result are those of `sweep`.

    The random numbers are the same too, so that chains differ from the compiled ones only where rounding decides.
    """
    groups, models, chains, n = spins.shape
    h = model.fields.detach().float().repeat_interleave(chains, 1)
    J = symmetric(model.couplings.detach()).float()
    s, own = spins.reshape(groups, -1, n).float(), seeds.reshape(groups, -1)
    out = torch.empty(groups, models * chains, kept, n, dtype=torch.int8, device=spins.device)
    numbers = _thresholds(own, n, before + (kept - 1) * every)
    due, row = before, 0
    while row < kept:
        u = next(numbers)
        local = torch.baddbmm(h, s, J)
        for i in range(n):
            odds = torch.exp((-2 * local[..., i]).clamp(-_LARGEST, _LARGEST))
            new = torch.where(u[..., i] * (1 + odds) < 1, 1.0, -1.0)
            change, s[..., i] = new - s[..., i], new
            local += change.unsqueeze(-1) * J[:, i].unsqueeze(1)
        due -= 1
        if due == 0:
            out[:, :, row] = s.to(torch.int8)
            row, due = row + 1, every
    return out.reshape(groups, models, chains, kept, n)


def _thresholds(seeds: Tensor, spins: int, sweeps: int) -> Iterator[Tensor]:
    """Uniform numbers of one sweep after the other, (groups, chains, spins) float32, odd multiples of 2⁻²⁴."""
    at_once = max(1, _NUMBERS_AT_ONCE // max(1, seeds.numel() * spins))
    for first in range(0, sweeps, at_once):
        some = min(at_once, sweeps - first)
        u = uniforms(seeds, some * spins, skip=first * spins)
        u = ((u * 2**23).floor() + 0.5) * 2.0**-23
        yield from u.float().unflatten(-1, (some, spins)).unbind(-2)
