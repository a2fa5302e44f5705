"""Padding and attention masks under a window: hidden keys are spins that are not there, in slots as in positions."""

import enumeration
import pytest
import torch
from arm_cases import HEADS, build, normal, tokens
from drop_in_cases import encoder_layer
from injected_samplers import PerfectSampler
from torch import nn
from window_cases import (
    WINDOWED,
    assert_samplers_get_the_same_models,
    copy_parameters,
    coupling_of,
    dense_fields,
    windowed,
)

from hybrid_attention.couplings import COUPLINGS
from hybrid_attention.hopfield import hopfield_fixed_points
from hybrid_attention.windows import Window

LENGTH = 7
ENDS = torch.tensor([LENGTH, 4])


def padding(kind="bool"):
    """The second sequence ends early; "left" hides its beginning instead."""
    hidden = torch.arange(LENGTH) >= ENDS[:, None]
    if kind == "left":
        return hidden.flip(1)
    if kind == "float":
        return torch.zeros(2, LENGTH).masked_fill(hidden, -torch.inf) + normal(2, LENGTH, seed=3).float()
    return hidden


def forbidden(kind="shared"):
    """Pairs that may not be seen, besides those in the future, the same in all heads or not."""
    hidden = normal(2 * HEADS, LENGTH, LENGTH, seed=4) > 0.7
    if kind == "shared":
        return hidden[0]
    if kind == "float":
        return normal(2 * HEADS, LENGTH, LENGTH, seed=5).masked_fill(hidden, -torch.inf)
    return hidden


MASKS = {
    "padding": {"key_padding_mask": padding()},
    "left padding": {"key_padding_mask": padding("left")},
    "padding and additions": {"key_padding_mask": padding("float")},
    "pairs": {"attn_mask": forbidden()},
    "pairs by head": {"attn_mask": forbidden("by head")},
    "pairs and additions": {"attn_mask": forbidden("float")},
    "both": {"attn_mask": forbidden("float"), "key_padding_mask": padding("left")},
}


def read(masks):
    """Which keys the masks leave, and what they add, (batch, heads, queries, keys), number by number."""
    visible, addition = torch.ones(2, HEADS, LENGTH, LENGTH, dtype=torch.bool), torch.zeros(2, HEADS, LENGTH, LENGTH)
    for name, mask in masks.items():
        if name == "key_padding_mask":
            full = mask[:, None, None, :].expand(2, HEADS, LENGTH, LENGTH)
        else:
            full = mask.expand(2, HEADS, LENGTH, LENGTH) if mask.ndim == 2 else mask.unflatten(0, (2, HEADS))
        if mask.dtype == torch.bool:
            visible = visible & ~full
        else:
            visible = visible & full.isfinite()
            addition = addition + full.masked_fill(full.isinf(), 0.0)
    return visible, addition


