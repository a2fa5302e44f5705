"""Ising models and the samplers that need no quantum device."""

from classical.exact import ExactSampler
from classical.ising import IsingModel, all_configurations
from classical.sampler import Sampler
from classical.samples import Samples

__all__ = ["ExactSampler", "IsingModel", "Sampler", "Samples", "all_configurations"]
