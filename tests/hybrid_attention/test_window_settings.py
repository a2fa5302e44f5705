"""Windows by their flags: what is built, what every command makes of it, and what is refused."""

import json
from dataclasses import replace

import pytest
import torch
from small_runs import numbers, refused, small_config

from classical import ExactSampler
from hybrid_attention import hamiltonians
from hybrid_attention.build import build_model, build_task
from hybrid_attention.cli import main
from hybrid_attention.errors import InputError
from hybrid_attention.parameters import count_parameters
from hybrid_attention.qpu_estimate import run_estimate
from hybrid_attention.run import RunFolder
from hybrid_attention.samplers import build_sampler, exact_fits
from hybrid_attention.study.grid import Source
from hybrid_attention.study.instances import instances, sources
from hybrid_attention.study.settings import StudyConfig
from hybrid_attention.train import train
from quantum.jobs.estimate import Estimate

HEADS, DIM = 2, 8


def test_spins_are_slots_and_never_more_than_the_length():
    assert small_config(task="text", length=1024, window=16).spins == 16
    assert small_config(task="text", length=1024, window=16, global_keys=4).spins == 20
    assert small_config(window=64, global_keys=4).spins == 4
    assert small_config().spins == 4
    assert exact_fits(small_config(task="text", length=1024, window=16, sampler="gibbs"))
    assert not exact_fits(small_config(task="text", length=1024, window=24, sampler="gibbs"))


def test_parameters_belong_to_slots():
    common = {"task": "text", "window": 5, "global_keys": 2}
    counts = {}
    for name, length in (("short", 32), ("long", 256)):
        counts[name] = count_parameters(small_config(length=length, **common))
    assert counts["short"] == counts["long"]
    none = count_parameters(small_config(length=32, couplings="none", **common))
    bias = count_parameters(small_config(length=32, couplings="none", position_bias=True, **common))
    assert counts["long"] - none == HEADS * 7 * 6 // 2
    assert bias - none == HEADS * 7
    plain = count_parameters(small_config(task="text", length=20, couplings="none"))
    assert plain - none == 20 * DIM - 7 * DIM  # learned positions, and learned slots in their place


@pytest.mark.parametrize("sampler", ["exact", "gibbs", "mean-field", "statevector"])
def test_lengths_beyond_the_sampler_train_in_a_window(workplace, sampler):
    options = {"schedule": "preset:8"} if sampler == "statevector" else {}
    config = small_config(task="text", length=40, window=3, global_keys=1, sampler=sampler, shots=8, steps=2, **options)
    run = train(config, RunFolder(workplace / "run"), progress=False)
    assert run.rows[-1]["loss_exact"] is not None
    assert isinstance(build_sampler(config), type(run.sampler))


def test_training_lowers_the_loss_and_resumes_to_the_same_numbers(workplace):
    config = small_config(
        task="text", length=64, window=4, position_bias=True, steps=60, eval_every=20, lr=1e-2, batch=8
    )
    whole = train(config, RunFolder(workplace / "whole"), progress=False)
    assert whole.rows[-1]["loss"] < whole.rows[0]["loss"] - 1
    folder = RunFolder(workplace / "resumed")
    train(config, folder, progress=False)
    for checkpoint in sorted(folder.checkpoints.iterdir())[-1:]:
        for file in checkpoint.iterdir():
            file.unlink()
        checkpoint.rmdir()
    train(config, folder, resume=True, progress=False)
    assert numbers(workplace / "whole") == numbers(workplace / "resumed")