@pytest.mark.parametrize("couplings", COUPLINGS)
@pytest.mark.parametrize("kind", list(MASKS))
def test_every_query_is_the_model_of_the_keys_it_sees(kind, couplings):
    """Fields and couplings between seen keys from the definition, position by position; every configuration summed."""
    window = Window(3, 2)
    module = windowed("boltzmann", window, couplings=couplings, position_bias=True)
    x = tokens(2, LENGTH)
    weights = module(x, **MASKS[kind])[1].detach()
    fields, seen = dense_fields(module, x, window)
    visible, addition = read(MASKS[kind])
    fields = (fields + addition).detach()
    for b in range(2):
        for head in range(HEADS):
            for i in range(LENGTH):
                keys = (seen[i] & visible[b, head, i]).nonzero().squeeze(-1).tolist()
                expected = torch.zeros(LENGTH, dtype=torch.float64)
                if keys:
                    J = [[coupling_of(module, x, b, head, i, j, k) for k in keys] for j in keys]
                    up = enumeration.up_probability(fields[b, head, i, keys], J)
                    expected[keys] = torch.from_numpy(up / up.sum())
                torch.testing.assert_close(weights[b, head, i], expected, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("readout", ["mean", "free-energy"])
@pytest.mark.parametrize("name", WINDOWED)
@pytest.mark.parametrize("kind", list(MASKS))
def test_a_window_as_long_as_the_sequence_is_ordinary_causal_attention(kind, name, readout):
    options = {"couplings": "relative"} if name == "boltzmann" else {}
    ordinary = build(name, length=LENGTH, readout=readout, **options)
    inside = windowed(name, Window(LENGTH), readout=readout, **options)
    copy_parameters(ordinary, inside)
    inside.slot_keys.data.zero_()
    x = tokens(2, LENGTH)
    expected, weights = ordinary(x, is_causal=True, **MASKS[kind])
    got, own = inside(x, **MASKS[kind])
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(own, weights, rtol=1e-9, atol=1e-11)
    without = inside(x)[1]
    assert (without - own).abs().max() > 0.01  # the mask is not idle


@pytest.mark.parametrize("couplings", COUPLINGS)
@pytest.mark.parametrize("kind", ["padding", "left padding", "both"])
def test_samplers_get_the_same_models(kind, couplings):
    assert_samplers_get_the_same_models(Window(3, 1), LENGTH, couplings, **MASKS[kind])


def test_padding_behind_a_sequence_changes_neither_it_nor_its_samples():
    module = windowed("boltzmann", Window(3, 1), sampler=PerfectSampler(), shots=16)
    x = tokens(2, LENGTH)
    free, padded = module(x, seed=5)[0], module(x, key_padding_mask=padding(), seed=5)[0]
    torch.testing.assert_close(padded[~padding()], free[~padding()], rtol=1e-12, atol=1e-12)
    assert (padded - free)[padding()].abs().max() > 1e-3


@pytest.mark.parametrize("name", WINDOWED)
def test_a_query_without_keys_reads_nothing(name):
    module, x = windowed(name, Window(3, 1)), tokens(2, LENGTH).requires_grad_()
    output, weights = module(x, key_padding_mask=torch.ones(2, LENGTH, dtype=torch.bool))
    assert not weights.any()
    torch.testing.assert_close(output, module.out_proj.bias.expand_as(output), rtol=1e-12, atol=1e-12)
    output.sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("readout", ["mean", "free-energy"])
@pytest.mark.parametrize("name", WINDOWED)
def test_a_padded_encoder_evaluates_as_it_trains(name, readout):
    """And causal masks, which say what a window does anyway, change nothing."""
    model = nn.TransformerEncoder(
        encoder_layer(windowed(name, Window(2, 1), readout=readout)), 2, enable_nested_tensor=False
    )
    x, hidden = tokens(2, LENGTH), padding()
    trained = model(x, src_key_padding_mask=hidden)
    causal = nn.Transformer.generate_square_subsequent_mask(LENGTH, dtype=torch.float64)
    with torch.no_grad():
        evaluated = model.eval()(x, src_key_padding_mask=hidden)
        masked = model(x, mask=causal, is_causal=True, src_key_padding_mask=hidden.double() * -1e9)
    torch.testing.assert_close(evaluated, trained.detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(masked, evaluated, rtol=1e-10, atol=1e-12)
    alone = model(x[1:, : ENDS[1]])
    torch.testing.assert_close(evaluated[1:, : ENDS[1]], alone.detach(), rtol=1e-9, atol=1e-11)


def test_fixed_points_of_a_padded_sequence_are_those_of_its_part():
    module, x = windowed("hopfield", Window(3, 1), position_bias=True), tokens(2, LENGTH)
    padded = hopfield_fixed_points(module, x, key_padding_mask=padding())[0]
    alone = hopfield_fixed_points(module, x[1:, : ENDS[1]])[0]
    for name in ("needed", "visible", "converged"):
        assert torch.equal(getattr(padded, name)[1:, :, : ENDS[1]], getattr(alone, name)), name
    biased = hopfield_fixed_points(module, x, attn_mask=normal(LENGTH, LENGTH, seed=1, scale=3.0))[0]
    assert not torch.equal(biased.needed, hopfield_fixed_points(module, x)[0].needed)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"attn_mask": torch.zeros(3, LENGTH)}, "attn_mask has shape \\(3, 7\\); it must be"),
        ({"key_padding_mask": torch.zeros(2, 3)}, "key_padding_mask has shape \\(2, 3\\); it must be"),
        ({"key_padding_mask": torch.zeros(2, LENGTH, dtype=torch.int64)}, "key_padding_mask has dtype torch.int64"),
        ({"attn_mask": torch.full((LENGTH, LENGTH), torch.nan)}, "attn_mask contains NaN"),
    ],
)
def test_wrong_masks(options, words):
    with pytest.raises(ValueError, match=words):
        windowed("softmax", Window(3))(tokens(2, LENGTH), **options)
