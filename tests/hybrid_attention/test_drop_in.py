"""Our attention inside PyTorch's own encoder and decoder, which must call it and never run softmax instead."""

import copy
import warnings

import pytest
import torch
from arm_cases import DIM, HEADS, build, tokens
from drop_in_cases import ATTENTION, BATCH, LENGTH, Unguarded, encoder, encoder_layer, masks, padding
from torch import nn
from torch.nn import functional as F
from window_cases import WINDOWED, windowed

from classical import GibbsSampler
from hybrid_attention import BoltzmannAttention, SoftmaxAttention
from hybrid_attention.windows import Window


def grad_modes():
    return {"no_grad": torch.no_grad(), "inference_mode": torch.inference_mode(), "grad": torch.enable_grad()}


def fixed_samples(model):
    """Sampled attention draws new samples at every call; here it draws the same ones."""
    for module in model.modules():
        if isinstance(module, BoltzmannAttention):
            module.calls.zero_()


@pytest.mark.filterwarnings("ignore:Support for mismatched:UserWarning")
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("name", list(ATTENTION))
def test_evaluation_equals_training(name, norm_first):
    model, x = encoder(ATTENTION[name](), norm_first=norm_first), tokens(BATCH, LENGTH)
    for options in masks().values():
        model.train()
        fixed_samples(model)
        trained = model(x, **options)
        model.eval()
        for mode in grad_modes().values():
            fixed_samples(model)
            with mode:
                torch.testing.assert_close(model(x, **options), trained.detach(), rtol=1e-10, atol=1e-12)


def test_softmax_in_its_place_would_show():
    """The control of the test above: without the guard, PyTorch's fused softmax takes the parameters."""
    attention = Unguarded(DIM, HEADS, LENGTH).double()
    attention.load_state_dict(build("boltzmann", length=LENGTH).state_dict())
    layer, x = encoder_layer(attention), tokens(BATCH, LENGTH)
    stock = encoder_layer(nn.MultiheadAttention(DIM, HEADS, batch_first=True, dtype=torch.float64))
    stock.self_attn.load_state_dict(attention.state_dict(), strict=False)
    with torch.no_grad():
        trained, softmax = layer(x), stock(x)
        fused = layer.eval()(x)
    torch.testing.assert_close(fused, softmax, rtol=1e-10, atol=1e-12)
    assert (trained - softmax).abs().max() > 0.01


@pytest.mark.filterwarnings("ignore:Support for mismatched:UserWarning")
@pytest.mark.parametrize("norm_first", [False, True])
def test_masks_mean_what_they_mean_to_torch(norm_first):
    stock, ours = (
        encoder(make(DIM, HEADS), norm_first=norm_first)
        for make in (
            lambda *sizes: nn.MultiheadAttention(*sizes, batch_first=True, dtype=torch.float64),
            lambda *sizes: SoftmaxAttention(*sizes, LENGTH).double(),
        )
    )
    ours.load_state_dict(stock.state_dict())
    x = tokens(BATCH, LENGTH)
    outputs = []
    for options in masks().values():
        outputs.append(ours(x, **options))
        torch.testing.assert_close(outputs[-1], stock(x, **options), rtol=1e-9, atol=1e-11)
    assert sum((a - b).abs().max() < 1e-6 for a in outputs for b in outputs) < len(outputs) ** 2 / 2


def test_an_encoder_says_why_it_makes_no_nested_tensors():
    with pytest.warns(UserWarning, match="_qkv_same_embed_dim was not True"):
        model = nn.TransformerEncoder(encoder_layer(ATTENTION["boltzmann"]()), 2)
    assert not model.use_nested_tensor


def test_an_encoder_that_makes_nested_tensors_all_the_same():
    """Attention put into an encoder by hand: it has settled on nested tensors before."""
    stock = nn.TransformerEncoder(
        encoder_layer(nn.MultiheadAttention(DIM, HEADS, batch_first=True, dtype=torch.float64)), 2
    )
    assert stock.use_nested_tensor
    for layer in stock.layers:
        layer.self_attn = ATTENTION["boltzmann"]()
    x = tokens(BATCH, LENGTH)
    trained = stock(x, src_key_padding_mask=padding())
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nested tensors are a prototype, says PyTorch
        evaluated = stock.eval()(x, src_key_padding_mask=padding())
    torch.testing.assert_close(evaluated[~padding()], trained[~padding()].detach(), rtol=1e-10, atol=1e-12)
    assert not evaluated[padding()].any()  # which nothing but nested tensors leaves at zero


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("name", list(ATTENTION))
def test_nested_tokens_are_sequences_on_their_own(name):
    attention = ATTENTION[name]()
    sequences = [tokens(1, length, seed=length)[0] for length in (4, 1, 5)]
    nested = torch.nested.nested_tensor(sequences).requires_grad_()
    output, weights = attention(nested, is_causal=True, seed=1)
    assert weights.shape == (3, HEADS, 5, 5)
    output.to_padded_tensor(0.0).square().sum().backward()
    assert nested.grad is not None
    if "gibbs" in name:
        return  # samples belong to the row of the batch
    for row, sequence in zip(output.unbind(), sequences, strict=True):
        alone, _ = attention(sequence.unsqueeze(0), is_causal=True)
        torch.testing.assert_close(row, alone[0], rtol=1e-9, atol=1e-11)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("readout", ["mean", "free-energy"])
