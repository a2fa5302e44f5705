"""Any dimod sampler as a sampler of Ising models.

dimod's energies have the opposite sign of our log-weights. A child that samples P(s) ∝ exp(−β E(s)) is given

    E(s) = Σ_j (−h_j/β) s_j + Σ_{j<k} (−J_jk/β) s_j s_k,

so that its samples follow the model itself. The sign is flipped here and nowhere else.
"""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from classical.ising import IsingModel
from classical.random import derive_seeds, model_seeds
from classical.sampler import Seed, require_shots
from classical.samples import Samples
from quantum.checks import positive_number
from quantum.dimod_answer import Answer, read_answer
from quantum.dimod_variables import Variables

if TYPE_CHECKING:
    import dimod

_AT_ONCE = 100
"""Problems given to the child before the first answer is read: a child that works elsewhere can have them all in
hand, and no queue is flooded."""

_LARGEST_SEED = 2**31 - 1
"""What every seeded sampler of dimod and dwave-samplers takes; its annealers take no more."""


class DimodSampler:
    """Samples from whatever dimod sampler it is given: an annealer, a search, a solver, a composed device.

    P(s) is the child's own: the model's Boltzmann law if the child samples one at inverse temperature `beta`, the
    model's ground states if it searches for those. Of dwave-samplers, `TreeDecompositionSampler` samples Boltzmann's
    law exactly (β = 1 is its default), `SimulatedAnnealingSampler` approaches it with the parameters of
    `boltzmann_annealing`, and most others search for low energies. dimod's `ExactSolver` lists every configuration
    once, which is the uniform law and never what is wanted: use `classical.ExactSampler`.

    Children are given one problem at a time, through Python: 0.1 ms for each model, besides what the child takes.

    Args:
        child: any dimod sampler. It is given the shots as `num_reads` where it takes that, and a `seed` where it takes
            one; otherwise its samples cannot be reproduced.
        beta: inverse temperature at which the child samples the energies it is given.
        parameters: of the child, passed on in every call (num_sweeps, beta_range, …).
        variables: labels of the spins in the child's problems, spin j being the j-th; by default 0, 1, 2, … Name nodes
            here for a child with a graph of its own.
        max_spins: refuse models with more spins; by default as many are taken as there are labels and nodes, or any
            number where there are neither.

    Raises:
        ValueError: a child that is no dimod sampler, beta not above zero, parameters the child does not take, or labels
            or max_spins that make no sense or do not fit the child.
    """

    def __init__(
        self,
        child: dimod.Sampler,
        *,
        beta: float = 1.0,
        parameters: Mapping[str, Any] | None = None,
        variables: Sequence[Hashable] | None = None,
        max_spins: int | None = None,
    ) -> None:
        if isinstance(child, type):
            raise ValueError(f"child is the class {child.__name__}; give an instance of it, {child.__name__}(...)")
        known = getattr(child, "parameters", None)
        if not callable(getattr(child, "sample", None)) or not isinstance(known, Mapping):
            raise ValueError(f"child is {child!r}; give a dimod sampler, with a method sample and its parameters")
        self.child = child
        self.beta = positive_number("beta", beta)
        self._known = _keywords(child, known)
        self.parameters = self._checked(parameters or {})
        self._variables = Variables(child, variables, max_spins)
        self._name = type(child).__name__

    @property
    def max_spins(self) -> int | None:
        """Most spins of a model, or None where nothing limits them."""
        return self._variables.max_spins

    @property
    def reproducible(self) -> bool:
        """Whether the child takes a seed.

        A child that also watches the clock, as tabu search does, may still answer differently.
        """
        return "seed" in self._known

    def sample(self, model: IsingModel, *, shots: int = 256, seed: Seed = 0) -> Samples:
        """Draw `shots` configurations for every model of the batch.

        w_r = n_r / Σ_r n_r,  n_r = num_occurrences of row r

        Args:
            model: fields (groups, models, spins) and couplings (groups, spins, spins). Couplings that are zero are not
                in the child's problems.
            shots: configurations per model, at least 1.
            seed: an integer, or int64 (groups, models), from which each model's own seed is made, 1 to 2³¹ − 1.

        Returns:
            The child's rows with weight occurrences/reads in the dtype of the fields, padded with weight 0 to the same
            number of rows. For a child that takes no `num_reads`, rows are whatever it returns and shots is None. The
            diagnostics hold the child's name, beta, whether it took a seed, and its own info of every model.

        Raises:
            ValueError: shots below 1, a seed of the wrong shape, more spins than `max_spins`, spins or couplings that
                the child's graph does not have, or an answer that does not fit its problem.
        """
        require_shots(shots)
        seeds = _child_seeds(model_seeds(seed, model.groups, model.models, "cpu"))
        labels = self._variables.of(model)
        reads = shots if "num_reads" in self._known else None
        fixed = self.parameters if reads is None else {**self.parameters, "num_reads": reads}
        calls = [{**fixed, "seed": s} if self.reproducible else fixed for s in seeds]
        answers: list[Answer] = []
        info: list[Any] = []
        problems = _problems(model.detach().scaled(-1 / self.beta, -1 / self.beta), labels)
        for start in range(0, len(calls), _AT_ONCE):
            waiting = [self.child.sample(next(problems), **keywords) for keywords in calls[start : start + _AT_ONCE]]
            for answer in waiting:
                answers.append(read_answer(answer, labels, self._name, reads))
                info.append(answer.info)
        spins, weights = _padded(answers, model)
        diagnostics = {"child": self._name, "beta": self.beta, "reproducible": self.reproducible, "info": info}
        return Samples(spins, weights, reads, diagnostics)

    def _checked(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(parameters, Mapping):
            raise ValueError(f"parameters is {parameters!r}; give a dict of keywords for {type(self.child).__name__}")
        for name in parameters:
            if name in ("bqm", "num_reads", "seed"):
                raise ValueError(
                    f"parameters contains {name!r}, which is set in every call; use sample(model, shots=, seed=)"
                )
            if name not in self._known:
                raise ValueError(
                    f"parameters contains {name!r}, which {type(self.child).__name__} does not take; it takes "
                    f"{', '.join(sorted(self._known - {'num_reads', 'seed'})) or 'none'}"
                )
        return dict(parameters)


def boltzmann_annealing(sweeps: int = 100) -> dict[str, Any]:
    """Parameters with which dwave-samplers' `SimulatedAnnealingSampler` samples at β = 1.

    β_k = min(1, 2k/sweeps),  k = 1 … sweeps, each a sweep of heat-bath updates

    Half of the sweeps warm the child up and half let it come to rest at β = 1, which a `beta_range` that ends there
    does not: for models of 8 spins with h ~ N(0, ½²) and J ~ N(0, 1/8), 100 sweeps leave a mean KL below 1e-6 nats,
    while 100 sweeps with beta_range=(0.1, 1.0) leave 4e-4. Models with larger couplings take more sweeps.

    Args:
        sweeps: how many sweeps each read takes, at least 1.

    Returns:
        What `DimodSampler(child, parameters=...)` takes.

    Raises:
        ValueError: sweeps below 1.
    """
    if isinstance(sweeps, bool) or not isinstance(sweeps, int) or sweeps < 1:
        raise ValueError(f"sweeps is {sweeps!r}; give an integer of at least 1")
    betas = np.minimum(1.0, 2 * np.arange(1, sweeps + 1) / sweeps)
    return {"beta_schedule_type": "custom", "beta_schedule": betas.tolist(), "proposal_acceptance_criteria": "Gibbs"}


def _keywords(child: dimod.Sampler, declared: Mapping[str, Any]) -> set[str]:
    """What the child takes besides its problem: what it declares, and what its `sample` names.

    dimod's RandomSampler takes a seed that it does not declare, and path-integral annealing most of its physics.
    """
    named = inspect.signature(child.sample).parameters.values()
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return set(declared) | {p.name for p in named if p.kind in kinds} - {"bqm"}


def _child_seeds(seeds: Tensor) -> list[int]:
    """Seeds between 1 and 2³¹ − 1, one after the other; path-integral annealing asks for more than 0."""
    mixed: list[int] = (derive_seeds(seeds) % _LARGEST_SEED + 1).flatten().tolist()
    return mixed


def _problems(energy: IsingModel, labels: list[Hashable]) -> Iterator[dimod.BinaryQuadraticModel]:
    """A model for the child of every model of the batch, one after the other."""
    import dimod

    rows, columns = np.triu_indices(energy.spins, 1)
    linear = energy.fields.double().cpu().numpy()
    quadratic = energy.couplings.double().cpu().numpy()[:, rows, columns]
    for h, J in zip(linear, quadratic, strict=True):
        there = np.flatnonzero(J)
        pairs = (rows[there], columns[there], J[there])
        for one in h:
            yield dimod.BinaryQuadraticModel.from_numpy_vectors(one, pairs, 0.0, dimod.SPIN, variable_order=labels)


def _padded(answers: list[Answer], model: IsingModel) -> tuple[Tensor, Tensor]:
    """All answers as spins and weights of one shape; rows that only pad have weight 0."""
    width = max((len(answer.occurrences) for answer in answers), default=0)
    spins = np.ones((len(answers), width, model.spins), dtype=np.int8)
    weights = np.zeros((len(answers), width))
    for row, answer in enumerate(answers):
        spins[row, : len(answer.spins)] = answer.spins
        weights[row, : len(answer.spins)] = answer.occurrences / answer.occurrences.sum()
    shape, device = (model.groups, model.models, width), model.fields.device
    return (
        torch.from_numpy(spins).reshape(*shape, model.spins).to(device),
        torch.from_numpy(weights).reshape(shape).to(device, model.fields.dtype),
    )
