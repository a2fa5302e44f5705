"""Boltzmann attention against one enumeration for each query over the keys it sees."""

import math

import numpy as np
import pytest
import torch
from enumeration import up_probability
from injected_samplers import LawSampler, PerfectSampler
from torch import nn

from classical import ExactSampler
from hybrid_attention import BoltzmannAttention, SigmoidAttention, SoftmaxAttention
from hybrid_attention.couplings import COUPLINGS
from hybrid_attention.readout import READOUTS

KINDS = list(COUPLINGS)
DIM, HEADS, LENGTH = 6, 2, 6


def randomised(module, seed=0, scale=0.5):
    """The module in float64 with random numbers in every parameter, so that nothing hides behind a zero."""
    generator = torch.Generator().manual_seed(seed)
    module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


def boltzmann(couplings="position", sampler=None, seed=0, **options):
    options = {"max_length": LENGTH, "position_bias": True, **options}
    return randomised(BoltzmannAttention(DIM, HEADS, couplings=couplings, sampler=sampler, **options), seed)


def tokens(batch=2, length=5, seed=0):
    generator = torch.Generator().manual_seed(100 + seed)
    return torch.randn(batch, length, DIM, generator=generator, dtype=torch.float64)


def couplings_oracle(attention, key, head):
    """J of one head for one sequence of key tokens, entry by entry."""
    kind, n = attention.coupling_kind, len(key)
    parameters = {name: p.detach().numpy() for name, p in attention.couplings.named_parameters()}
    width = DIM // HEADS
    part = slice(head * width, (head + 1) * width)
    pair_number = {
        pair: number
        for number, pair in enumerate(
            (j, k) for j in range(attention.max_length) for k in range(j + 1, attention.max_length)
        )
    }
    J = np.zeros((n, n))
    for j in range(n):
        for k in range(j + 1, n):
            if kind == "position":
                J[j, k] = parameters["values"][head, pair_number[j, k]]
            elif kind == "relative":
                J[j, k] = parameters["values"][head, k - j - 1]
            elif kind == "content":
                a = parameters["first.weight"][part] @ key[j]
                b = parameters["second.weight"][part] @ key[k]
                J[j, k] = a @ b / math.sqrt(width)
            elif kind == "fixed":
                J[j, k] = attention.couplings.values[head, j, k].item()
    return J


def oracle(attention, query, key=None, value=None, hidden=None, addition=None):
    """Output and weights by enumeration; hidden and addition are (batch, heads, queries, keys)."""
    key = query if key is None else key
    value = key if value is None else value
    query, key, value = (x.detach().numpy() for x in (query, key, value))
    W, bias = attention.in_proj_weight.detach().numpy(), attention.in_proj_bias.detach().numpy()
    batch, queries, keys, width = query.shape[0], query.shape[1], key.shape[1], DIM // HEADS
    weights = np.zeros((batch, HEADS, queries, keys))
    mixed = np.zeros((batch, queries, DIM))
    for b in range(batch):
        for head in range(HEADS):
            rows = [slice(third * DIM + head * width, third * DIM + (head + 1) * width) for third in range(3)]
            q, k, v = (x[b] @ W[r].T + bias[r] for x, r in zip((query, key, value), rows, strict=True))
            J = couplings_oracle(attention, key[b], head)
            for i in range(queries):
                seen = [j for j in range(keys) if hidden is None or not hidden[b, head, i, j]]
                if not seen:
                    continue
                h = np.array([q[i] @ k[j] / math.sqrt(width) for j in seen])
                if attention.position_bias is not None:
                    h += attention.position_bias.detach().numpy()[head, i, seen]
                if addition is not None:
                    h += addition[b, head, i, seen].numpy()
                a = up_probability(h, J[np.ix_(seen, seen)])
                weights[b, head, i, seen] = a / (a.sum() + 1e-12) if attention.readout.__name__ == "mean_readout" else a
                mixed[b, i, head * width : (head + 1) * width] = weights[b, head, i] @ v
    output = mixed @ attention.out_proj.weight.detach().numpy().T + attention.out_proj.bias.detach().numpy()
    return torch.from_numpy(output), torch.from_numpy(weights)


def assert_equals_oracle(attention, *arguments, hidden=None, addition=None, **options):
    expected = oracle(attention, *arguments, hidden=hidden, addition=addition)
    for got, right in zip(attention(*arguments, **options), expected, strict=True):
        torch.testing.assert_close(got.detach(), right, rtol=1e-10, atol=1e-12)


