"""PyTorch's own layers in float64 with our attention inside, and the masks they are called with."""

import torch
from arm_cases import DIM, HEADS, build, normal
from torch import nn

from classical import GibbsSampler
from hybrid_attention import BoltzmannAttention

BATCH, LENGTH = 3, 5

ATTENTION = {
    "softmax": lambda: build("softmax", position_bias=True),
    "sigmoid": lambda: build("sigmoid", position_bias=True),
    "boltzmann": lambda: build("boltzmann", position_bias=True),
    "boltzmann sum": lambda: build("boltzmann", readout="sum"),
    "boltzmann free energy": lambda: build("boltzmann", readout="free-energy"),
    "boltzmann content": lambda: build("boltzmann", couplings="content"),
    "boltzmann gibbs": lambda: build("boltzmann", sampler=GibbsSampler(), shots=64),
    "hopfield": lambda: build("hopfield", position_bias=True),
    "linear": lambda: build("linear"),
    "gated linear": lambda: build("gated-linear"),
}


def encoder_layer(attention, **options):
    """A stock layer whose attention is ours."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(DIM, HEADS, 16, 0.0, batch_first=True, dtype=torch.float64, **options)
    layer.self_attn = attention
    return layer


def encoder(attention, layers=2, **options):
    """A stock encoder of such layers, which it makes by deep copies."""
    return nn.TransformerEncoder(encoder_layer(attention, **options), layers, enable_nested_tensor=False)


def padding():
    """Padding at the end, as PyTorch's nested tensors want it."""
    mask = torch.zeros(BATCH, LENGTH, dtype=torch.bool)
    mask[1, 3:], mask[2, 1:] = True, True
    return mask


def infinite(mask):
    """A bool mask as a floating-point one."""
    return torch.zeros(mask.shape, dtype=torch.float64).masked_fill(mask, -torch.inf)


def masks():
    """Arguments of a stock encoder by name; every query sees at least one key."""
    causal = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
    scattered = torch.rand(BATCH * HEADS, LENGTH, LENGTH, generator=torch.Generator().manual_seed(5)) < 0.4
    scattered = scattered & ~torch.eye(LENGTH, dtype=torch.bool)
    return {
        "none": {},
        "bool padding": {"src_key_padding_mask": padding()},
        "float padding": {"src_key_padding_mask": infinite(padding())},
        "bool causal": {"mask": causal},
        "float causal": {"mask": nn.Transformer.generate_square_subsequent_mask(LENGTH, dtype=torch.float64)},
        "causal by hint": {"mask": infinite(causal), "is_causal": True},
        "bool causal, bool padding": {"mask": causal, "src_key_padding_mask": padding()},
        "float causal, float padding": {"mask": infinite(causal), "src_key_padding_mask": infinite(padding())},
        "float causal, bool padding": {"mask": infinite(causal), "src_key_padding_mask": padding()},
        "one for each head": {"mask": scattered},
        "addition": {"mask": normal(LENGTH, LENGTH, seed=3), "src_key_padding_mask": normal(BATCH, LENGTH, seed=4)},
    }


class Unguarded(BoltzmannAttention):
    """What happens without the guard: PyTorch takes it for its own attention."""

    _qkv_same_embed_dim = True
    merge_masks = nn.MultiheadAttention.merge_masks
