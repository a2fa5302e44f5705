"""Independent samples of the Boltzmann law from its bilinear form."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from classical.bilinear import BilinearForm, Halves
from classical.random import uniforms
from classical.threads import in_pieces

_LARGEST_COMPILED = 2**16
"""Entries of C up to which a thread keeps a cumulative sum of each row."""


def draw(form: BilinearForm, s: Halves, seeds: Tensor, shots: int) -> Tensor:
    """Configurations a of one half with P ∝ U_a (C V)_a, then b of the other with P ∝ C_ab V_b.

    On a processor this is compiled, elsewhere and in logarithms it is done by torch; both give the same samples.

    Args:
        form: of the models.
        s: configurations of both halves.
        seeds: int64 (groups, models).
        shots: samples of each model.

    Returns:
        int8 (groups, models, shots, spins).
    """
    size = form.c.shape[-2] * form.c.shape[-1]
    if form.logarithmic or form.v.device.type != "cpu" or size > _LARGEST_COMPILED or not seeds.numel():
        return by_torch(form, s, uniforms(seeds, 2 * shots))
    return _compiled(form, s, seeds, shots)


def _compiled(form: BilinearForm, s: Halves, seeds: Tensor, shots: int) -> Tensor:
    from classical.draw_kernel import draw_kernel

    groups, models = seeds.shape
    of_a, of_b = (half.to(torch.int8).contiguous() for half in s)
    spins = torch.empty(groups * models, shots, of_a.shape[1] + of_b.shape[1], dtype=torch.int8)
    # sums as torch makes them: the weights in double precision, one after the other
    weight_a = form.weight_a.transpose(-1, -2).double().reshape(groups * models, -1).contiguous()
    v = form.v.transpose(-1, -2).reshape(groups * models, -1).contiguous()
    c = form.c.expand(groups, -1, -1).contiguous()
    whole = [tensor.numpy() for tensor in (weight_a, c, v, of_a, of_b)]
    numbers, out = seeds.reshape(-1).numpy().view(np.uint64), spins.numpy()
    kernel = draw_kernel()
    in_pieces(groups * models, lambda begin, end: kernel(*whole, numbers, out, models, begin, end))
    return spins.unflatten(0, (groups, models))


def by_torch(form: BilinearForm, s: Halves, numbers: Tensor) -> Tensor:
    """The same from uniform numbers, by torch.

    Args:
        form: of the models.
        s: configurations of both halves.
        numbers: uniform in (0, 1), (groups, models, 2 shots).

    Returns:
        int8 (groups, models, shots, spins).
    """
    for_a, for_b = numbers.chunk(2, -1)
    a = _inverse_cumulative(form.weight_a.transpose(-1, -2).contiguous(), for_a)
    group = torch.arange(a.shape[0], device=a.device)[:, None, None]
    v = form.v.transpose(-1, -2).unsqueeze(2)
    weight_b = torch.softmax(form.c[group, a] + v, -1) if form.logarithmic else form.c[group, a] * v
    b = _inverse_cumulative(weight_b, for_b.unsqueeze(-1)).squeeze(-1)
    return torch.cat([s.a.to(torch.int8)[a], s.b.to(torch.int8)[b]], -1)


def _inverse_cumulative(weights: Tensor, numbers: Tensor) -> Tensor:
    """Indices i with probability ∝ weights_i, from uniform numbers in (0, 1), along the last axis."""
    cumulative = weights.double().cumsum(-1)
    return torch.searchsorted(cumulative, numbers * cumulative[..., -1:]).clamp_(max=weights.shape[-1] - 1)
