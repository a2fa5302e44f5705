"""A noisy seasonal series against its definition: every pattern enumerated, every frequency counted."""

import itertools
import json
import math
from collections import defaultdict
from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy import stats
from small_runs import refused
from torch.nn import functional as F

from hybrid_attention.build import build_task
from hybrid_attention.cli import main
from hybrid_attention.config import TrainConfig
from hybrid_attention.errors import InputError
from hybrid_attention.tasks import IGNORED, SeasonsTask
from hybrid_attention.tasks.split import is_held_out


def seen_as(clean, observed, levels, noise):
    """Probability of an observation, from the normal law's distribution function."""
    law = NormalDist(clean, noise)
    below = 0.0 if observed == 0 else law.cdf(observed - 0.5)
    above = 1.0 if observed == levels - 1 else law.cdf(observed + 0.5)
    return above - below


def joint(length, levels, longest, noise):
    """P(x, u at every moment) of every observed series and clean series, by enumeration of seasons and patterns."""
    found = defaultdict(lambda: defaultdict(float))
    for season in range(2, longest + 1):
        for pattern in itertools.product(range(levels), repeat=season):
            clean = tuple(pattern[t % season] for t in range(length))
            for observed in itertools.product(range(levels), repeat=length):
                chance = math.prod(seen_as(u, x, levels, noise) for u, x in zip(clean, observed, strict=True))
                found[observed][clean] += chance / (longest - 1) / levels**season
    return found


@pytest.mark.parametrize("noise", [0.3, 1.0, 5.0])
def test_the_channel_is_a_rounded_normal(noise):
    task = SeasonsTask(6, levels=5, noise=noise)
    expected = [[seen_as(u, x, 5, noise) for x in range(5)] for u in range(5)]
    np.testing.assert_allclose(task.channel, expected, atol=1e-15)
    np.testing.assert_allclose(task.channel.sum(1), 1, atol=1e-14)


def test_rare_observations_keep_a_probability():
    # 99 levels apart, 98.5 standard deviations: below what a difference of distribution functions near 1 can hold
    task = SeasonsTask(6, levels=30, noise=1.0)
    assert task.channel[0, 29] == pytest.approx(stats.norm.sf(28.5), rel=1e-9)
    assert task.channel[29, 0] == pytest.approx(stats.norm.cdf(-28.5), rel=1e-9)
    assert (task.channel > 0).all()


def test_draws_have_the_frequencies_of_the_definition():
    task = SeasonsTask(7, levels=4, longest=4, noise=0.8)
    size = 40_000
    observed, clean, season = task.draw(size, np.random.default_rng(3))
    assert stats.chisquare(np.bincount(season)[2:]).pvalue > 1e-6
    for p in (2, 3, 4):
        own = clean[season == p]
        assert (own[:, p:] == own[:, :-p]).all()
        patterns = own[:, :p] @ 4 ** np.arange(p)
        assert stats.chisquare(np.bincount(patterns, minlength=4**p)).pvalue > 1e-6
    for u in range(4):
        counts = np.bincount(observed[clean == u], minlength=4)
        expected = np.array([seen_as(u, x, 4, 0.8) for x in range(4)]) * counts.sum()
        assert stats.chisquare(counts, expected).pvalue > 1e-6
        # the test tells half the noise from this one
        other = np.array([seen_as(u, x, 4, 0.4) for x in range(4)])
        assert stats.chisquare(counts, other / other.sum() * counts.sum()).pvalue < 1e-6


@pytest.mark.parametrize(("length", "levels", "longest", "noise"), [(4, 3, 3, 0.7), (5, 2, 4, 0.5), (3, 4, 2, 2.0)])
def test_the_optimal_prediction_is_the_posterior_by_enumeration(length, levels, longest, noise):
    task = SeasonsTask(length, levels, longest, noise)
    law = joint(length, levels, longest, noise)
    tokens = torch.tensor(list(law))
    expected = np.zeros((len(tokens), length, levels))
    for t in range(length):
        prefixes = defaultdict(lambda: np.zeros(levels))
        for observed, cleans in law.items():
            for clean, probability in cleans.items():
                prefixes[observed[: t + 1]][clean[t]] += probability
        for row, observed in enumerate(law):
            expected[row, t] = prefixes[observed[: t + 1]] / prefixes[observed[: t + 1]].sum()
    found = task.optimal(tokens)
    assert found.shape == (len(tokens), length, levels)
    np.testing.assert_allclose(found.exp().numpy(), expected, rtol=1e-10)


