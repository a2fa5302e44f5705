"""The Ising model that every sampler of this project works on.

The sign convention stands here and nowhere else:

    log-weight(s) = Σ_j h_j s_j + Σ_{j<k} J_jk s_j s_k,    P(s) = exp(log-weight(s)) / Z,    energy = −log-weight

A positive field favours s_j = +1 and a positive coupling favours equal spins. Vendors that minimise an energy
(dimod, D-Wave) take our fields and couplings with the sign flipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LARGEST_ENUMERATION = 24


class NotFiniteError(ValueError):
    """Fields or couplings that are NaN or infinite; in training, a model that ran away."""


@dataclass(frozen=True, eq=False)
class IsingModel:
    """A batch of Ising models in groups that share their couplings.

    log-weight(s) = Σ_j h_j s_j + Σ_{j<k} J_jk s_j s_k,  s_j ∈ {−1, +1}

    A group is whatever has one set of couplings and many sets of fields: an attention head and all its queries or,
    where couplings depend on the content, one head of one sequence.

    Args:
        fields: (groups, models, spins), dimensionless (in units of the temperature).
        couplings: (groups, spins, spins), strictly upper triangular, dimensionless.

    Raises:
        NotFiniteError: a ValueError too; values that are not finite.
        ValueError: shapes that do not fit together, couplings on or below the diagonal,
            or fields and couplings of different dtype or device.
    """

    fields: Tensor
    couplings: Tensor

    def __post_init__(self) -> None:
        fields, couplings = self.fields, self.couplings
        for name, value in (("fields", fields), ("couplings", couplings)):
            if not isinstance(value, Tensor):
                raise ValueError(f"{name} is a {type(value).__name__}; pass a torch tensor")
            if value.dtype not in (torch.float32, torch.float64):
                raise ValueError(f"{name} has dtype {value.dtype}; convert it to torch.float32 or torch.float64")
        if fields.ndim != 3 or fields.shape[-1] == 0:
            raise ValueError(
                f"fields has shape {tuple(fields.shape)}; it must be (groups, models, spins) with at least one spin"
            )
        groups, _, spins = fields.shape
        if couplings.shape != (groups, spins, spins):
            raise ValueError(
                f"couplings has shape {tuple(couplings.shape)}; for these fields it must be "
                f"(groups, spins, spins) = {(groups, spins, spins)}"
            )
        if fields.dtype != couplings.dtype or fields.device != couplings.device:
            raise ValueError(
                f"couplings is {couplings.dtype} on {couplings.device} but fields is {fields.dtype} on "
                f"{fields.device}; give both the same dtype and device"
            )
        for name, value in (("fields", fields), ("couplings", couplings)):
            if not bool(torch.isfinite(value.sum())) and not bool((finite := torch.isfinite(value)).all()):
                bad = value[~finite][0].item()
                raise NotFiniteError(f"{name} contains {bad}; every value must be finite (leave hidden spins out)")
        lower = couplings.tril()
        if bool(lower.any()):
            group, row, column = (int(i) for i in lower.nonzero()[0])
            raise ValueError(
                f"couplings[{group}, {row}, {column}] is {lower[group, row, column].item():g}; couplings are strictly "
                "upper triangular: put J_jk at row j < column k and leave the rest zero (torch.triu(J, 1))"
            )

    @property
    def groups(self) -> int:
        """Number of sets of couplings."""
        return self.fields.shape[0]

    @property
    def models(self) -> int:
        """Number of sets of fields in each group."""
        return self.fields.shape[1]

    @property
    def spins(self) -> int:
        """Number of spins of every model."""
        return self.fields.shape[2]

    def detach(self) -> IsingModel:
        """The same model outside the autograd graph."""
        return IsingModel(self.fields.detach(), self.couplings.detach())

    def scaled(self, field_factor: float, coupling_factor: float) -> IsingModel:
        """The model with every field times one number and every coupling times another.

        Args:
            field_factor: multiplies h.
            coupling_factor: multiplies J.
        """
        return IsingModel(self.fields * field_factor, self.couplings * coupling_factor)

    def log_weight(self, spins: Tensor) -> Tensor:
        """Unnormalised log-probability of spin configurations.

        log-weight(s) = Σ_j h_j s_j + Σ_{j<k} J_jk s_j s_k

        Args:
            spins: (groups, models, configurations, spins), values −1 and +1; groups and models may be 1.

        Returns:
            (groups, models, configurations), in the dtype of the model.
        """
        s = spins.to(self.fields.dtype)
        linear = torch.einsum("gmi,gmri->gmr", self.fields, s.expand(*self.fields.shape[:2], -1, -1))
        quadratic = ((s @ self.couplings.unsqueeze(1)) * s).sum(-1)
        return linear + quadratic

    def energy(self, spins: Tensor) -> Tensor:
        """Energy of spin configurations, −log-weight, in units of the temperature.

        Args:
            spins: as for `log_weight`.
        """
        return -self.log_weight(spins)


def all_configurations(spins: int, device: torch.device | str | None = None) -> Tensor:
    """Every configuration of some spins, in the order that all probability vectors here use.

    Row x holds s_i = +1 where bit i of x is 0 and −1 where it is 1 (bit i belongs to spin i, qubit i).

    Args:
        spins: number of spins, 1 to 24.
        device: where to put the result.

    Returns:
        (2**spins, spins) int8.

    Raises:
        ValueError: more than 24 spins.
    """
    if not 1 <= spins <= LARGEST_ENUMERATION:
        raise ValueError(f"spins is {spins}; enumeration takes 1 to {LARGEST_ENUMERATION} spins")
    index = torch.arange(2**spins, device=device)
    bits = (index.unsqueeze(-1) >> torch.arange(spins, device=device)) & 1
    return (1 - 2 * bits).to(torch.int8)


def symmetric(couplings: Tensor) -> Tensor:
    """Full symmetric matrix J + Jᵀ of strictly upper couplings.

    Args:
        couplings: (…, spins, spins), strictly upper triangular.
    """
    return couplings + couplings.transpose(-1, -2)
