"""Spin expectations inside autograd: the forward pass draws samples, the backward pass reads them again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from classical import IsingModel, Sampler
from classical.sampler import ExactMoments, Seed
from classical.samples import Samples
from hybrid_attention.estimators import FromLaw, FromSamples, require_estimator
from hybrid_attention.halves import deal_halves


def boltzmann_mean(
    fields: Tensor,
    couplings: Tensor,
    *,
    sampler: Sampler,
    shots: int = 256,
    seed: Seed = 0,
    estimator: str = "covariance",
    independent_halves: bool = False,
) -> Tensor:
    """Mean spins ⟨s⟩ of Ising models, estimated from samples, with a gradient estimated from the same samples.

    With an upstream gradient g on ⟨s⟩ and f(s) = Σ_i g_i s_i:

        ∂L/∂h_j = Cov(f, s_j),   ∂L/∂J_jk = Cov(f, s_j s_k)

    or one of the other forms in `hybrid_attention.estimators`; the sampler is not called again. The gradient is that of
    a Boltzmann law: unbiased where the sampler's law is one and g does not depend on the samples, an approximation
    otherwise. (Only "adjoint" differentiates the sampler's own law.) A sampler with closed-form moments
    (`ExactSampler`) is used in closed form: values and gradients are then exact, and shots, seed, estimator and
    independent_halves do not matter.

    In a nonlinear loss g does depend on the value, and one set of samples for value and gradient leaves a bias of order
    1/shots: for L = ½|⟨s⟩ − y|² the expected gradient is that of (1 − 2/R)⟨s⟩ − y instead of ⟨s⟩ − y. With
    independent_halves one half of the shots gives the value and the other the gradient, which removes it at the price
    of more variance in both.

    Args:
        fields: h, (groups, models, spins), dimensionless.
        couplings: J, (groups, spins, spins), strictly upper triangular, shared by the models of a group.
        sampler: any object with `sample(model, shots=…, seed=…)`.
        shots: samples for each model, at least 2, or 4 for two halves.
        seed: an integer, or int64 (groups, models).
        estimator: a name in `hybrid_attention.estimators.ESTIMATORS`.
        independent_halves: take the value from one half of the shots and the gradient from the other.

    Returns:
        (groups, models, spins).

    Raises:
        ValueError: bad fields or couplings, too few shots, more spins than the sampler holds, an unknown estimator, or
            one that needs moments which the sampler does not have.

    Reference:
        R. J. Williams, Machine Learning 8, 229 (1992), for score-function gradients.
    """
    up = boltzmann_probability(
        fields,
        couplings,
        sampler=sampler,
        shots=shots,
        seed=seed,
        estimator=estimator,
        independent_halves=independent_halves,
    )
    return 2 * up - 1


def boltzmann_probability(
    fields: Tensor,
    couplings: Tensor,
    *,
    sampler: Sampler,
    shots: int = 256,
    seed: Seed = 0,
    visible: Tensor | None = None,
    estimator: str = "covariance",
    independent_halves: bool = False,
) -> Tensor:
    """Probability that each spin is +1, with the gradient of `boltzmann_mean`.

    P(s_j = +1) = (1 + ⟨s_j⟩)/2, summed over s_j = +1 alone so that small probabilities keep their digits.

    Args:
        fields: h, (groups, models, spins), dimensionless.
        couplings: J, (groups, spins, spins), strictly upper triangular.
        sampler: as for `boltzmann_mean`.
        shots: as for `boltzmann_mean`.
        seed: an integer, or int64 (groups, models).
        visible: bool, (groups or 1, models, spins), only for samplers with closed-form moments; others take models
            without their hidden spins (`hybrid_attention.visibility`).
        estimator: as for `boltzmann_mean`.
        independent_halves: as for `boltzmann_mean`.

    Returns:
        (groups, models, spins).

    Raises:
        ValueError: as `boltzmann_mean`, or a mask given with a sampler that takes none.
    """
    rule = require_estimator(estimator, sampler, fields.shape[-1], shots, independent_halves)
    with torch.autocast(fields.device.type, enabled=False):  # sums over configurations need every digit
        if isinstance(sampler, ExactMoments):
            return sampler.up_probability(IsingModel(fields, couplings), visible)
        if visible is not None:
            raise ValueError(
                f"visible is given, but {type(sampler).__name__} takes none; leave hidden spins out instead"
            )
        if isinstance(rule, FromLaw):
            return rule.value(sampler, IsingModel(fields, couplings))
        return _SampledProbability.apply(fields, couplings, rule, sampler, shots, seed, independent_halves)


class _SampledProbability(torch.autograd.Function):
    """P(s = +1) from samples; the backward pass reads the same samples, or the other half of them."""

    @staticmethod
    def forward(
        ctx: Any,
        fields: Tensor,
        couplings: Tensor,
        rule: FromSamples,
        sampler: Sampler,
        shots: int,
        seed: Seed,
        independent_halves: bool,
    ) -> Tensor:
        model = IsingModel(fields.detach(), couplings.detach())
        samples = sampler.sample(model, shots=shots, seed=seed)
        first, second = deal_halves(samples, seed) if independent_halves else (samples, samples)
        ctx.save_for_backward(second.spins, second.weights, fields, couplings)
        ctx.shots, ctx.rule = second.shots, rule
        return rule.value(first, model)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        spins, weights, fields, couplings = ctx.saved_tensors
        # ⟨s⟩ = 2 P − 1, so the gradient on ⟨s⟩ is half the gradient on P
        with torch.autocast(upstream.device.type, enabled=False):
            model = IsingModel(fields.detach(), couplings.detach())
            gradient = ctx.rule.gradient(Samples(spins, weights, ctx.shots), model, upstream / 2)
        return gradient.fields, gradient.couplings, None, None, None, None, None