@pytest.mark.parametrize("window", [Window(1), Window(2, 1), Window(9)])
@pytest.mark.parametrize("name", WINDOWED)
def test_nested_tokens_in_a_window_are_sequences_on_their_own(name, window, readout):
    attention = windowed(name, window, readout=readout, **({"couplings": "content"} if name == "boltzmann" else {}))
    sequences = [tokens(1, length, seed=length)[0] for length in (4, 1, 5)]
    nested = torch.nested.nested_tensor(sequences).requires_grad_()
    output, weights = attention(nested)
    output.to_padded_tensor(0.0).square().sum().backward()
    for row, matrix, sequence, gradient in zip(output.unbind(), weights, sequences, nested.grad.unbind(), strict=True):
        x = sequence.clone().requires_grad_()
        alone, own = attention(x.unsqueeze(0))
        alone.square().sum().backward()
        n = len(sequence)
        torch.testing.assert_close(row, alone[0], rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(gradient, x.grad, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(matrix[:, :n, :n], own[0], rtol=1e-9, atol=1e-11)
        assert not matrix[:, :n, n:].any()


@pytest.mark.parametrize("name", WINDOWED)
def test_an_encoder_that_makes_nested_tensors_for_attention_in_a_window(name):
    stock = nn.TransformerEncoder(
        encoder_layer(nn.MultiheadAttention(DIM, HEADS, batch_first=True, dtype=torch.float64)), 2
    )
    for number, layer in enumerate(stock.layers):
        layer.self_attn = windowed(name, Window(2, 1), seed=number)
    x = tokens(BATCH, LENGTH)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nested tensors are a prototype, says PyTorch
        evaluated = stock.eval()(x, src_key_padding_mask=padding())
    for row, sequence, hidden in zip(evaluated, x, padding(), strict=True):
        alone = stock(sequence[~hidden].unsqueeze(0))[0]
        torch.testing.assert_close(row[~hidden], alone.detach(), rtol=1e-9, atol=1e-11)
        assert not row[hidden].any()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_nested_tokens_that_are_refused():
    attention, x = ATTENTION["boltzmann"](), tokens(2, 4)
    nested = torch.nested.nested_tensor([x[0], x[1, :2]])
    jagged = torch.nested.nested_tensor([x[0], x[1, :2]], layout=torch.jagged)
    for arguments, options, message in (
        ((nested, x), {}, "all three must then be the same one"),
        ((x, nested), {}, "all three must then be the same one"),
        ((x, x, nested), {}, "all three must then be the same one"),
        ((nested,), {"attn_mask": torch.zeros(4, 4)}, "attn_mask is given with a nested query"),
        ((nested,), {"key_padding_mask": torch.zeros(2, 4)}, "key_padding_mask is given with a nested query"),
        ((jagged,), {}, "layout torch.jagged; give one of layout torch.strided"),
    ):
        with pytest.raises(ValueError, match=message):
            attention(*arguments, **options)


@pytest.mark.parametrize("sampler", [None, GibbsSampler(chains=64)])
def test_a_stock_encoder_trains(sampler):
    """Does the first token stand in the sequence again? Attention has to look."""
    torch.manual_seed(0)
    attention = BoltzmannAttention(16, 2, 6, position_bias=True, sampler=sampler, shots=64)
    layer = nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True)
    layer.self_attn = attention
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    embedding, head = nn.Embedding(4, 16), nn.Linear(16, 2)
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(4, (64, 6), generator=generator)
    hidden = torch.arange(6) >= torch.randint(3, 7, (64, 1), generator=generator)
    target = ((words[:, 1:] == words[:, :1]) & ~hidden[:, 1:]).any(1).long()
    optimizer = torch.optim.Adam([*model.parameters(), *embedding.parameters(), *head.parameters()], lr=3e-3)
    losses = []
    for _ in range(60 if sampler is None else 25):
        loss = F.cross_entropy(head(model(embedding(words), src_key_padding_mask=hidden)[:, 0]), target)
        optimizer.zero_grad()
        loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < (0.4 if sampler is None else 0.8) * losses[0]
    assert all(layer.self_attn.couplings.values.abs().min() > 0 for layer in model.layers)
    fixed_samples(model)
    trained = model(embedding(words), src_key_padding_mask=hidden).detach()
    fixed_samples(model)
    with torch.no_grad():
        torch.testing.assert_close(
            model.eval()(embedding(words), src_key_padding_mask=hidden), trained, rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("name", [name for name in ATTENTION if name != "gated linear"])
def test_a_stock_decoder(name, norm_first):
    torch.manual_seed(0)
    layer = nn.TransformerDecoderLayer(
        DIM, HEADS, 16, 0.0, batch_first=True, norm_first=norm_first, dtype=torch.float64
    )
    layer.self_attn, layer.multihead_attn = ATTENTION[name](), ATTENTION[name]()
    model = nn.TransformerDecoder(layer, 2)
    target, memory = tokens(BATCH, 4), tokens(BATCH, LENGTH, seed=1)
    options = {
        "tgt_mask": nn.Transformer.generate_square_subsequent_mask(4, dtype=torch.float64),
        "memory_key_padding_mask": padding(),
    }
    trained = model(target, memory, **options)
    trained.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    model.eval()
    fixed_samples(model)
    with torch.no_grad():
        torch.testing.assert_close(model(target, memory, **options), trained.detach(), rtol=1e-10, atol=1e-12)
        fixed_samples(model)
        changed = torch.where(padding().unsqueeze(-1), 7.0, memory)
        torch.testing.assert_close(model(target, changed, **options), trained.detach(), rtol=1e-10, atol=1e-12)
        fixed_samples(model)
        later = torch.cat([target[:, :3], 7 * target[:, 3:]], 1)
        out = model(later, memory, **options)
        torch.testing.assert_close(out[:, :3], trained[:, :3].detach(), rtol=1e-10, atol=1e-12)
        assert (out[:, 3] - trained[:, 3]).abs().max() > 1e-3


@pytest.mark.parametrize(("queries", "keys"), [(3, 5), (5, 3)])
@pytest.mark.parametrize("name", [name for name in ATTENTION if name != "gated linear"])
def test_causal_between_sequences_counts_from_the_first_of_each(name, queries, keys):
    attention, query, key = ATTENTION[name](), tokens(2, queries), tokens(2, keys, seed=1)
    future = torch.ones(queries, keys, dtype=torch.bool).triu(1)
    output, weights = attention(query, key, is_causal=True, seed=1)
    assert not weights[..., future].any()
    assert (weights.sum(-1) > 0).all()
    for mask in (future, torch.zeros(queries, keys).masked_fill(future, -torch.inf)):
        for hint in (False, True):
            again = attention(query, key, attn_mask=mask, is_causal=hint, seed=1)
            torch.testing.assert_close(again, (output, weights), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("queries", "keys"), [(3, 5), (5, 3)])
def test_causal_between_sequences_is_what_torch_takes_it_for(queries, keys):
    attention, query, key = build("softmax"), tokens(2, queries), tokens(2, keys, seed=1)
    q, k, v = attention._project(query, key, key)
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    right = attention.out_proj(mixed.transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(query, key, is_causal=True)[0], right, rtol=1e-10, atol=1e-12)


def test_gates_are_refused_between_sequences_of_different_lengths():
    with pytest.raises(ValueError, match="key has length 5 and query 3; gates need as many keys as queries"):
        build("gated-linear")(tokens(2, 3), tokens(2, 5))


@pytest.mark.parametrize("name", list(ATTENTION))
def test_a_deep_copy_stands_alone(name):
    attention, x = ATTENTION[name](), tokens()
    copied = copy.deepcopy(attention)
    assert type(copied) is type(attention)
    expected = attention(x, seed=1)
    torch.testing.assert_close(copied(x, seed=1), expected, rtol=0, atol=0)
    assert {p.data_ptr() for p in copied.parameters()}.isdisjoint(p.data_ptr() for p in attention.parameters())
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.add_(0.1)
    assert (copied(x, seed=1)[0] - expected[0]).abs().max() > 1e-3
    torch.testing.assert_close(attention(x, seed=1), expected, rtol=0, atol=0)


def test_a_deep_copy_shares_the_sampler():
    class Connected(GibbsSampler):
        def __deepcopy__(self, memo):
            raise RuntimeError("a second connection")

    attention = BoltzmannAttention(DIM, HEADS, LENGTH, sampler=Connected(), shots=16)
    attention(tokens().float())
    copied = copy.deepcopy(attention)
    assert copied.sampler is attention.sampler
    assert copied.calls == 1
    attention(tokens().float())
    assert copied.calls == 1
