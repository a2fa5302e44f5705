"""The heat-bath kernel against dense transition matrices, and what a kernel of this kind must do."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from classical import IsingModel, heat_bath
from classical.distance import kl_divergence
from tests.contract import boltzmann, independent, swept
from tests.contract.case import batch


def random_law(model: IsingModel, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (model.groups, model.models, 2**model.spins)
    law = torch.rand(shape, generator=generator, dtype=torch.float64) ** 4
    return law / law.sum(-1, keepdim=True)


@pytest.mark.parametrize("spins", [1, 2, 5])
@pytest.mark.parametrize("sweeps", [0, 1, 3])
def test_it_is_the_product_of_dense_transition_matrices(spins: int, sweeps: int) -> None:
    model = batch(spins, seed=1, field=1.5, coupling=1.0)
    start = random_law(model)
    expected = swept(lambda _: start, sweeps)(model)
    torch.testing.assert_close(heat_bath(start, model, sweeps), expected, rtol=1e-12, atol=1e-14)


@given(st.integers(0, 10**6), st.floats(0.1, 3), st.floats(0.1, 3))
def test_the_boltzmann_law_stays_and_every_other_comes_closer(seed: int, field: float, coupling: float) -> None:
    model = batch(4, seed=seed, field=field, coupling=coupling)
    target, law = boltzmann(model), random_law(model, seed)
    torch.testing.assert_close(heat_bath(target, model, 1), target, rtol=1e-10, atol=1e-15)
    before = kl_divergence(model, law)
    for _ in range(3):
        law = heat_bath(law, model, 1)
        after = kl_divergence(model, law)
        assert bool((after <= before + 1e-12).all())
        before = after


def test_one_sweep_is_enough_without_couplings() -> None:
    model = batch(5, coupling=0.0)
    torch.testing.assert_close(heat_bath(random_law(model), model, 1), independent(model), rtol=1e-10, atol=1e-15)


def test_strong_models_stay_finite() -> None:
    model = batch(6, field=40.0, coupling=20.0)
    found = heat_bath(random_law(model), model, 2)
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 2, dtype=torch.float64))


def test_bad_input() -> None:
    model = batch(3)
    with pytest.raises(ValueError, match=r"law has shape \(2, 2, 4\); for this model it must be \(2, 2, 8\)"):
        heat_bath(torch.ones(2, 2, 4), model, 1)
    for sweeps in (-1, 1.0, True, None):
        with pytest.raises(ValueError, match=f"sweeps is {sweeps!r}; give an integer of at least 0"):
            heat_bath(random_law(model), model, sweeps)  # type: ignore[arg-type]
