"""The law of an annealing circuit with an error after every two-qubit gate, by its exact density matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from classical import IsingModel, all_configurations
from quantum.evolution import AngleTensors, mixer_matrix


def noisy_law(model: IsingModel, angles: AngleTensors, gate_error: float) -> Tensor:
    """Outcome probabilities where each RZZ is followed, with some probability, by a random two-qubit Pauli.

    One of the 15 Paulis other than the identity, equally likely, with probability p:

    ρ → (1 − 16p/15) ρ + (16p/15) Tr_ij(ρ) ⊗ 1/4

    One-qubit gates are perfect. The gates RZZ(i, j) act in the order of i, then j.

    Args:
        model: what the circuit is fed, (groups, 1, spins).
        angles: K of each kind.
        gate_error: p.

    Returns:
        (groups, 1, 2**spins) float64.
    """
    n, groups = model.spins, model.groups
    size = 2**n
    s = all_configurations(n).double()
    mixed = 16 * gate_error / 15
    rho = torch.full((groups, size, size), 1 / size, dtype=torch.complex64)
    for a, b, theta in zip(*(x.double() for x in angles), strict=True):
        _turn(rho, a * (model.fields[:, 0].double() @ s.T))
        for i in range(n):
            for j in range(i + 1, n):
                _turn(rho, b * model.couplings[:, i, j, None].double() * s[:, i] * s[:, j])
                _depolarize(rho, i, j, mixed)
        matrix = mixer_matrix(theta, n).to(torch.complex64)
        rho = matrix @ rho @ matrix.conj().T
    law = rho.diagonal(dim1=-2, dim2=-1).real.double().clamp_min(0)
    return (law / law.sum(-1, keepdim=True)).unsqueeze(1)


def _turn(rho: Tensor, phase: Tensor) -> None:
    """ρ → D ρ D† with D = diag(exp(i phase)), in place."""
    d = torch.polar(torch.ones_like(phase), phase).to(rho.dtype)
    rho.mul_(d.unsqueeze(-1)).mul_(d.conj().unsqueeze(-2))


def _depolarize(rho: Tensor, i: int, j: int, mixed: float) -> None:
    """Two qubits lose their state with a probability, in place; i < j, bit i of an index is qubit i."""
    if mixed == 0:
        return
    groups, size, _ = rho.shape
    inner, between, outer = 2**i, 2 ** (j - i - 1), size // 2 ** (j + 1)
    split = (outer, 2, between, 2, inner)
    view = rho.view(groups, *split, *split)
    corners = [view[:, :, x, :, y, :, :, x, :, y] for x in (0, 1) for y in (0, 1)]
    mean = sum(corners[1:], corners[0]) * (mixed / 4)
    rho.mul_(1 - mixed)
    for corner in corners:
        corner.add_(mean)
