"""The shipped designs: what they promise, and that their recipe makes them."""

from __future__ import annotations

import warnings

import pytest
import torch

from classical.distance import kl_divergence
from quantum import AerSampler, AnnealSchedule, Design, ModelDistribution, design_schedule
from quantum.design import AngleTensors
from quantum.evolution import angle_tensors
from quantum.minimize import kl_of_angles
from quantum.presets import PRESETS

LIMITS = {
    ("8", 9, 1.0, 0.5): 0.003,
    ("8", 9, 1.0, 1.0): 0.020,
    ("8", 9, 2.0, 1.0): 0.018,
    ("8", 11, 1.0, 1.0): 0.026,
    ("16", 9, 1.0, 0.5): 0.0016,
    ("16", 9, 1.0, 1.0): 0.010,
    ("16", 9, 2.0, 1.0): 0.008,
    ("16", 11, 1.0, 1.0): 0.015,
    ("8-wide", 9, 3.0, 2.0): 0.11,
    ("16-wide", 9, 3.0, 2.0): 0.11,
}
"""Largest mean KL by preset, spins, σ_h and σ."""


def design_of(schedule: AnnealSchedule) -> Design:
    assert schedule.design is not None
    return schedule.design


def angles_of(schedule: AnnealSchedule) -> AngleTensors:
    return angle_tensors(schedule.angles(), torch.float64)


@pytest.mark.parametrize("name", PRESETS)
def test_they_load_and_hold_what_they_carry(name: str) -> None:
    schedule = AnnealSchedule.preset(name)
    design = design_of(schedule)
    assert schedule == AnnealSchedule.preset(int(name.split("-")[0]), wide=name.endswith("wide"))
    assert schedule.own_steps == design.recipe.steps == int(name.split("-")[0])
    assert design.spins[0] == 1
    assert design.spins[1] >= 12
    recipe = design.recipe
    distribution = ModelDistribution(recipe.field_scale, recipe.coupling_scale, recipe.spins)  # type: ignore[arg-type]
    found = kl_of_angles(distribution.draw(128, seed=12345), angles_of(schedule))
    error = (design.kl_error**2 + float(found.var()) / len(found)) ** 0.5
    assert float(found.mean()) == pytest.approx(design.kl, abs=5 * error)


@pytest.mark.parametrize(("name", "spins", "field_scale", "coupling_scale"), LIMITS)
def test_mean_kl(name: str, spins: int, field_scale: float, coupling_scale: float) -> None:
    batch = ModelDistribution(field_scale, coupling_scale, spins).draw(192, seed=0)
    found = kl_of_angles(batch, angles_of(AnnealSchedule.preset(name)))
    assert float(found.mean()) < LIMITS[name, spins, field_scale, coupling_scale]


@pytest.mark.parametrize("name", ["8", "16"])
@pytest.mark.parametrize("spins", [1, 2, 3, 5])
def test_few_spins_and_weak_ones_are_well_inside(name: str, spins: int) -> None:
    # the first queries of a causal sequence see few keys
    schedule = AnnealSchedule.preset(name)
    for scale in (0.01, 0.3, 1.0):
        found = kl_of_angles(ModelDistribution(scale, scale, spins).draw(64, seed=1), angles_of(schedule))
        assert float(found.mean()) < 0.01


def test_a_sampler_runs_one() -> None:
    model = ModelDistribution(1.0, 0.5, 6).draw(16, seed=3)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sampler = AerSampler(AnnealSchedule.preset(8))
        assert float(kl_divergence(model, sampler.probabilities(model)).mean()) < 0.004


@pytest.mark.parametrize("preset", [5, "12", "wide", "8-narrow", True, None, "../8"])
def test_unknown_preset(preset: object) -> None:
    with pytest.raises(ValueError, match=r"preset is '.*'; choose one of 4, 8, 16, 4-wide, 8-wide, 16-wide"):
        AnnealSchedule.preset(preset)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_recipe_makes_a_preset_again() -> None:
    shipped = AnnealSchedule.preset(4)
    recipe = design_of(shipped).recipe
    again = design_schedule(
        recipe.steps,
        distribution=ModelDistribution(recipe.field_scale, recipe.coupling_scale, recipe.spins),  # type: ignore[arg-type]
        models=recipe.models,
        iterations=recipe.iterations,
        gate_error=recipe.gate_error,
        seed=recipe.seed,
    )
    made, kept = design_of(again), design_of(shipped)
    assert made.recipe == recipe
    assert made.kl == pytest.approx(kept.kl, abs=kept.kl_error)  # the same models, so closer than their spread
    assert (made.largest_field, made.largest_coupling) == pytest.approx((kept.largest_field, kept.largest_coupling))
