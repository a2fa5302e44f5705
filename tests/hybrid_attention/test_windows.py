"""Attention in a window against dense matrices, enumeration and ordinary causal attention."""

import enumeration
import pytest
import torch
from arm_cases import DIM, HEADS, assert_gradient, build, normal, tokens
from injected_samplers import PerfectSampler
from window_cases import (
    WINDOWED,
    assert_samplers_get_the_same_models,
    copy_parameters,
    coupling_of,
    dense_fields,
    projected,
    slot_of,
    windowed,
)

from hybrid_attention import BoltzmannAttention
from hybrid_attention.couplings import WindowContentCouplings, WindowRelativeCouplings
from hybrid_attention.energy import Pattern, pattern_energy
from hybrid_attention.hopfield import hopfield_fixed_points
from hybrid_attention.priors import MatrixPrior
from hybrid_attention.readout import EPSILON
from hybrid_attention.window_prior import WindowPrior
from hybrid_attention.windows import Window, gather_slots, slot_mix, slot_positions, slot_scores

WINDOWS = [Window(1), Window(3), Window(5), Window(2, 3), Window(4, 1), Window(9), Window(9, 2)]
COUPLINGS = ("position", "relative", "content", "fixed", "none")
LENGTH = 9


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("length", [1, 2, LENGTH, 40])
def test_scores_sums_and_gathers_are_what_the_definition_says(window, length):
    q, k, v = (normal(2, 2, length, 3, seed=seed).requires_grad_() for seed in range(3))
    filled = min(length, window.slots)
    scores, gathered, positions = slot_scores(q, k, window), gather_slots(v, window), slot_positions(length, window)
    visible = window.visible(length)
    assert scores.shape == (2, 2, length, filled)
    assert gathered.shape == (2, 2, length, filled, 3)
    weights = normal(2, 2, length, filled, seed=4)
    weights = weights if visible is None else weights.masked_fill(~visible, 0.0)
    dense, expected = torch.zeros(2, 2, length, length, dtype=torch.float64), torch.zeros_like(scores)
    for i in range(length):
        seen = [(slot_of(i, j, window), j) for j in range(length) if slot_of(i, j, window) is not None]
        assert window.positions(i) == [j for _, j in sorted(seen)]
        assert len(seen) == (1 if visible is None else int(visible[0, 0, i].sum()))
        for slot, j in seen:
            expected[:, :, i, slot] = (q[:, :, i] * k[:, :, j]).sum(-1)
            dense[:, :, i, j] = weights[:, :, i, slot]
            assert torch.equal(gathered[:, :, i, slot], v[:, :, j])
            assert positions[i, slot] == j
    torch.testing.assert_close(scores, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(slot_mix(weights, v, window), dense @ v, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(WindowPrior(weights, window).matrix(), dense, rtol=0, atol=0)


def test_derivatives_of_scores_and_sums():
    window = Window(3, 2)
    q, k = (normal(1, 2, 7, 2, seed=seed).requires_grad_() for seed in range(2))
    assert torch.autograd.gradcheck(lambda q, k: slot_scores(q, k, window), (q, k))
    assert torch.autograd.gradgradcheck(lambda q, k: slot_scores(q, k, window), (q, k))
    weights = normal(1, 2, 7, 5, seed=3).masked_fill(~window.visible(7), 0.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda w, k: slot_mix(w, k, window), (weights, k))


def test_a_window_is_cut_to_the_length():
    assert Window(16, 4).within(8) == Window(8, 0)
    assert Window(6, 4).within(8) == Window(6, 2)
    assert Window(6, 1).within(8) == Window(6, 1)
    for wrong in ((0, 0), (2, -1)):
        with pytest.raises(ValueError, match="must be at least"):
            Window(*wrong)


@pytest.mark.parametrize("couplings", COUPLINGS)
@pytest.mark.parametrize("window", [Window(3), Window(3, 2)])
def test_every_query_is_the_model_that_enumeration_solves(window, couplings):
    """Fields and couplings between seen keys from the definition, position by position; every configuration summed."""
    module = windowed("boltzmann", window, couplings=couplings, position_bias=True)
    x = tokens(2, LENGTH)
    weights = module(x)[1].detach()
    fields, seen = dense_fields(module, x, window)
    for b in range(2):
        for head in range(HEADS):
            for i in range(LENGTH):
                keys = seen[i].nonzero().squeeze(-1).tolist()
                J = [[coupling_of(module, x, b, head, i, j, k) for k in keys] for j in keys]
                up = enumeration.up_probability(fields[b, head, i, keys].detach(), J)
                expected = torch.zeros(LENGTH, dtype=torch.float64)
                expected[keys] = torch.from_numpy(up / up.sum())
                torch.testing.assert_close(weights[b, head, i], expected, rtol=1e-9, atol=1e-12)


def test_relative_couplings_have_a_number_for_every_distance_and_for_every_pair_with_a_global_key():
    window = Window(4, 2)
    couplings = WindowRelativeCouplings(1, window)
    pairs_with_a_global_key = 4 * 2 + 1
    assert couplings.values.shape == (1, 3 + pairs_with_a_global_key)
    with torch.no_grad():
        couplings.values.copy_(torch.arange(1.0, 13.0))
    J = couplings(torch.zeros(1, 6, DIM))[0]
    assert all(J[s, t] == t - s for s in range(4) for t in range(s + 1, 4))
    apart = J[:, 4:][J[:, 4:] != 0]
    assert sorted(apart.tolist()) == list(range(4, 13))
    assert not J.tril().any()


@pytest.mark.parametrize("readout", ["mean", "free-energy"])
@pytest.mark.parametrize("name", WINDOWED)
def test_a_window_as_long_as_the_sequence_is_ordinary_causal_attention(name, readout):
    """Slots are distances, so that a bias and relative couplings by distance are the same in both."""
    options = {"couplings": "relative"} if name == "boltzmann" else {}
    ordinary = build(name, length=LENGTH, readout=readout, position_bias=True, **options)
    inside = windowed(name, Window(LENGTH), readout=readout, position_bias=True, **options)
    copy_parameters(ordinary, inside)
    with torch.no_grad():
        inside.slot_keys.zero_()
        for i in range(LENGTH):
            for j in range(i + 1):
                ordinary.position_bias[:, i, j] = inside.position_bias[:, i - j]
    x = tokens(2, LENGTH)
    for length in (1, 4, LENGTH):
        expected, weights = ordinary(x[:, :length], is_causal=True)
        got, own = inside(x[:, :length])
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(own, weights, rtol=1e-10, atol=1e-12)


def test_position_couplings_are_those_of_ordinary_attention_for_one_query():
    """The last of n queries: slot s is position n − 1 − s."""
    ordinary, inside = build("boltzmann", length=LENGTH), windowed("boltzmann", Window(LENGTH))
    copy_parameters(ordinary, inside)
    dense = normal(HEADS, LENGTH, LENGTH, seed=7, scale=0.4).triu(1)
    rows, columns = torch.triu_indices(LENGTH, LENGTH, 1)
    with torch.no_grad():
        inside.slot_keys.zero_()
        ordinary.couplings.values.copy_(dense[:, rows, columns])
        reversed_too = (dense + dense.transpose(1, 2)).flip(1, 2)
        inside.couplings.values.copy_(reversed_too[:, rows, columns])
    x = tokens(2, LENGTH)
    expected, got = ordinary(x, is_causal=True)[0][:, -1], inside(x)[0][:, -1]
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["softmax", "sigmoid", "hopfield"])
@pytest.mark.parametrize("window", [Window(3), Window(3, 2)])
def test_the_other_arms_against_dense_matrices(name, window):
    module = windowed(name, window, position_bias=True)
    x = tokens(2, LENGTH)
    output, weights = module(x)
    fields, seen = dense_fields(module, x, window)
    q, k, v = projected(module, x)
    if name == "sigmoid":
        attended = torch.sigmoid(2 * fields).masked_fill(~seen, 0.0)
        expected = attended / (attended.sum(-1, keepdim=True) + EPSILON)
    elif name == "softmax":
        expected = fields.masked_fill(~seen, -torch.inf).softmax(-1)
    else:
        expected = _hopfield(module, q, k, seen, window)
    torch.testing.assert_close(weights, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(
        output, module.out_proj((expected @ v).transpose(1, 2).flatten(2)), rtol=1e-9, atol=1e-11
    )


def _hopfield(module, q, k, seen, window):
    """One update after another for one query after another."""
    batch, heads, length, _ = q.shape
    weights = torch.zeros(batch, heads, length, length, dtype=torch.float64)
    for i in range(length):
        keys = seen[i].nonzero().squeeze(-1)
        slots = [slot_of(i, int(j), window) for j in keys]
        patterns, state = k[:, :, keys] + module.slot_keys[:, slots], q[:, :, i]
        for _ in range(module.updates):
            exponents = (patterns @ state.unsqueeze(-1)).squeeze(-1) * module.beta.view(-1, 1)
            share = (exponents + module.position_bias[:, slots]).softmax(-1)
            state = (share.unsqueeze(-2) @ patterns).squeeze(-2)
        weights[:, :, i, keys] = share
    return weights


def test_fixed_points_of_hopfield_attention_in_a_window():
    """A window over everything has those of ordinary attention; a short one at most its slots."""
    ordinary, inside = (build("hopfield", length=LENGTH), windowed("hopfield", Window(LENGTH)))
    copy_parameters(ordinary, inside)
    inside.slot_keys.data.zero_()
    x = tokens(2, LENGTH)
    expected = hopfield_fixed_points(ordinary, x, is_causal=True)[0]
    got = hopfield_fixed_points(inside, x)[0]
    for name in ("needed", "visible", "converged"):
        assert torch.equal(getattr(got, name), getattr(expected, name)), name
    short = hopfield_fixed_points(windowed("hopfield", Window(2, 1)), x)[0]
    assert short.visible.amax() == 3
    assert short.needed.shape == (2, HEADS, LENGTH)


def test_the_free_energy_read_takes_one_value_of_each_slot():
    window = Window(3, 2)
    weights = normal(2, HEADS, LENGTH, 5, seed=1).abs().masked_fill(~window.visible(LENGTH), 0.0)
    values, beta = normal(2, HEADS, LENGTH, 3, seed=2, scale=30.0), normal(HEADS, 1, 3, seed=3).exp()
    prior = WindowPrior(weights, window)
    expected = MatrixPrior(prior.matrix()).log_mix(values, beta)
    torch.testing.assert_close(prior.log_mix(values, beta), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("couplings", COUPLINGS)
def test_samplers_get_the_same_models_without_the_empty_slots(couplings):
    assert_samplers_get_the_same_models(Window(3, 1), LENGTH, couplings)


def test_samples_of_a_query_do_not_depend_on_what_is_solved_beside_it():
    module = windowed("boltzmann", Window(3, 1), sampler=PerfectSampler(), shots=16)
    x = tokens(2, LENGTH)
    whole = module(x, seed=5)[0]
    torch.testing.assert_close(module(x[:, :5], seed=5)[0], whole[:, :5], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(module(x[:1], seed=5)[0], whole[:1], rtol=1e-12, atol=1e-12)
    assert (module(x, seed=6)[0] - whole).abs().max() > 1e-3


@pytest.mark.parametrize("couplings", ["position", "content"])
def test_gradients_of_the_couplings(couplings):
    module = windowed("boltzmann", Window(3, 1), couplings=couplings)
    x, upstream = tokens(1, 6), normal(1, 6, DIM, seed=9)
    parameter = module.couplings.values if couplings == "position" else module.couplings.second.weight
    assert_gradient(lambda: (module(x)[0] * upstream).sum(), parameter, every=5)


@pytest.mark.parametrize("couplings", ["position", "content"])
def test_the_energy_of_patterns_in_a_window_is_that_of_dense_ones(couplings):
    window = Window(3, 1)
    module = windowed("boltzmann", window, couplings=couplings)
    shown = []
    module.pattern_observer = shown.append
    module(tokens(1, 6))
    pattern, costs = shown[0], []
    for head in range(HEADS):
        for i in range(6):
            n = min(i + 1, window.slots)
            J = pattern.couplings[0, head, i] if couplings == "content" else pattern.couplings[head]
            one = Pattern(
                pattern.fields[:1, head : head + 1, i : i + 1, :n],
                J[None, :n, :n],
                pattern.attended[:1, head : head + 1, i : i + 1, :n],
                None,
            )
            costs.append(pattern_energy(one))
    torch.testing.assert_close(pattern_energy(pattern), torch.stack(costs).mean(), rtol=1e-12, atol=0)


def test_memory_and_work_do_not_grow_with_the_square_of_the_length():
    """No intermediate result of forward and backward has room for all pairs."""
    length, window = 2048, Window(4, 1)
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            sizes.extend(x.untyped_storage().nbytes() for x in (result,) if isinstance(x, torch.Tensor))
            return result

    module = BoltzmannAttention(DIM, HEADS, 1, window=window, readout="free-energy")
    with Watch():
        module(normal(1, length, DIM).float(), need_weights=False)[0].sum().backward()
    assert max(sizes) < length**2


def test_what_a_window_does_not_take():
    module, x = windowed("softmax", Window(3)), tokens(2, 5)
    for name in WINDOWED:  # with a mask too, whose shape is then not what is wrong
        for masks in ({}, {"key_padding_mask": torch.zeros(2, 4, dtype=torch.bool)}):
            with pytest.raises(ValueError, match="key has length 4 and query 5; a window needs"):
                windowed(name, Window(3))(x, x[:, :4], x[:, :4], **masks)
    with pytest.raises(ValueError, match="window with its global keys is 30, but ExactSampler holds at most 25 spins"):
        BoltzmannAttention(DIM, HEADS, 8, window=Window(20, 10))
    for name in WINDOWED:
        with pytest.raises(ValueError, match=r"window is 30; give a Window, as Window\(16\)"):
            build(name, window=30)
    assert isinstance(windowed("boltzmann", Window(2), couplings="content").couplings, WindowContentCouplings)
    assert "window=3+0" in repr(module)
