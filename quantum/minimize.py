"""Mean KL(exact ‖ anneal) over models, and the parameters of a circuit that make it least."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from classical.distance import kl_divergence
from classical.ising import IsingModel
from quantum.evolution import AngleTensors, evolve, probabilities

Progress = Callable[[int, float], None]

_AMPLITUDES = 2**21  # of all steps together at a time, which differentiation keeps
_PATIENCE, _LEAST_GAIN = 8, 1e-5  # stop when so many iterations gain less than this share of the KL


def kl_of_angles(batches: Sequence[IsingModel], angles: AngleTensors, fidelity: float = 1.0) -> Tensor:
    """KL(exact ‖ anneal) of every model, each anneal fed the model as it is.

    Args:
        batches: models in any number of batches.
        angles: K of each kind, in the dtype of the models.
        fidelity: F of a single two-qubit gate; the law is depolarized by F^{K n(n−1)/2} (`quantum.design`).

    Returns:
        (all models,), in the order of the batches.
    """
    with torch.no_grad():
        return torch.cat([_kl(piece, angles, fidelity) for piece in _pieces(batches, len(angles.mixer))])


def minimize_kl(
    batches: Sequence[IsingModel],
    start: Tensor,
    to_angles: Callable[[Tensor], AngleTensors],
    *,
    iterations: int,
    fidelity: float = 1.0,
    progress: Progress | None = None,
) -> Tensor:
    """Parameters with the least mean KL(exact ‖ anneal), by the BFGS method on a fixed set of models.

    Args:
        batches: models in any number of batches, float64.
        start: parameters to start from, float64, any shape.
        to_angles: the angles that parameters stand for, differentiable.
        iterations: most iterations; it stops by itself when they gain nothing.
        fidelity: as for `kl_of_angles`.
        progress: called with the number of finished iterations and the KL.

    Returns:
        Parameters in the shape of `start`.
    """
    from scipy.optimize import minimize  # the first step of torch.optim loads torch's compiler, which takes longer

    total = sum(batch.groups * batch.models for batch in batches)
    losses: list[float] = []

    def mean_kl(values: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = torch.from_numpy(values.copy()).reshape(start.shape).requires_grad_()
        steps = len(to_angles(parameters.detach()).mixer)
        mean = 0.0
        for piece in _pieces(batches, steps):
            part = _kl(piece, to_angles(parameters), fidelity).sum() / total
            part.backward()
            mean += float(part.detach())
        assert parameters.grad is not None
        return mean, parameters.grad.numpy().ravel()

    def after(intermediate_result: object) -> None:
        losses.append(float(intermediate_result.fun))  # type: ignore[attr-defined]
        if progress is not None:
            progress(len(losses), losses[-1])
        if len(losses) > _PATIENCE and losses[-1 - _PATIENCE] - losses[-1] < _LEAST_GAIN * losses[-1]:
            raise StopIteration

    found = minimize(
        mean_kl,
        start.numpy().ravel(),
        jac=True,
        method="BFGS",
        callback=after,
        options={"maxiter": iterations, "gtol": 1e-7},
    )
    return torch.from_numpy(found.x).reshape(start.shape)


def _kl(model: IsingModel, angles: AngleTensors, fidelity: float) -> Tensor:
    law = probabilities(evolve(model, angles))
    kept = fidelity ** (len(angles.mixer) * model.spins * (model.spins - 1) // 2)
    return kl_divergence(model, kept * law + (1 - kept) / law.shape[-1]).flatten()


def _pieces(batches: Sequence[IsingModel], steps: int) -> Iterator[IsingModel]:
    for batch in batches:
        at_once = max(1, _AMPLITUDES // (2**batch.spins * batch.models * steps))
        for fields, couplings in zip(batch.fields.split(at_once), batch.couplings.split(at_once), strict=True):
            yield IsingModel(fields, couplings)
