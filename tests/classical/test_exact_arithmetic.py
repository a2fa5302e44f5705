"""Models whose sums leave the range of float32 or float64: the right arithmetic is chosen, and it is right."""

import math

import numpy as np
import pytest
import torch

from classical import ExactSampler, IsingModel, bilinear
from classical.exact import Arithmetic
from tests.classical.enumeration import law, laws, mean_gradient, random_model, single, table
from tests.statistics import chi_squared_p

EXACT = ExactSampler()


def opposed(spins: int, depth: float, dtype: torch.dtype = torch.float64) -> IsingModel:
    """An even number of spins whose ferromagnetic couplings oppose alternating fields: Z as small as exp(−depth).

    Fields as strong as h alternate, Σ|h| = depth, and couplings J pull all spins to one side with Σ J = depth − what
    they lose where spins alternate. One part in a hundred is added to each field so that no symmetry hides an error.
    """
    signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(spins)[:spins]
    pairs = spins * (spins - 1) / 2
    J = depth / (pairs + spins / 2)
    h = depth / spins * (1 + 0.01 * torch.linspace(-1, 1, spins, dtype=torch.float64))
    return single(signs * h, torch.full((spins, spins), J, dtype=torch.float64), dtype)


def bare(model: IsingModel) -> torch.Tensor:
    """Up-probabilities summed in the model's own dtype, whatever its range."""
    s = bilinear.halves(model.spins, model.fields.dtype, torch.device("cpu"))
    return bilinear.up_probability(bilinear.solve(model.fields, model.couplings, None, False), s)


def _chosen(model: IsingModel) -> Arithmetic:
    return Arithmetic(int(EXACT.arithmetic(model).item()))


def _strong(spins: int, kind: str, seed: int, dtype: torch.dtype) -> IsingModel:
    """Models with |h| ≤ 30 and |J| ≤ 5."""
    generator = torch.Generator().manual_seed(1000 * seed + spins)
    h = 60 * torch.rand(1, 4, spins, generator=generator, dtype=torch.float64) - 30
    J = (10 * torch.rand(1, spins, spins, generator=generator, dtype=torch.float64) - 5).triu(1)
    signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(spins)[:spins]
    if kind == "antiferromagnetic":  # every triangle is frustrated, and fields push all spins to one side
        h, J = h.abs() / 6, torch.full_like(J, -5).triu(1)
    elif kind == "opposed":
        h, J = h.abs() * signs, J.abs()
    elif kind == "weak fields":
        h = h / 300
    return IsingModel(h.to(dtype), J.to(dtype))


@pytest.mark.parametrize("kind", ["random", "antiferromagnetic", "opposed", "weak fields"])
@pytest.mark.parametrize("spins", [4, 5, 7, 8, 10, 12])
def test_strong_models_are_right_in_either_dtype(spins: int, kind: str) -> None:
    for seed in range(2):
        model = _strong(spins, kind, seed, torch.float32)
        actual = EXACT.mean(model).double()
        torch.testing.assert_close(actual, table(model, "mean"), rtol=0, atol=1e-3)
        torch.testing.assert_close(
            EXACT.log_partition(model).double(), table(model, "log_partition"), rtol=1e-5, atol=1e-3
        )
        model = _strong(spins, kind, seed, torch.float64)
        torch.testing.assert_close(EXACT.mean(model), table(model, "mean"), rtol=0, atol=1e-9)
        torch.testing.assert_close(EXACT.second_moment(model), table(model, "second"), rtol=0, atol=1e-9)


