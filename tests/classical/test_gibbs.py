"""Gibbs chains: their law after any number of sweeps, their random numbers, and how fast they forget."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from classical import ExactSampler, GibbsSampler, IsingModel, heat_bath, mixing
from classical.chains import effective_sample_size, r_hat
from classical.product import product_spins
from classical.sweeps import sweep, sweep_by_tensors
from tests.contract import boltzmann, independent, swept
from tests.contract.case import batch
from tests.contract.laws import heat_bath_matrix
from tests.statistics import chi_squared_p


def chains(model: IsingModel, count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    seeds = torch.arange(seed, seed + model.groups * model.models).reshape(model.groups, model.models)
    own = torch.arange(10**6 * (seed + 1), 10**6 * (seed + 1) + seeds.numel() * count)
    return product_spins(model.fields, seeds, count), own.reshape(*seeds.shape, count)


@pytest.mark.parametrize(("spins", "count"), [(1, 3), (2, 64), (7, 50), (21, 33)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiled_sweeps_are_those_in_torch(spins: int, count: int, dtype: torch.dtype) -> None:
    model = batch(spins, groups=3, models=3, seed=4, field=1.5, coupling=1.0, dtype=dtype)
    start, seeds = chains(model, count)
    compiled = sweep(model, start, seeds, before=3, kept=4, every=2)
    torch.testing.assert_close(
        compiled, sweep_by_tensors(model, start, seeds, before=3, kept=4, every=2), rtol=0, atol=0
    )
    assert compiled.shape == (3, 3, count, 4, spins)
    single = sweep(model, start, seeds, before=5)  # what is kept is where the chain was then
    assert torch.equal(compiled[..., 1, :], single[..., 0, :])


def test_threads_change_nothing() -> None:
    model = batch(5, groups=4, models=5)
    threads = torch.get_num_threads()
    try:
        drawn = []
        for number in (1, 3):
            torch.set_num_threads(number)
            drawn.append(GibbsSampler(chains=40).sample(model, shots=333, seed=5).spins)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*drawn)


@pytest.mark.parametrize("burn_in", [1, 2, 5])
def test_the_law_after_few_sweeps_is_the_kernels(burn_in: int) -> None:
    model = batch(4, field=1.0, coupling=0.9, seed=3)
    samples = GibbsSampler(burn_in, chains=None).sample(model, shots=20_000, seed=7)
    law = swept(independent, burn_in)(model)
    torch.testing.assert_close(GibbsSampler(burn_in).probabilities(model), law, rtol=1e-10, atol=1e-14)
    assert chi_squared_p(samples, swept(independent, burn_in)(model)) > 1e-4
    # and a law that is one sweep further is told apart where it is still another
    other = swept(independent, burn_in + 1)(model)
    if burn_in == 1:
        assert chi_squared_p(samples, other) < 1e-4


def test_thinning_keeps_every_third() -> None:
    model = batch(3, groups=1, models=1)
    every = GibbsSampler(burn_in=4, thinning=1, chains=2).sample(model, shots=20, seed=1).spins.reshape(2, 10, 3)
    third = GibbsSampler(burn_in=4, thinning=3, chains=2).sample(model, shots=8, seed=1).spins.reshape(2, 4, 3)
    assert torch.equal(third, every[:, ::3])


def test_rows_that_do_not_divide_evenly_are_left_over() -> None:
    samples = GibbsSampler(chains=16).sample(batch(), shots=33, seed=0)
    assert samples.spins.shape[2] == 33
    assert samples.diagnostics == {"chains": 11, "rows": 3, "burn_in": 20, "thinning": 1}


def test_strong_and_many_spins() -> None:
    # a hundred spins in fields of ±30: every spin along its field
    fields = torch.where(torch.rand(1, 4, 100, generator=torch.Generator().manual_seed(1)) < 0.5, 30.0, -30.0)
    model = IsingModel(fields, torch.zeros(1, 100, 100))
    spins = GibbsSampler().sample(model, shots=64).spins
    assert torch.equal(spins, fields.sign().to(torch.int8).unsqueeze(2).expand_as(spins))


def transition(model: IsingModel) -> np.ndarray:
    """Transition matrix of a whole sweep."""
    law = boltzmann(model)[0, 0].numpy()
    matrix = np.eye(len(law))
    for spin in range(model.spins):
        matrix = matrix @ heat_bath_matrix(law, spin)
    return matrix


def test_effective_sample_size_is_that_of_the_transition_matrix() -> None:
    # τ = 1 + 2 Σ_t ρ_t of one spin's sign along the chain, by powers of the matrix
    model = IsingModel(torch.tensor([[[0.2, -0.1, 0.1]]]).double(), torch.full((1, 3, 3), 0.8).double().triu(1))
    law, matrix = boltzmann(model)[0, 0].numpy(), transition(model)
    s = 1.0 - 2.0 * (np.arange(8) & 1)
    centred, tau, moved = s - law @ s, 1.0, s - law @ s
    for _ in range(400):
        moved = matrix @ moved
        tau += 2 * (law * centred) @ moved / ((law * centred) @ centred)
    assert tau > 4  # correlated enough to tell
    samples = GibbsSampler(burn_in=50, chains=64).sample(model, shots=64 * 2000, seed=3)
    draws = samples.spins[0, 0, :, 0].double().reshape(64, 2000)
    found = float(effective_sample_size(draws)) / draws.numel()
    # the mean of 64 chains' autocovariances: τ's relative error is about √(8 τ / draws) for a sum cut near 4 τ
    assert found * tau == pytest.approx(1, abs=5 * (8 * tau / draws.numel()) ** 0.5)
    # and the mean of the chains spreads as it says
    spread = float(draws.mean(-1).var()) * 2000 / (1 - float(draws.mean()) ** 2)
    assert spread == pytest.approx(tau, rel=5 * (2 / 63) ** 0.5)


def test_independent_draws_count_fully_and_anticorrelated_ones_more() -> None:
    generator = torch.Generator().manual_seed(0)
    white = torch.randn(50, 8, 500, generator=generator, dtype=torch.float64)
    assert float(effective_sample_size(white).mean()) == pytest.approx(4000, rel=0.05)
    assert float(r_hat(white).amax()) < 1.01
    alternating = white[..., 1:] - 0.6 * white[..., :-1]
    assert float(effective_sample_size(alternating).mean()) > 2 * 4000


def test_chains_that_disagree_are_seen() -> None:
    # no fields and couplings so strong that a chain never turns all spins over
    model = IsingModel(torch.zeros(1, 1, 8), torch.full((1, 8, 8), 1.5).triu(1))
    stuck = mixing(GibbsSampler(chains=8).sample(model, shots=800, seed=0), model)
    assert float(stuck.r_hat) > 2
    assert float(stuck.effective_sample_size) < 30
    mild = batch(8, groups=1, models=1, coupling=0.1)
    free = mixing(GibbsSampler(chains=8).sample(mild, shots=8000, seed=0), mild)
    assert float(free.r_hat) < 1.01
    assert float(free.effective_sample_size) > 4000
    constant = torch.ones(2, 10)
    assert float(r_hat(constant)) == 1
    assert float(effective_sample_size(constant)) == 20


def test_default_chains_give_means_within_their_own_error() -> None:
    model = batch(6, groups=3, models=8, field=1.0, coupling=0.4)
    samples = GibbsSampler().sample(model, shots=4096, seed=2)
    exact = ExactSampler().mean(model)
    size = mixing(samples, model).effective_sample_size.unsqueeze(-1)
    error = ((1 - exact**2) / size).sqrt()
    assert bool(((samples.mean() - exact).abs() < 5 * error).all())


def test_where_the_kernel_needs_many_sweeps_so_do_the_chains() -> None:
    model = IsingModel(torch.full((1, 1, 4), 0.05).double(), torch.full((1, 4, 4), 0.9).double().triu(1))
    few = heat_bath(independent(model), model, 2)
    assert float((few - boltzmann(model)).abs().sum()) > 0.1
    samples = GibbsSampler(burn_in=2, chains=None).sample(model, shots=20_000, seed=1)
    assert chi_squared_p(samples, few) > 1e-4
    assert chi_squared_p(samples, boltzmann(model)) < 1e-9


@pytest.mark.parametrize("name", ["burn_in", "thinning", "chains"])
@pytest.mark.parametrize("value", [0, -3, 1.5, True])
def test_bad_settings(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}; give an integer of at least 1"):
        GibbsSampler(**{name: value})  # type: ignore[arg-type]


def test_mixing_needs_chains() -> None:
    model = batch()
    with pytest.raises(ValueError, match="samples do not say from which chains"):
        mixing(ExactSampler().sample(model, shots=16), model)
    with pytest.raises(ValueError, match="chains of 1 rows; take at least 4"):
        mixing(GibbsSampler(chains=None).sample(model, shots=16), model)
    with pytest.raises(ValueError, match="draws has 3 rows"):
        r_hat(torch.zeros(2, 3))
