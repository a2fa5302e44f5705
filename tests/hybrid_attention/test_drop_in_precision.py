"""bfloat16 around our attention, and modules of half precision: sums over spins and keys keep their digits."""

import copy

import pytest
import torch
from arm_cases import ARMS, build, tokens
from drop_in_cases import ATTENTION, encoder, padding
from window_cases import WINDOWED

from classical import ExactSampler, GibbsSampler
from hybrid_attention import BoltzmannAttention, SigmoidAttention, SoftmaxAttention
from hybrid_attention.couplings import COUPLINGS
from hybrid_attention.windows import Window

EPS = torch.finfo(torch.float32).eps
WEIGHTS = {
    **{f"boltzmann {kind}": (BoltzmannAttention, {"couplings": kind}) for kind in COUPLINGS},
    "boltzmann sum": (BoltzmannAttention, {"readout": "sum"}),
    "boltzmann free energy": (BoltzmannAttention, {"readout": "free-energy"}),
    "sigmoid": (SigmoidAttention, {}),
    "softmax": (SoftmaxAttention, {}),
}


def with_fields(cls):
    """The class, and what its fields were."""

    class Recorded(cls):
        def weigh(self, fields, visible, keys, seed, first=0):
            self.fields = fields.detach()
            return super().weigh(fields, visible, keys, seed, first)

    return Recorded


