"""Evaluation against sums over sequences, and the Transformer it evaluates."""

import math

import pytest
import torch
from injected_samplers import LawSampler, PerfectSampler
from small_runs import small_config
from torch import nn

from classical import ExactSampler
from hybrid_attention import BoltzmannAttention, build
from hybrid_attention.evaluate import evaluate
from hybrid_attention.tasks.base import IGNORED, Batch

CONFIG = small_config(length=6, layers=2, position_bias=True, heads=2)


@pytest.fixture
def model():
    task = build.build_task(CONFIG)
    model = build.build_model(CONFIG, task, PerfectSampler())
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "couplings" in name or "position_bias" in name:
                parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture
def batch():
    return build.build_task(CONFIG).validation(300)  # more than one piece


def test_evaluation_equals_sums_over_sequences(model, batch):
    found = evaluate(model, batch, ExactSampler(), seed=0)
    with build.using_sampler(model, ExactSampler()), torch.no_grad():
        logits = model(batch.tokens).logits.double()
    losses, hits, counts = [], 0, []
    for row, targets in zip(logits, batch.targets, strict=True):
        kept = [(one, int(t)) for one, t in zip(row, targets, strict=True) if t != IGNORED]
        losses.append(sum((one.exp().sum().log() - one[t]).item() for one, t in kept))
        hits += sum(int(one.argmax()) == t for one, t in kept)
        counts.append(len(kept))
    mean = sum(losses) / sum(counts)
    assert found.loss == pytest.approx(mean, rel=1e-5)
    assert found.accuracy == pytest.approx(hits / sum(counts), rel=1e-12)
    residuals = [loss - mean * count for loss, count in zip(losses, counts, strict=True)]
    assert found.loss_error == pytest.approx(math.sqrt(sum(r * r for r in residuals)) / sum(counts), rel=1e-4)


def test_uniform_guesses_lose_the_logarithm_of_the_classes(model, batch):
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.zero_()
    found = evaluate(model, batch, ExactSampler(), seed=0)
    assert found.loss == pytest.approx(math.log(4), rel=1e-6)
    assert found.loss_error < 1e-6


def test_evaluation_uses_the_sampler_given_and_puts_the_own_one_back(model, batch):
    attentions = [block.attention for block in model.blocks]
    own = attentions[0].sampler
    exact = evaluate(model, batch, ExactSampler(), seed=0)
    assert not own.calls
    other = LawSampler()
    law = evaluate(model, Batch(batch.tokens[:20], batch.targets[:20]), other, seed=0)
    assert other.sizes
    same = evaluate(model, Batch(batch.tokens[:20], batch.targets[:20]), ExactSampler(), seed=0)
    assert law.loss == pytest.approx(same.loss, rel=1e-5)
    assert exact.loss != same.loss
    assert all(attention.sampler is own for attention in attentions)
    assert all(attention.calls == 0 for attention in attentions)


def test_sampled_evaluation_is_a_function_of_the_seed(model, batch):
    first, same, other = (evaluate(model, batch, PerfectSampler(), seed=seed).loss for seed in (0, 0, 1))
    assert first == same != other


@pytest.mark.parametrize("attention", ["boltzmann", "softmax", "sigmoid"])
def test_logits_do_not_depend_on_the_future(attention):
    config = small_config(length=6, layers=2, attention=attention)
    model = build.build_model(config, build.build_task(config), ExactSampler())
    tokens = torch.randint(9, (3, 6), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[:, 4:] = (changed[:, 4:] + 1) % 9
    a, b = model(tokens).logits, model(changed).logits
    torch.testing.assert_close(a[:, :4], b[:, :4], rtol=1e-5, atol=1e-6)
    assert (a[:, 4:] - b[:, 4:]).abs().amax(-1).min() > 1e-3


def test_weights_of_every_layer_and_models_counted(model):
    tokens = torch.zeros(3, 6, dtype=torch.int64)
    assert model(tokens).weights == []
    weights = model(tokens, need_weights=True).weights
    assert [w.shape for w in weights] == [(3, 2, 6, 6)] * 2
    assert model.ising_models(3, 6) == 2 * 3 * 2 * 6
    config = small_config(attention="softmax")
    assert build.build_model(config, build.build_task(config), ExactSampler()).ising_models(3, 4) == 0


def test_layers_draw_different_samples(model):
    seeds = []

    class Recording(PerfectSampler):
        def sample(self, model, *, shots, seed):
            seeds.append(seed)
            return super().sample(model, shots=shots, seed=seed)

    with build.using_sampler(model, Recording()):
        model(torch.zeros(2, 6, dtype=torch.int64), seed=0)
    together = torch.cat([seed.flatten() for seed in seeds])
    assert len(together) == len(together.unique()) == model.ising_models(2, 6)


def test_parameters_are_counted_and_fixed_by_the_seed():
    def build_one(**changes):
        config = small_config(**changes)
        return build.build_model(config, build.build_task(config), ExactSampler())

    model, same, other = build_one(), build_one(), build_one(seed=1)
    for a, b in zip(model.parameters(), same.parameters(), strict=True):
        assert torch.equal(a, b)
    assert any(not torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert model.parameter_count() == sum(p.numel() for p in model.parameters())
    difference = build_one().parameter_count() - build_one(couplings="fixed").parameter_count()
    assert difference == 2 * 6  # heads times pairs of 4 positions
    assert build_one(attention="softmax").parameter_count() == build_one(couplings="none").parameter_count()
    assert isinstance(model.blocks[0].attention, BoltzmannAttention)
    assert isinstance(model.blocks[0].attention_norm, nn.LayerNorm)