def future(batch, queries, keys):
    return torch.ones(batch, HEADS, queries, keys, dtype=torch.bool).triu(1)


SAMPLERS = [
    pytest.param(ExactSampler, id="closed form"),
    pytest.param(LawSampler, id="one model a pattern"),
]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("readout", list(READOUTS))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("causal", [True, False], ids=["causal", "all keys"])
def test_equals_enumeration_over_the_keys_a_query_sees(kind, readout, causal, sampler):
    attention = boltzmann(kind, sampler(), readout=readout)
    assert_equals_oracle(attention, tokens(), hidden=future(2, 5, 5) if causal else None, is_causal=causal)


@pytest.mark.parametrize("padded", [False, True])
def test_many_long_causal_queries_equal_enumeration(padded):
    # so many models and spins that the closed form works through visible keys in parts of similar size
    attention = boltzmann("position", max_length=12)
    padding = torch.zeros(7, 12, dtype=torch.bool)
    if padded:
        padding[1, 3], padding[2, 0], padding[3, 6:], padding[4, :9] = True, True, True, True
    hidden = future(7, 12, 12) | padding[:, None, None]
    assert_equals_oracle(attention, tokens(7, 12), hidden=hidden, is_causal=True, key_padding_mask=padding)


def masks(batch=2, queries=4, keys=5):
    """Hidden keys (batch, heads, queries, keys), addition, and the options that say so."""
    generator = torch.Generator().manual_seed(5)
    padding = torch.zeros(batch, keys, dtype=torch.bool)
    padding[0, 3:], padding[1, 0] = True, True
    everyone = padding[:, None, None].expand(batch, HEADS, queries, keys)
    minus = torch.zeros(batch, keys, dtype=torch.float64).masked_fill(padding, -torch.inf)
    shared = torch.rand(queries, keys, generator=generator) < 0.4
    added = torch.randn(queries, keys, generator=generator, dtype=torch.float64)
    own = torch.rand(batch * HEADS, queries, keys, generator=generator) < 0.4
    own_hidden = own.view(batch, HEADS, queries, keys)
    own_added = torch.randn(own.shape, generator=generator, dtype=torch.float64)
    spread = [batch, HEADS, queries, keys]
    past = future(batch, queries, keys)
    return {
        "padding": (everyone, None, {"key_padding_mask": padding}),
        "float padding": (everyone, None, {"key_padding_mask": minus}),
        "bool": (shared.expand(spread), None, {"attn_mask": shared}),
        "addition": (None, added.expand(spread), {"attn_mask": added}),
        "addition with -inf": (
            shared.expand(spread),
            added.expand(spread),
            {"attn_mask": added.masked_fill(shared, -torch.inf)},
        ),
        "bool per head": (own_hidden, None, {"attn_mask": own}),
        "addition per head": (
            own_hidden,
            own_added.view(spread),
            {"attn_mask": own_added.masked_fill(own, -torch.inf)},
        ),
        "causal and padding": (past | everyone, None, {"is_causal": True, "key_padding_mask": padding}),
        "all three": (
            past | everyone | own_hidden,
            own_added.view(spread),
            {
                "is_causal": True,
                "key_padding_mask": minus,
                "attn_mask": own_added.masked_fill(own, -torch.inf),
            },
        ),
    }


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("kind", ["position", "content"])
@pytest.mark.parametrize("name", list(masks()))
def test_masks_in_cross_attention_equal_enumeration(name, kind, sampler):
    hidden, addition, options = masks()[name]
    attention = boltzmann(kind, sampler())
    arguments = (tokens(2, 4), tokens(2, 5, seed=1), tokens(2, 5, seed=2))
    assert_equals_oracle(attention, *arguments, hidden=hidden, addition=addition, **options)


