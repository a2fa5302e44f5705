"""Exact derivatives of an annealed law, by running the anneal backwards.

With L a function of the law p(x) = |ψ(x)|², the co-state λ(x) = ∂L/∂p(x) ψ(x) at the end. Going back through the
inverse gates, a phase exp(iφ(x)) that acted on ψ has

    ∂L/∂φ(x) = 2 Im(λ(x) ψ(x)*)

with both taken behind (or before) that phase, so

    ∂L/∂h_i = Σ_x s_i(x) W_h(x),        W_h = Σ_k a_k ∂L/∂φ_k
    ∂L/∂J_ij = Σ_x s_i(x) s_j(x) W_J(x), W_J = Σ_k b_k ∂L/∂φ_k, summed over the models of a group

State and co-state are all there is: nothing is kept of the way forward, so memory does not grow with the steps.

Reference: T. Jones and J. Gacon, "Efficient calculation of gradients in classical simulations of variational quantum
algorithms", arXiv 2009.02823 (2020).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from classical.ising import IsingModel
from quantum.evolution import AngleTensors, Phases, configurations_of, evolve, halves, mix


class Gradient(NamedTuple):
    """Derivatives by fields, (groups, models, spins), and by couplings, (groups, spins, spins), strictly upper."""

    fields: Tensor
    couplings: Tensor


def differentiable(
    model: IsingModel,
    forward: Callable[[IsingModel], Tensor],
    backward: Callable[[IsingModel, Tensor], Gradient],
) -> Tensor:
    """What `forward` computes of a model, with the derivatives that `backward` computes.

    Only the model is kept in between.

    Args:
        model: what the anneal is fed (after any calibration).
        forward: anneals the model.
        backward: derivatives by the model, given those by the result.

    Returns:
        What `forward` returns, differentiable once in fields and couplings.
    """
    result: Tensor = _Differentiable.apply(model.fields, model.couplings, forward, backward)
    return result


class _Differentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, fields: Tensor, couplings: Tensor, forward: Any, backward: Any) -> Tensor:
        ctx.save_for_backward(fields, couplings)
        ctx.gradient = backward
        result: Tensor = forward(IsingModel(fields, couplings))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        fields, couplings = ctx.saved_tensors
        gradient = ctx.gradient(IsingModel(fields, couplings), upstream)
        return gradient.fields, gradient.couplings, None, None


def torch_gradient(model: IsingModel, angles: AngleTensors, upstream: Tensor) -> Gradient:
    """Derivatives of a function of the annealed law, by torch on any device.

    Args:
        model: what the anneal is fed.
        angles: K of each kind, in the dtype of the model.
        upstream: derivatives by the law, (groups, models, 2**spins).

    Returns:
        Derivatives by the fields and couplings that are fed.
    """
    with torch.no_grad():
        phases = Phases(model)
        state = evolve(model, angles).view(phases.shape)
        costate = state * upstream.view(phases.shape)
        by_field = torch.zeros_like(upstream).view(phases.shape)
        by_coupling = torch.zeros_like(by_field[:, 0])
        for a, b, theta in zip(*(values.flip(0) for values in angles), strict=True):
            state, costate = mix(state, -theta), mix(costate, -theta)
            overlap = 2 * (costate.imag * state.real - costate.real * state.imag)
            by_field.add_(overlap * a)
            by_coupling.add_(overlap.sum(1) * b)
            state, costate = phases.apply(state, -a, -b), phases.apply(costate, -a, -b)
        return Gradient(linear_moments(by_field.flatten(2)), pair_moments(by_coupling.flatten(1)))


def linear_moments(weights: Tensor) -> Tensor:
    """Σ_x weight(x) s_i(x).

    Args:
        weights: (…, 2**spins).

    Returns:
        (…, spins).
    """
    low, high, matrix = _as_matrix(weights)
    return torch.cat([matrix.sum(-2) @ low, matrix.sum(-1) @ high], -1)


def pair_moments(weights: Tensor) -> Tensor:
    """Σ_x weight(x) s_i(x) s_j(x) for i < j, and zero elsewhere.

    Args:
        weights: (…, 2**spins).

    Returns:
        (…, spins, spins), strictly upper.
    """
    low, high, matrix = _as_matrix(weights)
    within_low = low.T @ (matrix.sum(-2).unsqueeze(-1) * low)
    within_high = high.T @ (matrix.sum(-1).unsqueeze(-1) * high)
    across = (high.T @ matrix @ low).transpose(-1, -2)
    upper = torch.cat([within_low, across], -1)
    lower = torch.cat([torch.zeros_like(across.transpose(-1, -2)), within_high], -1)
    return torch.cat([upper, lower], -2).triu(1)


def linear_function(coefficients: Tensor) -> Tensor:
    """Σ_i g_i s_i(x) of every configuration.

    Args:
        coefficients: g, (…, spins).

    Returns:
        (…, 2**spins).
    """
    low, high = halves(coefficients.shape[-1])
    g = coefficients
    of_low = g[..., :low] @ configurations_of(low, g.device, g.dtype).T
    of_high = g[..., low:] @ configurations_of(high, g.device, g.dtype).T
    return (of_high.unsqueeze(-1) + of_low.unsqueeze(-2)).flatten(-2)


def _as_matrix(weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Configurations of both halves of the spins, and the weights as rows (high) and columns (low)."""
    low, high = halves(weights.shape[-1].bit_length() - 1)
    of_low = configurations_of(low, weights.device, weights.dtype)
    of_high = configurations_of(high, weights.device, weights.dtype)
    return of_low, of_high, weights.unflatten(-1, (2**high, 2**low))
