"""Queries that see no key, in every kind of attention: nothing is read, and nothing is NaN."""

import pytest
import torch
from arm_cases import DIM, HEADS, build, tokens
from drop_in_cases import ATTENTION, encoder

from classical import ExactSampler, GibbsSampler, IsingModel, MeanFieldSampler
from hybrid_attention.couplings import COUPLINGS

SAMPLERS = {"exact": ExactSampler, "gibbs": GibbsSampler, "mean-field": MeanFieldSampler}
CASES = {
    **{
        f"boltzmann {kind} {readout} {name}": ("boltzmann", {"couplings": kind, "readout": readout, "sampler": sampler})
        for kind in COUPLINGS
        for readout in ("mean", "sum", "free-energy")
        for name, sampler in SAMPLERS.items()
        if kind in ("position", "content") or name == "exact"
    },
    **{f"{name} mean": (name, {}) for name in ("softmax", "sigmoid", "hopfield", "linear", "gated-linear")},
    **{
        f"{name} free-energy": (name, {"readout": "free-energy"})
        for name in ("softmax", "sigmoid", "hopfield", "linear", "gated-linear")
    },
    "sigmoid sum": ("sigmoid", {"readout": "sum"}),
}


def attention(case):
    name, options = CASES[case]
    options = dict(options)
    if "sampler" in options:
        options.update(sampler=options["sampler"](), shots=16)
    return build(name, **options)


def hidden_masks(batch=2, length=5):
    """Ways to hide every key of the first sequence, or of its first two queries; and which queries see none."""
    padding = torch.zeros(batch, length, dtype=torch.bool)
    padding[0] = True
    rows = torch.zeros(batch * HEADS, length, length, dtype=torch.bool)
    rows[:HEADS, :2] = True
    whole, some = torch.zeros(batch, length, dtype=torch.bool), torch.zeros(batch, length, dtype=torch.bool)
    whole[0], some[0, :2] = True, True

    def infinite(mask):
        return torch.zeros(mask.shape).masked_fill(mask, -torch.inf)

    return [
        ({"key_padding_mask": padding}, whole),
        ({"key_padding_mask": infinite(padding), "is_causal": True}, whole),
        ({"attn_mask": rows}, some),
        ({"attn_mask": infinite(rows) + 0.5}, some),
        ({"key_padding_mask": torch.ones_like(padding)}, torch.ones_like(whole)),
        ({"attn_mask": torch.full((length, length), -torch.inf)}, torch.ones_like(whole)),
    ]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", list(CASES))
def test_a_query_that_sees_no_key(case, dtype):
    module, x = attention(case).to(dtype), tokens().to(dtype).requires_grad_()
    for options, blind in hidden_masks():
        output, weights = module(x, seed=1, **options)
        bias = module.out_proj.bias.expand_as(output)
        assert torch.equal(output[blind], bias[blind])
        assert not weights.transpose(1, 2)[blind].any()
        assert (~blind).sum() == 0 or (output[~blind] - bias[~blind]).abs().amin(-1).max() > 1e-4
        module.zero_grad()
        x.grad = None
        output.square().sum().backward()
        assert torch.isfinite(output).all()
        assert torch.isfinite(x.grad).all()
        assert all(p.grad is None or torch.isfinite(p.grad).all() for p in module.parameters())