def test_key_and_value_default_to_what_comes_before_them():
    attention = boltzmann()
    x, y = tokens(), tokens(seed=1)
    for given, full in (((x,), (x, x, x)), ((x, y), (x, y, y))):
        for a, b in zip(attention(*given), attention(*full), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_weights_on_request_and_averaged():
    attention = boltzmann()
    output, weights = attention(tokens(3, 4), tokens(3, 5))
    assert output.shape == (3, 4, DIM)
    assert weights.shape == (3, HEADS, 4, 5)
    alone, none = attention(tokens(3, 4), tokens(3, 5), need_weights=False)
    assert none is None
    assert torch.equal(alone, output)
    _, averaged = attention(tokens(3, 4), tokens(3, 5), average_attn_weights=True)
    torch.testing.assert_close(averaged, (weights[:, 0] + weights[:, 1]) / 2, rtol=1e-12, atol=0)


def test_mean_weights_sum_to_one_and_sum_weights_are_probabilities():
    _, weights = boltzmann()(tokens())
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, HEADS, 5, dtype=torch.float64), rtol=1e-9, atol=0)
    _, weights = boltzmann(readout="sum")(tokens())
    assert ((weights > 0) & (weights < 1)).all()


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("kind", ["position", "content"])
def test_a_query_that_sees_nothing_gets_zeros_and_no_gradient_breaks(kind, sampler):
    attention = boltzmann(kind, sampler())
    query, key = tokens(2, 4).requires_grad_(), tokens(2, 5, seed=1).requires_grad_()
    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[0] = True
    output, weights = attention(query, key, key_padding_mask=padding)
    assert not weights[0].any()
    torch.testing.assert_close(output[0], attention.out_proj.bias.expand(4, -1))
    output.square().sum().backward()
    assert not query.grad[0].any()
    for tensor in (query.grad, key.grad, *(p.grad for p in attention.parameters())):
        assert torch.isfinite(tensor).all()


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("kind", KINDS)
def test_hidden_keys_have_no_influence_and_no_gradient(kind, sampler):
    attention = boltzmann(kind, sampler())
    # hidden content couplings cancel in the closed form, to rounding; everything else is never there
    tolerance = 1e-12 if kind == "content" else 0.0
    query, key = tokens(2, 4), tokens(2, 5, seed=1).requires_grad_()
    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[0, 2], padding[1, 4] = True, True
    output, _ = attention(query, key, key_padding_mask=padding)
    changed = torch.where(padding.unsqueeze(-1), 3 * tokens(2, 5, seed=2), key.detach())
    other, _ = attention(query, changed, key_padding_mask=padding)
    torch.testing.assert_close(other, output, rtol=0, atol=tolerance)
    output.square().sum().backward()
    assert key.grad[padding].abs().max() <= tolerance
    assert (key.grad[~padding].abs().amax(-1) > 1e-6).all()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_hidden_keys_may_hold_anything(sampler):
    attention = boltzmann("position", sampler())
    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[0, 2] = True
    key, value = tokens(2, 5, seed=1), tokens(2, 5, seed=2)
    expected = attention(tokens(2, 4), key, value, key_padding_mask=padding)
    for filler in (torch.nan, torch.inf, 1e300):
        filled = key.masked_fill(padding.unsqueeze(-1), filler)
        for a, b in zip(attention(tokens(2, 4), filled, value, key_padding_mask=padding), expected, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_the_future_has_no_influence_on_a_causal_output(kind):
    attention = boltzmann(kind)
    x = tokens().requires_grad_()
    output, _ = attention(x, is_causal=True)
    for i in range(5):
        (gradient,) = torch.autograd.grad(output[:, i].square().sum(), x, retain_graph=True)
        assert gradient[:, i + 1 :].abs().sum() <= (1e-11 if kind == "content" else 0.0)
        assert gradient[:, : i + 1].abs().amax(-1).min() > 1e-6


@pytest.mark.parametrize("readout", list(READOUTS))
def test_without_couplings_it_is_sigmoid_attention(readout):
    free = boltzmann("none", readout=readout)
    sigmoid = SigmoidAttention(DIM, HEADS, LENGTH, position_bias=True, readout=readout).double()
    sigmoid.load_state_dict({k: v for k, v in free.state_dict().items() if k != "calls"})
    x = tokens()
    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[0, 4] = True
    for a, b in zip(*(m(x, is_causal=True, key_padding_mask=padding) for m in (free, sigmoid)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    q, k, _ = (x @ sigmoid.in_proj_weight.T + sigmoid.in_proj_bias).chunk(3, -1)
    q, k = (y.unflatten(-1, (HEADS, -1)).transpose(1, 2) for y in (q, k))
    a = 1 / (1 + torch.exp(-2 * (q @ k.mT / math.sqrt(DIM // HEADS) + sigmoid.position_bias[:, :5, :5])))
    closed = a if readout == "sum" else a / a.sum(-1, keepdim=True)
    torch.testing.assert_close(sigmoid(x)[1], closed, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in masks(queries=5) if name != "causal and padding"])
def test_softmax_attention_equals_torch(name):
    ours = randomised(SoftmaxAttention(DIM, HEADS, LENGTH))
    theirs = nn.MultiheadAttention(DIM, HEADS, batch_first=True, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict())
    hidden, _, options = masks(queries=5)[name]
    arguments = (tokens(2, 5), tokens(2, 5, seed=1), tokens(2, 5, seed=2))
    output, weights = ours(*arguments, **options)
    if options.pop("is_causal", False):
        options["attn_mask"] = options["attn_mask"].masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
    right, right_weights = theirs(*arguments, average_attn_weights=False, **options)
    seen = torch.ones(2, HEADS, 5, dtype=torch.bool) if hidden is None else ~hidden.all(-1)
    torch.testing.assert_close(weights[seen], right_weights[seen], rtol=1e-10, atol=1e-12)
    assert not weights[~seen].any()  # where torch gives NaN
    every = seen.all(1)
    torch.testing.assert_close(output[every], right[every], rtol=1e-10, atol=1e-12)
    assert torch.isfinite(output).all()


@pytest.mark.parametrize("kind", ["position", "content"])
def test_sampled_statistics_agree_with_exact_ones(kind):
    shots = 40_000
    exact = boltzmann(kind, readout="sum")
    sampled = boltzmann(kind, PerfectSampler(), readout="sum", shots=shots)
    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[1, 1] = True
    masked = {"is_causal": True, "key_padding_mask": padding}
    p = exact(tokens(), **masked)[1]
    found = sampled(tokens(), seed=3, **masked)[1]
    error = (p * (1 - p) / shots).sqrt()
    assert ((found - p).abs() <= 5 * error).all()
    assert ((found.flip(2) - p).abs() > 5 * error).any()  # another query's model would show


def test_each_pattern_of_visible_keys_is_one_call_without_the_hidden_spins():
    sampler = LawSampler()
    boltzmann("position", sampler)(tokens(2, 4), is_causal=True)
    assert sorted(sampler.sizes) == [(HEADS, 2, spins) for spins in (1, 2, 3, 4)]


def test_sampled_gradients_are_the_exact_ones_for_the_whole_law():
    x, padding = tokens(), torch.zeros(2, 5, dtype=torch.bool)
    padding[0, 1] = True
    for kind in KINDS:
        found = []
        for sampler in (ExactSampler(), LawSampler()):
            attention, inputs = boltzmann(kind, sampler), x.clone().requires_grad_()
            attention(inputs, is_causal=True, key_padding_mask=padding)[0].square().sum().backward()
            found.append([inputs.grad, *(p.grad for p in attention.parameters())])
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_gradients_equal_finite_differences():
    attention = boltzmann("content")
    x = tokens(1, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: attention(y, is_causal=True)[0], x, eps=1e-6, atol=1e-8, rtol=1e-6)


def test_seeds():
    x = tokens()

    def weights(attention, **options):
        return attention(x, is_causal=True, **options)[1]

    first, second = (boltzmann(sampler=PerfectSampler(), shots=8) for _ in range(2))
    assert torch.equal(weights(first, seed=4), weights(second, seed=4))
    assert not torch.equal(weights(first, seed=4), weights(first, seed=5))
    assert first.calls == 0  # explicit seeds are not counted
    calls = [weights(first), weights(first)]
    assert not torch.equal(*calls)
    assert torch.equal(calls[0], weights(second))
    assert first.calls == 2
    assert not torch.equal(
        calls[0], weights(boltzmann(sampler=PerfectSampler(), shots=8, seed=0, readout="mean").eval(), seed=1)
    )


def test_the_count_of_calls_is_saved():
    first = boltzmann(sampler=PerfectSampler(), shots=8)
    first(tokens())
    second = boltzmann(sampler=PerfectSampler(), shots=8, seed=1)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(tokens())[1], second(tokens())[1])


@pytest.mark.parametrize("kind", ["position", "content"])
def test_samples_of_a_sequence_do_not_depend_on_the_rest_of_the_batch(kind):
    attention = boltzmann(kind, PerfectSampler(), shots=16)
    x = tokens(4)
    padding = torch.zeros(4, 5, dtype=torch.bool)
    padding[3, :2] = True
    small = attention(x[:2], is_causal=True, seed=1)[1]
    large = attention(x, is_causal=True, key_padding_mask=padding, seed=1)[1]
    assert torch.equal(small, large[:2])


def test_queries_heads_and_sequences_draw_their_own_samples():
    attention = BoltzmannAttention(DIM, HEADS, LENGTH, sampler=PerfectSampler(), readout="sum", shots=64)
    with torch.no_grad():
        attention.in_proj_weight.zero_()  # all fields equal: only seeds differ
    weights = attention(torch.zeros(3, 4, DIM), seed=0)[1].flatten(0, 2)
    assert len(weights.unique(dim=0)) == len(weights)
    sampler = PerfectSampler()
    boltzmann("position", sampler, shots=2)(tokens(3, 4), is_causal=True, seed=0)
    seeds = torch.cat([seed.flatten() for _, _, seed in sampler.calls])
    assert len(seeds) == len(seeds.unique()) == 3 * HEADS * 4


def test_no_sampler_call_in_the_backward_pass():
    sampler = PerfectSampler()
    output, _ = boltzmann("content", sampler, shots=16)(tokens().requires_grad_(), is_causal=True)
    calls = len(sampler.calls)
    output.square().sum().backward()
    assert len(sampler.calls) == calls > 0


@pytest.mark.parametrize("sampler", [ExactSampler, PerfectSampler])
def test_autocast_keeps_sums_in_float32(sampler):
    attention = boltzmann("position", sampler(), readout="sum", shots=4096).float()
    seen = []
    attention.register_forward_hook(lambda module, inputs, output: seen.append(output[1].dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, weights = attention(tokens().float(), is_causal=True, seed=0)
    assert output.dtype == torch.bfloat16
    assert weights.dtype == torch.float32
    output.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 and torch.isfinite(p.grad).all() for p in attention.parameters())


def test_autocast_does_not_touch_content_couplings():
    attention = boltzmann("content").float()
    with torch.no_grad():
        attention.in_proj_weight.zero_()  # no product of tokens but the couplings
        attention.in_proj_bias.zero_()
    plain = attention(tokens().float())[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(attention(tokens().float())[1], plain, rtol=1e-5, atol=1e-6)


def test_a_bfloat16_module_sums_in_float32():
    attention = boltzmann("position").to(torch.bfloat16)
    output, weights = attention(tokens().bfloat16(), is_causal=True)
    assert (output.dtype, weights.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, HEADS, 5), rtol=1e-5, atol=0)


def test_float32_agrees_with_float64():
    attention = boltzmann("position")
    wide = attention(tokens(), is_causal=True)[0]
    narrow = attention.float()(tokens().float(), is_causal=True)[0]
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow, wide.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_state_dict_round_trip(kind):
    first, second = boltzmann(kind, seed=0), boltzmann(kind, seed=1)
    second.load_state_dict(first.state_dict())
    for a, b in zip(first(tokens(), is_causal=True), second(tokens(), is_causal=True), strict=True):
        assert torch.equal(a, b)


class Small(PerfectSampler):
    max_spins = 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embed_dim": 0}, "embed_dim is 0"),
        ({"num_heads": 4}, "embed_dim is 6 and num_heads 4"),
        ({"couplings": "nope"}, "couplings is 'nope'; use one of position"),
        ({"readout": "nope"}, "readout is 'nope'; use one of mean, sum"),
        ({"shots": 1}, "shots is 1"),
        ({"sampler": Small()}, "max_length is 6, but Small holds at most 3 spins"),
        ({"max_length": 60}, "max_length is 60, but ExactSampler holds at most"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        BoltzmannAttention(**{"embed_dim": DIM, "num_heads": HEADS, "max_length": LENGTH, **options})


def test_sigmoid_refuses_an_unknown_readout():
    with pytest.raises(ValueError, match="readout is 'nope'"):
        SigmoidAttention(DIM, HEADS, LENGTH, readout="nope")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((tokens(2, 7),), "query has length 7, but max_length is 6"),
        ((tokens(2, 4), tokens(2, 7)), "key has length 7"),
        ((tokens(2, 4), tokens(2, 5), tokens(2, 4)), "key has length 5 and value 4"),
        ((tokens(2, 4), tokens(3, 4)), r"key has shape \(3, 4, 6\)"),
        ((tokens()[0],), r"query has shape \(5, 6\)"),
        ((tokens()[..., :4],), "embed_dim = 6"),
    ],
)
def test_bad_shapes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        boltzmann()(*arguments)
