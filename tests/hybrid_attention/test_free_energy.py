"""The free-energy read: between the mean and the maximum of the values, by channel."""

import math

import pytest
import torch
from arm_cases import ARMS, DIM, HEADS, build, normal, padding, tokens
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_attention.free_energy import FreeEnergyRead, free_energy
from hybrid_attention.priors import MatrixPrior
from hybrid_attention.recurrence import RecurrentPrior

KINDS = ["matrix", "recurrence", "decaying recurrence", "recurrence over all keys"]


def prior(kind, length=6, seed=0, batch=2, width=3):
    """Weights of a kind; the matrix leaves one key unattended and one query without any key."""
    q, k = (normal(batch, HEADS, length, width, seed=seed + part).exp() for part in (0, 1))
    if kind == "matrix":
        weights = (q @ k.transpose(-1, -2)).tril()
        weights[0, 0, :, 1], weights[-1, 0, 2] = 0.0, 0.0
        return MatrixPrior(weights)
    decay = normal(batch, HEADS, length, seed=seed + 2).exp() if kind == "decaying recurrence" else None
    return RecurrentPrior(q, k, decay, kind != "recurrence over all keys")


def oracle(weights, values, beta):
    """μ and F, entry by entry, by log-sum-exp."""
    alpha = weights / weights.sum(-1, keepdim=True)
    mean = alpha @ values
    exponents = alpha.log().unsqueeze(-1) + (beta.unsqueeze(-2) * values.unsqueeze(-3))
    free = exponents.logsumexp(-2) / beta
    none = weights.sum(-1, keepdim=True) == 0
    return mean.masked_fill(none, 0.0), free.masked_fill(none, 0.0)


def betas(value):
    return torch.full((HEADS, 1, 4), value, dtype=torch.float64) * torch.tensor([0.5, 1.0, 1.5, 2.0])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 300.0])
@pytest.mark.parametrize("beta", [1e-3, 0.3, 2.0, 40.0])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_formula(kind, beta, scale):
    weights, values = prior(kind), normal(2, HEADS, 6, 4, seed=7, scale=scale)
    expected = oracle(weights.matrix(), values, betas(beta))
    for got, right in zip(free_energy(weights, values, betas(beta)), expected, strict=True):
        torch.testing.assert_close(got, right, rtol=1e-9, atol=1e-11 * scale + 1e-14 / beta)


