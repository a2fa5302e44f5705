"""Temperatures fitted to samples: against known ones, against the pseudolikelihood written out, and their errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.optimize import minimize

from classical import ExactSampler, IsingModel, Samples, all_configurations
from classical.temperatures import TemperatureFit, fit_temperatures
from quantum import AnnealSchedule, response
from quantum.draw import configurations, draw
from quantum.evolution import angle_tensors, evolve, probabilities
from tests.classical.enumeration import random_model, table

SEEDS = 20


def normal_model(spins: int, scale: float, seed: int, groups: int = 2, models: int = 4) -> IsingModel:
    """h ~ N(0, scale²), J ~ N(0, scale²/spins), float64."""
    return random_model(spins, groups, models, field=scale, coupling=scale * spins**-0.5, seed=seed)


def as_weights(model: IsingModel, law: torch.Tensor) -> Samples:
    """A whole law as weighted configurations."""
    spins = all_configurations(model.spins).expand(model.groups, model.models, -1, -1).contiguous()
    return Samples(spins, law, None)


def pulls(fits: list[TemperatureFit], truth: tuple[float, float]) -> np.ndarray:
    """(fitted − true) / standard error of both temperatures, (fits, 2)."""
    found = np.array([(fit.beta_field, fit.beta_coupling) for fit in fits])
    return (found - truth) / np.array([(fit.field_error, fit.coupling_error) for fit in fits])


def consistent(values: np.ndarray) -> bool:
    """Whether the squares of pulls sum to what χ² says, from both sides."""
    p = stats.chi2.sf((values**2).sum(0), len(values))
    return bool(((p > 1e-3) & (p < 1 - 1e-3)).all())


@pytest.mark.parametrize("truth", [(0.5, 0.5), (1.0, 1.0), (1.5, 0.8)])
def test_pulls_on_perfect_samples(truth: tuple[float, float]) -> None:
    fits = []
    for seed in range(SEEDS):
        model = normal_model(6, 1.0, seed)
        fits.append(fit_temperatures(ExactSampler().sample(model.scaled(*truth), shots=500, seed=seed), model))
    assert consistent(pulls(fits, truth))
    assert not consistent(pulls(fits, (truth[0] * 1.05, truth[1] * 1.05)))


@pytest.mark.parametrize(("duration", "steps"), [(2.0, 6), (6.0, 12)])
def test_pulls_on_anneals_in_the_linear_regime(duration: float, steps: int) -> None:
    schedule = AnnealSchedule.linear(duration)
    angles, beta = angle_tensors(schedule.angles(steps), torch.float64), response(schedule, steps)
    fits = []
    for seed in range(SEEDS):
        model = normal_model(6, 0.04, seed)
        index = draw(probabilities(evolve(model, angles)), 2000, torch.arange(8).reshape(2, 4) + 8 * seed)
        weights = torch.full(index.shape, 1 / 2000, dtype=torch.float64)
        fits.append(fit_temperatures(Samples(configurations(index, 6), weights, 2000), model))
    assert consistent(pulls(fits, beta))
    # fields and couplings arrive at different temperatures, and the fit can tell them apart
    assert not consistent(pulls(fits, (beta.beta_J, beta.beta_h)))


def test_errors_count_configurations_not_spins() -> None:
    # strong couplings: conditional terms of one configuration move together, and an error that took them for
    # independent (the inverse information alone) would be off
    model = IsingModel(torch.full((1, 1, 6), 0.1).double(), torch.full((1, 6, 6), 0.3).double().triu(1))
    fits = [fit_temperatures(ExactSampler().sample(model, shots=400, seed=seed), model) for seed in range(300)]
    # a variance from N values is uncertain by √(2/N)
    assert (abs((pulls(fits, (1.0, 1.0)) ** 2).mean(0) - 1) < 5 * math.sqrt(2 / 300)).all()
    found = np.corrcoef([fit.beta_field for fit in fits], [fit.beta_coupling for fit in fits])[0, 1]
    assert abs(found - np.mean([fit.correlation for fit in fits])) < 5 / math.sqrt(300)


def test_a_whole_law_gives_its_temperatures_exactly() -> None:
    model = random_model(5)
    fit = fit_temperatures(as_weights(model, table(model.scaled(1.3, 0.6), "probabilities")), model)
    assert fit.beta_field == pytest.approx(1.3, rel=1e-10)
    assert fit.beta_coupling == pytest.approx(0.6, rel=1e-10)
    assert math.isnan(fit.field_error)
    assert math.isnan(fit.coupling_error)
    assert math.isnan(fit.correlation)
    assert fit.configurations is None


def test_maximum_and_errors_of_the_pseudolikelihood_written_out() -> None:
    model = random_model(4, groups=2, models=2)
    samples = ExactSampler().sample(model, shots=60, seed=1)
    h, J = model.fields.numpy(), model.couplings.numpy() + model.couplings.numpy().transpose(0, 2, 1)

    def terms(beta: np.ndarray) -> np.ndarray:
        rows = []
        for g in range(2):
            for m in range(2):
                for s in samples.spins[g, m].numpy().astype(float):
                    local = beta[0] * h[g, m] + beta[1] * J[g] @ s
                    rows.append(-np.log1p(np.exp(-2 * s * local)).sum())
        return np.array(rows)

    best = minimize(lambda beta: -terms(beta).sum(), [1.0, 1.0], tol=1e-12, options={"gtol": 1e-9}).x
    fit = fit_temperatures(samples, model)
    np.testing.assert_allclose([fit.beta_field, fit.beta_coupling], best, rtol=1e-5)
    step, unit = 1e-4, np.eye(2)
    scores = np.stack([(terms(best + step * e) - terms(best - step * e)) / (2 * step) for e in unit], 1)
    information = np.array(
        [
            [
                -sum(a * b * terms(best + step * (a * x + b * y)).sum() for a in (1, -1) for b in (1, -1))
                / (4 * step**2)
                for x in unit
            ]
            for y in unit
        ]
    )
    covariance = np.linalg.inv(information) @ scores.T @ scores @ np.linalg.inv(information)
    errors = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose([fit.field_error, fit.coupling_error], errors, rtol=1e-4)
    assert fit.correlation == pytest.approx(covariance[0, 1] / errors.prod(), abs=1e-4)
    assert fit.configurations == 240


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_occurrences_count(dtype: torch.dtype) -> None:
    model = random_model(3, groups=1, models=2, dtype=dtype)
    drawn = ExactSampler().sample(model, shots=500, seed=2)
    counts = drawn.frequencies()
    merged = Samples(as_weights(model, counts).spins, counts, 500)
    one, other = fit_temperatures(drawn, model), fit_temperatures(merged, model)
    for name in ("beta_field", "beta_coupling", "field_error", "coupling_error", "correlation"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-5)
    assert one.configurations == other.configurations == 1000


def test_rows_without_weight_do_not_count() -> None:
    model = random_model(3, groups=1, models=1)
    drawn = ExactSampler().sample(model, shots=100, seed=3)
    padding = torch.ones(1, 1, 7, 3, dtype=torch.int8)
    padded = Samples(
        torch.cat([drawn.spins, padding], 2), torch.cat([drawn.weights, torch.zeros(1, 1, 7).double()], 2), 100
    )
    assert fit_temperatures(padded, model) == fit_temperatures(drawn, model)


def test_a_missing_part_is_not_a_number_and_the_other_is_fitted() -> None:
    model = random_model(4)
    free = IsingModel(model.fields, torch.zeros_like(model.couplings))
    fit = fit_temperatures(as_weights(free, table(free.scaled(0.7, 1), "probabilities")), free)
    assert fit.beta_field == pytest.approx(0.7, rel=1e-10)
    assert math.isnan(fit.beta_coupling)
    unbiased = IsingModel(torch.zeros_like(model.fields), model.couplings)
    fit = fit_temperatures(ExactSampler().sample(unbiased.scaled(1, 1.4), shots=4000, seed=0), unbiased)
    assert abs(fit.beta_coupling - 1.4) < 5 * fit.coupling_error
    assert math.isnan(fit.beta_field)
    assert math.isnan(fit.field_error)
    assert math.isnan(fit.correlation)
    assert fit.coupling_error < 0.1


def test_a_negative_response_is_found() -> None:
    model = random_model(4)
    fit = fit_temperatures(as_weights(model, table(model.scaled(-0.5, 0.9), "probabilities")), model)
    assert (fit.beta_field, fit.beta_coupling) == (pytest.approx(-0.5), pytest.approx(0.9))


def test_strong_models_converge() -> None:
    model = random_model(6, field=4.0, coupling=2.0)
    fit = fit_temperatures(ExactSampler().sample(model.scaled(0.8, 0.9), shots=20_000, seed=4), model)
    assert abs(fit.beta_field - 0.8) < 5 * fit.field_error
    assert abs(fit.beta_coupling - 0.9) < 5 * fit.coupling_error


def one_configuration(model: IsingModel, spins: list[int]) -> Samples:
    rows = torch.tensor(spins, dtype=torch.int8).expand(model.groups, model.models, 5, -1).contiguous()
    return Samples(rows, torch.full(rows.shape[:3], 0.2, dtype=torch.float64), 5)


def test_samples_that_bound_no_temperature_are_refused() -> None:
    frozen = IsingModel(torch.ones(1, 1, 3).double(), torch.ones(1, 3, 3).double().triu(1))
    with pytest.raises(ValueError, match="samples bound no temperature"):
        fit_temperatures(one_configuration(frozen, [1, 1, 1]), frozen)
    free = IsingModel(torch.ones(1, 1, 3).double(), torch.zeros(1, 3, 3).double())
    with pytest.raises(ValueError, match="samples bound no temperature"):
        fit_temperatures(one_configuration(free, [-1, -1, -1]), free)
    # every coupling satisfied, while the fields alone would have a temperature
    mixed = IsingModel(torch.tensor([[[0.5, 0.0, 0.0]]]).double(), torch.ones(1, 3, 3).double().triu(1))
    rows = torch.tensor([[1, 1, 1], [-1, -1, -1], [1, 1, 1]], dtype=torch.int8)[None, None]
    with pytest.raises(ValueError, match="draw more shots"):
        fit_temperatures(Samples(rows, torch.full((1, 1, 3), 1 / 3).double(), 3), mixed)


def test_bad_arguments_are_refused() -> None:
    model = random_model(3)
    nothing = IsingModel(torch.zeros(1, 1, 3), torch.zeros(1, 3, 3))
    with pytest.raises(ValueError, match="neither fields nor couplings"):
        fit_temperatures(ExactSampler().sample(nothing, shots=10), nothing)
    with pytest.raises(ValueError, match=r"samples are of \(1, 1, 3\).*model has \(2, 3, 3\)"):
        fit_temperatures(ExactSampler().sample(nothing, shots=10), model)
    empty = Samples(torch.ones(2, 3, 1, 3, dtype=torch.int8), torch.zeros(2, 3, 1), 1)
    with pytest.raises(ValueError, match="draw at least one shot"):
        fit_temperatures(empty, model)


def test_gradients_are_not_asked_for() -> None:
    model = random_model(3)
    model = IsingModel(model.fields.requires_grad_(), model.couplings.requires_grad_())
    assert isinstance(fit_temperatures(ExactSampler().sample(model, shots=200), model), TemperatureFit)
