"""The contract that every sampler keeps, as checks that any sampler joins with one line."""

from tests.contract.biased import BIASES, BiasedSampler
from tests.contract.case import Case, Contract
from tests.contract.interface import INTERFACE
from tests.contract.laws import anneal, boltzmann, ghosted, independent, swept
from tests.contract.statistical import STATISTICAL, first_objection

__all__ = [
    "BIASES",
    "INTERFACE",
    "STATISTICAL",
    "BiasedSampler",
    "Case",
    "Contract",
    "anneal",
    "boltzmann",
    "first_objection",
    "ghosted",
    "independent",
    "swept",
]
