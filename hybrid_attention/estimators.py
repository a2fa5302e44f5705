"""How samples become the value and the gradient of a mean spin: a table of estimators.

An upstream gradient g on ⟨s⟩ asks for the gradient of f(s) = Σ_i g_i s_i with respect to fields and couplings. With
t_i = ⟨s_i⟩ given all other spins = tanh(h_i + Σ_k J_ik s_k), a Boltzmann law has three forms of it, equal in the limit
of infinitely many samples:

    plain  ∂h_j  = Cov(f, s_j)                       ∂J_jk = Cov(f, s_j s_k)
    A      ∂h_j  = Cov(Σ_i g_i t_i, s_j) + d_j       ∂J_jk = Cov(Σ_i g_i t_i, s_j s_k) + d_jk + d_kj
    B      ∂h_j  = Cov(f^j, t_j) + d_j               ∂J_jk = ½ (Cov(f^j, t_j s_k) + d_jk + Cov(f^k, t_k s_j) + d_kj)

    d_j = g_j ⟨1 − t_j²⟩,   d_jk = g_j ⟨(1 − t_j²) s_k⟩,   f^j = g_j t_j + Σ_{i≠j} g_i s_i

A and B average over a spin given the others before anything is counted, so they vary less from sample to sample. They
read the fields and couplings that the sampler was asked for, not those of the law that it may have sampled instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from classical import ExactSampler, IsingModel, Sampler
from classical.ising import symmetric
from classical.sampler import ExactMoments, require_shots
from classical.samples import Samples

_ELEMENTS_AT_ONCE = 2**25  # sampled spins turned into floating point at a time
_CALLEN_ELEMENTS_AT_ONCE = 2**17  # the same where a handful of results of that size should stay in the cache


class Gradient(NamedTuple):
    """Gradients with respect to fields (groups, models, spins) and couplings (groups, spins, spins), strictly upper."""

    fields: Tensor
    couplings: Tensor


@runtime_checkable
class DifferentiableMean(Protocol):
    """A sampler that knows the mean spins of its own law, whatever that law is, with their derivatives."""

    def mean(self, model: IsingModel) -> Tensor:
        """⟨s⟩, (groups, models, spins), differentiable in fields and couplings."""
        ...


@dataclass(frozen=True)
class FromSamples:
    """An estimator that reads samples.

    Args:
        value: P(s = +1), (groups, models, spins), from samples and their model.
        gradient: from samples, their model and the upstream gradient on ⟨s⟩.
        max_spins: most spins it can work with, or None.
    """

    value: Callable[[Samples, IsingModel], Tensor]
    gradient: Callable[[Samples, IsingModel, Tensor], Gradient]
    max_spins: int | None = None


@dataclass(frozen=True)
class FromLaw:
    """An estimator that needs no samples.

    Args:
        value: P(s = +1), (groups, models, spins), differentiable, from a sampler with a `DifferentiableMean` and the
            model.
    """

    value: Callable[[Any, IsingModel], Tensor]


def share_up(samples: Samples, model: IsingModel) -> Tensor:
    """Share of s_j = +1 among the samples, (groups, models, spins).

    Args:
        samples: of the model.
        model: not read.
    """
    del model
    return samples.up_probability()


def conditional_up(samples: Samples, model: IsingModel) -> Tensor:
    """Mean of P(s_j = +1) given the other spins, (groups, models, spins).

    P(s_j = +1) = ⟨σ(2 h_j + 2 Σ_k J_jk s_k)⟩,   that is ⟨s_j⟩ = ⟨t_j⟩

    Unbiased for Boltzmann samples, varies less than the share of s_j = +1, and is never zero.

    Args:
        samples: of the model.
        model: its fields and couplings.

    Reference:
        H. B. Callen, Physics Letters 4, 161 (1963).
    """
    couplings, parts = 2 * symmetric(model.couplings), []
    for piece in _pieces(samples, _CALLEN_ELEMENTS_AT_ONCE):
        s, w = _rows_last(samples, piece, model.fields.dtype)
        up = _up_given_others(s, 2 * model.fields[:, piece], couplings)
        parts.append((up * w).sum(-1).transpose(1, 2))
    return torch.cat(parts, 1) if parts else torch.zeros_like(model.fields)


def covariance_gradient(samples: Samples, upstream: Tensor) -> Gradient:
    """The plain form: score-function estimate of the gradient.

    ∂L/∂h_j = c Σ_r w_r (f_r − f̄) s_rj,   ∂L/∂J_jk = c Σ_models Σ_r w_r (f_r − f̄) s_rj s_rk,   f_r = Σ_i g_i s_ri

    with c = R/(R−1) for R counted shots and 1 for probability weights. The couplings of a group are one matrix product.

    Args:
        samples: of the models whose gradient is asked for.
        upstream: g = ∂L/∂⟨s⟩, (groups, models, spins).

    Reference:
        R. J. Williams, Machine Learning 8, 229 (1992).
    """
    groups, _, _, spins = samples.spins.shape
    by_fields, by_couplings = [], upstream.new_zeros(groups, spins, spins)
    for piece in _pieces(samples, _ELEMENTS_AT_ONCE):
        s, w = samples.spins[:, piece].to(upstream.dtype), samples.weights[:, piece].to(upstream.dtype)
        f = (s @ upstream[:, piece].unsqueeze(-1)).squeeze(-1)
        centred = w * (f - (w * f).sum(-1, keepdim=True))
        by_fields.append((centred.unsqueeze(-2) @ s).squeeze(-2))
        weighted = (centred.unsqueeze(-1) * s).flatten(1, 2)
        by_couplings += weighted.transpose(-1, -2) @ s.flatten(1, 2)
    scale = samples.covariance_scale()
    of_fields = torch.cat(by_fields, 1) if by_fields else torch.zeros_like(upstream)
    return Gradient(scale * of_fields, scale * by_couplings.triu(1))


def callen_gradient(samples: Samples, model: IsingModel, upstream: Tensor) -> Gradient:
    """The mean of forms A and B of this module.

    Bessel's factor R/(R−1) belongs to the covariances alone: the terms d_j and d_jk are means, unbiased as they are.
    With e_rj = ½ c [(f_t − f̄_t) s_j + (f^j − f̄^j) t_j] and d_rj = g_j (1 − t_j²) in row r, both forms and their
    symmetry are one matrix product for each group:

        ∂h_j = Σ_r w_r (e_rj + d_rj),   ∂J = M + Mᵀ,  M_jk = Σ_models Σ_r w_r (½ e_rj + ¾ d_rj) s_rk

    Args:
        samples: of the model.
        model: its fields and couplings.
        upstream: g = ∂L/∂⟨s⟩, (groups, models, spins).
    """
    groups, _, _, spins = samples.spins.shape
    couplings, bessel = 2 * symmetric(model.couplings), samples.covariance_scale()
    by_fields, product = [], upstream.new_zeros(groups, spins, spins)
    for piece in _pieces(samples, _CALLEN_ELEMENTS_AT_ONCE):
        s, w = _rows_last(samples, piece, upstream.dtype)
        g = upstream[:, piece].transpose(1, 2).unsqueeze(-1)
        up = _up_given_others(s, 2 * model.fields[:, piece], couplings)
        # t and s enter covariances as t + 1 = 2 P(s = +1) and s + 1, which keep their digits where +1 is rare
        g_t, g_s = up * (2 * g), (s + 1).mul_(g)
        f_t, f_j = g_t.sum(1, keepdim=True), g_t - g_s + g_s.sum(1, keepdim=True)
        f_t, f_j = f_t - (w * f_t).sum(-1, keepdim=True), f_j.sub_((w * f_j).sum(-1, keepdim=True))
        d = g_t.mul_(2 * w).mul_(1 - up)  # 1 − t² = 4 P(s = +1) P(s = −1)
        e = f_j.mul_(2 * up - 1).addcmul_(s, f_t).mul_(0.5 * bessel * w)
        by_fields.append((e + d).sum(-1).transpose(1, 2))
        product += e.mul_(0.5).add_(d, alpha=0.75).flatten(2) @ s.flatten(2).transpose(1, 2)
    of_fields = torch.cat(by_fields, 1) if by_fields else torch.zeros_like(upstream)
    return Gradient(of_fields, (product + product.transpose(1, 2)).triu(1))


def exact_gradient(samples: Samples, model: IsingModel, upstream: Tensor) -> Gradient:
    """Gradient of the Boltzmann law itself, by exact sums: what an unbiased estimator without noise would give.

    Args:
        samples: not read.
        model: fields and couplings.
        upstream: ∂L/∂⟨s⟩, (groups, models, spins).
    """
    del samples
    fields, couplings = model.fields.detach().requires_grad_(), model.couplings.detach().requires_grad_()
    with torch.enable_grad():
        mean = ExactSampler().mean(IsingModel(fields, couplings))
    return Gradient(*torch.autograd.grad(mean, (fields, couplings), upstream))


def law_up(sampler: DifferentiableMean, model: IsingModel) -> Tensor:
    """P(s = +1) = (1 + ⟨s⟩)/2 of the sampler's own law, differentiable through its `mean`.

    Args:
        sampler: knows its mean.
        model: fields and couplings.

    Raises:
        ValueError: a mean without derivatives where some are needed.
    """
    mean = sampler.mean(model)
    wanted = torch.is_grad_enabled() and (model.fields.requires_grad or model.couplings.requires_grad)
    if wanted and not mean.requires_grad:
        raise ValueError(
            f"estimator is 'adjoint', but {type(sampler).__name__}.mean returns no derivatives; make it differentiable "
            "in fields and couplings, or use estimator='callen'"
        )
    return ((1 + mean) / 2).clamp(0, 1)  # rounding may leave the interval


ESTIMATORS: dict[str, FromSamples | FromLaw] = {
    "covariance": FromSamples(share_up, lambda samples, _, upstream: covariance_gradient(samples, upstream)),
    "callen": FromSamples(conditional_up, callen_gradient),
    "exact": FromSamples(share_up, exact_gradient, max_spins=ExactSampler().max_spins),
    "adjoint": FromLaw(law_up),
}
"""Estimators by name: "covariance" is the plain form; "callen" averages over each spin given the others, in value and
gradient; "exact" takes the value from samples and the gradient from exact Boltzmann sums, for reference; "adjoint"
takes value and gradient from the sampler's own law. Samplers with closed-form Boltzmann moments give exact values and
gradients whichever is named."""


def require_estimator(
    estimator: str, sampler: Sampler, spins: int, shots: int, independent_halves: bool
) -> FromSamples | FromLaw:
    """Look up an estimator and refuse what it cannot work with.

    Args:
        estimator: a name in `ESTIMATORS`.
        sampler: what it will read.
        spins: most spins of a model.
        shots: samples for each model.
        independent_halves: whether shots are dealt into halves.

    Raises:
        ValueError: an unknown name, fewer than 2 shots (4 for two halves), a sampler without the moments that the
            estimator needs, or more spins than it can work with.
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator is {estimator!r}; use one of {', '.join(ESTIMATORS)}")
    rule = ESTIMATORS[estimator]
    if isinstance(sampler, ExactMoments):
        return rule
    if isinstance(rule, FromLaw):
        if not isinstance(sampler, DifferentiableMean):
            raise ValueError(
                f"estimator is {estimator!r}, but {type(sampler).__name__} has no differentiable mean(model); use a "
                "sampler that does (StatevectorSampler), or estimator='callen'"
            )
        return rule
    require_shots(shots, least=4 if independent_halves else 2)
    if rule.max_spins is not None and spins > rule.max_spins:
        raise ValueError(
            f"estimator is {estimator!r}, which works with at most {rule.max_spins} spins, not {spins}; use "
            "estimator='callen'"
        )
    return rule


def _up_given_others(s: Tensor, twice_fields: Tensor, twice_couplings: Tensor) -> Tensor:
    """P(s_j = +1) given the other spins, (groups, spins, models, rows), from spins laid out like that.

    Args:
        s: (groups, spins, models, rows).
        twice_fields: 2h, (groups, models, spins).
        twice_couplings: 2(J + Jᵀ), (groups, spins, spins).
    """
    local = (twice_couplings @ s.flatten(2)).view_as(s)
    return local.add_(twice_fields.transpose(1, 2).unsqueeze(-1)).sigmoid_()


def _pieces(samples: Samples, elements: int) -> Iterator[slice]:
    """Some models at a time, with so many sampled spins."""
    groups, models, rows, spins = samples.spins.shape
    at_once = max(1, elements // max(1, groups * rows * spins))
    for start in range(0, models, at_once):
        yield slice(start, start + at_once)


def _rows_last(samples: Samples, piece: slice, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Spins (groups, spins, models, rows) and weights (groups, 1, models, rows), so that arithmetic runs along rows."""
    s = samples.spins[:, piece].permute(0, 3, 1, 2).contiguous().to(dtype)
    return s, samples.weights[:, piece].unsqueeze(1).to(dtype)
