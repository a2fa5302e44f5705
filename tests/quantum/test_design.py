"""Designed schedules: better than linear ones, made again alike, checked where they are used, and what is refused."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from classical import IsingModel
from classical.distance import kl_divergence
from quantum import (
    AerSampler,
    AnnealSchedule,
    Design,
    DesignRangeWarning,
    ModelDistribution,
    calibrate,
    design_schedule,
)
from quantum.design_range import RangeCheck, strengths
from quantum.distribution import NARROW, single_models

SMALL = ModelDistribution((0.5, 1.5), (0.3, 1.0), 4)


@pytest.fixture(scope="module")
def designed() -> AnnealSchedule:
    return design_schedule(3, distribution=SMALL, models=64, iterations=60)


def kl(schedule: AnnealSchedule, model: IsingModel, steps: int | None = None) -> float:
    return float(kl_divergence(model, AerSampler(schedule, steps).probabilities(model)).mean())


def design_of(schedule: AnnealSchedule) -> Design:
    assert schedule.design is not None
    return schedule.design


def test_it_is_far_better_than_the_best_linear_anneal(designed: AnnealSchedule) -> None:
    model = SMALL.draw(100, seed=77)[0]
    best = min(kl(AnnealSchedule.linear(duration), model, 3) for duration in (1.5, 2.0, 2.5, 3.0, 4.0))
    own = kl(designed, model)
    assert own < best / 3
    design = design_of(designed)
    assert own == pytest.approx(design.kl, abs=6 * design.kl_error)
    assert 0 < design.kl_error < design.kl


def test_the_same_arguments_make_the_same_schedule(designed: AnnealSchedule) -> None:
    again = design_schedule(3, distribution=SMALL, models=64, iterations=60)
    assert (again, hash(again)) == (designed, hash(designed))
    assert design_schedule(3, distribution=SMALL, models=64, iterations=2, seed=1) != designed


def test_recipe_and_progress() -> None:
    seen: list[tuple[int, float]] = []
    schedule = design_schedule(
        2, distribution=SMALL, models=10, iterations=5, seed=3, progress=lambda i, x: seen.append((i, x))
    )
    assert [i for i, _ in seen] == [1, 2, 3, 4, 5]
    assert seen[-1][1] < seen[0][1]
    recipe = design_of(schedule).recipe
    assert (recipe.steps, recipe.models, recipe.iterations, recipe.seed, recipe.gate_error) == (2, 10, 5, 3, 0.0)
    assert (recipe.field_scale, recipe.coupling_scale, recipe.spins) == ((0.5, 1.5), (0.3, 1.0), (4,))


def test_several_sizes_at_once() -> None:
    schedule = design_schedule(2, distribution=ModelDistribution(1.0, 0.5, (2, 3)), models=9, iterations=3)
    assert design_of(schedule).recipe.spins == (2, 3)
    assert design_of(schedule).recipe.models == 10  # five of each


def test_gate_errors_are_designed_against() -> None:
    # depolarized laws are flatter, so the angles make up for it by sharper ones
    noisy = design_schedule(3, distribution=SMALL, models=64, iterations=60, gate_error=0.01)
    ideal = design_schedule(3, distribution=SMALL, models=64, iterations=60)
    model, kept = SMALL.draw(100, seed=77)[0], 0.99 ** (3 * 6)

    def depolarized(schedule: AnnealSchedule) -> float:
        law = AerSampler(schedule).probabilities(model)
        return float(kl_divergence(model, kept * law + (1 - kept) / 16).mean())

    assert depolarized(noisy) < depolarized(ideal)
    assert design_of(noisy).kl > design_of(ideal).kl


def test_given_models_are_designed_for_and_set_the_range() -> None:
    given = [SMALL.draw(30, seed=5)[0], ModelDistribution(1.0, 0.5, 3).draw(20, seed=6)[0]]
    schedule = design_schedule(2, distribution=given, models=100, iterations=20)
    design = design_of(schedule)
    assert design.recipe.field_scale == ()
    assert design.recipe.models == 40  # a fifth is held out
    assert design.spins == (3, 4)
    strongest = max(float(strengths(batch)[0].max()) for batch in given)
    assert design.largest_field <= strongest
    assert 0 < design.kl < 0.2


def test_models_of_a_group_share_their_couplings() -> None:
    shared = IsingModel(torch.randn(2, 3, 4, dtype=torch.float64), torch.randn(2, 4, 4, dtype=torch.float64).triu(1))
    picked = single_models([shared], most=4, seed=0)[0]
    assert (picked.groups, picked.models) == (4, 1)
    for h, J in zip(picked.fields[:, 0], picked.couplings, strict=True):
        group = [g for g in range(2) if torch.equal(shared.couplings[g], J)]
        assert any(torch.equal(shared.fields[group[0], m], h) for m in range(3))


# --- the range ------------------------------------------------------------------------------------------------


def test_strengths_by_hand() -> None:
    J = torch.zeros(1, 3, 3)
    J[0, 0, 1], J[0, 1, 2] = 1.0, 2.0
    fields, couplings = strengths(IsingModel(torch.tensor([[[3.0, 4.0, 0.0]]]), J))
    assert float(fields) == pytest.approx((25 / 3) ** 0.5)
    assert float(couplings) == pytest.approx((3 * 5 / 3) ** 0.5)  # √(n · mean of J² over three pairs)
    assert float(strengths(IsingModel(torch.ones(1, 1, 1), torch.zeros(1, 1, 1)))[1]) == 0


def test_strengths_estimate_the_scales() -> None:
    batch = ModelDistribution(1.7, 0.6, 9).draw(4000, seed=0)[0]
    fields, couplings = (x.square().mean().sqrt() for x in strengths(batch))
    assert float(fields) == pytest.approx(1.7, rel=0.02)
    assert float(couplings) == pytest.approx(0.6, rel=0.02)


def test_its_own_models_are_inside(designed: AnnealSchedule) -> None:
    design = design_of(designed)
    assert float(design.inside(SMALL.draw(5000, seed=9)[0]).double().mean()) > 0.97
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AerSampler(designed).probabilities(ModelDistribution(1.0, 0.5, 4).draw(50, seed=9)[0])


@pytest.mark.parametrize(
    "outside",
    [ModelDistribution(9.0, 0.5, 4), ModelDistribution(1.0, 9.0, 4)],
    ids=["fields", "couplings"],
)
def test_one_warning_outside_with_the_share(designed: AnnealSchedule, outside: ModelDistribution) -> None:
    inside, far = ModelDistribution(0.5, 0.3, 4).draw(6, seed=2)[0], outside.draw(2, seed=2)[0]
    mixed = IsingModel(torch.cat([inside.fields, far.fields]), torch.cat([inside.couplings, far.couplings]))
    sampler = AerSampler(designed)
    with pytest.warns(DesignRangeWarning, match=r"25% of 8 models are outside .*RMS field up to"):
        sampler.sample(mixed, shots=2)
    with warnings.catch_warnings():  # it has been said
        warnings.simplefilter("error")
        sampler.probabilities(mixed)


def test_spins_that_were_not_tested_are_outside(designed: AnnealSchedule) -> None:
    few = replace(design_of(designed), spins=(2, 4))
    check = RangeCheck(few)
    with pytest.warns(DesignRangeWarning, match=r"100% of 1 models .*2 to 4 spins; .* and 5 spins"):
        check(IsingModel(torch.zeros(1, 1, 5), torch.zeros(1, 5, 5)))
    check(IsingModel(torch.zeros(1, 1, 6), torch.zeros(1, 6, 6)))  # said once


def test_other_schedules_pass_unchecked() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RangeCheck(None)(IsingModel(torch.full((1, 1, 2), 99.0), torch.zeros(1, 2, 2)))


def test_a_design_is_worse_than_linear_far_outside(designed: AnnealSchedule) -> None:
    model = ModelDistribution(5.0, 4.0, 4).draw(60, seed=1)[0]
    with pytest.warns(DesignRangeWarning):
        assert kl(designed, model) > min(kl(AnnealSchedule.linear(t), model, 3) for t in (1.5, 2.0, 3.0, 4.0))


# --- calibration ----------------------------------------------------------------------------------------------


def test_designed_schedules_calibrate_themselves(designed: AnnealSchedule) -> None:
    assert calibrate(designed) == (1.0, 1.0)
    assert AerSampler(designed).calibration == "none"
    assert AerSampler(AnnealSchedule.linear(), 3).calibration == "two-beta"
    for name in ("one-beta", "two-beta", "tuned"):
        with pytest.raises(ValueError, match=f"calibration is '{name}', but a designed schedule .*; use 'none'"):
            AerSampler(designed, calibration=name)


# --- files and bad input --------------------------------------------------------------------------------------


def test_file_round_trip(designed: AnnealSchedule, tmp_path: Path) -> None:
    designed.save(tmp_path / "schedule.json")
    again = AnnealSchedule.load(tmp_path / "schedule.json")
    assert (again, hash(again)) == (designed, hash(designed))
    assert repr(again) == "<AnnealSchedule designed, 3 steps>"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kl": -1.0}, r"kl is -1.0; give a finite number of at least 0"),
        ({"largest_field": "much"}, r"largest_field is 'much'"),
        ({"spins": [3]}, r"design has spins \[3\]; give \[fewest, most\]"),
        ({"recipe": {}}, r"recipe holds \[\]; it has the keys steps, "),
        ({"colour": "blue"}, r"design holds .*'colour'"),
    ],
)
def test_bad_design_in_a_file(designed: AnnealSchedule, change: dict[str, object], message: str) -> None:
    data = json.loads(json.dumps(designed.to_json()))
    data["design"] = {**data["design"], **change}
    with pytest.raises(ValueError, match=message):
        AnnealSchedule.from_json(data)


def test_a_design_belongs_to_its_own_steps(designed: AnnealSchedule) -> None:
    with pytest.raises(ValueError, match="design is for 3 steps, but the schedule has 1"):
        AnnealSchedule.from_angles(field=[1], coupling=[1], mixer=[1], design=designed.design)
    with pytest.raises(ValueError, match="design is for 3 steps, but the schedule has None"):
        AnnealSchedule("linear", 1.0, design=designed.design)
    with pytest.raises(ValueError, match="steps is 4, but this schedule has 3 steps of its own"):
        AerSampler(designed, steps=4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps is 0; give an integer of at least 1"),
        ({"steps": 2.0}, "steps is 2.0; give an integer"),
        ({"models": 0}, "models is 0; give an integer"),
        ({"iterations": -1}, "iterations is -1; give an integer"),
        ({"gate_error": 1.0}, "gate_error is 1.0; give a probability from 0 to below 1"),
        ({"gate_error": -0.1}, "gate_error is -0.1"),
        ({"gate_error": float("nan")}, "gate_error is nan"),
        ({"distribution": []}, "distribution is empty; give at least one model"),
        ({"distribution": [IsingModel(torch.zeros(1, 0, 3), torch.zeros(1, 3, 3))]}, "distribution is empty"),
        (
            {"distribution": [IsingModel(torch.zeros(1, 1, 15), torch.zeros(1, 15, 15))]},
            "distribution holds a model of 15 spins; give at most 14",
        ),
    ],
)
def test_bad_arguments(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        design_schedule(**{"steps": 2, "distribution": SMALL, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0), "field_scale and coupling_scale are both 0, a distribution of nothing"),
        ((-1, 1), "field_scale is -1; give a number of at least 0"),
        (((2, 1), 1), r"field_scale is \(2, 1\); give .* rising order"),
        ((1, float("inf")), "coupling_scale is inf"),
        ((1, (1, 2, 3)), r"coupling_scale is \(1, 2, 3\)"),
        ((1, 1, ()), "spins is empty; give at least one"),
        ((1, 1, 0), "spins contains 0; give integers from 1 to 14"),
        ((1, 1, (4, 15)), "spins contains 15"),
        ((1, 1, True), "spins contains True"),
    ],
)
def test_bad_distribution(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelDistribution(*arguments)  # type: ignore[arg-type]


def test_distributions_are_drawn_alike_from_a_seed() -> None:
    first, second = NARROW.draw(3, seed=4)[0], NARROW.draw(3, seed=4)[0]
    assert torch.equal(first.fields, second.fields)
    assert not torch.equal(first.fields, NARROW.draw(3, seed=5)[0].fields)
    assert NARROW.draw(2, seed=0, dtype=torch.float32)[0].fields.dtype == torch.float32
    with pytest.raises(ValueError, match="models is 0; give an integer of at least 1"):
        NARROW.draw(0, seed=0)
