"""How far a law, or shots of it, are from the exact one: in probabilities, moments, temperatures and gradients.

Models come one to a group; laws and moments are (models, …). A gradient is that of L = w·⟨s⟩ by fields and couplings
together, one long vector for each model.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from classical import IsingModel, Samples, all_configurations, fit_temperatures
from classical.distance import kl_divergence
from hybrid_attention.estimators import FromSamples

_NONE = float("nan")


def exact_law(model: IsingModel) -> Tensor:
    """P(s) ∝ exp(log-weight), (models, 2**spins)."""
    log_weight = model.log_weight(all_configurations(model.spins)[None, None])
    return torch.softmax(log_weight, -1).squeeze(1)


def as_samples(law: Tensor) -> Samples:
    """Every configuration once, weighted by its probability.

    Args:
        law: (models, 2**spins).
    """
    spins = all_configurations(int(law.shape[-1]).bit_length() - 1)
    return Samples(spins.expand(len(law), 1, -1, -1), law.unsqueeze(1), None)


class Moments(NamedTuple):
    """Means (models, spins) and products of pairs (models, pairs)."""

    mean: Tensor
    pairs: Tensor


def moments(samples: Samples) -> Moments:
    """Moments of one model for each group."""
    n = samples.spins.shape[-1]
    rows, columns = np.triu_indices(n, 1)
    second = samples.second_moment().squeeze(1)
    return Moments(samples.mean().squeeze(1), second[:, rows, columns])


def rms(difference: Tensor) -> Tensor:
    """Root mean square over the last axis; nan where it is empty, as for the pairs of a single spin."""
    return difference.square().mean(-1).sqrt()


def gradient(rule: FromSamples, samples: Samples, model: IsingModel, upstream: Tensor) -> Tensor:
    """Estimated gradient, (models, spins + pairs).

    Args:
        rule: an estimator of `hybrid_attention.estimators`.
        samples: of the models.
        model: a group for each.
        upstream: w, (models, 1, spins).
    """
    found = rule.gradient(samples, model, upstream)
    rows, columns = np.triu_indices(model.spins, 1)
    return torch.cat([found.fields.squeeze(1), found.couplings[:, rows, columns]], -1)


def variance_of_one_shot(law: Tensor, upstream: Tensor) -> Tensor:
    """Variance of the covariance estimator, summed over its components, times the number of shots, (models,).

    Σ_t Var[(f − ⟨f⟩)(t − ⟨t⟩)],  t all spins and all products of pairs, to leading order in one over the shots

    Args:
        law: (models, 2**spins).
        upstream: w, (models, 1, spins).
    """
    s = all_configurations(upstream.shape[-1]).to(law)
    rows, columns = np.triu_indices(s.shape[1], 1)
    t = torch.cat([s, s[:, rows] * s[:, columns]], 1)
    f = upstream.squeeze(1) @ s.T
    f = f - (law * f).sum(-1, keepdim=True)
    mean, weight = law @ t, law * f.square()
    # t² = 1, so that ⟨f² (t − ⟨t⟩)²⟩ = ⟨f²⟩ (1 + ⟨t⟩²) − 2 ⟨t⟩ ⟨f² t⟩
    second = weight.sum(-1, keepdim=True) * (1 + mean.square()) - 2 * mean * (weight @ t)
    return (second - ((law * f) @ t).square()).sum(-1)


class Temperatures(NamedTuple):
    """Fitted inverse temperatures of one model and their errors; nan where there is none."""

    field: float = _NONE
    coupling: float = _NONE
    field_error: float = _NONE
    coupling_error: float = _NONE


def temperatures(samples: Samples, model: IsingModel) -> list[Temperatures]:
    """Temperatures of every model by itself.

    Samples that bound none, such as shots in which every spin follows its field, give nan: there is no fit to report.

    Args:
        samples: of the models.
        model: a group for each.
    """
    found = []
    for i in range(model.groups):
        one = IsingModel(model.fields[i : i + 1], model.couplings[i : i + 1])
        own = Samples(samples.spins[i : i + 1], samples.weights[i : i + 1], samples.shots)
        try:
            fit = fit_temperatures(own, one)
        except ValueError:
            found.append(Temperatures())
        else:
            found.append(Temperatures(fit.beta_field, fit.beta_coupling, fit.field_error, fit.coupling_error))
    return found


def kl_at(fits: list[Temperatures], model: IsingModel, law: Tensor) -> Tensor:
    """KL(Boltzmann at the fitted temperatures ‖ law) of every model, nan where there is no fit.

    Args:
        fits: of each model; a nan for a part that the model does not have counts as 1.
        model: a group for each.
        law: (models, 2**spins).
    """
    h = torch.tensor([1.0 if np.isnan(fit.field) else fit.field for fit in fits], dtype=law.dtype)
    J = torch.tensor([1.0 if np.isnan(fit.coupling) else fit.coupling for fit in fits], dtype=law.dtype)
    fitted = IsingModel(model.fields * h[:, None, None], model.couplings * J[:, None, None])
    found = kl_divergence(fitted, law.unsqueeze(1)).squeeze(1)
    nothing = torch.tensor([np.isnan(fit.field) and np.isnan(fit.coupling) for fit in fits])
    return found.masked_fill(nothing, _NONE)
