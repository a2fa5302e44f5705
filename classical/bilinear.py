"""Exact Boltzmann sums as one bilinear form per group.

Split the spins into halves A and B. With U_a = exp(h_A·s_a) and V_b = exp(h_B·s_b) for every model, and
C_ab = exp(coupling part of the log-weight) once for every group, a matrix of 2^{n/2} × 2^{n/2},

    Z = Uᵀ C V,   P(a) = U_a (C V)_a / Z,   P(b) = V_b (Cᵀ U)_b / Z

so that all models of a group are two matrix products and no exponential is taken per configuration. U, V and C are
shifted by their maxima. What is left to go wrong is underflow, by no more than `range_needed` says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from classical.ising import symmetric

FLOAT32_RANGE = 80.0  # exp(−80) is still a normal float32 number
FLOAT64_RANGE = 700.0  # exp(−700) is still a normal float64 number


class Halves(NamedTuple):
    """Configurations of the two halves of a model's spins: s_a is (2^n_A, n_A), s_b is (2^n_B, n_B)."""

    a: Tensor
    b: Tensor


@lru_cache(maxsize=64)
def halves(spins: int, dtype: torch.dtype, device: torch.device) -> Halves:
    """Split `spins` spins into a first half A, the larger one if they differ, and a second half B.

    Small models spend longer on building these tables than on their sums, so tables are kept; write to none.

    Args:
        spins: number of spins, at least 1.
        dtype: floating-point type of the result.
        device: where to put it.
    """
    first = (spins + 1) // 2
    with torch.inference_mode(False):  # a kept table has to serve autograd later
        return Halves(_configurations(first, dtype, device), _configurations(spins - first, dtype, device))


