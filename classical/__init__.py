"""Ising models and the samplers that need no quantum device."""

from classical.exact import ExactSampler
from classical.ising import IsingModel, all_configurations
from classical.sampler import Sampler
from classical.samples import Samples
from classical.temperatures import TemperatureFit, fit_temperatures

__all__ = [
    "ExactSampler",
    "IsingModel",
    "Sampler",
    "Samples",
    "TemperatureFit",
    "all_configurations",
    "fit_temperatures",
]
