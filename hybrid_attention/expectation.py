"""Spin expectations inside autograd: the forward pass draws samples, the backward pass is their covariance."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from classical import IsingModel, Sampler
from classical.sampler import ExactMoments, Seed, require_shots
from classical.samples import Samples

_ELEMENTS_AT_ONCE = 2**25  # sampled spins turned into floating point at a time in the backward pass


def boltzmann_mean(fields: Tensor, couplings: Tensor, *, sampler: Sampler, shots: int = 256, seed: Seed = 0) -> Tensor:
    """Mean spins ⟨s⟩ of Ising models, estimated from samples, with a score-function gradient.

    With an upstream gradient g on ⟨s⟩ and f(s) = Σ_i g_i s_i:

        ∂L/∂h_j = Cov(f, s_j),   ∂L/∂J_jk = Cov(f, s_j s_k)

    over the samples of the forward pass, with Bessel's correction where shots were counted; the sampler is not called
    again. The gradient is that of a Boltzmann law: unbiased where the sampler's law is one and g does not depend on
    the samples, an approximation otherwise. A sampler with closed-form moments (`ExactSampler`) is used in closed form:
    values and gradients are then exact and shots and seed do not matter.

    Args:
        fields: h, (groups, models, spins), dimensionless.
        couplings: J, (groups, spins, spins), strictly upper triangular, shared by the models of a group.
        sampler: any object with `sample(model, shots=…, seed=…)`.
        shots: samples for each model, at least 2.
        seed: an integer, or int64 (groups, models).

    Returns:
        (groups, models, spins).

    Raises:
        ValueError: bad fields or couplings, shots below 2, or more spins than the sampler holds.

    Reference:
        R. J. Williams, Machine Learning 8, 229 (1992), for score-function gradients.
    """
    return 2 * boltzmann_probability(fields, couplings, sampler=sampler, shots=shots, seed=seed) - 1


def boltzmann_probability(
    fields: Tensor,
    couplings: Tensor,
    *,
    sampler: Sampler,
    shots: int = 256,
    seed: Seed = 0,
    visible: Tensor | None = None,
) -> Tensor:
    """Probability that each spin is +1, with the gradient of `boltzmann_mean`.

    P(s_j = +1) = (1 + ⟨s_j⟩)/2, summed over s_j = +1 alone so that small probabilities keep their digits.

    Args:
        fields: h, (groups, models, spins), dimensionless.
        couplings: J, (groups, spins, spins), strictly upper triangular.
        sampler: as for `boltzmann_mean`.
        shots: samples for each model, at least 2.
        seed: an integer, or int64 (groups, models).
        visible: bool, (groups or 1, models, spins), only for samplers with closed-form moments; others take models
            without their hidden spins (`hybrid_attention.visibility`).

    Returns:
        (groups, models, spins).

    Raises:
        ValueError: as `boltzmann_mean`, or a mask given with a sampler that takes none.
    """
    with torch.autocast(fields.device.type, enabled=False):  # sums over configurations need every digit
        if isinstance(sampler, ExactMoments):
            return sampler.up_probability(IsingModel(fields, couplings), visible)
        if visible is not None:
            raise ValueError(
                f"visible is given, but {type(sampler).__name__} takes none; leave hidden spins out instead"
            )
        require_shots(shots, least=2)
        return _SampledProbability.apply(fields, couplings, sampler, shots, seed)


def covariance_gradient(samples: Samples, upstream: Tensor) -> tuple[Tensor, Tensor]:
    """Score-function estimate of the gradient with respect to fields and couplings.

    ∂L/∂h_j = c Σ_r w_r (f_r − f̄) s_rj,   ∂L/∂J_jk = c Σ_models Σ_r w_r (f_r − f̄) s_rj s_rk,   f_r = Σ_i g_i s_ri

    with c = R/(R−1) for R counted shots and 1 for probability weights. The couplings of a group are one matrix product.

    Args:
        samples: what the forward pass drew.
        upstream: g = ∂L/∂⟨s⟩, (groups, models, spins).

    Returns:
        Gradients (groups, models, spins) and (groups, spins, spins), the second strictly upper triangular.
    """
    groups, models, rows, spins = samples.spins.shape
    field_gradients = []
    coupling_gradient = upstream.new_zeros(groups, spins, spins)
    at_once = max(1, _ELEMENTS_AT_ONCE // max(1, groups * rows * spins))
    for start in range(0, models, at_once):
        chunk = slice(start, start + at_once)
        s = samples.spins[:, chunk].to(upstream.dtype)
        w = samples.weights[:, chunk].to(upstream.dtype)
        f = (s @ upstream[:, chunk].unsqueeze(-1)).squeeze(-1)
        centred = w * (f - (w * f).sum(-1, keepdim=True))
        field_gradients.append((centred.unsqueeze(-2) @ s).squeeze(-2))
        weighted = (centred.unsqueeze(-1) * s).reshape(groups, -1, spins)
        coupling_gradient += weighted.transpose(-1, -2) @ s.reshape(groups, -1, spins)
    scale = samples.covariance_scale()
    field_gradient = torch.cat(field_gradients, 1) if field_gradients else torch.zeros_like(upstream)
    return scale * field_gradient, scale * coupling_gradient.triu(1)


class _SampledProbability(torch.autograd.Function):
    """P(s = +1) from samples; the backward pass reads the same samples."""

    @staticmethod
    def forward(ctx: Any, fields: Tensor, couplings: Tensor, sampler: Sampler, shots: int, seed: Seed) -> Tensor:
        samples = sampler.sample(IsingModel(fields.detach(), couplings.detach()), shots=shots, seed=seed)
        ctx.save_for_backward(samples.spins, samples.weights)
        ctx.shots = samples.shots
        return samples.up_probability()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        spins, weights = ctx.saved_tensors
        # ⟨s⟩ = 2 P − 1, so the gradient on ⟨s⟩ is half the gradient on P
        with torch.autocast(upstream.device.type, enabled=False):
            by_fields, by_couplings = covariance_gradient(Samples(spins, weights, ctx.shots), upstream / 2)
        return by_fields, by_couplings, None, None, None
