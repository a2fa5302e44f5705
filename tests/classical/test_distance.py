"""Distances between laws, against hand-made laws and plain enumeration."""

from __future__ import annotations

import math

import pytest
import torch

from classical import ExactSampler, IsingModel, all_configurations
from classical.distance import kl_divergence, log_probabilities, total_variation


def batch(groups: int, models: int, spins: int, dtype: torch.dtype = torch.float64) -> IsingModel:
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(groups, models, spins, generator=generator, dtype=dtype)
    J = torch.randn(groups, spins, spins, generator=generator, dtype=dtype).triu(1)
    return IsingModel(h, J)


def test_log_probabilities_are_the_models_own() -> None:
    model = batch(2, 3, 5)
    s = all_configurations(5).expand(1, 1, -1, -1)
    expected = model.log_weight(s) - ExactSampler().log_partition(model).unsqueeze(-1)
    torch.testing.assert_close(log_probabilities(model), expected, rtol=1e-12, atol=1e-12)


def test_one_spin_by_hand() -> None:
    # P(+1) = σ(2h) against a law that gives it ¾
    model = IsingModel(torch.tensor([[[0.4]]], dtype=torch.float64), torch.zeros(1, 1, 1, dtype=torch.float64))
    p = 1 / (1 + math.exp(-0.8))
    expected = p * math.log(p / 0.75) + (1 - p) * math.log((1 - p) / 0.25)
    law = torch.tensor([[[0.75, 0.25]]], dtype=torch.float64)
    assert float(kl_divergence(model, law)) == pytest.approx(expected, rel=1e-12)
    assert float(total_variation(log_probabilities(model).exp(), law)) == pytest.approx(abs(p - 0.75), rel=1e-12)


def test_zero_from_itself_and_positive_from_others() -> None:
    model = batch(2, 3, 4)
    law = log_probabilities(model).exp()
    assert float(kl_divergence(model, law).abs().max()) < 1e-14
    assert float(kl_divergence(model, law.roll(1, -1)).min()) > 0
    # Pinsker: KL ≥ 2 TV²
    assert bool((kl_divergence(model, law.roll(1, -1)) >= 2 * total_variation(law, law.roll(1, -1)) ** 2).all())


def test_a_law_without_support_is_finite() -> None:
    model = batch(1, 1, 2, torch.float32)
    law = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
    assert bool(torch.isfinite(kl_divergence(model, law)).all())
    assert float(kl_divergence(model, law)) > 5


def test_gradient_reaches_the_law() -> None:
    model = batch(1, 2, 3)
    law = torch.full((1, 2, 8), 1 / 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda q: kl_divergence(model, q), (law,))


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"law has shape \(1, 2, 4\); .*\(1, 2, 8\)"):
        kl_divergence(batch(1, 2, 3), torch.full((1, 2, 4), 0.25))
    with pytest.raises(ValueError, match=r"first has shape \(4,\) but second \(8,\)"):
        total_variation(torch.ones(4), torch.ones(8))
