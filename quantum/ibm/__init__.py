"""IBM's processors: circuits, jobs and answers. Importing it loads no IBM library."""

from quantum.ibm.circuits import CircuitFacts
from quantum.ibm.sampler import IBMSampler

__all__ = ["CircuitFacts", "IBMSampler"]
