"""The training loop: it learns, repeats itself, and survives being stopped anywhere."""

import itertools
import math
import os
from pathlib import Path

import pytest
import torch
from injected_samplers import PerfectSampler
from small_runs import numbers, small_config

from hybrid_attention import build, checkpoint, samplers
from hybrid_attention.config import TrainConfig
from hybrid_attention.errors import InputError
from hybrid_attention.run import RunFolder
from hybrid_attention.train import build_optimizer, learning_rate_factor, train


class Killed(BaseException):
    """What no handler catches."""


@pytest.fixture(autouse=True)
def _perfect_samples_for_aer(monkeypatch):
    """Sampled training without the time a simulator takes."""
    monkeypatch.setitem(samplers.SAMPLERS, "aer", lambda _: PerfectSampler())


SAMPLED = {"sampler": "aer", "shots": 8, "couplings": "content", "position_bias": True, "layers": 2}


def run(path, resume=False, **settings):
    return train(small_config(**settings), RunFolder(Path(path)), resume, progress=False)


@pytest.mark.parametrize("settings", [{}, {"sampler": "aer", "shots": 64}, {"attention": "softmax"}], ids=str)
def test_the_loss_falls(tmp_path, settings):
    rows = run(tmp_path / "run", steps=60, eval_every=30, batch=32, eval_sequences=64, lr=1e-2, **settings).rows
    assert rows[0]["train_loss"] is None
    assert rows[-1]["loss"] < 0.6 * rows[0]["loss"]
    assert rows[-1]["loss_exact"] < 0.6 * rows[0]["loss_exact"]
    assert rows[-1]["train_loss"] < rows[1]["train_loss"]
    assert rows[-1]["accuracy_exact"] > rows[0]["accuracy_exact"]


def test_text_is_learned(tmp_path):
    (tmp_path / "text.txt").write_text("abcdefgh" * 100)
    rows = run(tmp_path / "run", task="text", text=str(tmp_path / "text.txt"), steps=60, batch=16, lr=1e-2).rows
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]


def test_couplings_are_trained(tmp_path):
    model = run(tmp_path / "run", couplings="position").model
    assert model.blocks[0].attention.couplings.values.abs().min() > 0


