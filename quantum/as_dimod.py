"""Our samplers inside dimod: wherever a dimod sampler is taken, with any of its composites."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classical.sampler import Sampler
from quantum.checks import positive_number

if TYPE_CHECKING:
    from quantum.dimod_adapter import AdaptedSampler


def as_dimod(sampler: Sampler, *, beta: float = 1.0) -> AdaptedSampler:
    """A dimod sampler that answers binary quadratic models with samples of one of ours.

    P(s) ∝ exp(−β E(s)), for a sampler of Boltzmann's law and the energy E of the model, whose offset does not matter

    `as_dimod(ExactSampler(), beta=5.0).sample(bqm, num_reads=100).first` is a sample of lowest energy.

    Args:
        sampler: any of ours.
        beta: inverse temperature, in units of 1/energy of the models to come; `sample(bqm, beta=...)` takes another.
            Whoever looks for low energies wants it large.

    Returns:
        A `dimod.Sampler` with parameters num_reads, seed and beta.

    Raises:
        ValueError: a sampler that is none of ours, or beta not above zero.
    """
    if isinstance(sampler, type) or not isinstance(sampler, Sampler):
        raise ValueError(f"sampler is {sampler!r}; give a sampler with sample(model, shots=, seed=), as ExactSampler()")
    if hasattr(sampler, "sample_ising"):
        raise ValueError(f"sampler is a {type(sampler).__name__}, which is a dimod sampler already; use it as it is")
    from quantum.dimod_adapter import AdaptedSampler

    return AdaptedSampler(sampler, positive_number("beta", beta))
