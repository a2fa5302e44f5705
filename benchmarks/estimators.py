"""Bias and variance of every gradient estimator, against the exact gradient.

python -m benchmarks.estimators

Models h ~ N(0, 1), J ~ N(0, σ²/n), n = 8, upstream gradient g ~ N(0, 1), float64. Figures are means over models ± their
standard error.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.timing import one_thread
from classical import ExactSampler, IsingModel, Samples, all_configurations
from classical.random import derive_seeds
from hybrid_attention.estimators import ESTIMATORS, FromSamples, Gradient, exact_gradient
from hybrid_attention.halves import deal_halves
from quantum import AnnealSchedule, calibrate
from quantum.evolution import angle_tensors, evolve, probabilities

SPINS = 8
READ_SAMPLES = ("covariance", "callen")


class Figure(NamedTuple):
    """A mean and its standard error."""

    mean: float
    error: float

    def __str__(self) -> str:
        return f"{self.mean:.3g} ± {self.error:.1g}"


def figure(values: Tensor) -> Figure:
    """Mean over models."""
    return Figure(float(values.mean()), float(values.std() / math.sqrt(len(values))))


def ratio(numerator: Tensor, denominator: Tensor) -> Figure:
    """Ratio of two means over the same models, with its error to first order."""
    value = float(numerator.mean() / denominator.mean())
    spread = (numerator - value * denominator).std() / denominator.mean() / math.sqrt(len(numerator))
    return Figure(value, float(spread))


def random_models(models: int, sigma: float, seed: int, spins: int = SPINS) -> tuple[IsingModel, Tensor]:
    """Models, each a group of its own, and an upstream gradient for each.

    Args:
        models: how many.
        sigma: J ~ N(0, σ²/spins).
        seed: fixes them.
        spins: spins of each.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    model = IsingModel(normal(models, 1, spins), normal(models, spins, spins).triu(1) * sigma * spins**-0.5)
    return model, normal(models, 1, spins)


def copies(model: IsingModel, number: int) -> IsingModel:
    """Every model so many times, each copy a group of its own, so that its gradient is not summed with another's."""
    return IsingModel(model.fields.repeat_interleave(number, 0), model.couplings.repeat_interleave(number, 0))


def draws(model: IsingModel, number: int, shots: int, seed: int) -> Samples:
    """Perfect samples of `copies`, drawn with one coupling matrix for all copies of a model."""
    together = IsingModel(model.fields.expand(-1, number, -1), model.couplings)
    drawn = ExactSampler().sample(together, shots=shots, seed=seed)
    return Samples(drawn.spins.flatten(0, 1).unsqueeze(1), drawn.weights.flatten(0, 1).unsqueeze(1), shots)


def flat(gradient: Gradient) -> Tensor:
    """Gradients on h and the upper triangle of J side by side, (groups, spins + pairs)."""
    spins = gradient.fields.shape[-1]
    rows, columns = torch.triu_indices(spins, spins, 1)
    return torch.cat([gradient.fields.squeeze(1), gradient.couplings[:, rows, columns]], 1)


def rule(name: str) -> FromSamples:
    """An estimator that reads samples."""
    found = ESTIMATORS[name]
    assert isinstance(found, FromSamples)
    return found


class Spread(NamedTuple):
    """One estimator's repeated estimates, reduced to a number for every model.

    Args:
        variance: of the mean, of h's and of J's gradient, summed over components.
        worst_pull: largest |mean − exact| over its standard error, all components and models.
        mean_square_pull: mean of its square, with its error over models; 1 if unbiased.
    """

    variance: dict[str, Tensor]
    worst_pull: float
    mean_square_pull: Figure


