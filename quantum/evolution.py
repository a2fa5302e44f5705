"""The Trotterized anneal as tensors: a batch of state vectors, differentiable in everything.

    |ψ⟩ = Π_k exp(iθ_k ΣX) exp(i[a_k Σ_i h_i Z_i + b_k Σ_{i<j} J_ij Z_i Z_j]) |+⟩ⁿ

Phases are diagonal. The mixer is the same for every qubit, so it is one small matrix for each half of the qubits,
applied from the left and from the right to the state written as a matrix.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from classical.ising import IsingModel, all_configurations
from quantum.schedule import Angles


class AngleTensors(NamedTuple):
    """The angles of `quantum.schedule.Angles` as tensors, (steps,) each, to be differentiated if they ask for it."""

    field: Tensor
    coupling: Tensor
    mixer: Tensor


def angle_tensors(angles: Angles, dtype: torch.dtype, device: torch.device | None = None) -> AngleTensors:
    """Angles as real tensors.

    Args:
        angles: of a schedule.
        dtype: torch.float32 or torch.float64.
        device: where to put them.
    """
    return AngleTensors(
        *(torch.as_tensor(x, dtype=dtype, device=device) for x in (angles.field, angles.coupling, angles.mixer))
    )


def mixer_matrix(theta: Tensor, qubits: int) -> Tensor:
    """exp(iθ ΣX) on some qubits, entry cos(θ)^{n−d} (i sin θ)^d at Hamming distance d, (2**qubits, 2**qubits) complex.

    Args:
        theta: angle, a real scalar tensor.
        qubits: how many, 0 or more.
    """
    real, imaginary = torch.cos(theta), torch.sin(theta)
    zero = torch.zeros_like(real)
    one_qubit = torch.stack(
        [
            torch.complex(real, zero),
            torch.complex(zero, imaginary),
            torch.complex(zero, imaginary),
            torch.complex(real, zero),
        ]
    ).reshape(2, 2)
    matrix = torch.ones(1, 1, dtype=one_qubit.dtype, device=theta.device)
    for _ in range(qubits):
        matrix = torch.kron(matrix, one_qubit)
    return matrix


class Phases:
    """The diagonal phases of every step: exp(i[a Σ h s + b Σ J s s]).

    The couplings' part is computed once for a group, and the fields' part is a product over two halves of the spins,
    so that no model takes a cosine for every configuration.

    Args:
        model: what the anneal is fed (after any calibration).
    """

    def __init__(self, model: IsingModel) -> None:
        low, high = halves(model.spins)
        self.shape = (model.groups, model.models, 2**high, 2**low)
        device, dtype = model.fields.device, model.fields.dtype
        s_low, s_high = configurations_of(low, device, dtype), configurations_of(high, device, dtype)
        self._low = (model.fields[..., :low] @ s_low.T).unsqueeze(-2)
        self._high = (model.fields[..., low:] @ s_high.T).unsqueeze(-1)
        self._couplings = coupling_energies(model.couplings).unsqueeze(1)

    def apply(self, state: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """A state times the phases of one step; with −a and −b, their inverse.

        Args:
            state: complex, (groups, models, 2**high, 2**low).
            a: field angle, scalar.
            b: coupling angle, scalar.
        """
        return state * _wave(b * self._couplings) * (_wave(a * self._high) * _wave(a * self._low))


def halves(spins: int) -> tuple[int, int]:
    """How many qubits are the columns (0 … low−1) and how many the rows of a state written as a matrix."""
    return (spins + 1) // 2, spins // 2


def configurations_of(spins: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """`classical.all_configurations` as real numbers; of no spins, the one empty configuration."""
    if spins == 0:
        return torch.zeros(1, 0, device=device, dtype=dtype)
    return all_configurations(spins, device).to(dtype)


def coupling_energies(couplings: Tensor) -> Tensor:
    """Coupling part of the log-weight of every configuration.

    Args:
        couplings: J, (groups, spins, spins), strictly upper.

    Returns:
        Σ_{i<j} J_ij s_i s_j, (groups, 2**high, 2**low).
    """
    low, high = halves(couplings.shape[-1])
    a = configurations_of(high, couplings.device, couplings.dtype)
    b = configurations_of(low, couplings.device, couplings.dtype)
    J_low, J_high = couplings[:, :low, :low], couplings[:, low:, low:]
    within_high = ((a @ J_high) * a).sum(-1).unsqueeze(-1)
    within_low = ((b @ J_low) * b).sum(-1).unsqueeze(-2)
    return a @ couplings[:, :low, low:].transpose(-1, -2) @ b.T + within_high + within_low


def mix(state: Tensor, theta: Tensor) -> Tensor:
    """A state after the mixer exp(iθ ΣX); with −θ, its inverse.

    Args:
        state: complex, (…, 2**high, 2**low).
        theta: angle, a real scalar tensor.
    """
    rows, columns = (size.bit_length() - 1 for size in state.shape[-2:])
    return mixer_matrix(theta, rows) @ state @ mixer_matrix(theta, columns)


def evolve(model: IsingModel, angles: AngleTensors) -> Tensor:
    """Final amplitudes of the anneal of every model.

    Args:
        model: what the anneal is fed (after any calibration).
        angles: K of each kind, in the dtype of the model.

    Returns:
        (groups, models, 2**spins) complex, differentiable in fields, couplings and angles; bit i of the index is
        qubit i.
    """
    phases = Phases(model)
    real = torch.full(phases.shape, 2.0 ** (-model.spins / 2), dtype=model.fields.dtype, device=model.fields.device)
    state = torch.complex(real, torch.zeros_like(real))
    for a, b, theta in zip(*angles, strict=True):
        state = mix(phases.apply(state, a, b), theta)
    return state.flatten(2)


def probabilities(amplitudes: Tensor) -> Tensor:
    """|amplitude|², real, of the same shape.

    Args:
        amplitudes: complex.
    """
    return amplitudes.real.square() + amplitudes.imag.square()


def _wave(phase: Tensor) -> Tensor:
    return torch.polar(torch.ones_like(phase), phase)
