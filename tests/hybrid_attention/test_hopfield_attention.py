"""Modern Hopfield attention: its updates, its energy, its fixed points, and softmax attention as one update."""

import math

import pytest
import torch
from arm_cases import DIM, HEADS, build, normal, padding, tokens

from hybrid_attention import SoftmaxAttention
from hybrid_attention.fixed_points import KINDS, FixedPoints, find_fixed_points, patterns_needed
from hybrid_attention.hopfield import HopfieldAttention, hopfield_fixed_points


def energy(state, patterns, beta):
    """E(ξ) = −(1/β) log Σ_j exp(β x_j·ξ) + ½|ξ|²."""
    return -(beta * state @ patterns.transpose(-1, -2)).logsumexp(-1) / beta + state.square().sum(-1) / 2


@pytest.mark.parametrize(
    "options",
    [{}, {"is_causal": True}, {"is_causal": True, "key_padding_mask": padding()}, {"attn_mask": normal(5, 5)}],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [True, False])
def test_one_update_at_the_first_temperature_is_exactly_softmax_attention(bias, dtype, options):
    torch.manual_seed(0)
    hopfield = HopfieldAttention(DIM, HEADS, 6, position_bias=bias, updates=1).to(dtype)
    softmax = SoftmaxAttention(DIM, HEADS, 6, position_bias=bias).to(dtype)
    softmax.load_state_dict({name: p for name, p in hopfield.state_dict().items() if name != "log_scale"})
    assert torch.equal(hopfield.beta, torch.full((HEADS,), (DIM // HEADS) ** -0.5, dtype=dtype))
    options = {
        k: v.to(dtype) if isinstance(v, torch.Tensor) and v.is_floating_point() else v for k, v in options.items()
    }
    for a, b in zip(*(arm(tokens().to(dtype), **options) for arm in (hopfield, softmax)), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("updates", [1, 2, 5])
def test_updates_equal_the_formula(updates):
    arm, x, mask = build("hopfield", updates=updates, position_bias=True), tokens(), padding()
    output, weights = arm(x, is_causal=True, key_padding_mask=mask)
    q, k, v = (
        (x @ w.T + b).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        for w, b in zip(arm.in_proj_weight.chunk(3), arm.in_proj_bias.chunk(3), strict=True)
    )
    for b in range(2):
        for head in range(HEADS):
            for i in range(5):
                seen = [j for j in range(i + 1) if not mask[b, j]]
                assert not weights[b, head, i, [j for j in range(5) if j not in seen]].any()
                if not seen:
                    continue
                state, patterns = q[b, head, i], k[b, head, seen]
                beta = math.exp(arm.log_scale[head].item()) / math.sqrt(DIM // HEADS)
                for _ in range(updates):
                    p = (beta * patterns @ state + arm.position_bias[head, i, seen]).softmax(-1)
                    state = p @ patterns
                torch.testing.assert_close(weights[b, head, i, seen], p, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(output, arm.out_proj((weights @ v).transpose(1, 2).flatten(2)), rtol=1e-10, atol=1e-12)
    assert torch.isfinite(output).all()


def test_gradients_equal_finite_differences():
    for options in ({"updates": 3, "position_bias": True}, {"updates": 2, "readout": "free-energy"}):
        arm = build("hopfield", **options)
        x = tokens(1, 3).requires_grad_()
        assert torch.autograd.gradcheck(lambda y, arm=arm: arm(y, is_causal=True)[0], x, atol=1e-7)
        arm(tokens(), is_causal=True)[0].square().sum().backward()
        assert arm.log_scale.grad.abs().min() > 1e-8


def test_the_energy_never_rises():
    patterns, state = normal(3, 2, 7, 4), normal(3, 2, 9, 4, seed=1, scale=3.0)
    for beta in (0.1, 1.0, 10.0):
        last = energy(state, patterns, beta)
        moving = state
        for _ in range(30):
            moving = (beta * moving @ patterns.transpose(-1, -2)).softmax(-1) @ patterns
            now = energy(moving, patterns, beta)
            assert (now <= last + 1e-12).all()
            last = now


def test_autocast_makes_updates_in_float32():
    arm = build("hopfield", updates=4).float()
    x = tokens().float()
    plain = arm(x, is_causal=True)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, weights = arm(x, is_causal=True)
    assert (output.dtype, weights.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(output.float(), plain, rtol=0.05, atol=0.05)


def test_how_many_patterns_hold_ninety_per_cent():
    weights = torch.tensor(
        [[0.95, 0.05, 0, 0], [0.5, 0.45, 0.05, 0], [0.25, 0.25, 0.25, 0.25], [0.1, 0.2, 0.6, 0.1], [0, 0, 0, 0]]
    )
    assert patterns_needed(weights).tolist() == [1, 2, 4, 3, 0]
    assert patterns_needed(torch.full((10,), 0.1)).item() == 9
    assert patterns_needed(torch.full((30,), 1 / 30), mass=0.5).item() == 15


def orthogonal(count, width):
    """Patterns at right angles, of length 1."""
    return torch.eye(width, dtype=torch.float64)[:count].view(1, 1, count, width)


def test_the_three_kinds_of_fixed_points():
    """High temperature averages over all, low temperature keeps one, near patterns are averaged among themselves."""
    separate = orthogonal(16, 16)
    start = separate + 0.1 * normal(1, 1, 16, 16)
    hot = find_fixed_points(separate, start, 0.5)
    assert hot.converged.all()
    assert (hot.kinds() == KINDS.index("global")).all()
    cold = find_fixed_points(separate, start, 50.0)
    assert (cold.kinds() == KINDS.index("single")).all()
    assert (cold.needed == 1).all()
    groups = separate.repeat_interleave(4, 2)[:, :, :32] + 0.01 * normal(1, 1, 32, 16, seed=3)
    some = find_fixed_points(groups, groups[:, :, ::4].clone(), 30.0)
    assert (some.kinds() == KINDS.index("metastable")).all()
    assert (some.needed == 4).all()
    assert (some.visible == 32).all()
    assert some.shares() == {"global": [0.0], "metastable": [1.0], "single": [0.0]}


def test_the_state_at_a_fixed_point_stands_still():
    patterns, state = normal(1, 1, 6, 3), normal(1, 1, 4, 3, seed=1)
    some = find_fixed_points(patterns, state, 2.0)
    for _ in range(int(some.updates.max()) + 50):
        state = (2.0 * state @ patterns.transpose(-1, -2)).softmax(-1) @ patterns
    assert torch.equal(patterns_needed((2.0 * state @ patterns.transpose(-1, -2)).softmax(-1)), some.needed)
    early = find_fixed_points(patterns, normal(1, 1, 4, 3, seed=1), 2.0, most=1)
    assert not early.converged.all()


def test_a_query_with_fewer_than_two_keys_is_no_case():
    points = FixedPoints(torch.tensor([[[0, 1, 1, 2]]]), torch.tensor([[[0, 1, 2, 2]]]), *([torch.zeros(1, 1, 4)] * 2))
    assert points.kinds().tolist() == [[[-1, -1, 2, 0]]]
    assert points.shares() == {"global": [0.5], "metastable": [0.0], "single": [0.5]}
    nobody = FixedPoints(*([torch.zeros(1, 1, 1, dtype=torch.int64)] * 4))
    assert math.isnan(nobody.shares()["single"][0])


def test_diagnosis_of_an_attention():
    arm = build("hopfield", updates=1, position_bias=True)
    (found,) = hopfield_fixed_points(arm, tokens(), is_causal=True, key_padding_mask=padding())
    assert found.visible[:, 0].tolist() == [[1, 2, 3, 3, 3], [0, 1, 1, 2, 3]]
    assert found.converged.all()
    # many updates end where the diagnosis says
    many = build("hopfield", updates=2000, position_bias=True)
    weights = many(tokens(), is_causal=True, key_padding_mask=padding())[1]
    assert torch.equal(patterns_needed(weights), found.needed)
    assert arm.observer is None
    assert hopfield_fixed_points(SoftmaxAttention(DIM, HEADS, 6).double(), tokens()) == []


def test_bad_updates_are_refused():
    with pytest.raises(ValueError, match="updates is 0; it must be at least 1"):
        HopfieldAttention(DIM, HEADS, 6, updates=0)
