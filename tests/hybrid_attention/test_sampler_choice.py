"""Samplers by name, polished and noisy ones, and lengths that no exact sum reaches."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from small_runs import refused, small_config

from classical import ExactSampler, GibbsSampler, IsingModel, MeanFieldSampler, Polished
from hybrid_attention import boltzmann_mean
from hybrid_attention.cli import main
from hybrid_attention.config import TrainConfig
from hybrid_attention.evaluate import evaluate_run, load_run
from hybrid_attention.report import write_report
from hybrid_attention.run import RunFolder
from hybrid_attention.samplers import build_sampler, exact_fits
from hybrid_attention.train import train
from quantum import AerSampler, StatevectorSampler


def built(**settings):
    return build_sampler(small_config(**settings).resolved())


def test_names_flags_and_what_they_build() -> None:
    gibbs = built(sampler="gibbs", burn_in=7, chains=3)
    assert isinstance(gibbs, GibbsSampler)
    assert (gibbs.burn_in, gibbs.chains) == (7, 3)
    default = built(sampler="gibbs")
    assert isinstance(default, GibbsSampler)
    assert (default.burn_in, default.chains) == (20, 16)
    assert isinstance(built(sampler="mean-field"), MeanFieldSampler)
    polished = built(sampler="statevector", polish=2)
    assert isinstance(polished, Polished)
    assert polished.sweeps == 2
    assert isinstance(polished.sampler, StatevectorSampler)
    assert polished.max_spins == polished.sampler.max_spins
    noisy = built(sampler="aer", noise="depolarizing:0.01")
    assert isinstance(noisy, AerSampler)


def test_noise_reaches_the_circuits() -> None:
    model = IsingModel(torch.full((1, 1, 4), 0.8), torch.full((1, 4, 4), 0.1).triu(1))
    quiet, noisy = (built(sampler="aer", noise=noise) for noise in ("", "depolarizing:0.05"))
    means = [sampler.sample(model, shots=4000, seed=1).mean().mean() for sampler in (quiet, noisy)]
    assert float(means[0] - means[1]) > 0.1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--polish", "-1", "--sampler", "gibbs"], ["--polish is -1; give at least 0"]),
        (["--polish", "1"], ["--polish is 1; exact sums leave nothing to polish"]),
        (["--burn-in", "5"], ["--burn-in is 5; it goes with --sampler gibbs"]),
        (["--chains", "0", "--sampler", "gibbs"], ["--chains is 0; give at least 1"]),
        (
            ["--noise", "depolarizing:0.1", "--sampler", "gibbs"],
            ["--noise is depolarizing:0.1; it goes with --sampler"],
        ),
        (["--noise", "depolarizing:2", "--sampler", "aer"], ["--noise", "2"]),
        (["--noise", "loud", "--sampler", "aer"], ["--noise", "loud"]),
        (["--noise", "generic:5", "--sampler", "aer", "--length", "6"], ["spins is 6", "5 qubits"]),
        (["--estimator", "adjoint", "--sampler", "gibbs"], ["adjoint", "GibbsSampler"]),
        (["--sampler", "glauber"], ["--sampler", "glauber", "gibbs"]),
    ],
)
def test_wrong_choices_are_one_line(capsys, tmp_path, flags, words) -> None:
    refused(capsys, ["train", "--out", tmp_path / "run", *flags], *words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("settings", [{"sampler": "gibbs"}, {"sampler": "mean-field"}, {"sampler": "aer", "polish": 1}])
def test_runs_train_resume_and_report(tmp_path, settings) -> None:
    config = small_config(**settings).resolved()
    whole = train(config, RunFolder(tmp_path / "whole"), progress=False)
    half = replace(config, steps=config.steps)
    folder = RunFolder(tmp_path / "again")
    again = train(half, folder, progress=False)
    assert [row["loss"] for row in whole.rows] == [row["loss"] for row in again.rows]
    page = write_report(whole).read_text()
    if settings.get("polish"):
        assert "1 heat-bath sweep" in page
    if settings["sampler"] == "mean-field":
        assert "by mean field" in page
    assert "by exact sums" in page


def test_a_length_beyond_exact_sums(tmp_path, capsys) -> None:
    config = small_config(sampler="mean-field", length=40, steps=2, eval_sequences=4, dim=8)
    assert not exact_fits(config)
    run = train(config.resolved(), RunFolder(tmp_path / "run"), progress=False)
    assert {row["loss_exact"] for row in run.rows} == {None}
    assert all(row["loss"] > 0 for row in run.rows)
    page = write_report(run).read_text()
    assert "from the sampler that trained it" in page
    assert "by exact sums" not in page
    refused(capsys, ["evaluate", tmp_path / "run"], "--length is 40", "exact")
    assert main(["evaluate", str(tmp_path / "run"), "--sampler", "mean-field", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["loss"] > 0
    assert main(["evaluate", str(tmp_path / "run"), "--sampler", "gibbs", "--eval-sequences", "2", "--json"]) == 0


def test_evaluation_does_not_keep_what_belonged_to_another_sampler(tmp_path) -> None:
    config = small_config(sampler="gibbs", burn_in=5, polish=1).resolved()
    train(config, RunFolder(tmp_path / "run"), progress=False)
    exact = load_run(tmp_path / "run", sampler="exact")
    assert isinstance(exact.sampler, ExactSampler)
    own = load_run(tmp_path / "run", sampler="gibbs", polish=3)
    assert own.config.burn_in == 5
    assert own.config.polish == 3
    assert evaluate_run(own, 4, progress=False)["sampler"] == "gibbs"
    assert load_run(tmp_path / "run", sampler="aer").config.polish == 0


def test_mean_field_is_taken_in_closed_form() -> None:
    generator = torch.Generator().manual_seed(0)
    fields = torch.randn(1, 3, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    couplings = (0.2 * torch.randn(1, 5, 5, generator=generator, dtype=torch.float64)).triu(1).requires_grad_()
    mean = boltzmann_mean(fields, couplings, sampler=MeanFieldSampler(), shots=2, seed=0)
    mean.sum().backward()
    with torch.no_grad():
        J = couplings + couplings.mT
        torch.testing.assert_close(mean, torch.tanh(fields + mean @ J), rtol=1e-6, atol=1e-8)
    assert fields.grad is not None
    assert bool((fields.grad > 0).all())


def test_settings_are_part_of_the_record() -> None:
    assert TrainConfig().polish == 0
    assert small_config(sampler="gibbs", chains=2).chains == 2
