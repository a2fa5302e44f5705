"""The mean in autograd against enumeration, finite differences and naive sums over samples."""

import math

import numpy as np
import pytest
import torch
from enumeration import gradients, mean
from injected_samplers import AggregatedSampler, LawSampler, PerfectSampler

from classical import ExactSampler, IsingModel, Samples
from hybrid_attention import boltzmann_mean, boltzmann_probability
from hybrid_attention.estimators import covariance_gradient


def random_model(groups, models, spins, seed=0, dtype=torch.float64, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    h = scale * torch.randn(groups, models, spins, generator=generator, dtype=torch.float64)
    J = scale * torch.randn(groups, spins, spins, generator=generator, dtype=torch.float64).triu(1) * spins**-0.5
    return h.to(dtype).requires_grad_(), J.to(dtype).requires_grad_()


def backward(h, J, upstream, **options):
    """Gradients of upstream · ⟨s⟩, and ⟨s⟩ itself."""
    value = boltzmann_mean(h, J, **options)
    by_h, by_J = torch.autograd.grad((value * upstream).sum(), (h, J))
    return value.detach(), by_h, by_J


def enumerated(h, J, upstream):
    """Mean and gradients by enumeration and central differences, J's summed over models."""
    groups, models, spins = h.shape
    value, by_h, by_J = np.zeros(h.shape), np.zeros(h.shape), np.zeros((groups, spins, spins))
    h, J, upstream = (x.detach().double().numpy() for x in (h, J, upstream))
    for g in range(groups):
        for m in range(models):
            value[g, m] = mean(h[g, m], J[g])
            by_h[g, m], one = gradients(h[g, m], J[g], upstream[g, m])
            by_J[g] += one
    return tuple(torch.from_numpy(x) for x in (value, by_h, by_J))


@pytest.mark.parametrize("sampler", [ExactSampler(), LawSampler()], ids=["closed form", "covariance of the whole law"])
def test_mean_and_gradients_equal_the_reference_values(golden, sampler):
    for case in golden["cases"]:
        h = torch.tensor(case["fields"], dtype=torch.float64)[None, None].requires_grad_()
        J = torch.tensor(case["couplings"], dtype=torch.float64)[None].requires_grad_()
        w = torch.tensor(case["loss_weights"], dtype=torch.float64)
        value, by_h, by_J = backward(h, J, w, sampler=sampler)
        for got, name in ((value[0, 0], "mean"), (by_h[0, 0], "grad_fields"), (by_J[0], "grad_couplings")):
            torch.testing.assert_close(got, torch.tensor(case[name], dtype=torch.float64), rtol=0, atol=1e-8)


@pytest.mark.parametrize("sampler", [ExactSampler(), LawSampler()], ids=["closed form", "covariance of the whole law"])
@pytest.mark.parametrize(("groups", "models", "spins"), [(1, 1, 1), (2, 3, 4), (3, 1, 5)])
def test_mean_and_gradients_equal_enumeration(sampler, groups, models, spins):
    h, J = random_model(groups, models, spins, seed=spins)
    upstream = torch.randn(groups, models, spins, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    for got, expected in zip(backward(h, J, upstream, sampler=sampler), enumerated(h, J, upstream), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-8)  # central differences are right to 1e-9


def naive_gradients(samples, upstream, bessel):
    """The covariance formulas as sums over rows, models and pairs."""
    groups, models, rows, spins = samples.spins.shape
    s, w, g = (x.double().numpy() for x in (samples.spins, samples.weights, upstream))
    by_h, by_J = np.zeros((groups, models, spins)), np.zeros((groups, spins, spins))
    for a in range(groups):
        for m in range(models):
            f = [sum(g[a, m, i] * s[a, m, r, i] for i in range(spins)) for r in range(rows)]
            mean_f = sum(w[a, m, r] * f[r] for r in range(rows))
            for j in range(spins):
                mean_j = sum(w[a, m, r] * s[a, m, r, j] for r in range(rows))
                by_h[a, m, j] = bessel * sum(
                    w[a, m, r] * (f[r] - mean_f) * (s[a, m, r, j] - mean_j) for r in range(rows)
                )
                for k in range(j + 1, spins):
                    mean_jk = sum(w[a, m, r] * s[a, m, r, j] * s[a, m, r, k] for r in range(rows))
                    by_J[a, j, k] += bessel * sum(
                        w[a, m, r] * (f[r] - mean_f) * (s[a, m, r, j] * s[a, m, r, k] - mean_jk) for r in range(rows)
                    )
    return torch.from_numpy(by_h), torch.from_numpy(by_J)


@pytest.mark.parametrize("counted", [True, False], ids=["counted shots", "probability weights"])
def test_covariance_equals_naive_sums(counted):
    generator = torch.Generator().manual_seed(3)
    rows, shots = 6, 17
    spins = (2 * torch.randint(2, (2, 3, rows, 4), generator=generator) - 1).to(torch.int8)
    weights = torch.rand(2, 3, rows, generator=generator, dtype=torch.float64)
    weights[..., -1] = 0  # padding
    weights = weights / weights.sum(-1, keepdim=True)
    upstream = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)
    got = covariance_gradient(Samples(spins, weights, shots if counted else None), upstream)
    expected = naive_gradients(Samples(spins, weights, None), upstream, shots / (shots - 1) if counted else 1.0)
    for x, y in zip(got, expected, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-14)


def test_covariance_in_pieces_equals_covariance_at_once(monkeypatch):
    h, J = random_model(2, 7, 4)
    samples = ExactSampler().sample(IsingModel(h.detach(), J.detach()), shots=20, seed=0)
    upstream = torch.ones(2, 7, 4, dtype=torch.float64)
    whole = covariance_gradient(samples, upstream)
    monkeypatch.setattr("hybrid_attention.estimators._ELEMENTS_AT_ONCE", 2 * 20 * 4 * 3)
    for x, y in zip(covariance_gradient(samples, upstream), whole, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-14)


def test_aggregated_rows_equal_expanded_rows():
    h, J = random_model(2, 3, 4)
    upstream = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expanded = backward(h, J, upstream, sampler=PerfectSampler(), shots=50, seed=3)
    aggregated = backward(h, J, upstream, sampler=AggregatedSampler(), shots=50, seed=3)
    for x, y in zip(expanded, aggregated, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-14)


def test_forward_is_the_weighted_mean_of_the_samples_and_backward_draws_none():
    h, J = random_model(2, 3, 4)
    sampler = PerfectSampler()
    value = boltzmann_mean(h, J, sampler=sampler, shots=30, seed=5)
    assert len(sampler.calls) == 1
    model, shots, seed = sampler.calls[0]
    assert (shots, seed) == (30, 5)
    assert not model.fields.requires_grad
    assert not model.couplings.requires_grad
    samples = ExactSampler().sample(model, shots=30, seed=5)
    torch.testing.assert_close(value.detach(), samples.spins.double().mean(2), rtol=1e-12, atol=1e-14)
    value.square().sum().backward()
    assert len(sampler.calls) == 1


def test_couplings_gradient_is_strictly_upper_and_summed_over_models():
    h, J = random_model(1, 5, 4)
    upstream = torch.randn(1, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    seeds = torch.arange(5)[None]
    _, _, together = backward(h, J, upstream, sampler=PerfectSampler(), shots=40, seed=seeds)
    apart = [
        backward(h[:, [m]], J, upstream[:, [m]], sampler=PerfectSampler(), shots=40, seed=seeds[:, [m]])[2]
        for m in range(5)
    ]
    torch.testing.assert_close(together, sum(apart), rtol=1e-12, atol=1e-13)
    assert not together.tril().any()
    assert together[0].triu(1)[torch.triu_indices(4, 4, 1).unbind()].all()


def estimates(copies, spins, shots, seed):
    """Independent gradient estimates for one model, (copies, spins + pairs), and their exact counterpart."""
    h, J = random_model(1, 1, spins, seed=seed)
    upstream = torch.randn(spins, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    upper = torch.triu_indices(spins, spins, 1).unbind()

    def flat(by_h, by_J):
        return torch.cat([by_h[:, 0], by_J[:, upper[0], upper[1]]], 1)

    copied = [x.detach().expand(copies, -1, -1).clone().requires_grad_() for x in (h, J)]
    _, by_h, by_J = backward(*copied, upstream, sampler=PerfectSampler(), shots=shots, seed=1000 + shots)
    _, exact_h, exact_J = enumerated(h, J, upstream[None, None])
    return flat(by_h, by_J), flat(exact_h, exact_J)[0]


def test_gradient_is_unbiased_and_would_not_be_without_bessel():
    copies, shots = 20_000, 8
    found, exact = estimates(copies, 5, shots, seed=4)
    error = found.std(0) / math.sqrt(copies)
    assert ((found.mean(0) - exact).abs() < 5 * error).all()
    assert ((found.mean(0) * (shots - 1) / shots - exact).abs() > 5 * error).any()
    assert ((found.mean(0) + exact).abs() > 5 * error).any()


def test_gradient_error_falls_as_one_over_the_root_of_the_shots():
    shots, copies = [64, 256, 1024, 4096], 512
    errors = []
    for count in shots:
        found, exact = estimates(copies, 5, count, seed=6)
        errors.append((found - exact).square().mean().sqrt().item())
    x, y = np.log(shots), np.log(errors)
    slope = np.polyfit(x, y, 1)[0]
    # log of a root mean square over N copies is uncertain by at most 1/√(2N), whatever the components have in common
    uncertainty = 1 / math.sqrt(2 * copies) / np.sqrt(((x - x.mean()) ** 2).sum())
    assert abs(slope + 0.5) < 5 * uncertainty


@pytest.mark.parametrize("seed", range(3))
def test_gradient_points_the_right_way_at_4096_shots(seed):
    h, J = random_model(4, 16, 8, seed=seed)
    upstream = torch.randn(4, 16, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    sampled = backward(h, J, upstream, sampler=PerfectSampler(), shots=4096, seed=seed)[1:]
    exact = backward(h, J, upstream, sampler=ExactSampler())[1:]
    for x, y in zip(sampled, exact, strict=True):
        assert torch.cosine_similarity(x.flatten(), y.flatten(), 0) > 0.99
        assert abs(x.norm() / y.norm() - 1) < 0.05


def test_same_seed_same_samples_other_seed_others():
    h, J = random_model(2, 3, 4)
    values = [boltzmann_mean(h, J, sampler=PerfectSampler(), shots=20, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sampler", [ExactSampler(), PerfectSampler()], ids=["exact", "samples"])
def test_dtype_follows_the_input(dtype, sampler):
    h, J = random_model(1, 2, 3, dtype=dtype)
    for tensor in backward(h, J, torch.ones(1, 2, 3, dtype=dtype), sampler=sampler, shots=10):
        assert tensor.dtype == dtype


@pytest.mark.parametrize("sampler", [ExactSampler(), PerfectSampler()], ids=["exact", "samples"])
def test_autocast_does_not_touch_the_sums(sampler):
    h, J = random_model(1, 20, 5, dtype=torch.float32)
    upstream = torch.randn(1, 20, 5, generator=torch.Generator().manual_seed(0))
    plain = boltzmann_mean(h, J, sampler=sampler, shots=100)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = boltzmann_mean(h, J, sampler=sampler, shots=100)
    slopes = [torch.autograd.grad((value * upstream).sum(), (h, J)) for value in (plain, mixed)]
    for x, y in zip((plain, *slopes[0]), (mixed, *slopes[1]), strict=True):
        assert y.dtype == torch.float32
        torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sampler", [ExactSampler(), LawSampler()], ids=["closed form", "whole law"])
def test_small_probabilities_keep_their_digits(sampler):
    h = torch.tensor([[[-9.0, -0.5]]])  # e^-18 = 1.5e-8 is lost in 1 + ⟨s⟩ in float32
    found = boltzmann_probability(h, torch.zeros(1, 2, 2), sampler=sampler)
    torch.testing.assert_close(found, torch.sigmoid(2 * h.double()).float(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("shots", [1, 0, -3, 2.0, True])
def test_fewer_than_two_shots_are_refused_before_sampling(shots):
    h, J = random_model(1, 1, 2)
    sampler = PerfectSampler()
    with pytest.raises(ValueError, match=rf"shots is {shots!r}; give an integer of at least 2"):
        boltzmann_mean(h, J, sampler=sampler, shots=shots)
    assert not sampler.calls


@pytest.mark.parametrize(
    ("h", "J", "message"),
    [
        (torch.zeros(1, 1, 2), torch.ones(1, 2, 2), r"couplings\[0, 0, 0\]"),
        (torch.zeros(1, 1, 2), torch.zeros(1, 3, 3), "couplings has shape"),
        (torch.zeros(1, 2), torch.zeros(1, 2, 2), "fields has shape"),
        (torch.full((1, 1, 2), -torch.inf), torch.zeros(1, 2, 2), "fields contains -inf"),
        (torch.zeros(1, 1, 2), torch.zeros(1, 2, 2, dtype=torch.float64), "same dtype"),
        (torch.zeros(1, 1, 2, dtype=torch.bfloat16), torch.zeros(1, 2, 2), "dtype torch.bfloat16"),
    ],
)
@pytest.mark.parametrize("sampler", [ExactSampler(), PerfectSampler()], ids=["exact", "samples"])
def test_bad_models_are_refused(h, J, message, sampler):
    with pytest.raises(ValueError, match=message):
        boltzmann_mean(h, J, sampler=sampler)


def test_a_mask_is_for_closed_forms_only():
    h, J = random_model(1, 1, 2)
    with pytest.raises(ValueError, match="PerfectSampler takes none"):
        boltzmann_probability(h, J, sampler=PerfectSampler(), visible=torch.ones(1, 1, 2, dtype=torch.bool))
