"""Heat-bath sweeps of a whole law: what sweeps of infinitely many samples would give.

Spin i is drawn anew from its law given all others,

    P(s_i = +1 | rest) = σ(2 h_i + 2 Σ_k J_ik s_k),

for i = 0 … n−1 in turn: one sweep. Every step leaves the Boltzmann law as it is and brings any other law closer to it:
KL(P ‖ Boltzmann) and KL(Boltzmann ‖ P) never rise.
"""

from __future__ import annotations

import torch
from torch import Tensor

from classical.ising import IsingModel, all_configurations


def require_sweeps(name: str, value: int, least: int = 0) -> int:
    """A number of sweeps.

    Args:
        name: of the argument.
        value: what was given for it.
        least: the smallest that makes sense.

    Raises:
        ValueError: not an integer, or below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} is {value!r}; give an integer of at least {least}")
    return value


def heat_bath(law: Tensor, model: IsingModel, sweeps: int) -> Tensor:
    """The law after heat-bath sweeps, by the exact transition kernel.

    Args:
        law: (groups, models, 2**spins), probabilities; bit i of the index is spin i, bit 0 is +1.
        model: whose conditional laws the spins are drawn from.
        sweeps: how many, at least 0.

    Returns:
        (groups, models, 2**spins), in the dtype of the law.

    Raises:
        ValueError: a law of another shape, or a negative number of sweeps.
    """
    require_sweeps("sweeps", sweeps)
    shape = (model.groups, model.models, 2**model.spins)
    if law.shape != shape:
        raise ValueError(f"law has shape {tuple(law.shape)}; for this model it must be {shape}")
    log_weight = model.log_weight(all_configurations(model.spins, law.device)[None, None]).to(law.dtype)
    for _ in range(sweeps):
        for i in range(model.spins):
            log_up, log_down = _split(log_weight, i)
            up, down = _split(law, i)
            both = up + down
            law = torch.stack([both * torch.sigmoid(log_up - log_down), both * torch.sigmoid(log_down - log_up)], -2)
            law = law.reshape(shape)
    return law


def _split(values: Tensor, spin: int) -> tuple[Tensor, Tensor]:
    """Values where a spin is +1 and where it is −1, (groups, models, higher spins, lower spins)."""
    up, down = values.reshape(*values.shape[:2], -1, 2, 2**spin).unbind(-2)
    return up, down