@pytest.mark.parametrize("spins", [8, 10, 12])
def test_float32_alone_would_be_wrong_where_float64_is_chosen(spins: int) -> None:
    model = opposed(spins, 101.0, torch.float32)
    expected = table(model, "up")
    forced = bare(model).double()
    assert not bool(((forced - expected).abs() < 1e-3).all())  # false for NaN too
    assert _chosen(model) == Arithmetic.FLOAT64
    torch.testing.assert_close(EXACT.up_probability(model).double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("spins", [8, 10, 12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float64_alone_would_be_wrong_where_logarithms_are_chosen(spins: int, dtype: torch.dtype) -> None:
    model = opposed(spins, 744.0, dtype)
    expected = table(model, "up")
    forced = bare(IsingModel(model.fields.double(), model.couplings.double()))
    assert not bool(((forced - expected).abs() < 1e-3).all())
    assert _chosen(model) == Arithmetic.LOGARITHMIC
    tolerance = 1e-6 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(EXACT.up_probability(model).double(), expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(EXACT.second_moment(model).double(), table(model, "second"), rtol=0, atol=tolerance)
    torch.testing.assert_close(
        EXACT.log_partition(model).double(), table(model, "log_partition"), rtol=1e-6, atol=tolerance
    )


def test_the_choice_follows_the_depth() -> None:
    for dtype, least in ((torch.float32, Arithmetic.FLOAT32), (torch.float64, Arithmetic.FLOAT64)):
        assert _chosen(opposed(8, 5.0, dtype)) == least
        assert _chosen(opposed(8, 90.0, dtype)) == Arithmetic.FLOAT64
        assert _chosen(opposed(8, 710.0, dtype)) == Arithmetic.LOGARITHMIC
    # strong fields alone do no harm where the couplings are too weak to oppose them
    aligned = single([15.0] * 8, torch.full((8, 8), 0.01), torch.float32)
    assert _chosen(aligned) == Arithmetic.FLOAT32


def test_the_strongest_ferromagnet_of_twelve_spins_is_summed_by_logarithms() -> None:
    signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(6)
    h = 30 * signs * (1 - 0.01 * torch.arange(12, dtype=torch.float64) / 12)
    model = single(h, torch.full((12, 12), 5.0))
    assert _chosen(model) == Arithmetic.LOGARITHMIC
    one = law(model.fields[0, 0], model.couplings[0])
    fields, couplings = model.fields.requires_grad_(), model.couplings.requires_grad_()
    mean = EXACT.mean(IsingModel(fields, couplings))
    torch.testing.assert_close(mean[0, 0], torch.from_numpy(one.mean.astype(float)), rtol=0, atol=1e-9)
    w = np.linspace(-1, 2, 12)
    gradients = torch.autograd.grad((mean[0, 0] * torch.from_numpy(w)).sum(), (fields, couplings))
    for actual, expected in zip(gradients, mean_gradient(one, w), strict=True):
        torch.testing.assert_close(actual.squeeze(), torch.from_numpy(expected.astype(float)), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("depth", [101.0, 744.0])
def test_gradients_and_second_derivatives_of_deep_models(depth: float) -> None:
    model = opposed(5, depth)
    h, J = model.fields.requires_grad_(), model.couplings.requires_grad_()
    w = np.linspace(-1, 2, 5)
    for moment, wanted in ((EXACT.mean, w), (EXACT.up_probability, w / 2)):
        value = (moment(IsingModel(h, J))[0, 0] * torch.from_numpy(w)).sum()
        gradients = torch.autograd.grad(value, (h, J))
        expected = mean_gradient(law(h[0, 0], J[0]), wanted)
        for actual, reference in zip(gradients, expected, strict=True):
            torch.testing.assert_close(
                actual.squeeze(), torch.from_numpy(reference.astype(float)), rtol=1e-8, atol=1e-10
            )
    assert torch.autograd.gradcheck(lambda h, J: EXACT.second_moment(IsingModel(h, J.triu(1))), (h, J), atol=1e-4)
    assert torch.autograd.gradgradcheck(lambda h, J: EXACT.mean(IsingModel(h, J.triu(1))), (h, J), atol=1e-4)


@pytest.mark.parametrize("depth", [30.0, 39.0, 60.0, 79.0, 300.0])
def test_second_derivatives_of_float32_models_do_not_overflow(depth: float) -> None:
    """They divide by Z²: a sum that float32 holds is not enough."""
    results = []
    for dtype in (torch.float32, torch.float64):
        model = opposed(8, depth)
        h, J = model.fields.to(dtype).requires_grad_(), model.couplings.to(dtype).requires_grad_()
        mean = EXACT.mean(IsingModel(h, J))
        first = torch.autograd.grad((mean * torch.linspace(-1, 2, 8)).sum(), (h, J), create_graph=True)
        results.append(torch.autograd.grad(sum((x**2).sum() for x in first), (h, J)))
    for single_precision, double_precision in zip(*results, strict=True):
        scale = double_precision.abs().max().item()
        torch.testing.assert_close(single_precision.double(), double_precision, rtol=1e-3, atol=1e-3 * (1 + scale))


def test_each_model_of_a_batch_has_its_own_arithmetic() -> None:
    depths = [[5.0, 744.0, 101.0, 5.0], [101.0, 101.0, 5.0, 744.0]]
    parts = [[opposed(6, depth, torch.float32).fields[0, 0] for depth in row] for row in depths]
    J = opposed(6, 744.0, torch.float32).couplings
    model = IsingModel(torch.stack([torch.stack(row) for row in parts]), torch.cat([J, J / 9]))
    assert set(EXACT.arithmetic(model).flatten().tolist()) == {0, 1, 2}
    mean = EXACT.mean(model)
    assert mean.dtype == torch.float32
    torch.testing.assert_close(mean.double(), table(model, "mean"), rtol=0, atol=1e-4)
    torch.testing.assert_close(EXACT.second_moment(model).double(), table(model, "second"), rtol=0, atol=1e-4)
    torch.testing.assert_close(EXACT.log_partition(model).double(), table(model, "log_partition"), rtol=1e-5, atol=0)

    h, J = model.fields.requires_grad_(), model.couplings.requires_grad_()
    w = np.linspace(-1, 2, 6)
    value = (EXACT.mean(IsingModel(h, J)) * torch.from_numpy(w)).sum()
    fields, couplings = torch.autograd.grad(value, (h, J))
    for g, group in enumerate(laws(model)):
        expected = [mean_gradient(one, w) for one in group]
        reference = np.array([part[0] for part in expected]).astype(float)
        torch.testing.assert_close(fields[g].double(), torch.from_numpy(reference), rtol=1e-3, atol=1e-4)
        reference = sum(part[1] for part in expected).astype(float)
        torch.testing.assert_close(couplings[g].double(), torch.from_numpy(reference), rtol=1e-3, atol=3e-4)

    seeds = torch.arange(8).view(2, 4)
    whole = EXACT.sample(model, shots=50, seed=seeds)
    alone = EXACT.sample(IsingModel(h[1:, 2:3].detach(), J[1:].detach()), shots=50, seed=seeds[1:, 2:3])
    assert torch.equal(whole.spins[1:, 2:3], alone.spins)


@pytest.mark.parametrize("depth", [5.0, 101.0, 744.0])
def test_samples_of_deep_models_follow_their_law(depth: float) -> None:
    model = opposed(4, depth, torch.float32)
    assert chi_squared_p(EXACT.sample(model, shots=20_000, seed=3), table(model, "probabilities")) > 1e-4


@pytest.mark.parametrize("field", [-4.0, -9.2, -16.0, -34.5])
@pytest.mark.parametrize("spins", [4, 7, 12])
def test_small_probabilities_keep_their_digits(spins: int, field: float) -> None:
    """From 1e-3 to 1e-30, in float32, where (1 + ⟨s⟩)/2 would keep none."""
    model = random_model(spins, groups=2, models=3, coupling=0.2, dtype=torch.float32)
    h = model.fields.clone()
    h[..., ::3] = field
    model = IsingModel(h, model.couplings)
    expected = table(model, "up")
    assert expected.min().item() < math.exp(2 * field + 3)
    torch.testing.assert_close(EXACT.up_probability(model).double(), expected, rtol=1e-4, atol=0)


def test_small_probabilities_of_deep_models_keep_their_digits() -> None:
    """Z and the probability each stay in float32's range here, but their product does not."""
    spins, found = 8, 0
    for seed in range(30):
        deep = opposed(spins, 38.0).fields[0, 0] * (1 + 0.2 * (seed % 5))
        h = deep.clone()
        h[seed % spins] = -30.0
        model = single(h, opposed(spins, 38.0).couplings[0], torch.float32)
        expected = table(model, "up")
        if expected.min().item() < 1e-37:
            continue
        found += int(not torch.allclose(bare(model).double(), expected, rtol=1e-3, atol=0))
        torch.testing.assert_close(EXACT.up_probability(model).double(), expected, rtol=1e-4, atol=0)
    assert found > 0  # the plain sum must fail somewhere, or this tests nothing


def test_masked_models_choose_by_what_is_left() -> None:
    model = opposed(8, 744.0)
    visible = torch.zeros(1, 1, 8, dtype=torch.bool)
    visible[..., ::2] = True
    keep = torch.arange(0, 8, 2)
    for scale in (0.01, 0.2, 1.0):
        part = model.scaled(scale, scale)
        one = law(part.fields[0, 0, keep], part.couplings[0][keep][:, keep])
        actual = EXACT.up_probability(part, visible)
        torch.testing.assert_close(actual[0, 0, keep], torch.from_numpy(one.up.astype(float)), rtol=1e-9, atol=0)
        assert not bool(actual[..., 1::2].any())


def test_masked_deep_models_have_gradients() -> None:
    """Logarithms of left-out configurations are −∞; none of that may reach a gradient."""
    model = opposed(5, 744.0)
    visible = torch.tensor([[[True, True, False, True, False]]])
    assert int(EXACT.arithmetic(model, visible).item()) == Arithmetic.LOGARITHMIC
    inputs = (model.fields.requires_grad_(), model.couplings.requires_grad_())

    def read(h: torch.Tensor, J: torch.Tensor) -> torch.Tensor:
        return EXACT.up_probability(IsingModel(h, J.triu(1)), visible)

    assert torch.autograd.gradcheck(read, inputs, atol=1e-4)
    assert torch.autograd.gradgradcheck(read, inputs, atol=1e-4)