@pytest.mark.parametrize("kind", KINDS)
def test_both_ways_of_summing_agree(kind):
    weights, values = prior(kind), normal(2, HEADS, 6, 4, seed=7)
    narrow = free_energy(weights, values, betas(2.0))[1]
    none = weights.matrix().sum(-1, keepdim=True) == 0
    apart = weights.log_mix(values, betas(2.0)).masked_fill(none, 0.0)
    torch.testing.assert_close(narrow, apart, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_no_inverse_temperature_is_the_mean(kind):
    # F − μ = b Var(v)/2 + O(b²)
    weights, values = prior(kind), normal(2, HEADS, 6, 4, seed=7)
    alpha = weights.matrix() / weights.matrix().sum(-1, keepdim=True).clamp(min=1e-300)
    variance = alpha @ values.square() - (alpha @ values).square()
    for b in (1e-3, 1e-5):
        beta = torch.full((HEADS, 1, 4), b, dtype=torch.float64)
        mean, free = free_energy(weights, values, beta)
        torch.testing.assert_close((free - mean) / b, variance / 2, rtol=0, atol=20 * b + 1e-14 / b)
    mean, free = free_energy(weights, values, torch.full((HEADS, 1, 4), 1e-12, dtype=torch.float64))
    torch.testing.assert_close(free, mean, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_inverse_temperature_is_the_maximum_over_attended_keys(kind):
    # 0 ≤ max − F ≤ −log(weight of the maximum)/b
    weights, values = prior(kind), normal(2, HEADS, 6, 4, seed=7)
    matrix = weights.matrix()
    attended = (matrix > 0).unsqueeze(-1)
    top, where = values.unsqueeze(-3).masked_fill(~attended, -math.inf).max(-2)
    alpha = matrix / matrix.sum(-1, keepdim=True).clamp(min=1e-300)
    share = alpha.gather(-1, where)
    seen = top > -math.inf
    for b in (10.0, 1e3, 1e6, 1e300):
        beta = torch.full((HEADS, 1, 4), b, dtype=torch.float64)
        free = free_energy(weights, values, beta)[1]
        gap = (top - free)[seen]
        assert (gap >= -1e-12).all()
        assert (gap <= -share[seen].log() / b + 1e-12).all()
    torch.testing.assert_close(free[seen], top[seen], rtol=1e-12, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(KINDS),
    exponents=st.tuples(*[st.floats(-12, 30)] * 4),
    scale=st.floats(-6, 6).map(lambda x: 10**x),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    shift=st.floats(-10, 10),
)
def test_it_lies_between_mean_and_maximum_whatever_the_size(seed, kind, exponents, scale, dtype, shift):
    weights = prior(kind, seed=seed)
    if isinstance(weights, MatrixPrior):
        weights = MatrixPrior(weights.weights.to(dtype))
    else:
        decay = None if weights.decay is None else weights.decay.to(dtype)
        weights = RecurrentPrior(weights.queries.to(dtype), weights.keys.to(dtype), decay, weights.causal)
    values = ((normal(2, HEADS, 6, 4, seed=seed) + shift) * scale).to(dtype).requires_grad_()
    beta = torch.tensor([10.0**x for x in exponents], dtype=dtype).expand(HEADS, 1, 4)
    mean, free = free_energy(weights, values, beta)
    matrix = weights.matrix()
    top = values.unsqueeze(-3).masked_fill(~(matrix > 0).unsqueeze(-1), -math.inf).amax(-2)
    slack = 30 * torch.finfo(dtype).eps * values.detach().abs().max()
    seen = top > -math.inf
    assert torch.isfinite(free).all()
    assert (free >= mean - slack)[seen].all()
    assert (free <= top + slack)[seen].all()
    (gradient,) = torch.autograd.grad(free.sum(), values)
    assert torch.isfinite(gradient).all()
    # a shift of all values shifts F, so its derivatives by the values sum to 1 for each query that attends
    queries = seen.sum(-2).to(dtype)
    torch.testing.assert_close(
        gradient.sum(-2), queries, rtol=100 * torch.finfo(dtype).eps, atol=0.02 if max(exponents) > 6 else 1e-3
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_channel_is_read_as_if_it_were_alone(kind):
    """A channel that needs a reference for each query costs its neighbour, with a small b, no digits."""
    made, single = prior(kind), torch.float32
    if isinstance(made, MatrixPrior):
        made = MatrixPrior(made.weights.to(single))
    else:
        decay = None if made.decay is None else made.decay.to(single)
        made = RecurrentPrior(made.queries.to(single), made.keys.to(single), decay, made.causal)
    values = normal(2, HEADS, 6, 2, seed=7).to(single)
    values[..., 1] *= 100
    for b in (1e-2, 1e-4, 1e-6):
        beta = torch.tensor([b, 2.0]).expand(HEADS, 1, 2)
        mean, free = free_energy(made, values, beta)
        alone = free_energy(made, values[..., :1], beta[..., :1])[1]
        torch.testing.assert_close(free[..., :1], alone, rtol=0, atol=1e-6)
        assert (free >= mean - 1e-5)[..., 0].all()
        (gradient,) = torch.autograd.grad(free_energy(made, values.requires_grad_(), beta)[1].sum(), values)
        assert gradient.isfinite().all()
        values = values.detach()


def test_weights_need_not_be_normalized():
    weights, values = prior("matrix").weights, normal(2, HEADS, 6, 4)
    for a, b in zip(*(free_energy(MatrixPrior(w), values, betas(1.0)) for w in (weights, 7 * weights)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


def test_clipping_exponents_at_the_other_end_would_be_wrong():
    # far below the maximum, where b·v itself would have to be cut off: F must neither vanish nor fall below the mean
    values = torch.tensor([-500.0, -510.0]).view(1, 1, 2, 1)
    mean, free = free_energy(MatrixPrior(torch.full((1, 1, 1, 2), 0.5)), values, torch.full((1, 1, 1), 10.0))
    assert mean.item() == -505
    assert free.item() == pytest.approx(-500 - math.log(2) / 10)


@pytest.mark.parametrize("beta", [0.01, 1.0, 300.0])  # one reference, narrow and wide, and one for each query
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_finite_differences(kind, beta):
    made = prior(kind, length=3, batch=1)
    values = normal(1, HEADS, 3, 2, seed=9, scale=4.0 if beta > 100 else 1.0).requires_grad_()
    raw = torch.full((HEADS, 1, 2), beta, dtype=torch.float64).requires_grad_()
    if isinstance(made, MatrixPrior):
        parts = [(made.weights + 0.1).requires_grad_()]  # above zero on both sides

        def build_prior(weights):
            return MatrixPrior(weights)

    else:
        parts = [x.clone().requires_grad_() for x in (made.queries, made.keys, made.decay) if x is not None]

        def build_prior(queries, keys, decay=None):
            return RecurrentPrior(queries, keys, decay, made.causal)

    def both(v, b, *rest):
        return free_energy(build_prior(*rest), v, b)

    assert torch.autograd.gradcheck(both, (values, raw, *parts), eps=1e-6, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", list(ARMS))
def test_an_arm_reads_by_its_own_weights(name):
    """Output against the formula, from the weights that the arm returns and the values it projects."""
    arm = build(name, readout="free-energy")
    x = tokens()
    options = {"key_padding_mask": padding(), "is_causal": True}
    output, weights = arm(x, **options)
    v = (x @ arm.in_proj_weight[2 * DIM :].T + arm.in_proj_bias[2 * DIM :]).unflatten(-1, (HEADS, -1)).transpose(1, 2)
    read = arm.free_energy
    beta = torch.log1p(read.raw.exp()).view(HEADS, 1, -1)
    mean, free = (part.transpose(1, 2).flatten(2) for part in oracle(weights, v, beta))
    level = 1 / (1 + torch.exp(-x @ read.inner.T))
    opened = torch.log1p((x @ read.outer.T).exp())
    gate = math.sqrt(DIM) * opened / opened.norm(dim=-1, keepdim=True)
    expected = arm.out_proj(gate * ((1 - level) * mean + level * free))
    torch.testing.assert_close(output, expected, rtol=1e-9, atol=1e-11)
    assert torch.isfinite(output).all()
    nothing = weights.sum(-1) == 0
    assert nothing.any()  # the padded sequence's first query


@pytest.mark.parametrize("name", list(ARMS))
def test_the_future_and_the_padding_have_no_influence(name):
    arm = build(name, readout="free-energy")
    x, mask = tokens().requires_grad_(), padding()
    output, _ = arm(x, is_causal=True, key_padding_mask=mask)
    for i in range(5):
        (gradient,) = torch.autograd.grad(output[:, i].square().sum(), x, retain_graph=True)
        assert not gradient[:, i + 1 :].any()
        assert not gradient[:, :i][mask[:, :i]].any()
    other = x.detach().clone()
    other[:, 4] = 3.0
    torch.testing.assert_close(
        arm(other, is_causal=True)[0][:, :4], arm(x, is_causal=True)[0][:, :4], rtol=1e-9, atol=1e-11
    )


@pytest.mark.parametrize("name", list(ARMS))
def test_every_parameter_of_an_arm_learns(name):
    arm = build(name, readout="free-energy")
    arm(tokens(), is_causal=True)[0].square().sum().backward()
    assert all(p.grad.abs().max() > 1e-9 for p in arm.parameters())


@pytest.mark.parametrize("name", list(ARMS))
def test_autocast_keeps_sums_in_float32(name):
    arm = build(name, readout="free-energy").float()
    x = tokens().float()
    plain = arm(x, is_causal=True)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, weights = arm(x, is_causal=True)
    assert (output.dtype, weights.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(output.float(), plain, rtol=0.05, atol=0.05)
    output.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 and torch.isfinite(p.grad).all() for p in arm.parameters())
    low = build(name, readout="free-energy").to(torch.bfloat16)(x.bfloat16(), is_causal=True)[0]
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), plain, rtol=0.05, atol=0.05)


def test_it_starts_half_way_with_open_gates():
    read = FreeEnergyRead(DIM, HEADS).double()
    weights, values = prior("matrix"), normal(2, HEADS, 6, DIM // HEADS)
    beta = torch.full((HEADS, 1, DIM // HEADS), math.log1p(math.exp(1.8)), dtype=torch.float64)
    assert beta[0, 0, 0].item() == pytest.approx(1.953, abs=5e-4)
    half = sum(free_energy(weights, values, beta)) / 2
    torch.testing.assert_close(
        read(weights, values, tokens(2, 6)), half.transpose(1, 2).flatten(2), rtol=1e-6, atol=1e-7
    )


def test_it_takes_no_random_numbers_from_the_other_parameters():
    made = []
    for readout in ("mean", "free-energy"):
        torch.manual_seed(0)
        made.append((ARMS["softmax"](DIM, HEADS, 6, readout=readout), torch.rand(1)))
    assert torch.equal(made[0][0].in_proj_weight, made[1][0].in_proj_weight)
    assert torch.equal(made[0][1], made[1][1])


@pytest.mark.parametrize("raw", [-200.0, 1e4])
def test_extreme_temperatures_stay_finite(raw):
    arm = build("softmax", readout="free-energy").float()
    with torch.no_grad():
        arm.free_energy.raw.fill_(raw)
    output, _ = arm(tokens().float(), is_causal=True)
    output.sum().backward()
    assert torch.isfinite(output).all()
    assert all(torch.isfinite(p.grad).all() for p in arm.parameters())


@pytest.mark.parametrize("name", ["hopfield", "linear", "gated-linear"])
def test_what_sums_to_one_has_no_sum_readout(name):
    with pytest.raises(ValueError, match="readout is 'sum'; use one of mean, free-energy"):
        build(name, readout="sum")