@pytest.mark.parametrize("name", list(WEIGHTS))
def test_under_autocast_weights_are_those_of_the_same_fields_in_float64(name):
    """Fields are rounded to bfloat16, 8 bits; what follows from them keeps 24. Rounded sums would be off by 1e-3."""
    cls, options = WEIGHTS[name]
    attention = with_fields(cls)(6, 2, 6, position_bias=True, **options)
    attention.load_state_dict(build(name.split()[0], position_bias=True, **options).float().state_dict())
    x, hidden = tokens().float(), torch.ones(5, 5, dtype=torch.bool).triu(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, weights = attention(x, attn_mask=hidden, key_padding_mask=padding()[:2])
    assert output.dtype == torch.bfloat16
    assert weights.dtype == torch.float32
    wide, fields = copy.deepcopy(attention).double(), attention.fields.double()
    visible = ~(hidden | padding()[:2, None, None])
    right = wide.weigh(fields, visible.expand(-1, 1, -1, -1), x.double(), None)
    torch.testing.assert_close(weights.double(), right, rtol=20 * EPS, atol=EPS)
    plain = attention(x, attn_mask=hidden, key_padding_mask=padding()[:2])[1]
    assert (plain - weights).abs().max() > 1e-4  # fields were bfloat16: the comparison above is of that case


@pytest.mark.parametrize("readout", ["mean", "free-energy"])
@pytest.mark.parametrize("name", ["hopfield", "linear", "gated-linear"])
def test_under_autocast_other_weights_are_those_of_the_same_projections_in_float64(name, readout):
    attention, x = build(name, readout=readout).float(), tokens().float()
    seen = []

    class Recorded(type(attention)):
        def weights(self, inputs, seed):
            seen.append(inputs)
            return super().weights(inputs, seed)

    attention.__class__ = Recorded
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, weights = attention(x, is_causal=True)
    assert output.dtype == torch.bfloat16
    assert weights.dtype == torch.float32
    (inputs,) = seen
    assert inputs.q.dtype == torch.bfloat16
    doubled = inputs._replace(**{part: getattr(inputs, part).double() for part in ("q", "k", "v", "query", "key")})
    right = copy.deepcopy(attention).double().weights(doubled, None).matrix()
    torch.testing.assert_close(weights.double(), right, rtol=20 * EPS, atol=EPS)
    assert (attention(x, is_causal=True)[1] - weights).abs().max() > 1e-4


@pytest.mark.parametrize("name", ["softmax", "sigmoid", "boltzmann", "hopfield", "linear"])
def test_under_autocast_free_energies_are_read_in_float32(name):
    """Of the same values and weights: what autocast rounds are the projections before and after."""
    attention, x = build(name, readout="free-energy").float(), tokens().float()
    seen = []
    attention.free_energy.register_forward_hook(lambda module, inputs, output: seen.append((inputs, output)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        attention(x)
    ((prior, values, query), read) = seen[0]
    assert (values.dtype, read.dtype) == (torch.bfloat16, torch.bfloat16)
    plain = attention.free_energy(prior, values.float(), query)
    assert plain.dtype == torch.float32
    torch.testing.assert_close(read.float(), plain, rtol=2**-7, atol=2**-9)


@pytest.mark.parametrize("name", list(ATTENTION))
def test_an_encoder_under_autocast(name):
    model, x = encoder(ATTENTION[name]()).float(), tokens(3, 5).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        trained = model(x, src_key_padding_mask=padding())
    trained.float().square().sum().backward()
    assert all(p.grad.dtype == torch.float32 and torch.isfinite(p.grad).all() for p in model.parameters())
    for module in model.modules():
        if isinstance(module, BoltzmannAttention):
            module.calls.zero_()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(model.eval()(x, src_key_padding_mask=padding()), trained.detach(), rtol=0, atol=0)


HALVES = {
    **{name: (name, {}) for name in ARMS},
    **{f"{name} free-energy": (name, {"readout": "free-energy"}) for name in ARMS},
    **{f"boltzmann {kind}": ("boltzmann", {"couplings": kind}) for kind in COUPLINGS},
    **{f"boltzmann {kind} window": ("boltzmann", {"couplings": kind, "window": Window(3, 1)}) for kind in COUPLINGS},
    **{f"{name} window": (name, {"window": Window(3, 1)}) for name in WINDOWED},
    "boltzmann gibbs": ("boltzmann", {"sampler": GibbsSampler(), "shots": 16}),
}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", list(HALVES))
def test_modules_of_half_precision(name, dtype):
    arm, options = HALVES[name]
    attention = build(arm, **options).to(dtype)
    x = tokens().to(dtype).requires_grad_()
    output, weights = attention(x, is_causal=True, seed=1)
    assert (output.dtype, weights.dtype) == (dtype, torch.float32)
    output.float().square().sum().backward()
    assert all(p.dtype == dtype for p in attention.parameters())
    assert all(torch.isfinite(p.grad).all() for p in attention.parameters() if p.grad is not None)
    if "gibbs" not in name:  # samples do not move by a little
        wide = copy.deepcopy(attention).double()
        right = wide(x.detach().double(), is_causal=True)[0]
        scale = right.abs().max()
        assert (output - right).abs().max() < 16 * torch.finfo(dtype).eps * scale


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", [name for name in HALVES if "gibbs" not in name])
def test_steps_of_modules_of_half_precision(name, dtype):
    """Each is as far from float64 as a forward pass may be."""
    arm, options = HALVES[name]
    attention, x = build(arm, **options).to(dtype), tokens().to(dtype)
    wide, cache = copy.deepcopy(attention).double(), attention.new_cache()
    with torch.no_grad():
        output = torch.cat([attention.step(x[:, i : i + 1], cache) for i in range(x.shape[1])], 1)
        right = wide(x.double(), is_causal=True)[0]
    assert output.dtype == dtype
    assert (output - right).abs().max() < 16 * torch.finfo(dtype).eps * right.abs().max()


@pytest.mark.parametrize("change", [lambda m: m.half(), lambda m: m.bfloat16(), lambda m: m.to("cpu", torch.float32)])
def test_a_moved_module_keeps_its_counts(change):
    attention = BoltzmannAttention(6, 2, 6, sampler=GibbsSampler(), shots=16)
    attention(tokens().float())
    moved = change(attention)
    assert moved.calls.dtype == torch.int64
    assert moved.calls == 1


def test_the_weights_of_half_precision_are_exact_for_their_fields():
    attention = with_fields(BoltzmannAttention)(6, 2, 6).to(torch.bfloat16)
    attention.load_state_dict(build("boltzmann").bfloat16().state_dict())
    weights = attention(tokens().bfloat16())[1]
    h, J = attention.fields.double(), attention.couplings(tokens()).double()
    up = BoltzmannAttention._attended(copy.deepcopy(attention).double(), h, J, None, None)
    assert isinstance(attention.sampler, ExactSampler)
    torch.testing.assert_close(weights.double(), up / up.sum(-1, keepdim=True), rtol=20 * EPS, atol=EPS)
