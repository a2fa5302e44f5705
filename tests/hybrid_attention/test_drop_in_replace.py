"""Our attention put in place of PyTorch's in a whole model."""

import copy

import pytest
import torch
from arm_cases import DIM, HEADS, tokens
from drop_in_cases import ATTENTION, BATCH, LENGTH, padding
from torch import nn

from hybrid_attention import BoltzmannAttention, SoftmaxAttention, replace_attention


def softmax(embed_dim, num_heads, number):
    return SoftmaxAttention(embed_dim, num_heads, LENGTH)


def boltzmann(embed_dim, num_heads, number):
    return BoltzmannAttention(embed_dim, num_heads, LENGTH, seed=number)


def transformer(**options):
    """A whole stock model, biases not zero."""
    torch.manual_seed(0)
    options = {"dropout": 0.0, "batch_first": True, "dtype": torch.float64, **options}
    model = nn.Transformer(DIM, HEADS, 2, 2, 16, **options)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name:
                parameter.normal_()
    return model


def run(model, **options):
    causal = nn.Transformer.generate_square_subsequent_mask(4, dtype=torch.float64)
    pads = {"src_key_padding_mask": padding(), "memory_key_padding_mask": padding()}
    dtype = next(model.parameters()).dtype
    source, target = tokens(BATCH, LENGTH).to(dtype), tokens(BATCH, 4, seed=1).to(dtype)
    return model(source, target, tgt_mask=causal.to(dtype), **pads)


@pytest.mark.parametrize("options", [{}, {"norm_first": True}, {"bias": False}, {"dtype": torch.float32}])
def test_with_softmax_a_model_stays_what_it_was(options):
    stock = transformer(**options)
    ours = copy.deepcopy(stock)
    names = replace_attention(ours, softmax)
    encoders = [f"encoder.layers.{layer}.self_attn" for layer in range(2)]
    decoders = [f"decoder.layers.{layer}.{part}" for layer in range(2) for part in ("self_attn", "multihead_attn")]
    assert names == encoders + decoders
    assert not any(isinstance(module, nn.MultiheadAttention) for module in ours.modules())
    torch.testing.assert_close(run(ours), run(stock), rtol=0, atol=1e-6)
    trained = run(ours).detach()
    ours.eval()
    with torch.no_grad():
        torch.testing.assert_close(run(ours), trained, rtol=0, atol=1e-6)
    trainable = {model: sum(p.numel() for p in model.parameters() if p.requires_grad) for model in (stock, ours)}
    assert trainable[stock] == trainable[ours]
    old, new = stock.state_dict(), ours.state_dict()
    assert all(torch.equal(old[name], new[name]) for name in old)
    assert all(not new[name].any() for name in new.keys() - old.keys())  # biases that were not there
    run(ours.train()).square().sum().backward()
    run(stock).square().sum().backward()
    gradients = dict(ours.named_parameters())
    for name, parameter in stock.named_parameters():
        torch.testing.assert_close(gradients[name].grad, parameter.grad, rtol=1e-4, atol=1e-4)


def test_boltzmann_attention_in_a_whole_model():
    model = transformer()
    before = run(model).detach()
    replace_attention(model, boltzmann)
    attentions = [module for module in model.modules() if isinstance(module, BoltzmannAttention)]
    assert [attention.seed for attention in attentions] == list(range(6))
    assert all(attention.in_proj_weight.dtype == torch.float64 for attention in attentions)
    trained = run(model)
    assert (trained - before).abs().max() > 1e-4
    trained.square().sum().backward()
    model.eval()
    with torch.inference_mode():
        torch.testing.assert_close(run(model), trained.detach(), rtol=1e-10, atol=1e-12)


def test_what_carries_over_besides_the_numbers():
    layer = nn.TransformerEncoderLayer(DIM, HEADS, 16, batch_first=True).eval().requires_grad_(False)
    layer.self_attn.out_proj.requires_grad_(True)
    replace_attention(layer, boltzmann)
    attention = layer.self_attn
    assert not attention.training
    assert not attention.in_proj_weight.requires_grad
    assert attention.out_proj.weight.requires_grad
    assert attention.couplings.values.requires_grad


def test_one_module_in_two_places_stays_one():
    shared = nn.MultiheadAttention(DIM, HEADS, batch_first=True)
    model = nn.ModuleList([nn.ModuleDict({"a": shared}), nn.ModuleDict({"b": shared})])
    assert replace_attention(model, softmax) == ["0.a", "1.b"]
    assert model[0]["a"] is model[1]["b"]


class Own(nn.MultiheadAttention):
    """With a forward of its own, perhaps."""


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.MultiheadAttention(DIM, HEADS), "module 1.last has batch_first=False; build it with"),
        (lambda: nn.MultiheadAttention(DIM, HEADS, batch_first=True, kdim=4), "module 1.last has kdim=4 and vdim=6"),
        (lambda: nn.MultiheadAttention(DIM, HEADS, batch_first=True, vdim=4), "module 1.last has kdim=6 and vdim=4"),
        (lambda: nn.MultiheadAttention(DIM, HEADS, batch_first=True, add_bias_kv=True), "1.last has add_bias_kv=True"),
        (lambda: nn.MultiheadAttention(DIM, HEADS, batch_first=True, add_zero_attn=True), "last has add_zero_attn=Tr"),
        (lambda: Own(DIM, HEADS, batch_first=True), "module 1.last is a Own; only plain torch.nn.MultiheadAttention"),
    ],
)
def test_modules_that_do_more_are_refused_and_nothing_is_changed(make, message):
    first = nn.MultiheadAttention(DIM, HEADS, batch_first=True)
    model = nn.ModuleList([first, nn.ModuleDict({"last": make()})])
    with pytest.raises(ValueError, match=message):
        replace_attention(model, softmax)
    assert model[0] is first


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda embed_dim, num_heads, number: nn.Linear(6, 6), "make gave a Linear for module 0; it must give"),
        (lambda embed_dim, num_heads, number: SoftmaxAttention(4, num_heads, 5), "embed_dim = 4 .* which has 6"),
        (lambda embed_dim, num_heads, number: SoftmaxAttention(embed_dim, 3, 5), "num_heads = 3 .* which has 2"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    stock = nn.MultiheadAttention(DIM, HEADS, batch_first=True)
    model = nn.ModuleList([stock])
    with pytest.raises(ValueError, match=message):
        replace_attention(model, make)
    assert model[0] is stock


def test_models_without_anything_to_replace_are_refused():
    with pytest.raises(ValueError, match=r"model has no torch\.nn\.MultiheadAttention"):
        replace_attention(nn.Linear(2, 2), softmax)
    with pytest.raises(ValueError, match=r"model is a torch\.nn\.MultiheadAttention itself"):
        replace_attention(nn.MultiheadAttention(DIM, HEADS, batch_first=True), softmax)


@pytest.mark.parametrize("name", list(ATTENTION))
def test_parameters_have_the_names_of_torchs(name):
    stock = nn.MultiheadAttention(DIM, HEADS, batch_first=True, dtype=torch.float64)
    attention = ATTENTION[name]()
    missing, unexpected = attention.load_state_dict(stock.state_dict(), strict=False)
    assert not unexpected
    assert not any(key.startswith(("in_proj", "out_proj")) for key in missing)
    other = ATTENTION[name]()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(attention.state_dict())
    torch.testing.assert_close(other(tokens(), seed=1), attention(tokens(), seed=1), rtol=0, atol=0)
