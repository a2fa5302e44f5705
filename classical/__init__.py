"""Ising models and the samplers that need no quantum device."""

from classical.banded import BandedSampler
from classical.chains import Mixing, mixing
from classical.exact import ExactSampler
from classical.ghost_spin import GhostSpin
from classical.gibbs import GibbsSampler
from classical.heat_bath import heat_bath
from classical.ising import IsingModel, all_configurations
from classical.mean_field import ConvergenceWarning, MeanFieldSampler
from classical.perfect import PerfectSamples
from classical.polished import Polished
from classical.product import ProductSampler
from classical.sampler import Sampler
from classical.samples import Samples
from classical.temperatures import TemperatureFit, fit_temperatures

__all__ = [
    "BandedSampler",
    "ConvergenceWarning",
    "ExactSampler",
    "GhostSpin",
    "GibbsSampler",
    "IsingModel",
    "MeanFieldSampler",
    "Mixing",
    "PerfectSamples",
    "Polished",
    "ProductSampler",
    "Sampler",
    "Samples",
    "TemperatureFit",
    "all_configurations",
    "fit_temperatures",
    "heat_bath",
    "mixing",
]
