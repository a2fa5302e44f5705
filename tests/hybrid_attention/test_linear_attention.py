"""Linear attention and the gated recurrence: equal to their quadratic forms, at a cost linear in the length."""

import math
import time

import pytest
import torch
from arm_cases import DIM, HEADS, build, normal, padding, tokens

from hybrid_attention.free_energy import free_energy
from hybrid_attention.linear import LinearAttention, features
from hybrid_attention.priors import MatrixPrior
from hybrid_attention.recurrence import RecurrentPrior, causal_sums, factorized_weights

NAMES = ["linear", "gated-linear"]
READOUTS = ["mean", "free-energy"]


def oracle_weights(arm, x, hidden):
    """Weights of one arm, entry by entry; hidden is (batch, queries, keys)."""
    width = DIM // HEADS
    q, k = ((x @ arm.in_proj_weight[r].T + arm.in_proj_bias[r]).detach() for r in (slice(DIM), slice(DIM, 2 * DIM)))
    weights = torch.zeros(len(x), HEADS, x.shape[1], x.shape[1], dtype=torch.float64)
    there = ~hidden.all(1)  # a key that nobody sees is padding
    for b in range(len(x)):
        for head in range(HEADS):
            part = slice(head * width, (head + 1) * width)
            for i in range(x.shape[1]):
                for j in range(x.shape[1]):
                    if hidden[b, i, j]:
                        continue
                    f = sum((u + 1 if u > 0 else math.exp(u)) * (w + 1 if w > 0 else math.exp(w))
                            for u, w in zip(q[b, i, part].tolist(), k[b, j, part].tolist(), strict=True))  # fmt: skip
                    if arm.gated:
                        for step in range(min(i, j) + 1, max(i, j) + 1):
                            if there[b, step]:
                                score = arm.gate_weight[head] @ x[b, step] + arm.gate_bias[head]
                                f /= 1 + math.exp(-score.item())
                    weights[b, head, i, j] = f
    return weights / weights.sum(-1, keepdim=True).clamp(min=1e-300)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_weights_and_output_equal_the_formula(name, causal, padded):
    arm, x = build(name), tokens()
    hidden = torch.zeros(2, 5, 5, dtype=torch.bool)
    if padded:
        hidden = hidden | padding()[:, None]
    if causal:
        hidden = hidden | torch.ones(5, 5, dtype=torch.bool).triu(1)
    output, weights = arm(x, is_causal=causal, key_padding_mask=padding() if padded else None)
    if not (causal and padded):  # padding is told apart from the future there by nobody's seeing it
        torch.testing.assert_close(weights, oracle_weights(arm, x, hidden), rtol=1e-10, atol=1e-13)
    v = (x @ arm.in_proj_weight[2 * DIM :].T + arm.in_proj_bias[2 * DIM :]).unflatten(-1, (HEADS, -1)).transpose(1, 2)
    torch.testing.assert_close(output, arm.out_proj((weights @ v).transpose(1, 2).flatten(2)), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("name", NAMES)
def test_the_recurrence_equals_the_quadratic_form(name, readout):
    # an attn_mask takes the quadratic form: over several chunks, with padding, outputs and gradients
    length = 75
    arm = build(name, length=length, readout=readout)
    mask = torch.zeros(2, length, dtype=torch.bool)
    mask[0, 60:], mask[1, :40], mask[1, 50] = True, True, True
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    found = []
    for options in ({"is_causal": True}, {"attn_mask": future}):
        arm.zero_grad()
        x = tokens(2, length).requires_grad_()
        output, weights = arm(x, key_padding_mask=mask, **options)
        (output * normal(*output.shape, seed=5)).sum().backward()
        found.append([output, weights, x.grad, *(p.grad.clone() for p in arm.parameters())])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("decaying", [False, True])
@pytest.mark.parametrize("beta", [1e-3, 2.0, 1e4])
def test_the_free_energy_of_a_recurrence_equals_the_matrix_one(beta, decaying):
    q, k = features(normal(2, HEADS, 70, 3)), features(normal(2, HEADS, 70, 3, seed=1))
    decay = normal(2, HEADS, 70, seed=2).exp() if decaying else None
    k[0, 0, :5], k[1, 1, 20] = 0.0, 0.0
    if decaying:
        decay[0, 0, :5], decay[1, 1, 20] = 0.0, 0.0
    values = normal(2, HEADS, 70, 4, seed=3)
    b = torch.full((HEADS, 1, 4), beta, dtype=torch.float64)
    prior = RecurrentPrior(q, k, decay, causal=True)
    matrix = MatrixPrior(prior.matrix())
    for got, right in zip(free_energy(prior, values, b), free_energy(matrix, values, b), strict=True):
        torch.testing.assert_close(got, right, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("chunk", [1, 3, 8, 100])
@pytest.mark.parametrize("decaying", [False, True])
def test_chunks_of_any_size_agree(chunk, decaying):
    q, k, v = (features(normal(2, HEADS, 17, 3, seed=s)) for s in range(3))
    decay = normal(2, HEADS, 17, seed=4).exp() if decaying else None
    whole = factorized_weights(q, k, decay, causal=True) @ v
    torch.testing.assert_close(causal_sums(q, k, v, decay, chunk), whole, rtol=1e-12, atol=1e-12)


def test_strong_decay_forgets_without_overflow():
    q, k = features(normal(1, 1, 90, 3)).float(), features(normal(1, 1, 90, 3, seed=1)).float()
    values = normal(1, 1, 90, 2, seed=2).float().requires_grad_()
    decay = torch.full((1, 1, 90), 50.0).requires_grad_()
    for beta in (1.0, 1e3):
        mean, free = free_energy(RecurrentPrior(q, k, decay, True), values, torch.full((1, 1, 2), beta))
        torch.testing.assert_close(mean, values, rtol=1e-5, atol=1e-6)
        (mean.sum() + free.sum()).backward()
        assert torch.isfinite(values.grad).all()
        assert torch.isfinite(decay.grad).all()


def test_features_keep_their_digits():
    x = torch.tensor([-80.0, -20.0, -1e-3, 0.0, 3.0])
    torch.testing.assert_close(features(x).double(), torch.where(x > 0, x + 1, x.double().exp()), rtol=1e-6, atol=0)
    assert torch.autograd.gradcheck(features, normal(7).requires_grad_())


def test_gates_start_with_a_memory_of_their_own_for_every_head():
    arm = LinearAttention(8, 4, 6, gated=True)
    torch.testing.assert_close(torch.sigmoid(arm.gate_bias), 1 - 0.5 ** torch.arange(2.0, 6.0))
    assert not arm.gate_weight.any()
    plain = LinearAttention(8, 4, 6)
    assert sum(p.numel() for p in arm.parameters()) - sum(p.numel() for p in plain.parameters()) == 4 * 8 + 4


def test_open_gates_are_linear_attention():
    gated, plain = build("gated-linear"), build("linear")
    with torch.no_grad():
        gated.gate_weight.zero_()
        gated.gate_bias.fill_(80.0)
    plain.load_state_dict({name: p for name, p in gated.state_dict().items() if not name.startswith("gate")})
    for a, b in zip(gated(tokens(), is_causal=True), plain(tokens(), is_causal=True), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_masks_that_do_not_factorize(name):
    arm, x = build(name), tokens()
    hidden = torch.rand(5, 5, generator=torch.Generator().manual_seed(1)) < 0.4
    hidden[2] = True
    addition = normal(5, 5).masked_fill(hidden, -torch.inf)
    weights = arm(x, attn_mask=hidden)[1]
    assert not weights[..., hidden].any()
    everything = arm(x)[1].masked_fill(hidden, 0.0) if name == "linear" else weights
    torch.testing.assert_close(weights, everything / everything.sum(-1, keepdim=True).clamp(min=1e-300))
    added = arm(x, attn_mask=addition)[1]
    expected = weights * normal(5, 5).exp()
    torch.testing.assert_close(
        added, expected / expected.sum(-1, keepdim=True).clamp(min=1e-300), rtol=1e-10, atol=1e-12
    )
    torch.testing.assert_close(arm(x, attn_mask=addition - 900.0)[1], added, rtol=1e-10, atol=1e-12)
    output = arm(x, attn_mask=hidden)[0]
    torch.testing.assert_close(output[:, 2], arm.out_proj.bias.expand(2, -1))


def test_cross_attention():
    x, y = tokens(2, 3), tokens(2, 5, seed=1)
    output, weights = build("linear")(x, y, key_padding_mask=padding())
    assert (output.shape, weights.shape) == ((2, 3, DIM), (2, HEADS, 3, 5))
    assert not weights.transpose(1, 3)[padding()].any()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, HEADS, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match="key has length 5 and query 3; gates need as many keys as queries"):
        build("gated-linear")(x, y)


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("name", NAMES)
def test_gradients_equal_finite_differences(name, readout):
    arm = build(name, readout=readout)
    mask = torch.tensor([[False, True, False, False]])
    x = tokens(1, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: arm(y, is_causal=True, key_padding_mask=mask)[0], x, atol=1e-7)


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("name", NAMES)
def test_cost_is_linear_in_the_length(name, readout):
    """Eight times the length may cost at most 20 times as much; the quadratic form would cost up to 64 times."""
    arm = build(name, dim=32, heads=4, length=4096, scale=0.3, readout=readout).float()

    def seconds(length):
        x = tokens(1, length, dim=32).float()
        best = math.inf
        for _ in range(4):
            started = time.perf_counter()
            arm(x, is_causal=True, need_weights=False)[0].sum().backward()
            best = min(best, time.perf_counter() - started)
        return best

    assert seconds(4096) < 20 * seconds(512)


def test_memory_is_linear_in_the_length():
    arm = build("gated-linear", length=2048, readout="free-energy")
    sizes = []

    def pack(tensor):
        sizes.append(tensor.numel())
        return tensor

    for length in (512, 2048):
        sizes.append(None)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            arm(tokens(1, length), is_causal=True, need_weights=False)
    cut = sizes.index(None, 1)
    assert sum(sizes[cut + 1 :]) < 4.5 * sum(sizes[1:cut])
