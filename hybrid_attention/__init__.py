"""Attention in PyTorch whose pattern is an interacting Ising model."""

from hybrid_attention.attention import BoltzmannAttention
from hybrid_attention.baselines import SigmoidAttention, SoftmaxAttention
from hybrid_attention.expectation import boltzmann_mean, boltzmann_probability

__version__ = "0.1.0"
__all__ = [
    "BoltzmannAttention",
    "SigmoidAttention",
    "SoftmaxAttention",
    "boltzmann_mean",
    "boltzmann_probability",
]