def test_learning_rate_rises_over_the_warm_up_and_falls_along_a_cosine():
    factors = [learning_rate_factor(step, 1000) for step in range(1000)]
    assert factors[:50] == pytest.approx([(i + 1) / 50 for i in range(50)])
    assert factors[50] == 1.0
    for step in (200, 525, 999):
        assert factors[step] == pytest.approx(0.5 * (1 + math.cos(math.pi * (step - 50) / 950)))
    assert factors[525] == pytest.approx(0.5)
    assert all(a > b for a, b in itertools.pairwise(factors[50:]))
    assert [learning_rate_factor(step, 100) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert learning_rate_factor(0, 1) == 1.0


def test_couplings_have_a_rate_of_their_own():
    config = small_config(lr=0.1, lr_couplings=0.2, position_bias=True)
    model = build.build_model(config, build.build_task(config), samplers.build_sampler(config))
    groups = build_optimizer(model, config).param_groups
    rates = {id(p): group["peak"] for group in groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == (0.2 if name.endswith("couplings.values") else 0.1)
    assert all(group["weight_decay"] == 0.01 for group in groups)


def test_seeds_fix_every_number(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(tmp_path / name, seed=seed, **SAMPLED)
    assert numbers(tmp_path / "a") == numbers(tmp_path / "b")
    assert numbers(tmp_path / "a")[1] != numbers(tmp_path / "c")[1]


def test_no_model_of_a_training_draws_the_samples_of_another(tmp_path, monkeypatch):
    seeds = []

    class Recording(PerfectSampler):
        def sample(self, model, *, shots, seed):
            if model.models <= 4 * 4:  # a training batch has 4 sequences, an evaluation 64
                seeds.append(seed.flatten())
            return super().sample(model, shots=shots, seed=seed)

    monkeypatch.setitem(samplers.SAMPLERS, "aer", lambda _: Recording())
    run(tmp_path / "run", sampler="aer", shots=2, layers=2, length=6, types=10, eval_sequences=64)
    together = torch.cat(seeds)
    assert len(together) == len(together.unique()) == 6 * 2 * 4 * 2 * 6  # steps, layers, sequences, heads, queries


def test_how_often_it_evaluates_changes_nothing(tmp_path):
    run(tmp_path / "a", eval_every=1, **SAMPLED)
    run(tmp_path / "b", eval_every=6, **SAMPLED)
    (_, rows_a, tensors_a), (_, rows_b, tensors_b) = numbers(tmp_path / "a"), numbers(tmp_path / "b")
    assert tensors_a == tensors_b
    assert rows_a[-1]["loss"] == rows_b[-1]["loss"]
    assert [row["step"] for row in rows_a] == list(range(7))
    assert [row["step"] for row in rows_b] == [0, 6]
    assert rows_b[-1]["train_loss"] == pytest.approx(sum(row["train_loss"] for row in rows_a[1:]) / 6)


def interrupted(monkeypatch, owner, name, at, action, before=True):
    """Run an action in which the at-th call of a function kills the process; whether it got that far."""
    calls = 0
    original = getattr(owner, name)

    def counting(*args, **options):
        nonlocal calls
        calls += 1
        if calls == at and before:
            raise Killed
        result = original(*args, **options)
        if calls == at:
            raise Killed
        return result

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, counting)
        try:
            action()
        except Killed:
            return True
    return False


def resume_or_start_again(path, settings):
    """What a user does: --resume, and where there is no run yet, the same command again."""
    folder = RunFolder(path)
    try:
        folder.require_run("--out")
    except InputError:
        folder.require_new()
        return run(path, **settings)
    return run(path, resume=True, **settings)


@pytest.mark.parametrize(
    ("owner", "name", "before", "least"),
    [
        (os, "fsync", True, 20),
        (Path, "rename", True, 4),
        (Path, "rename", False, 4),
        (Path, "replace", True, 5),
        (Path, "replace", False, 5),
        (PerfectSampler, "sample", True, 25),
        (torch.optim.AdamW, "step", False, 4),
    ],
    ids=["fsync", "before rename", "after rename", "before replace", "after replace", "sample", "step"],
)
def test_killed_anywhere_and_resumed_it_ends_with_the_same_numbers(tmp_path, monkeypatch, owner, name, before, least):
    settings = {"sampler": "aer", "shots": 4, "eval_sequences": 4, "batch": 2, "steps": 4}
    run(tmp_path / "whole", **settings)
    expected = numbers(tmp_path / "whole")
    stride = 7 if name == "sample" else 1
    at = 1
    while True:
        path = tmp_path / f"run-{at}"
        killed = interrupted(monkeypatch, owner, name, at, lambda path=path: run(path, **settings), before)
        if killed:
            resume_or_start_again(path, settings)
        assert numbers(path) == expected
        assert all(checkpoint.load(saved) for saved in checkpoint.complete(path / "checkpoints"))
        if not killed:
            break
        at += stride
    assert at >= least  # every such moment of the run was tried


def test_killed_twice(tmp_path, monkeypatch):
    run(tmp_path / "whole", **SAMPLED)
    path = tmp_path / "run"
    assert interrupted(monkeypatch, PerfectSampler, "sample", 20, lambda: run(path, **SAMPLED))
    assert interrupted(monkeypatch, PerfectSampler, "sample", 20, lambda: run(path, resume=True, **SAMPLED))
    run(path, resume=True, **SAMPLED)
    assert numbers(path) == numbers(tmp_path / "whole")


def test_killed_before_the_first_checkpoint_it_starts_from_step_zero(tmp_path, monkeypatch):
    path = tmp_path / "run"
    assert interrupted(monkeypatch, PerfectSampler, "sample", 1, lambda: run(path, **SAMPLED))
    assert RunFolder(path).latest() is None
    run(path, resume=True, **SAMPLED)
    run(tmp_path / "whole", **SAMPLED)
    assert numbers(path) == numbers(tmp_path / "whole")


@pytest.mark.parametrize("tail", ['{"step": 4, "lo', "{", '{"step": 6, "train_loss": 1.0, "loss": 0.0}\n'])
def test_what_the_metrics_hold_after_the_checkpoint_is_left_out(tmp_path, monkeypatch, tail):
    run(tmp_path / "whole")
    path = tmp_path / "run"
    assert interrupted(monkeypatch, torch.optim.AdamW, "step", 3, lambda: run(path))
    with (path / "metrics.jsonl").open("a") as file:
        file.write(tail)
    run(path, resume=True)
    assert numbers(path) == numbers(tmp_path / "whole")


def test_a_failed_save_leaves_the_older_checkpoint_usable(tmp_path, monkeypatch):
    path = tmp_path / "run"
    # the third checkpoint's second file of tensors
    assert interrupted(monkeypatch, checkpoint, "save_file", 6, lambda: run(path))
    folder = RunFolder(path)
    assert folder.latest().name == "step-00000002"
    assert checkpoint.load(folder.latest()).step == 2
    assert (folder.checkpoints / ".step-00000004").is_dir()
    run(path, resume=True)
    run(tmp_path / "whole")
    assert numbers(path) == numbers(tmp_path / "whole")
    assert not (folder.checkpoints / ".step-00000004").exists()


def test_evaluations_with_the_training_sampler_and_exactly(tmp_path):
    rows = run(tmp_path / "a", **SAMPLED).rows
    assert all(row["loss"] != row["loss_exact"] for row in rows)
    rows = run(tmp_path / "b").rows
    assert all(row["loss"] == row["loss_exact"] for row in rows)
    assert all(row["models_per_second"] > 0 for row in rows[1:])


def test_settings_are_checked_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="--shots is 1"):
        train(TrainConfig(shots=1), RunFolder(tmp_path / "run"), progress=False)
    assert not list(tmp_path.iterdir())