def test_the_optimal_loss_on_draws_is_the_expected_one():
    length, levels, longest, noise = 4, 3, 3, 0.7
    task = SeasonsTask(length, levels, longest, noise)
    law = joint(length, levels, longest, noise)
    # −Σ P(x, u) ln P(u_3 | x): of four moments, only the last is counted
    expected = 0.0
    for cleans in law.values():
        last = defaultdict(float)
        for clean, probability in cleans.items():
            last[clean[3]] += probability
        expected -= sum(p * math.log(p / sum(last.values())) for p in last.values())
    observed, clean, _ = task.draw(40_000, np.random.default_rng(0))
    best = task.optimal(torch.from_numpy(observed))[:, 3]
    losses = F.nll_loss(best, torch.from_numpy(clean[:, 3]), reduction="none")
    assert abs(losses.mean() - expected) < 5 * losses.std() / math.sqrt(len(losses))
    # nobody does as well who looks at the newest moment alone, and that one beats chance
    alone = task.optimal(torch.from_numpy(observed[:, 3:]))[:, 0]
    assert expected + 0.02 < F.nll_loss(alone, torch.from_numpy(clean[:, 3])) < math.log(levels) - 0.02


def test_batches_are_series_counted_once_every_season_has_come_round():
    task = SeasonsTask(9, levels=6, longest=4)
    for batch in (task.training_batch(300, 1, 2), task.validation(300)):
        assert batch.tokens.dtype == batch.targets.dtype == torch.int64
        assert batch.tokens.shape == batch.targets.shape == (300, 9)
        assert (batch.targets[:, :4] == IGNORED).all()
        assert ((batch.targets[:, 4:] >= 0) & (batch.targets[:, 4:] < 6)).all()
        assert ((batch.tokens >= 0) & (batch.tokens < 6)).all()
    counted = SeasonsTask(9, levels=6, longest=4).validation().targets[:, 4]
    assert len(counted) == 2000
    share = (counted == 3).double().mean()
    assert abs(share - task.chance) < 5 * math.sqrt(task.chance * (1 - task.chance) / 2000)
    assert (task.vocabulary, task.classes, task.chance) == (6, 6, 1 / 6)


def test_training_and_validation_share_no_series():
    task = SeasonsTask(4, levels=3, longest=3)
    training = {tuple(row) for row in task.training_batch(20_000, 0, 0).tokens.tolist()}
    held_out = {tuple(row) for row in task.validation().tokens.tolist()}
    every = np.array(list(itertools.product(range(3), repeat=4)))
    assert not training & held_out
    assert held_out <= {tuple(row) for row in every[is_held_out(every)].tolist()}
    assert training | held_out == {tuple(row) for row in every.tolist()}


def test_the_clean_levels_of_a_side_are_those_of_the_whole():
    # which side a series is on is decided by what is observed, so the posterior is the same on both
    task = SeasonsTask(4, levels=3, longest=3)
    batch = task.training_batch(60_000, 0, 0)
    best, targets = task.optimal(batch.tokens)[:, 3].exp(), batch.targets[:, 3]
    error = (F.one_hot(targets, 3) - best).mean(0)
    assert (error.abs() < 5 * math.sqrt(0.25 / len(targets))).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"levels": 1}, "levels is 1; give 2 to 100"),
        ({"levels": 101}, "levels is 101"),
        ({"longest": 1}, "longest is 1; a season has at least 2"),
        ({"longest": 8}, "length is 8; a season of up to 8 moments comes round once in 9 or more"),
        ({"noise": 0.0}, "noise is 0.0; give a positive"),
        ({"noise": -1.0}, "noise is -1.0"),
        ({"noise": float("nan")}, "noise is nan"),
        ({"noise": float("inf")}, "noise is inf"),
        ({"levels": 2, "longest": 2, "noise": 0.01}, "noise is 0.01, and of the few different series"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        SeasonsTask(8, **arguments)
    options = ",".join(f"{name}={value}" for name, value in arguments.items())
    with pytest.raises(InputError, match=r"^--(task-options: |length)"):
        build_task(TrainConfig(task="seasons", task_options=options))


def test_a_run_is_held_against_the_best_possible_one(workplace, capsys):
    sizes = {"length": 6, "dim": 8, "heads": 2, "batch": 8, "steps": 2, "eval-every": 2, "eval-sequences": 16}
    small = [part for name, value in sizes.items() for part in (f"--{name}", str(value))]
    options = ["--task-options", "levels=5,longest=3"]
    assert main(["train", "--task", "seasons", *options, *small, "--out", "run"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    task = SeasonsTask(6, levels=5, longest=3)
    batch = task.validation()
    best = F.nll_loss(task.optimal(batch.tokens).transpose(1, 2), batch.targets, ignore_index=IGNORED)
    assert found["optimal_loss"] == pytest.approx(best.item(), rel=1e-12)
    assert found["optimal_loss"] < found["loss"]
    report = (workplace / "run" / "report.html").read_text()
    assert "Best possible loss" in report
    assert "seasons, levels=5, longest=3" in report
    assert "Recovering a noisy seasonal series" in report
    refused(capsys, ["generate", "run", "--prompt", "123"], "--prompt cannot be gone on from", "SeasonsTask")
