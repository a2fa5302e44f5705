"""A limit of the fields: weights are those of limited fields, computed apart, and masks come on top of it."""

import math

import enumeration
import numpy as np
import pytest
import torch
from arm_cases import HEADS, assert_gradient, build, normal, tokens
from small_runs import small_config
from window_cases import windowed

from hybrid_attention.evaluate import evaluate_run, load_run
from hybrid_attention.run import RunFolder
from hybrid_attention.train import train
from hybrid_attention.windows import Window

LIMIT, LENGTH = 1.5, 5
KINDS = ("softmax", "sigmoid", "boltzmann")


def weights_by_hand(name, module, x, limit, hidden=None, addition=0.0):
    """One query after another, from projections in NumPy."""
    states = x.detach().numpy() @ module.in_proj_weight.detach().numpy().T + module.in_proj_bias.detach().numpy()
    q, k, _ = (part.reshape(*part.shape[:2], HEADS, -1) for part in np.split(states, 3, -1))
    weights = np.zeros((x.shape[0], HEADS, LENGTH, LENGTH))
    for b, head, i in np.ndindex(weights.shape[:3]):
        keys = [j for j in range(i + 1) if hidden is None or not hidden[b, j]]
        h = np.array([q[b, i, head] @ k[b, j, head] for j in keys]) / math.sqrt(q.shape[-1])
        h = h + module.position_bias.detach().numpy()[head, i, keys]
        h = (limit * np.tanh(h / limit) if limit else h) + addition
        if name == "softmax":
            raw = np.exp(h)
        elif name == "sigmoid":
            raw = 1 / (1 + np.exp(-2 * h))
        else:
            J = module.couplings(x).detach().numpy()[head][np.ix_(keys, keys)]
            raw = np.asarray(enumeration.up_probability(torch.from_numpy(h), J))
        weights[b, head, i, keys] = raw / raw.sum()
    return weights


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("addition", [0.0, 2.0])
def test_weights_are_those_of_limited_fields(name, addition):
    """What a mask adds is not limited: with 2 on top, fields reach from 0.5 to 3.5."""
    module = build(name, length=LENGTH, scale=1.0, position_bias=True, field_limit=LIMIT)
    x, hidden = tokens(2, LENGTH), np.zeros((2, LENGTH), dtype=bool)
    hidden[1, 0] = True
    padding = torch.full((2, LENGTH), addition, dtype=torch.float64).masked_fill(torch.from_numpy(hidden), -torch.inf)
    weights = module(x, is_causal=True, key_padding_mask=padding)[1].detach().numpy()
    seen = weights_by_hand(name, module, x, LIMIT, hidden, addition)
    np.testing.assert_allclose(weights[0], seen[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(weights[1, :, 1:], seen[1, :, 1:], rtol=1e-9, atol=1e-12)
    assert not weights[1, :, 0].any()
    free = weights_by_hand(name, module, x, None, hidden, addition)
    assert np.abs(free - seen)[:, :, 1:].max() > 0.05  # the limit is not idle


@pytest.mark.parametrize("name", KINDS)
def test_a_far_limit_is_none(name):
    far, none = (build(name, length=LENGTH, position_bias=True, field_limit=limit) for limit in (1e6, None))
    torch.testing.assert_close(far(tokens(2, LENGTH))[1], none(tokens(2, LENGTH))[1], rtol=1e-8, atol=1e-10)


def test_samplers_are_given_limited_fields_in_a_window_too():
    module = windowed("boltzmann", Window(3, 1), scale=3.0, position_bias=True, field_limit=LIMIT)
    seen = []
    module.observer = lambda fields, *_: seen.append(fields)
    module(10 * tokens(2, LENGTH))
    assert 0.99 * LIMIT < seen[0].abs().max() <= LIMIT


def test_a_step_of_generation_is_limited_as_training_is():
    module, x = build("boltzmann", length=LENGTH, scale=1.0, field_limit=LIMIT), tokens(2, LENGTH)
    whole, cache = module(x, is_causal=True)[0], module.new_cache()
    steps = [module.step(x[:, i : i + 1], cache) for i in range(LENGTH)]
    torch.testing.assert_close(torch.cat(steps, 1), whole, rtol=1e-9, atol=1e-11)


def test_gradients_pass_the_limit():
    module = build("boltzmann", length=LENGTH, position_bias=True, field_limit=LIMIT)
    x, upstream = tokens(2, LENGTH), normal(2, LENGTH, module.embed_dim, seed=3)
    assert_gradient(lambda: (module(x)[0] * upstream).sum(), module.position_bias, every=7)


@pytest.mark.parametrize("limit", [0.0, -1.0, math.inf, math.nan])
def test_limits_that_are_none(limit):
    with pytest.raises(ValueError, match=r"field_limit is .*; it must be positive and finite"):
        build("softmax", field_limit=limit)


def test_a_run_keeps_its_limit(tmp_path):
    config = small_config(field_limit=0.25, position_bias=True, lr=0.05, steps=6)
    trained = train(config, RunFolder(tmp_path), progress=False)
    loaded = load_run(tmp_path)
    assert [m.field_limit for m in loaded.model.modules() if hasattr(m, "field_limit")] == [0.25] * config.layers
    assert trained.config.field_limit == 0.25
    assert math.isfinite(evaluate_run(loaded, progress=False)["loss"])