def spread(name: str, sigma: float, models: int = 48, repeats: int = 200, shots: int = 256, seed: int = 0) -> Spread:
    """Estimate the gradient of g·⟨s⟩, and ⟨s⟩, many times over from perfect samples.

    Args:
        name: an estimator that reads samples.
        sigma: strength of the couplings.
        models: random models.
        repeats: independent estimates for each.
        shots: samples for each estimate.
        seed: fixes models and samples; the same for all estimators.
    """
    model, upstream = random_models(models, sigma, seed)
    estimator, many, samples = rule(name), copies(model, repeats), draws(model, repeats, shots, seed)
    gradients = flat(estimator.gradient(samples, many, upstream.repeat_interleave(repeats, 0)))
    means = 2 * estimator.value(samples, many).squeeze(1) - 1
    found = torch.cat([means, gradients], 1).unflatten(0, (models, repeats))
    truth = torch.cat([ExactSampler().mean(model).squeeze(1), flat(exact_gradient(samples, model, upstream))], 1)
    pulls = (found.mean(1) - truth) / (found.std(1) / math.sqrt(repeats))
    variance = found.var(1).split((SPINS, SPINS, SPINS * (SPINS - 1) // 2), 1)
    return Spread(
        {part: value.sum(1) for part, value in zip(("mean", "h", "J"), variance, strict=True)},
        float(pulls.abs().max()),
        figure(pulls.square().mean(1)),
    )


def _targets(models: int, seed: int) -> Tensor:
    """y, uniform in (−1, 1)."""
    generator = torch.Generator().manual_seed(seed + 1)
    return 2 * torch.rand(models, 1, SPINS, generator=generator, dtype=torch.float64) - 1


def quadratic_bias(
    name: str, halves: bool, shots: int, models: int = 16, total: int = 200_000, sigma: float = 1.0, seed: int = 0
) -> Figure:
    """Bias of the gradient of L = ½|m − y|² where samples give both m and the gradient, y uniform in (−1, 1).

    The part of it along the exact gradient, relative to that, over all models: it is linear in the estimates, so that
    noise does not look like bias.

    Args:
        name: an estimator that reads samples.
        halves: whether independent halves give value and gradient.
        shots: R.
        models: random models.
        total: shots in all, for each model.
        sigma: strength of the couplings.
        seed: fixes models and samples.
    """
    (model, _), target = random_models(models, sigma, seed), _targets(models, seed)
    mean = ExactSampler().mean(model)
    blocks, repeats = 10, max(1, total // shots // 10)
    exact = flat(exact_gradient(draws(model, 1, 2, 0), model, mean - target))
    estimator, many, biases = rule(name), copies(model, repeats), []
    for block in range(blocks):
        drawn = draws(model, repeats, shots, int(derive_seeds(seed, shots, block)) & (2**62 - 1))
        first, second = deal_halves(drawn, block) if halves else (drawn, drawn)
        found = 2 * estimator.value(first, many) - 1
        gradients = flat(estimator.gradient(second, many, found - target.repeat_interleave(repeats, 0)))
        error = gradients.unflatten(0, (models, repeats)).mean(1) - exact
        biases.append((error * exact).sum() / exact.square().sum())
    return figure(torch.stack(biases))


def derived_bias(shots: int, models: int = 16, sigma: float = 1.0, seed: int = 0) -> tuple[float, float]:
    """`quadratic_bias` of the plain estimator from one set of samples, and the length of the bias, both relative.

    E[Cov(m̂·s, x)] = Cov(m·s, x) + (1/R) Σ_i κ(s_i, s_i, x), and κ(s_i, s_i, x) = −2 m_i Cov(s_i, x) because s_i² = 1:
    the bias is that of m shrunk by 2/R.
    """
    (model, _), target = random_models(models, sigma, seed), _targets(models, seed)
    mean, unread = ExactSampler().mean(model), draws(model, 1, 2, 0)
    exact = flat(exact_gradient(unread, model, mean - target))
    bias = flat(exact_gradient(unread, model, -2 / shots * mean))
    return float((bias * exact).sum() / exact.square().sum()), float(bias.norm() / exact.norm())


def anneal_bias(models: int = 200, sigma: float = 1.0, duration: float = 6.0, steps: int = 12) -> dict[str, Tensor]:
    """|expected gradient − exact gradient| / |exact gradient| on an anneal's whole law, for every model.

    Args:
        models: random models.
        sigma: strength of the couplings.
        duration: T of the linear schedule, two-beta calibration.
        steps: Trotter steps.
    """
    model, upstream = random_models(models, sigma, seed=1)
    schedule = AnnealSchedule.linear(duration)
    angles, factors = angle_tensors(schedule.angles(steps), torch.float64), calibrate(schedule, steps, "two-beta")
    configurations = all_configurations(SPINS)

    def law(asked: IsingModel) -> Tensor:
        return probabilities(evolve(asked.scaled(*factors), angles))

    samples = Samples(configurations.expand(models, 1, -1, -1).contiguous(), law(model), None)
    asked = IsingModel(model.fields.clone().requires_grad_(), model.couplings.clone().requires_grad_())
    mean = law(asked) @ configurations.double()
    slopes = Gradient(*torch.autograd.grad(mean, (asked.fields, asked.couplings), upstream))
    exact = flat(exact_gradient(samples, model, upstream))
    found = {name: flat(rule(name).gradient(samples, model, upstream)) for name in READ_SAMPLES}
    found["adjoint"] = flat(Gradient(slopes.fields, slopes.couplings.triu(1)))
    return {name: (value - exact).norm(dim=1) / exact.norm(dim=1) for name, value in found.items()}


def _section(title: str, lines: Callable[[], list[str]]) -> None:
    print(f"\n{title}", flush=True)
    for line in lines():
        print(f"  {line}")


def _variances() -> list[str]:
    lines = []
    for sigma in (0.5, 1.0, 2.0):
        plain, callen = (spread(name, sigma) for name in READ_SAMPLES)
        ratios = [ratio(plain.variance[part], callen.variance[part]) for part in ("mean", "h", "J")]
        pulls = " and ".join(f"{x.mean_square_pull} (worst {x.worst_pull:.1f})" for x in (plain, callen))
        lines.append(f"σ = {sigma}: {' | '.join(map(str, ratios))};  mean square pull {pulls}")
    return lines


def _quadratic() -> list[str]:
    lines = []
    for shots in (8, 32, 256):
        along, length = derived_bias(shots)
        lines.append(f"covariance  R = {shots:3}: derived {along:.4f} along the gradient, {length:.4f} in all")
        for name in READ_SAMPLES:
            found = ",  ".join(str(quadratic_bias(name, halves, shots)) for halves in (False, True))
            lines.append(f"{name:10}  R = {shots:3}: {found}")
    return lines


def main() -> None:
    """Print the tables."""
    with one_thread():
        _section("variance plain/callen (mean | h | J), 256 perfect samples; pulls of plain and callen", _variances)
        _section("relative bias of the gradient of ½|m − y|²: one set of samples, independent halves", _quadratic)
        _section(
            "relative error on the whole law of an anneal, σ = 1, T = 6, K = 12, two-beta",
            lambda: [
                f"{name:10}  {figure(values)}, median {values.median():.3f}" for name, values in anneal_bias().items()
            ],
        )


if __name__ == "__main__":
    main()
