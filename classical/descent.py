"""Zero-temperature dynamics: one spin after the other turns to the side of its local field."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from classical.heat_bath import require_sweeps
from classical.ising import IsingModel, symmetric
from classical.threads import in_pieces

_ROUNDING = 2.0**-40
"""Local fields below this share of the largest possible are taken for zero, so that no spin turns by rounding alone."""


class Descent(NamedTuple):
    """Where dynamics that never raise an energy have ended.

    Args:
        spins: (groups, models, chains, spins) int8.
        sweeps: how many each chain took until a sweep turned no spin, that one included, (groups, models, chains).
        settled: whether there was such a sweep among those allowed, (groups, models, chains) bool.
    """

    spins: Tensor
    sweeps: Tensor
    settled: Tensor


def require_spin_values(name: str, value: Tensor, *, zero: bool = False) -> None:
    """Refuse configurations that are not made of −1 and +1.

    Args:
        name: of the argument.
        value: what was given for it.
        zero: whether 0, for a spin that is not known, is allowed too.

    Raises:
        ValueError: not a tensor, or other values.
    """
    allowed = "−1, 0 and +1" if zero else "−1 and +1"
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} is a {type(value).__name__}; pass a torch tensor of {allowed}")
    right = (value.abs() == 1) | (value == 0) if zero else value.abs() == 1
    if not bool(right.all()):
        raise ValueError(f"{name} contains {value[~right][0].item()}; its values must be {allowed}")


def descend(model: IsingModel, start: Tensor, *, most: int = 1000) -> Descent:
    """Turn spins, 0 to n−1 and again, to the side of their local field until none would turn.

    s_i ← sign(h_i + Σ_k J_ik s_k), as it is where the sum vanishes

    It is the limit of heat-bath sweeps (`classical.heat_bath`) at temperature zero. Every turn lowers the energy, so
    that it ends, in a configuration that no single turn improves.

    Args:
        model: fields (groups, models, spins) and couplings (groups, spins, spins).
        start: where the chains start, −1 and +1, (groups, models, chains, spins); groups and models may be 1.
        most: sweeps after which to stop, at least 1.

    Returns:
        The last configurations, and whether they are at rest.

    Raises:
        ValueError: a start of the wrong shape or with other values, or most below 1.
    """
    require_sweeps("most", most, least=1)
    require_spin_values("start", start)
    groups, models, n = model.groups, model.models, model.spins
    shape = (groups, models, start.shape[-2] if start.ndim == 4 else 1, n)
    fits = start.ndim == 4 and all(have in (1, want) for have, want in zip(start.shape[:2], shape, strict=False))
    if not fits or start.shape[-1] != n:
        raise ValueError(
            f"start has shape {tuple(start.shape)}; it must be (groups, models, chains, spins) with groups {groups}, "
            f"models {models} (either may be 1) and spins {n}"
        )
    if start.device != model.fields.device:
        raise ValueError(f"start is on {start.device} but the model on {model.fields.device}; move one to the other")
    J = symmetric(model.couplings.detach().double())
    h = model.fields.detach().double()
    dead = _ROUNDING * (h.abs() + J.abs().sum(-1).unsqueeze(1))
    s = start.to(torch.int8).expand(shape).clone()
    if h.device.type != "cpu":
        return _by_tensors(h, J, dead, s, most)
    from classical.descent_kernel import descent_kernel

    sweeps = torch.zeros(shape[:3], dtype=torch.int64)
    settled = torch.zeros(shape[:3], dtype=torch.bool)
    per_model, kernel = shape[2], descent_kernel()
    flat = [x.reshape(-1, n).contiguous().numpy() for x in (h, dead)]
    outcome = s.view(-1, n).numpy(), sweeps.view(-1).numpy(), settled.view(-1).numpy()

    def work(begin: int, end: int) -> None:
        kernel(*flat, J.numpy(), *outcome, models * per_model, per_model, most, begin, end)

    in_pieces(sweeps.numel(), work)
    return Descent(s, sweeps, settled)


def _by_tensors(h: Tensor, J: Tensor, dead: Tensor, start: Tensor, most: int) -> Descent:
    """The same turns in torch, on any device."""
    s = start.double()
    sweeps = torch.zeros(s.shape[:3], dtype=torch.int64, device=h.device)
    moving = torch.ones_like(sweeps, dtype=torch.bool)
    for _ in range(most):
        sweeps += moving
        before = s.clone()
        local = h.unsqueeze(2) + s @ J.unsqueeze(1)
        for i in range(s.shape[-1]):
            against = s[..., i] * local[..., i] < -dead[:, :, i, None]
            change = torch.where(against, -2 * s[..., i], 0.0)
            s[..., i] += change
            local += change.unsqueeze(-1) * J[:, None, None, i]
        moving = moving & (s != before).any(-1)
        if not bool(moving.any()):
            break
    return Descent(s.to(torch.int8), sweeps, ~moving)