def _configurations(spins: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    index = torch.arange(2**spins, device=device).unsqueeze(-1)
    return (1 - 2 * ((index >> torch.arange(spins, device=device)) & 1)).to(dtype)


def log_coupling_matrix(couplings: Tensor) -> Tensor:
    """Coupling part of the log-weight, split into halves.

    log C_ab = Σ_{j<k ∈ A} J_jk s_j s_k + Σ_{j<k ∈ B} J_jk s_j s_k + Σ_{j ∈ A, k ∈ B} J_jk s_j s_k

    Args:
        couplings: (groups, spins, spins), strictly upper triangular.

    Returns:
        (groups, 2^n_A, 2^n_B).
    """
    s = halves(couplings.shape[-1], couplings.dtype, couplings.device)
    first = s.a.shape[1]
    within_a = ((s.a @ couplings[:, :first, :first]) * s.a).sum(-1)
    within_b = ((s.b @ couplings[:, first:, first:]) * s.b).sum(-1)
    across = s.a @ couplings[:, :first, first:] @ s.b.T
    return across + within_a.unsqueeze(-1) + within_b.unsqueeze(-2)


def range_needed(fields: Tensor, couplings: Tensor, pinned: bool) -> Tensor:
    """Largest −log of any number that a model's sums have to hold apart from zero.

    The shifted Z can be as small as exp(−d),

    d = min(Σ_j |h_j|, max log C − min log C)

    The second is what the largest U_a V_b still keeps. The first holds because C does not change when all spins flip,
    so that the fields cannot oppose both of C's two maxima; spins pinned at −1 break that symmetry and leave the
    second alone. Second derivatives divide by Z², and the +1 configurations of spin j add up to Z P(s_j = +1), where

    P(s_j = +1) ≥ exp(−2 max(0, Σ_k |J_jk| − h_j)) / 2

    so the range is d + max(d, 2 max_j(…)). Probabilities that the dtype of the fields cannot hold do not count.

    Args:
        fields: (groups, models, spins); where spins are hidden, already treated by `pin_hidden`.
        couplings: (groups, spins, spins), strictly upper triangular.
        pinned: whether some configurations are left out of the sums.

    Returns:
        (groups, models).
    """
    with torch.no_grad():
        pull = symmetric(couplings.abs()).sum(-1)
        rarest = 2 * (pull.unsqueeze(-2) - fields).amax(-1)
        rarest = rarest.clamp(0, -math.log(torch.finfo(fields.dtype).tiny))
        total = fields.abs().sum(-1)

        def needed(spread: Tensor) -> Tensor:
            depth = spread.unsqueeze(-1).expand(total.shape)
            depth = depth if pinned else torch.minimum(total, depth)
            return depth + torch.maximum(depth, rarest)

        rough = needed(pull.sum(-1))  # 2 Σ|J| ≥ max log C − min log C, and costs no sum over configurations
        if bool((rough < FLOAT32_RANGE).all()):
            return rough
        log_c = log_coupling_matrix(couplings).flatten(1)
        return needed(log_c.amax(-1) - log_c.amin(-1))


@dataclass(frozen=True, eq=False)
class BilinearForm:
    """The bilinear form of a chunk of models, evaluated. Models come last: sums over a half then run along whole rows.

    P(a) = weight_a / total,  P(b) = weight_b / total

    Args:
        weight_a: (groups, 2^n_A, models).
        weight_b: (groups, 2^n_B, models).
        total: sum of either, (groups, 1, models).
        log_z: log-partition function, (groups, models).
        u: shifted U, (groups, 2^n_A, models).
        v: shifted V, (groups, 2^n_B, models).
        c: shifted C, (groups, 2^n_A, 2^n_B).
        logarithmic: whether u, v and c hold logarithms, because the numbers themselves would leave the dtype's range.
    """

    weight_a: Tensor
    weight_b: Tensor
    total: Tensor
    log_z: Tensor
    u: Tensor
    v: Tensor
    c: Tensor
    logarithmic: bool


def pin_hidden(fields: Tensor, couplings: Tensor, visible: Tensor) -> Tensor:
    """Fields that make spins pinned at −1 invisible to the others.

    h_k ← h_k + Σ_{hidden j} J_jk for visible k, which cancels what s_j = −1 does to them; h_j ← 0 for hidden j.

    Args:
        fields: (groups, models, spins).
        couplings: (groups, spins, spins), strictly upper triangular.
        visible: bool, (groups or 1, models, spins).
    """
    hidden = (~visible).to(fields.dtype)
    return torch.where(visible, fields + hidden @ symmetric(couplings), torch.zeros_like(fields))


def solve(fields: Tensor, couplings: Tensor, visible: Tensor | None, logarithmic: bool) -> BilinearForm:
    """Evaluate the bilinear form of a chunk of models, differentiably.

    Args:
        fields: (groups, models, spins); where `visible` is given, already treated by `pin_hidden`.
        couplings: (groups, spins, spins), strictly upper triangular.
        visible: bool, (groups or 1, models, spins), or None where every spin is. Configurations with a hidden spin at
            +1 are left out of all sums.
        logarithmic: sum logarithms configuration by configuration instead of multiplying matrices: slow, any range.
    """
    return evaluate(fields.transpose(-1, -2), log_coupling_matrix(couplings), visible, logarithmic)


def evaluate(h: Tensor, log_c: Tensor, visible: Tensor | None, logarithmic: bool) -> BilinearForm:
    """`solve` with the couplings already turned into log C.

    Args:
        h: fields, (groups, spins, models).
        log_c: (groups, 2^n_A, 2^n_B).
        visible: as for `solve`.
        logarithmic: as for `solve`.
    """
    s = halves(h.shape[1], h.dtype, h.device)
    first = s.a.shape[1]
    log_u, log_v = _field_part(h[:, :first], s.a), _field_part(h[:, first:], s.b)
    left_out_a, left_out_b = None, None
    if visible is not None:
        hidden = (~visible).transpose(-1, -2).to(h.dtype)
        left_out_a, left_out_b = is_up(s.a) @ hidden[:, :first] > 0, is_up(s.b) @ hidden[:, first:] > 0
    shift_c = log_c.detach().amax((-1, -2), keepdim=True)
    log_c = log_c - shift_c
    shift = h.detach().abs().sum(1) + shift_c.squeeze(-1)
    if logarithmic:
        log_u, log_v = _fill(log_u, left_out_a, -torch.inf), _fill(log_v, left_out_b, -torch.inf)
        log_a = log_u + torch.logsumexp(log_c.unsqueeze(-1) + log_v.unsqueeze(1), 2)
        log_b = log_v + torch.logsumexp(log_c.unsqueeze(-1) + log_u.unsqueeze(2), 1)
        weight_a, weight_b = torch.softmax(log_a, 1), torch.softmax(log_b, 1)
        log_z = torch.logsumexp(log_a, 1) + shift
        return BilinearForm(weight_a, weight_b, torch.ones_like(log_z).unsqueeze(1), log_z, log_u, log_v, log_c, True)
    u, v, c = _fill(log_u.exp(), left_out_a, 0.0), _fill(log_v.exp(), left_out_b, 0.0), log_c.exp()
    weight_a, weight_b = u * (c @ v), v * (c.transpose(-1, -2) @ u)
    total = weight_a.sum(1, keepdim=True)
    return BilinearForm(weight_a, weight_b, total, total.squeeze(1).log() + shift, u, v, c, False)


def _field_part(h: Tensor, configurations: Tensor) -> Tensor:
    """Σ_j h_j s_j − Σ_j |h_j| for every configuration: at most 0, and 0 where every spin follows its field."""
    return configurations @ h - h.detach().abs().sum(1, keepdim=True)


def _fill(values: Tensor, where: Tensor | None, value: float) -> Tensor:
    return values if where is None else values.masked_fill(where, value)


def is_up(configurations: Tensor) -> Tensor:
    """1 where a spin is +1 and 0 where it is −1, in the dtype of the configurations."""
    return (configurations > 0).to(configurations.dtype)


def up_probability(form: BilinearForm, s: Halves) -> Tensor:
    """P(s_j = +1), (groups, models, spins), each summed over its own +1 configurations alone.

    (1 + ⟨s_j⟩)/2 would lose every digit where the probability is small; this sum loses none.
    """
    return (torch.cat([is_up(s.a).T @ form.weight_a, is_up(s.b).T @ form.weight_b], 1) / form.total).transpose(1, 2)


def second_moment(form: BilinearForm, s: Halves) -> Tensor:
    """⟨s sᵀ⟩, (groups, models, spins, spins): pairs inside a half from its marginal, pairs across from C."""
    a_a, b_b = _within(form.weight_a, s.a), _within(form.weight_b, s.b)
    if form.logarithmic:
        given_a = torch.softmax(form.c.unsqueeze(-1) + form.v.unsqueeze(1), 2)
        b_given_a = torch.einsum("gabm,bj->gjam", given_a, s.b)
        signed_b = form.weight_a.unsqueeze(1) * b_given_a
    else:
        signed_v = form.v.unsqueeze(1) * s.b.T.unsqueeze(-1)  # (groups, n_B, 2^n_B, models)
        signed_b = form.u.unsqueeze(1) * torch.einsum("gab,gjbm->gjam", form.c, signed_v)
    a_b = torch.einsum("gjam,ai->gmij", signed_b, s.a)
    joined = torch.cat([torch.cat([a_a, a_b], -1), torch.cat([a_b.transpose(-1, -2), b_b], -1)], -2)
    return joined / form.total.transpose(-1, -2).unsqueeze(-1)


def _within(weight: Tensor, configurations: Tensor) -> Tensor:
    """Weighted Σ s sᵀ over the configurations of one half, (groups, models, spins of the half, the same)."""
    spins = configurations.shape[1]
    pairs = (configurations.unsqueeze(-1) * configurations.unsqueeze(-2)).flatten(1)
    return (weight.transpose(-1, -2) @ pairs).unflatten(-1, (spins, spins))
