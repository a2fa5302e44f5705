"""Attention of every kind with random parameters in float64, tokens, and masks, for tests of the arms."""

import pytest
import torch

from hybrid_attention import BoltzmannAttention, SigmoidAttention, SoftmaxAttention
from hybrid_attention.hopfield import HopfieldAttention
from hybrid_attention.linear import LinearAttention

DIM, HEADS, LENGTH = 6, 2, 6

ARMS = {
    "softmax": SoftmaxAttention,
    "sigmoid": SigmoidAttention,
    "boltzmann": BoltzmannAttention,
    "hopfield": HopfieldAttention,
    "linear": LinearAttention,
    "gated-linear": lambda *sizes, **options: LinearAttention(*sizes, gated=True, **options),
}


def build(name, seed=0, scale=0.5, dim=DIM, heads=HEADS, length=LENGTH, **options):
    """An arm in float64 with random numbers in every parameter, so that nothing hides behind a zero."""
    module = ARMS[name](dim, heads, length, **options).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


def normal(*shape, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(100 + seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


def tokens(batch=2, length=5, dim=DIM, seed=0):
    return normal(batch, length, dim, seed=seed)


def padding(batch=2, length=5):
    """Hidden keys at the end of one sequence and at the start of another, so that causal queries see none at all."""
    mask = torch.zeros(batch, length, dtype=torch.bool)
    mask[0, -2:], mask[1, 0], mask[1, 2] = True, True, True
    return mask


def assert_gradient(loss, parameter, every):
    """Every `every`-th entry of a parameter's gradient against central differences of the loss."""
    loss().backward()
    flat, step, compared = parameter.data.view(-1), 1e-6, 0
    for index in range(0, len(flat), every):
        kept, ends = float(flat[index]), []
        for sign in (1, -1):
            flat[index] = kept + sign * step
            ends.append(float(loss().detach()))
        flat[index] = kept
        assert parameter.grad.view(-1)[index] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6, abs=1e-8)
        compared += 1
    assert compared > 1
