"""Continuous Hopfield networks: the update is attention, descends, and has fixed points of three kinds."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from classical.modern_hopfield import ContinuousHopfield


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_one_update_is_softmax_attention(dtype: torch.dtype, rtol: float) -> None:
    keys, queries = normal(2, 3, 7, 16, dtype=dtype), normal(2, 3, 5, 16, seed=1, dtype=dtype)
    updated = ContinuousHopfield(keys).update(queries)
    attention = F.scaled_dot_product_attention(queries, keys, keys)
    torch.testing.assert_close(updated, attention, rtol=rtol, atol=rtol)


sizes = st.integers(1, 12)


@given(sizes, sizes, st.floats(0.01, 100), st.floats(0.01, 20), st.integers(0, 10**6))
def test_energy_is_not_negative_and_never_rises(count: int, width: int, beta: float, scale: float, seed: int) -> None:
    network = ContinuousHopfield(normal(count, width, seed=seed), beta)
    state = scale * normal(6, width, seed=seed + 1)
    # rounding: of ½|ξ|², of the largest exponent over β, and of the constants
    size = state.square().sum(-1).max() + network.patterns.square().sum(-1).max() + 1 / beta
    slack = 1e-13 * size.item() * width
    energy = network.energy(state)
    for _ in range(8):
        state = network.update(state)
        after = network.energy(state)
        assert bool((after <= energy + slack).all())
        assert bool((after >= -slack).all())
        energy = after


def test_energy_is_the_formula() -> None:
    x, state, beta = normal(4, 3), normal(2, 3, seed=1), 0.7
    norm = max(float(row @ row) for row in x)
    for row, value in zip(state, ContinuousHopfield(x, beta).energy(state), strict=True):
        total = sum(torch.exp(beta * (one @ row)).item() for one in x)
        expected = (
            -torch.tensor(total).double().log() / beta + row @ row / 2 + torch.tensor(4.0).log() / beta + norm / 2
        )
        assert value.item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_update_is_a_step_of_one_down_the_gradient() -> None:
    network = ContinuousHopfield(normal(3, 9, 6), 1.3)
    state = normal(3, 4, 6, seed=1).requires_grad_()
    (gradient,) = torch.autograd.grad(network.energy(state).sum(), state)
    torch.testing.assert_close(network.update(state), state - gradient, rtol=1e-12, atol=1e-12)


def test_update_is_differentiable_in_patterns_and_state() -> None:
    x, state = normal(4, 3).requires_grad_(), normal(2, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: ContinuousHopfield(a, 0.8).update(b), (x, state))


def test_fixed_points_of_three_kinds() -> None:
    # two close pairs and a lone pattern, on a sphere
    base = F.normalize(normal(3, 64), dim=-1)
    near = F.normalize(base[:2] + 0.02 * normal(2, 64, seed=1), dim=-1)
    x = 8 * torch.cat([base, near])
    query = x[:1]
    cold, warm, hot = (ContinuousHopfield(x, beta).recall(query, most=5000) for beta in (20.0, 0.3, 0.001))
    assert all(bool(found.settled.all()) for found in (cold, warm, hot))
    torch.testing.assert_close(cold.state, x[:1], rtol=0, atol=1e-4 * 8)
    torch.testing.assert_close(warm.state, x[[0, 3]].mean(0, keepdim=True), rtol=0, atol=0.02 * 8)
    torch.testing.assert_close(hot.state, x.mean(0, keepdim=True), rtol=0, atol=0.05)
    assert bool((ContinuousHopfield(x, 0.001).weights(hot.state) < 0.25).all())


def test_recall_stops_where_it_is_told_and_counts() -> None:
    network = ContinuousHopfield(normal(6, 8), 0.2)
    state = 3 * normal(4, 8, seed=1)
    cut = network.recall(state, most=2, tolerance=1e-12)
    torch.testing.assert_close(cut.state, network.update(network.update(state)))
    assert cut.updates.tolist() == [2] * 4
    assert not bool(cut.settled.any())
    full = network.recall(state, most=2000)
    assert bool(full.settled.all())
    assert bool((full.updates > 2).all())
    torch.testing.assert_close(network.update(full.state), full.state, rtol=0, atol=1e-5)


def test_exponents_of_any_size_are_summed() -> None:
    network = ContinuousHopfield(1000 * normal(5, 4), 10.0)
    state = 1000 * normal(3, 4, seed=1)
    assert bool(torch.isfinite(network.energy(state)).all())
    assert bool(torch.isfinite(network.update(state)).all())


X = torch.ones(3, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ContinuousHopfield(X.int()), "patterns is torch.int32"),
        (lambda: ContinuousHopfield([1.0]), "patterns is list"),
        (lambda: ContinuousHopfield(X[0]), r"patterns has shape \(2,\)"),
        (lambda: ContinuousHopfield(X, 0.0), "beta is 0.0; give an inverse temperature above 0"),
        (lambda: ContinuousHopfield(X).update(torch.ones(1, 3)), r"state has shape \(1, 3\)"),
        (lambda: ContinuousHopfield(X).update(X.double()), "dtype torch.float64"),
        (lambda: ContinuousHopfield(X).recall(X, most=0), "most is 0"),
        (lambda: ContinuousHopfield(X).recall(X, tolerance=0.0), "tolerance is 0.0"),
    ],
)
def test_what_does_not_fit_is_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