@pytest.mark.parametrize("name", list(ATTENTION))
def test_a_sequence_that_is_all_padding_leaves_an_encoder_finite(name):
    model, x = encoder(ATTENTION[name]()), tokens(2, 5)
    hidden = torch.zeros(2, 5, dtype=torch.bool)
    hidden[0] = True
    output = model(x, src_key_padding_mask=hidden)
    output.square().sum().backward()
    assert torch.isfinite(output).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    alone = model(x[1:], src_key_padding_mask=hidden[1:])
    if name != "boltzmann gibbs":  # samples belong to the row of the batch
        torch.testing.assert_close(output[1:], alone, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", list(ATTENTION))
def test_masks_wider_than_the_module(name):
    """A float64 mask on a float32 module; its −1e300 is −∞ there."""
    module, x = ATTENTION[name]().float(), tokens().float()
    hidden = torch.ones(5, 5, dtype=torch.bool).triu(1)
    wide = torch.full((5, 5), 0.25, dtype=torch.float64).masked_fill(hidden, -1e300)
    narrow = torch.full((5, 5), 0.25).masked_fill(hidden, -torch.inf)
    output, weights = module(x, attn_mask=wide, seed=1)
    torch.testing.assert_close((output, weights), module(x, attn_mask=narrow, seed=1), rtol=0, atol=0)
    assert output.dtype == torch.float32


@pytest.mark.parametrize("number", [-torch.inf, -1e30, -1e9, -1e4])
@pytest.mark.parametrize("name", list(ATTENTION))
def test_what_others_write_for_minus_infinity(name, number):
    module, x = ATTENTION[name]().float(), tokens().float()
    hidden = torch.zeros(5, 5, dtype=torch.bool)
    hidden[:, 1], hidden[3] = True, True
    written = torch.zeros(5, 5).masked_fill(hidden, number)
    right = module(x, attn_mask=hidden, seed=1)
    torch.testing.assert_close(module(x, attn_mask=written, seed=1), right, rtol=0, atol=0)


@pytest.mark.parametrize("number", [-50.0, -8000.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_large_finite_number_pins_a_spin_and_does_not_hide_it(number, dtype):
    """The spin stays in the model, as −1: it acts on others through their couplings."""
    module, x = build("boltzmann").to(dtype), tokens(1).to(dtype)
    mask = torch.zeros(5, 5, dtype=dtype)
    mask[:, 2] = number
    weights = module(x, attn_mask=mask)[1]
    assert weights[..., 2].max() < 1e-30
    seen = []
    module.observer = lambda h, J, p: seen.append((h, J))
    module(x, attn_mask=mask)
    ((h, J),) = seen
    others = [0, 1, 3, 4]
    both = J + J.mT
    pushed = h[..., others] - both[:, None, 2, others]
    model = IsingModel(pushed[0].double(), J[:, others][:, :, others].double())
    right = ExactSampler().up_probability(model)
    right = right / right.sum(-1, keepdim=True)
    tolerance = 1e-9 if dtype == torch.float64 else 1e-4
    torch.testing.assert_close(weights[0][..., others].double(), right, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", list(ATTENTION))
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attn_mask": torch.zeros(5, 4)}, r"attn_mask has shape \(5, 4\); it must be \(queries, keys\) = \(5, 5\)"),
        ({"attn_mask": torch.zeros(2, 5, 5)}, r"attn_mask has shape \(2, 5, 5\).*\(batch \* heads, .*= \(4, 5, 5\)"),
        ({"attn_mask": torch.zeros(2, 2, 5, 5)}, r"attn_mask has shape \(2, 2, 5, 5\)"),
        ({"attn_mask": torch.zeros(5, 5).long()}, "attn_mask has dtype torch.int64; give torch.bool"),
        ({"attn_mask": torch.zeros(5, 5).cfloat()}, "attn_mask has dtype torch.complex64"),
        ({"attn_mask": [[False] * 5] * 5}, "attn_mask is a list; give torch.bool .* as a torch tensor"),
        ({"attn_mask": torch.zeros(5, 5, device="meta")}, "attn_mask is on meta but the query on cpu; move it"),
        ({"attn_mask": torch.full((5, 5), torch.nan)}, r"attn_mask contains NaN or a number above 1e\+06"),
        ({"key_padding_mask": torch.zeros(5, 2)}, r"key_padding_mask has shape \(5, 2\); .* = \(2, 5\)"),
        ({"key_padding_mask": torch.zeros(2, 1, 5)}, r"key_padding_mask has shape \(2, 1, 5\)"),
        ({"key_padding_mask": torch.ones(2, 5).byte()}, "key_padding_mask has dtype torch.uint8"),
        ({"key_padding_mask": "causal"}, "key_padding_mask is a str"),
        (
            {"key_padding_mask": torch.full((2, 5), torch.inf)},
            r"key_padding_mask contains NaN or a number above 1e\+06",
        ),
    ],
)
def test_bad_masks_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        ATTENTION[name]()(tokens(), **options)


def test_heads_that_do_not_divide_are_refused():
    for name in ("softmax", "sigmoid", "boltzmann", "hopfield", "linear", "gated-linear"):
        with pytest.raises(ValueError, match="embed_dim is 6 and num_heads 4; num_heads must divide embed_dim"):
            build(name, dim=DIM, heads=4)