@pytest.mark.parametrize("couplings", ["position", "content"])
def test_recorded_models_are_those_of_the_slots(workplace, couplings):
    config = small_config(
        task="text", length=10, window=3, global_keys=1, couplings=couplings, layers=2, export_every=3
    )
    train(config, RunFolder(workplace / "run"), progress=False)
    kept = hamiltonians.load(RunFolder(workplace / "run"), 6)
    assert kept.fields[0].shape[-2:] == (10, 4)
    assert [kept.model(1, 0, query).spins for query in range(10)] == [1, 2, 3, 4, 4, 4, 4, 4, 4, 4]
    assert not any(torch.triu(h, 1).any() for h in (*kept.fields, *kept.upstream))
    shapes = {"position": (HEADS, 4, 4), "content": (len(kept.tokens), HEADS, 10, 4, 4)}
    assert kept.couplings[0].shape == shapes[couplings]
    out = workplace / "model.json"
    assert main(["export", "run", "--format", "json", "--out", str(out), "--query", "7", "--sequence", "1"]) == 0
    exported = json.loads(out.read_text())
    model = kept.model(0, 0, 7, 1)
    assert exported["fields"] == model.fields[0, 0].tolist()
    assert exported["metadata"]["positions"] == [7, 6, 5, 0]
    assert exported["tokens"] == kept.tokens[1, [7, 6, 5, 0]].tolist()
    study = StudyConfig(models="run", spins="4", instances=2)
    of_last = instances(study, Source(4, 1.0, 6, 0, 0))
    torch.testing.assert_close(of_last.model.fields[1], kept.model(0, 0, 3, 1).fields[0], rtol=0, atol=0)
    with pytest.raises(InputError, match="--spins is 5, but the queries of --models run see at most 4 keys"):
        sources(replace(study, spins="5"))


def test_the_report_of_a_long_run_shows_its_end(workplace):
    config = small_config(task="text", length=60, window=3, global_keys=1, steps=2)
    folder = RunFolder(workplace / "run")
    assert main(["train", *_flags(config), "--out", "run"]) == 0
    page = folder.report.read_text(encoding="utf-8")
    assert "The last 48 positions are shown" in page
    assert "Learned J between two slots of the window" in page
    assert "3 keys and 1 global" in page


def _flags(config):
    names = ("task", "length", "window", "global_keys", "steps", "dim", "heads", "batch", "eval_sequences")
    return [part for name in names for part in ("--" + name.replace("_", "-"), str(getattr(config, name)))]


class _Counter:
    """Counts the models that a run would submit."""

    def __init__(self):
        self.asked = []

    def estimate(self, models, spins, shots, calibrated=True):
        self.asked.append((models, spins))
        return Estimate()


def test_an_estimate_counts_the_models_that_training_solves():
    config = small_config(task="text", length=20, window=3, global_keys=1, layers=1)
    counter = _Counter()
    run_estimate(config, counter)
    model = build_model(config, build_task(config), ExactSampler())
    assert sum(models for models, _ in counter.asked) == model.ising_models(config.batch, 20)
    assert max(spins for _, spins in counter.asked) == 4


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--window 30", ("--window is 30", "--sampler exact holds at most 25 spins", "--window 25 or less", "gibbs")),
        ("--window 20 --global-keys 10", ("--global-keys is 10", "30 spins", "at most 25", "--global-keys 5 or less")),
        ("--window 30 --sampler statevector", ("--window is 30", "--sampler statevector holds at most", "--window")),
        ("", ("--length is 64", "--length 25 or less, or --window 25 or less")),
        ("--window 0", ("--window is 0", "give at least 1")),
        ("--window 3 --global-keys -1", ("--global-keys is -1", "give at least 0")),
        ("--global-keys 2", ("--global-keys is 2", "beside its --window; give one")),
        ("--window 3 --attention linear", ("--window is 3", "--attention linear costs O(length) without one")),
        ("--window 3 --attention gated-linear", ("--window is 3", "--attention gated-linear")),
    ],
)
def test_wrong_windows_are_refused_in_one_line(workplace, capsys, flags, words):
    refused(capsys, ["train", "--task", "text", "--length", "64", "--out", "run", *flags.split()], *words)
    assert not list(workplace.iterdir())
