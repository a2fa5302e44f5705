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


def energies(model: IsingModel) -> tuple[Tensor, Tensor]:
    """Field part and coupling part of the log-weight of every configuration.

    Args:
        model: fields (groups, models, spins) and couplings (groups, spins, spins).

    Returns:
        Σ_i h_i s_i, (groups, models, 2**spins), and Σ_{i<j} J_ij s_i s_j, (groups, 2**spins); bit i of the index is
        spin i, bit 0 is +1.
    """
    s = all_configurations(model.spins, model.fields.device).to(model.fields.dtype)
    return model.fields @ s.T, ((s @ model.couplings) * s).sum(-1)


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


def evolve(model: IsingModel, angles: AngleTensors) -> Tensor:
    """Final amplitudes of the anneal of every model.

    Args:
        model: what the anneal is fed (after any calibration).
        angles: K of each kind, in the dtype of the model.

    Returns:
        (groups, models, 2**spins) complex, differentiable in fields, couplings and angles; bit i of the index is
        qubit i.
    """
    from_fields, from_couplings = energies(model)
    groups, models, size = from_fields.shape
    low = (model.spins + 1) // 2  # qubits 0 … low−1 are the columns
    high = model.spins - low
    shape = (groups, models, 2**high, 2**low)
    state = torch.full(shape, size**-0.5, dtype=from_fields.dtype, device=from_fields.device)
    state = torch.complex(state, torch.zeros_like(state))
    for a, b, theta in zip(*angles, strict=True):
        phase = a * from_fields + b * from_couplings.unsqueeze(1)
        state = state * torch.polar(torch.ones_like(phase), phase).reshape(shape)
        state = mixer_matrix(theta, high) @ state @ mixer_matrix(theta, low)
    return state.flatten(2)


def probabilities(amplitudes: Tensor) -> Tensor:
    """|amplitude|², real, of the same shape.

    Args:
        amplitudes: complex.
    """
    return amplitudes.real.square() + amplitudes.imag.square()
