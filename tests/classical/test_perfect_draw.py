"""Perfect samples: compiled and by torch they are the same, and each half follows its law."""

from __future__ import annotations

import pytest
import torch

from classical import ExactSampler, IsingModel, PerfectSamples, all_configurations, bilinear, perfect_draw
from classical.random import model_seeds, uniforms
from tests.statistics import chi_squared_p


def _model(spins: int, dtype: torch.dtype, seed: int = 0) -> IsingModel:
    g = torch.Generator().manual_seed(seed)
    h = torch.randn(2, 5, spins, generator=g, dtype=dtype)
    J = 0.5 * torch.randn(2, spins, spins, generator=g, dtype=dtype).triu(1)
    return IsingModel(h, J)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spins", [1, 2, 5, 8])
def test_compiled_samples_are_those_of_torch(spins: int, dtype: torch.dtype) -> None:
    model, shots = _model(spins, dtype), 300
    form = bilinear.solve(model.fields, model.couplings, None, False)
    halves = bilinear.halves(spins, dtype, model.fields.device)
    seeds = model_seeds(7, 2, 5, model.fields.device)
    compiled = perfect_draw.draw(form, halves, seeds, shots)
    assert torch.equal(compiled, perfect_draw.by_torch(form, halves, uniforms(seeds, 2 * shots)))


def test_no_models_give_no_samples() -> None:
    model = IsingModel(torch.zeros(2, 0, 3), torch.zeros(2, 3, 3))
    assert ExactSampler().sample(model, shots=4, seed=0).spins.shape == (2, 0, 4, 3)


def test_samples_follow_the_law_of_enumeration() -> None:
    model = _model(4, torch.float64)
    samples = PerfectSamples().sample(model, shots=20_000, seed=3)
    configurations = all_configurations(4).double()
    log_weight = model.fields @ configurations.T
    log_weight += torch.einsum("ci,gij,cj->gc", configurations, model.couplings, configurations)[:, None]
    assert chi_squared_p(samples, log_weight.softmax(-1)) > 1e-4
    assert chi_squared_p(samples, (1.05 * log_weight).softmax(-1)) < 1e-6
