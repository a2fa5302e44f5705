"""At which temperatures samples follow a model: one for its fields, one for its couplings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from classical.ising import IsingModel, symmetric
from classical.samples import Samples

_MOST_STEPS = 100
_LAST_STEP = 1e-9  # relative; Newton's steps square in size, so that nothing but rounding is left after it
_ROUNDING = 1e-12  # of ℓ, relative
_OPEN_ANGLE = 1e-9  # radians by which directions have to exceed half a turn to bound both temperatures


@dataclass(frozen=True)
class TemperatureFit:
    """Inverse temperatures that samples show, with standard errors.

    P(s) ∝ exp(β_h Σ_j h_j s_j + β_J Σ_{j<k} J_jk s_j s_k)

    Args:
        beta_field: β_h; nan where the model has no fields.
        beta_coupling: β_J; nan where the model has no couplings.
        field_error: standard error of β_h; nan where β_h is, or where weights are probabilities of unknown count.
        coupling_error: standard error of β_J, likewise.
        correlation: of the two errors, −1 to 1; nan unless there are both.
        configurations: how many shots were used, or None for probability weights.
    """

    beta_field: float
    beta_coupling: float
    field_error: float
    coupling_error: float
    correlation: float
    configurations: int | None


def fit_temperatures(samples: Samples, model: IsingModel) -> TemperatureFit:
    """Fit β_h and β_J to samples of a batch of models by maximum pseudolikelihood, all models together.

        maximize ℓ(β) = Σ_r w_r Σ_i log P(s_i | other spins),   P(s_i | other spins) = σ(2 β·x_i),
        x_i = s_i (h_i, Σ_k J_ik s_k)

    ℓ is concave; Newton's method finds its maximum. It needs no partition function and, for Boltzmann samples of
    independent shots, is consistent. For other laws it says which temperatures describe single spins among the others
    best. The n terms of a configuration depend on each other, so errors come from whole configurations ("sandwich"):

        Var β = H⁻¹ (Σ_r w_r u_r u_rᵀ) H⁻¹,   u_r = Σ_i 2σ(−2β·x_i) x_i,   H = −∂²ℓ

    A temperature whose part of every model is zero is nan; the other is then fitted alone.

    Args:
        samples: independent samples of the models, counted shots or probability weights.
        model: the models as the sampler was asked for them.

    Returns:
        The fit. Fields or couplings that arrive as they should give 1.

    Raises:
        ValueError: shapes that differ, no samples, a model with neither fields nor couplings, or samples that bound no
            temperature (such as frozen ones, in which every spin follows its field).

    Reference:
        J. Besag, The Statistician 24, 179 (1975); B. G. Lindsay, Contemporary Mathematics 80, 221 (1988).
    """
    x, count = _directions(samples, model)
    active = (x != 0).any(0).any(0)
    if not bool(active.any()):
        raise ValueError(
            "model has neither fields nor couplings that act on a sampled spin, so every temperature fits; give one "
            "that has, and samples of it"
        )
    _require_bounded(x.flatten(0, 1), active)
    beta = _maximize(x[..., active], count)
    return _fit(x[..., active], count, beta, active, samples.shots is not None)


def _directions(samples: Samples, model: IsingModel) -> tuple[Tensor, Tensor]:
    """x for every row with weight, (rows, spins, 2), and how many shots it stands for, (rows,), both float64."""
    expected = (model.groups, model.models, model.spins)
    found = (*samples.spins.shape[:2], samples.spins.shape[3])
    if found != expected:
        raise ValueError(f"samples are of {found} (groups, models, spins), but model has {expected}; they must agree")
    s = samples.spins.double()
    fields, couplings = model.fields.detach().double(), symmetric(model.couplings.detach().double())
    used = samples.weights > 0
    if not bool(used.any()):
        raise ValueError("samples hold no configuration with weight; draw at least one shot")
    by_field = (s * fields.unsqueeze(2))[used]
    by_coupling = (s * (s.flatten(1, 2) @ couplings).view_as(s))[used]
    count = samples.weights.double()[used] * (samples.shots or 1)
    return torch.stack([by_field, by_coupling], -1), count


def _require_bounded(x: Tensor, active: Tensor) -> None:
    """Refuse samples for which ℓ rises for ever, or stays level, along some direction of β.

    It does if and only if all x lie in one closed half-plane (with one temperature: on one side of zero).
    """
    if bool(active.all()):
        x = x[(x != 0).any(-1)]
        first = x[0]
        turn = torch.atan2(first[0] * x[:, 1] - first[1] * x[:, 0], x @ first)
        bounded = bool(turn.clamp(min=0).amax() - turn.clamp(max=0).amin() > math.pi + _OPEN_ANGLE)
    else:
        one = x[:, active]
        bounded = bool((one > 0).any() & (one < 0).any())
    if not bounded:
        raise ValueError(
            "samples bound no temperature: some β explains every spin as well as one wishes (all configurations may be "
            "equal, or frozen); draw more shots, of more models, or at higher temperature"
        )


def _maximize(x: Tensor, count: Tensor) -> Tensor:
    """β at the maximum of ℓ, (temperatures,)."""
    beta = x.new_zeros(x.shape[-1])
    value = _likelihood(x, count, beta)
    for _ in range(_MOST_STEPS):
        scores, information = _slope(x, count, beta)
        step = torch.linalg.solve(information, count @ scores)
        # ℓ is concave: it falls along a step only where the step is too long
        while bool((trial := _likelihood(x, count, beta + step)) < value - _ROUNDING * value.abs()):
            step = step / 2
        beta, value = beta + step, trial
        if bool((step.abs() <= _LAST_STEP * (1 + beta.abs())).all()):
            break
    return beta


def _likelihood(x: Tensor, count: Tensor, beta: Tensor) -> Tensor:
    """ℓ(β)."""
    return count @ torch.nn.functional.logsigmoid(2 * (x @ beta)).sum(-1)


def _slope(x: Tensor, count: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """Scores u of every configuration, (rows, temperatures), and H, (temperatures, temperatures)."""
    against = torch.sigmoid(-2 * (x @ beta))
    scores = 2 * (against.unsqueeze(-1) * x).sum(1)
    curvature = (4 * against * (1 - against) * count.unsqueeze(-1)).unsqueeze(-1) * x
    return scores, curvature.flatten(0, 1).T @ x.flatten(0, 1)


def _fit(x: Tensor, count: Tensor, beta: Tensor, active: Tensor, counted: bool) -> TemperatureFit:
    """The fit with its sandwich errors."""
    betas, errors, correlation = [math.nan] * 2, [math.nan] * 2, math.nan
    scores, information = _slope(x, count, beta)
    bread = torch.linalg.inv(information)
    covariance = bread @ ((scores * count.unsqueeze(-1)).T @ scores) @ bread
    for place, which in enumerate(active.nonzero().flatten().tolist()):
        betas[which] = float(beta[place])
        if counted:
            errors[which] = float(covariance[place, place].sqrt())
    if counted and len(beta) == 2:
        correlation = float(covariance[0, 1]) / (errors[0] * errors[1])
    return TemperatureFit(
        beta_field=betas[0],
        beta_coupling=betas[1],
        field_error=errors[0],
        coupling_error=errors[1],
        correlation=correlation,
        configurations=round(float(count.sum())) if counted else None,
    )
