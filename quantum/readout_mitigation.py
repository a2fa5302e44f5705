"""Spins that were read wrongly, set right on average.

Spin i in state t is read as m with probability A_i[m, t], so that the law of outcomes is p = (⊗_i A_i) x for the law x
of states. Of ⊗ A_i only the rows and columns of outcomes that were observed are kept, each column divided by its sum,
and that system is solved (Nation, Kang, Sundaresan and Gambetta, PRX Quantum 2, 040326 (2021)): with R shots never more
than R equations, however many spins. The solution can have negative entries; the nearest probability distribution takes
its place (Smolin, Gambetta and Smith, Phys. Rev. Lett. 108, 070502 (2012)).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from classical.ising import IsingModel
from classical.sampler import Sampler, Seed
from classical.samples import Samples

LARGEST_SYSTEM = 4096
"""Most distinct outcomes of a model, for a matrix of 128 MiB that is solved in seconds."""

Assignment = Tensor | Callable[[IsingModel], Tensor]
"""Matrices A[…, spin, read, true], (spins, 2, 2) or (groups, spins, 2, 2), or what gives them for a batch."""


class ReadoutMitigated:
    """Another sampler's samples with its readout errors taken out.

    x = argmin_{x ≥ 0, Σx = 1} |x − Ã⁻¹ p|²,    Ã_rc = A_rc / Σ_{r′ observed} A_r′c,    A_rc = Π_i A_i[r_i, c_i]

    Means are unbiased where every outcome was observed and no x is negative before the projection; rare outcomes cost
    a little of that. In exchange their variance grows, for a single spin by up to 1/det(A)².

    Args:
        sampler: anything that counts shots.
        assignment: A, P(spin reads m | it is t) at [spin, m, t], 0 for +1, columns that sum to one: (spins, 2, 2), or
            (groups, spins, 2, 2) for groups on different qubits; or a function of the batch that returns these, as
            `AerSampler.readout`.

    Raises:
        ValueError: matrices of another shape, that are not probabilities, or that read a spin wrongly at least as
            often as rightly (singular ones among them).

    Reference:
        P. D. Nation, H. Kang, N. Sundaresan, J. M. Gambetta, PRX Quantum 2, 040326 (2021).
        J. A. Smolin, J. M. Gambetta, G. Smith, Phys. Rev. Lett. 108, 070502 (2012).
    """

    def __init__(self, sampler: Sampler, assignment: Assignment) -> None:
        self.sampler = sampler
        if isinstance(assignment, Tensor):
            require_assignment(assignment)
        elif not callable(assignment):
            raise ValueError(f"assignment is a {type(assignment).__name__}; give a tensor or a function of the model")
        self.assignment = assignment
        held = getattr(sampler, "max_spins", None)
        if held is not None:
            self.max_spins: int = held

    def sample(self, model: IsingModel, *, shots: int = 256, seed: Seed = 0) -> Samples:
        """Draw `shots` configurations of every model, and weight those that were read.

        Args:
            model: fields (groups, models, spins) and couplings (groups, spins, spins).
            shots: configurations per model, at least 1.
            seed: an integer, or int64 (groups, models).

        Returns:
            One row per distinct configuration that was read, with a weight that is not negative, padded with weight 0;
            weights sum to one. They are no longer counts: `shots` is None, and diagnostics hold it. Where every
            assignment is the identity, the samples as they were drawn.

        Raises:
            ValueError: what the sampler refuses, an assignment for other spins, or more than 4096 distinct outcomes.
        """
        assignment = self._assignment(model)
        samples = self.sampler.sample(model, shots=shots, seed=seed)
        if torch.equal(assignment, torch.eye(2, dtype=assignment.dtype).expand_as(assignment)):
            return samples
        rows, weights = [], []
        for group, matrices in enumerate(assignment):
            for number in range(model.models):
                outcomes, frequency = _observed(samples, group, number)
                rows.append(outcomes)
                weights.append(nearest_distribution(_solve(outcomes, frequency, matrices)))
        shape = (model.groups, model.models, -1)
        device, dtype = model.fields.device, model.fields.dtype
        if not rows:
            return samples
        return Samples(
            # any configuration will do where the weight is zero
            pad_sequence(rows, batch_first=True, padding_value=1).reshape(*shape, model.spins).to(device),
            pad_sequence(weights, batch_first=True).reshape(shape).to(device, dtype),
            None,
            {**samples.diagnostics, "measured_shots": samples.shots, "readout_mitigated": True},
        )

    def _assignment(self, model: IsingModel) -> Tensor:
        """float64 (groups, spins, 2, 2) on the CPU."""
        given = self.assignment if isinstance(self.assignment, Tensor) else self.assignment(model)
        require_assignment(given)
        if given.shape[-3] != model.spins or (given.ndim == 4 and given.shape[0] != model.groups):
            raise ValueError(
                f"assignment has shape {tuple(given.shape)}; for this model it must be (spins, 2, 2) = "
                f"{(model.spins, 2, 2)} or (groups, spins, 2, 2) = {(model.groups, model.spins, 2, 2)}"
            )
        return given.detach().double().cpu().expand(model.groups, -1, -1, -1)


def require_assignment(assignment: Tensor) -> None:
    """Refuse matrices that assign no readings, or that cannot be undone from what was observed.

    Args:
        assignment: A[…, spin, read, true], (spins, 2, 2) or (groups, spins, 2, 2).

    Raises:
        ValueError: another shape, entries that are no probabilities, or a spin read wrongly at least as often as
            rightly: its matrix is singular, or its true state may be missing from what was observed.
    """
    if not isinstance(assignment, Tensor) or assignment.ndim not in (3, 4) or assignment.shape[-2:] != (2, 2):
        shape = tuple(assignment.shape) if isinstance(assignment, Tensor) else type(assignment).__name__
        raise ValueError(f"assignment is {shape}; give a tensor (spins, 2, 2) or (groups, spins, 2, 2)")
    A = assignment.detach().double()
    if not bool((A >= 0).all()) or not bool(((A.sum(-2) - 1).abs() < 1e-6).all()):
        raise ValueError("assignment has columns that are no probabilities; A[spin, m, t] = P(reads m | is t)")
    right = A.diagonal(dim1=-2, dim2=-1).amin(-1)
    if not bool((right > 0.5).all()):
        place = tuple(int(i) for i in (right <= 0.5).nonzero()[0])
        raise ValueError(
            f"assignment reads spin {place[-1]} rightly with probability {right[place].item():g} in one of its states, "
            "so that it is singular or no better than a guess; leave such a qubit out, or measure its matrix again"
        )


def nearest_distribution(x: Tensor) -> Tensor:
    """The probability distribution nearest to a vector that sums to one.

    argmin_{p ≥ 0, Σp = 1} |p − x|²: the smallest entries become 0 and all others are lowered by the same number.

    Args:
        x: (outcomes,).
    """
    falling, _ = x.sort(descending=True)
    excess = (falling.cumsum(0) - 1) / torch.arange(1, len(x) + 1, dtype=x.dtype)
    kept = int((falling > excess).sum())
    return (x - excess[kept - 1]).clamp_(min=0)


def _observed(samples: Samples, group: int, number: int) -> tuple[Tensor, Tensor]:
    """Distinct outcomes of a model, (outcomes, spins) int8, and how often each was read, float64."""
    spins, weights = samples.spins[group, number].cpu(), samples.weights[group, number].double().cpu()
    outcomes, place = spins[weights > 0].unique(dim=0, return_inverse=True)
    if len(outcomes) > LARGEST_SYSTEM:
        raise ValueError(
            f"shots gave {len(outcomes)} distinct outcomes of one model, but mitigation solves for at most "
            f"{LARGEST_SYSTEM}; draw fewer shots"
        )
    return outcomes, torch.zeros(len(outcomes), dtype=torch.float64).index_add_(0, place, weights[weights > 0])


def _solve(outcomes: Tensor, frequency: Tensor, matrices: Tensor) -> Tensor:
    """Ã⁻¹ p for the outcomes that were observed."""
    bits = (outcomes < 0).long()
    reduced = torch.ones(len(bits), len(bits), dtype=torch.float64)
    for bit, matrix in zip(bits.T, matrices, strict=True):
        reduced *= matrix[bit[:, None], bit]
    return torch.linalg.solve(reduced / reduced.sum(0), frequency / frequency.sum())
