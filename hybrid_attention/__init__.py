"""Attention in PyTorch whose pattern is an interacting Ising model."""

from hybrid_attention.attention import BoltzmannAttention
from hybrid_attention.baselines import SigmoidAttention, SoftmaxAttention
from hybrid_attention.expectation import boltzmann_mean, boltzmann_probability
from hybrid_attention.hopfield import HopfieldAttention
from hybrid_attention.linear import LinearAttention
from hybrid_attention.replace import replace_attention

__version__ = "0.1.0"
__all__ = [
    "BoltzmannAttention",
    "HopfieldAttention",
    "LinearAttention",
    "SigmoidAttention",
    "SoftmaxAttention",
    "boltzmann_mean",
    "boltzmann_probability",
    "replace_attention",
]
