"""Polished samples, the product law and the ghost spin."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from classical import ExactSampler, GhostSpin, IsingModel, Polished, ProductSampler, Samples, all_configurations
from classical.ghost_spin import with_ghost
from quantum import AerSampler, AnnealSchedule, StatevectorSampler
from tests.contract import anneal, boltzmann, ghosted, independent, swept
from tests.contract.case import batch
from tests.statistics import chi_squared_p

LINEAR = AnnealSchedule.linear(3.0)


@dataclass(frozen=True)
class Histogram:
    """Gives the first configurations, counted or with probabilities for weights."""

    counted: bool

    def sample(self, model: IsingModel, *, shots: int, seed: object = 0) -> Samples:
        weights = torch.tensor([0.5, 0.25, 0.25, 0.0], dtype=model.fields.dtype)
        rows = all_configurations(model.spins)[:4]
        return Samples(
            rows.expand(model.groups, model.models, -1, -1).contiguous(),
            weights.expand(model.groups, model.models, -1),
            shots if self.counted else None,
            {"kept": True},
        )


@pytest.mark.parametrize("sweeps", [1, 2])
def test_its_law_is_the_kernel_applied_to_the_samplers(sweeps: int) -> None:
    model = batch(5, field=1.0, coupling=0.8)
    found = Polished(StatevectorSampler(LINEAR, 6), sweeps).probabilities(model)
    torch.testing.assert_close(found, swept(anneal(LINEAR, 6), sweeps)(model), rtol=1e-5, atol=1e-7)


def test_counted_rows_are_polished_apart_and_probabilities_keep_their_rows() -> None:
    model = batch(4, field=0.3)
    counted = Polished(Histogram(counted=True)).sample(model, shots=8, seed=0)
    assert counted.spins.shape == (2, 2, 8, 4)
    assert counted.shots == 8
    assert bool((counted.weights == 1 / 8).all())
    assert counted.diagnostics == {"kept": True, "polish": 1}
    weighted = Polished(Histogram(counted=False)).sample(model, shots=8, seed=0)
    assert weighted.spins.shape == (2, 2, 4, 4)
    assert weighted.shots is None
    assert torch.equal(weighted.weights, Histogram(counted=False).sample(model, shots=8).weights)


def test_rows_start_where_the_sampler_left_them() -> None:
    # couplings so strong that a sweep cannot leave the side it starts on
    model = IsingModel(torch.zeros(1, 1, 4), torch.full((1, 4, 4), 9.0).triu(1))
    samples = Polished(Histogram(counted=True)).sample(model, shots=400, seed=3)
    # ++++ stays; −+++, +−++ and −−++ follow the rest, spin by spin; from the product law it would be either side
    assert samples.spins.sum(-1).unique().tolist() == [4]
    others = Polished(ProductSampler()).sample(model, shots=400, seed=3)
    assert others.spins.sum(-1).unique().tolist() == [-4, 4]


def test_no_sweeps_leave_everything_as_it_was() -> None:
    model = batch()
    plain = AerSampler(LINEAR, 4).sample(model, shots=50, seed=3)
    same = Polished(AerSampler(LINEAR, 4), 0).sample(model, shots=50, seed=3)
    assert torch.equal(plain.spins, same.spins)
    assert torch.equal(plain.weights, same.weights)


def test_polish_does_not_reuse_the_samplers_random_numbers() -> None:
    # from the product law one sweep of a model without couplings is a second, independent draw of it
    model = batch(3, groups=1, models=2, coupling=0.0, field=0.1)
    first = ProductSampler().sample(model, shots=20_000, seed=5).spins.double()
    second = Polished(ProductSampler()).sample(model, shots=20_000, seed=5).spins.double()
    correlation = torch.einsum("gmri,gmrj->mij", first - first.mean(2, True), second - second.mean(2, True)) / 20_000
    assert float(correlation.abs().max()) < 5 / 20_000**0.5


def test_limits_of_the_sampler_are_its_own() -> None:
    assert Polished(ExactSampler()).max_spins == ExactSampler().max_spins
    assert not hasattr(Polished(ProductSampler()), "max_spins")
    assert GhostSpin(AerSampler(LINEAR, 4, max_spins=6)).max_spins == 5
    with pytest.raises(ValueError, match="sampler holds 1 spin"):
        GhostSpin(AerSampler(LINEAR, 4, max_spins=1))
    for sweeps in (-1, 1.0, True):
        with pytest.raises(ValueError, match=f"sweeps is {sweeps}; give an integer of at least 0"):
            Polished(ProductSampler(), sweeps)  # type: ignore[arg-type]
    for wrapper in (Polished(Histogram(True)), GhostSpin(Histogram(True))):
        with pytest.raises(TypeError, match="Histogram has no probabilities"):
            wrapper.probabilities(batch(3))


def test_product_law() -> None:
    model = batch(5, field=2.0)
    torch.testing.assert_close(ProductSampler().probabilities(model), independent(model), rtol=1e-12, atol=0)
    many = IsingModel(torch.full((1, 2, 300), 0.4), torch.zeros(1, 300, 300))
    spins = ProductSampler().sample(many, shots=200, seed=1).spins.double()
    mean = float(torch.tanh(torch.tensor(0.4)))
    assert float(spins.mean()) == pytest.approx(mean, abs=5 * ((1 - mean**2) / spins.numel()) ** 0.5)


def test_ghost_model_has_the_fields_as_couplings() -> None:
    model = batch(3, groups=2, models=2)
    ghost = with_ghost(model)
    assert (ghost.groups, ghost.models, ghost.spins) == (4, 1, 4)
    s = all_configurations(3)[None, None]
    for sign in (1, -1):
        whole = torch.cat([s * sign, torch.full((1, 1, 8, 1), sign, dtype=torch.int8)], -1)
        torch.testing.assert_close(
            ghost.log_weight(whole.expand(4, 1, -1, -1)).reshape(2, 2, 8), model.log_weight(s), rtol=1e-12, atol=1e-12
        )


def test_ghost_law_of_an_anneal_and_of_boltzmann() -> None:
    model = batch(4, field=1.0, coupling=0.6)
    # the state vector is in single precision
    found = GhostSpin(StatevectorSampler(LINEAR, 8)).probabilities(model)
    torch.testing.assert_close(found, ghosted(anneal(LINEAR, 8))(model), rtol=1e-5, atol=1e-7)
    samples = GhostSpin(ExactSampler()).sample(model, shots=20_000, seed=3)
    assert chi_squared_p(samples, boltzmann(model)) > 1e-4
    assert chi_squared_p(samples, ghosted(anneal(LINEAR, 8))(model)) < 1e-9


def test_ghost_seeds() -> None:
    model = batch(3)
    with pytest.raises(ValueError, match=r"shape \(groups, models\) = \(2, 2\)"):
        GhostSpin(ExactSampler()).sample(model, shots=4, seed=torch.zeros(2, 3, dtype=torch.int64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiled_draws_are_those_in_torch(dtype: torch.dtype) -> None:
    from classical.product import product_spins
    from classical.random import uniforms

    fields = 2 * torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    seeds = torch.arange(-5, 5).reshape(2, 5) * 2**50
    u = uniforms(seeds, 33 * 7).reshape(2, 5, 33, 7)
    expected = torch.where(u < torch.sigmoid(2 * fields.double()).unsqueeze(2), 1, -1).to(torch.int8)
    assert torch.equal(product_spins(fields, seeds, 33), expected)
