"""The dimod sampler that `quantum.as_dimod` makes; importing this module loads dimod."""

from __future__ import annotations

import secrets
from typing import Any

import dimod
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from classical.ising import IsingModel
from classical.random import derive_seeds
from classical.sampler import Sampler
from classical.samples import Samples
from quantum.checks import positive_number
from quantum.draw import draw

_READS = 0x72656164  # sets the random numbers that turn probabilities into reads apart from the sampler's own


class AdaptedSampler(dimod.Sampler):
    """A sampler of ours with dimod's interface.

    Args:
        sampler: any of ours.
        beta: inverse temperature where a call names none.
    """

    def __init__(self, sampler: Sampler, beta: float) -> None:
        self.sampler = sampler
        self.beta = beta

    @property
    def parameters(self) -> dict[str, Any]:
        """Keywords of `sample`, with the properties that concern them."""
        return {"num_reads": [], "seed": [], "beta": ["beta"]}

    @property
    def properties(self) -> dict[str, Any]:
        """Which sampler it is, its most variables (or None) and its inverse temperature where none is asked for."""
        return {"sampler": type(self.sampler).__name__, "max_num_variables": self._largest(), "beta": self.beta}

    def sample(
        self,
        bqm: dimod.BinaryQuadraticModel,
        *,
        num_reads: int = 1,
        seed: int | None = None,
        beta: float | None = None,
        **unknown: Any,
    ) -> dimod.SampleSet:
        """Draw reads of a binary quadratic model.

        h = −β h_bqm,  J = −β J_bqm

        Args:
            bqm: in spins or bits, with any labels.
            num_reads: how many reads, at least 1.
            seed: an integer; by default a new one each time, which the answer's info holds.
            beta: inverse temperature, in units of 1/energy; by default the one given at construction.
            unknown: ignored with dimod's warning, as by other dimod samplers.

        Returns:
            Each distinct configuration once, in the variables of the bqm and with its energy there; num_occurrences add
            up to num_reads. Where the sampler gives probabilities, reads are drawn from them. The info, which JSON can
            hold, has the sampler's name, beta, seed and diagnostics.

        Raises:
            ValueError: no binary quadratic model, more variables than the sampler holds, biases that are not finite,
                num_reads below 1, a seed that is no integer, or beta not above zero.
        """
        self.remove_unknown_kwargs(**unknown)
        if not isinstance(bqm, dimod.BinaryQuadraticModel):
            raise ValueError(f"bqm is a {type(bqm).__name__}; give a dimod.BinaryQuadraticModel")
        reads = _integer("num_reads", num_reads)
        if reads < 1:
            raise ValueError(f"num_reads is {num_reads!r}; give an integer of at least 1")
        start = secrets.randbits(63) if seed is None else _integer("seed", seed)
        cold = self.beta if beta is None else positive_number("beta", beta)
        info = {"sampler": type(self.sampler).__name__, "beta": cold, "seed": start, "diagnostics": {}}
        if bqm.num_variables == 0:
            spins, counts = np.empty((1, 0), dtype=np.int8), np.array([reads])
        else:
            samples = self.sampler.sample(self._model(bqm, cold), shots=reads, seed=start)
            spins, counts = _reads(samples, reads, start)
            info["diagnostics"] = _plain(samples.diagnostics)
        values = spins if bqm.vartype is dimod.SPIN else (spins + 1) // 2
        return dimod.SampleSet.from_samples_bqm((values, list(bqm.variables)), bqm, num_occurrences=counts, info=info)

    def _model(self, bqm: dimod.BinaryQuadraticModel, beta: float) -> IsingModel:
        """The Ising model with −β times the energy of the bqm as its log-weight, but for a constant."""
        largest, number = self._largest(), bqm.num_variables
        if largest is not None and number > largest:
            raise ValueError(
                f"bqm has {number} variables, but {type(self.sampler).__name__} holds at most {largest}; split it, or "
                "use a sampler that holds more"
            )
        vectors = bqm.spin.to_numpy_vectors(variable_order=list(bqm.variables))
        row, column, bias = vectors.quadratic
        J = np.zeros((number, number))
        with np.errstate(over="ignore"):
            h = -beta * vectors.linear_biases.astype(np.float64)
            J[np.minimum(row, column), np.maximum(row, column)] = -beta * bias.astype(np.float64)
        if not (np.isfinite(h).all() and np.isfinite(J).all()):
            raise ValueError(f"bqm has biases that are not finite once multiplied by beta {beta:g}; give finite ones")
        return IsingModel(torch.from_numpy(h)[None, None], torch.from_numpy(J)[None])

    def _largest(self) -> int | None:
        largest: int | None = getattr(self.sampler, "max_spins", None)
        return largest


def _reads(samples: Samples, reads: int, seed: int) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Distinct configurations of one model and how often each was read."""
    spins, weights = samples.spins[0, 0].cpu(), samples.weights[0, 0].double().cpu()
    spins, weights = spins[weights > 0], weights[weights > 0]
    if samples.shots is None:
        index = draw(weights[None, None], reads, derive_seeds(seed, _READS)[None, None])
        counts = torch.bincount(index.flatten(), minlength=len(weights))
    else:
        counts = _counts(weights, samples.shots)
    rows = spins.numpy()
    _, first, where = np.unique(np.packbits(rows > 0, axis=1), axis=0, return_index=True, return_inverse=True)
    total = np.bincount(where.ravel(), weights=counts.numpy()).astype(np.int64)
    return rows[first][total > 0], total[total > 0]


def _counts(weights: Tensor, shots: int) -> Tensor:
    """Weights as the counts that they stand for."""
    counts = (weights * shots).round()
    if bool(((counts - weights * shots).abs() > 0.1).any()) or int(counts.sum()) != shots:
        raise ValueError(
            f"sampler gave weights that are not counts of {shots} shots; give it shots=None where weights are "
            "probabilities"
        )
    return counts


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"{name} is {value!r}; give an integer")
    return int(value)


def _plain(value: Any) -> Any:
    """The same in what JSON can hold."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.ndarray | Tensor):
        return _plain(value.tolist())
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.integer):
        return int(value)
    return float(value) if isinstance(value, np.floating) else repr(value)
