"""Exact Boltzmann sums as one bilinear form per group.

Split the spins into halves A and B. With U_a = exp(h_A·s_a) and V_b = exp(h_B·s_b) for every model, and
C_ab = exp(coupling part of the log-weight) once for every group, a matrix of 2^{n/2} × 2^{n/2},

    Z = Uᵀ C V,   P(a) = U_a (C V)_a / Z,   P(b) = V_b (Cᵀ U)_b / Z

so that all models of a group are two matrix products and no exponential is taken per configuration. U, V and C are
shifted by their maxima. What is left to go wrong is that Z underflows, by no more than `underflow_bound` says.
"""

from __future__ import annotations

from dataclasses import dataclass
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


def halves(spins: int, dtype: torch.dtype, device: torch.device) -> Halves:
    """Split `spins` spins into a first half A, the larger one if they differ, and a second half B.

    Args:
        spins: number of spins, at least 1.
        dtype: floating-point type of the result.
        device: where to put it.
    """
    first = (spins + 1) // 2
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


def underflow_bound(fields: Tensor, couplings: Tensor, pinned: bool) -> Tensor:
    """Largest possible −log of the shifted Z, for every model.

    −log Z_shifted ≤ min(Σ_j |h_j|, max log C − min log C)

    The second is what the largest U_a V_b still keeps. The first holds because C does not change when all spins flip,
    so that the fields cannot oppose both of C's two maxima; spins pinned at −1 break that symmetry and leave the
    second alone.

    Args:
        fields: (groups, models, spins).
        couplings: (groups, spins, spins).
        pinned: whether some configurations are left out of the sums.

    Returns:
        (groups, models).
    """
    with torch.no_grad():
        log_c = log_coupling_matrix(couplings).flatten(1)
        spread = (log_c.amax(-1) - log_c.amin(-1)).unsqueeze(-1).expand(fields.shape[:2])
        return spread if pinned else torch.minimum(fields.abs().sum(-1), spread)


@dataclass(frozen=True, eq=False)
class BilinearForm:
    """Marginals of both halves and the log-partition function of a chunk of models.

    Args:
        probability_a: P(a), (groups, models, 2^n_A).
        probability_b: P(b), (groups, models, 2^n_B).
        log_z: log of the shifted Z, (groups, models).
        shift: what the shifts took from log Z, (groups, models): log Z = log_z + shift.
        log_u: shifted log U, (groups, models, 2^n_A).
        log_v: shifted log V, (groups, models, 2^n_B).
        log_c: shifted log C, (groups, 2^n_A, 2^n_B).
        logarithmic: whether the exponentials of the three would leave the range of their dtype.
    """

    probability_a: Tensor
    probability_b: Tensor
    log_z: Tensor
    shift: Tensor
    log_u: Tensor
    log_v: Tensor
    log_c: Tensor
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
    s = halves(fields.shape[-1], fields.dtype, fields.device)
    first = s.a.shape[1]
    log_u, log_v = fields[..., :first] @ s.a.T, fields[..., first:] @ s.b.T
    if visible is not None:
        log_u = _leave_out(log_u, visible[..., :first], s.a)
        log_v = _leave_out(log_v, visible[..., first:], s.b)
    log_c = log_coupling_matrix(couplings)
    shift_u, shift_v = log_u.detach().amax(-1, keepdim=True), log_v.detach().amax(-1, keepdim=True)
    shift_c = log_c.detach().amax((-1, -2), keepdim=True)
    log_u, log_v, log_c = log_u - shift_u, log_v - shift_v, log_c - shift_c
    shift = (shift_u + shift_v + shift_c).squeeze(-1)
    if logarithmic:
        weight_a = log_u + torch.logsumexp(log_c.unsqueeze(1) + log_v.unsqueeze(2), -1)
        weight_b = log_v + torch.logsumexp(log_c.unsqueeze(1) + log_u.unsqueeze(3), -2)
        log_z = torch.logsumexp(weight_a, -1)
        probability_a, probability_b = torch.softmax(weight_a, -1), torch.softmax(weight_b, -1)
    else:
        u, v, c = log_u.exp(), log_v.exp(), log_c.exp()
        product_a, product_b = u * (v @ c.transpose(-1, -2)), v * (u @ c)
        z = product_a.sum(-1, keepdim=True)
        log_z = z.squeeze(-1).log()
        probability_a, probability_b = product_a / z, product_b / z
    return BilinearForm(probability_a, probability_b, log_z, shift, log_u, log_v, log_c, logarithmic)


def _leave_out(log_weight: Tensor, visible: Tensor, configurations: Tensor) -> Tensor:
    """−∞ for every configuration in which a hidden spin is +1."""
    forbidden = (~visible).to(configurations.dtype) @ (configurations > 0).to(configurations.dtype).T
    return log_weight.masked_fill(forbidden > 0, -torch.inf)


def up_probability(form: BilinearForm, s: Halves) -> Tensor:
    """P(s_j = +1), (groups, models, spins), each summed over its own +1 configurations alone.

    (1 + ⟨s_j⟩)/2 would lose every digit where the probability is small; this sum loses none.
    """
    up_a, up_b = (s.a > 0).to(s.a.dtype), (s.b > 0).to(s.b.dtype)
    return torch.cat([form.probability_a @ up_a, form.probability_b @ up_b], -1)


def second_moment(form: BilinearForm, s: Halves) -> Tensor:
    """⟨s sᵀ⟩, (groups, models, spins, spins): pairs inside a half from its marginal, pairs across from C."""
    a_a = torch.einsum("gma,ai,aj->gmij", form.probability_a, s.a, s.a)
    b_b = torch.einsum("gmb,bi,bj->gmij", form.probability_b, s.b, s.b)
    if form.logarithmic:
        given_a = torch.softmax(form.log_c.unsqueeze(1) + form.log_v.unsqueeze(2), -1)
        weighted = form.probability_a.unsqueeze(-1) * (given_a @ s.b)
    else:
        moments = form.log_c.exp().unsqueeze(1) @ (form.log_v.exp().unsqueeze(-1) * s.b)
        weighted = form.log_u.exp().unsqueeze(-1) * moments / form.log_z.exp()[..., None, None]
    a_b = torch.einsum("gmaj,ai->gmij", weighted, s.a)
    return torch.cat([torch.cat([a_a, a_b], -1), torch.cat([a_b.transpose(-1, -2), b_b], -1)], -2)
