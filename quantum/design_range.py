"""What a designed schedule was made for, and the check that it is used there."""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from classical.ising import IsingModel

TOLERATED_SHARE = 0.05
"""The largest share of a batch that may lie outside before a warning; of a design's own models up to 0.02 do."""


class DesignRangeWarning(UserWarning):
    """A designed schedule is used on models that it was not designed for."""


@dataclass(frozen=True)
class Recipe:
    """The arguments that a schedule was designed with: everything needed to make it again.

    Args:
        steps: K.
        field_scale: lowest and highest σ_h of the random models, empty where models were given.
        coupling_scale: lowest and highest σ, likewise.
        spins: numbers of spins of the models.
        models: how many models it was optimized on.
        iterations: most BFGS iterations.
        gate_error: probability of an error after each two-qubit gate.
        seed: fixes the models.
    """

    steps: int
    field_scale: tuple[float, ...]
    coupling_scale: tuple[float, ...]
    spins: tuple[int, ...]
    models: int
    iterations: int
    gate_error: float
    seed: int


@dataclass(frozen=True)
class Design:
    """What a designed schedule carries: how well it does, for which models, and how it was made.

    A model is **inside the range** if all three hold:

        √(mean_i h_i²) ≤ largest_field,   √(n mean_{i<j} J_ij²) ≤ largest_coupling,   spins[0] ≤ n ≤ spins[1]

    For h ~ N(0, σ_h²) and J ~ N(0, σ²/n) the two left-hand sides are estimates of σ_h and σ.

    Args:
        kl: mean KL(exact ‖ anneal) over held-out models of the design's own distribution, without gate errors, nats.
        kl_error: its standard error.
        largest_field: quantile of the first left-hand side over the design's distribution (`LIMIT_QUANTILE`).
        largest_coupling: the same quantile of the second.
        spins: fewest and most spins it was tested with.
        recipe: how it was made.

    Raises:
        ValueError: a number that is negative or not finite.
    """

    kl: float
    kl_error: float
    largest_field: float
    largest_coupling: float
    spins: tuple[int, int]
    recipe: Recipe

    def __post_init__(self) -> None:
        for name in ("kl", "kl_error", "largest_field", "largest_coupling"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value!r}; give a finite number of at least 0")

    def inside(self, model: IsingModel) -> Tensor:
        """Which models are inside the range, bool (groups, models).

        Args:
            model: the models as asked for, before any calibration.
        """
        if not self.spins[0] <= model.spins <= self.spins[1]:
            return torch.zeros(model.groups, model.models, dtype=torch.bool, device=model.fields.device)
        fields, couplings = strengths(model)
        return (fields <= self.largest_field) & (couplings <= self.largest_coupling).unsqueeze(-1)

    def __str__(self) -> str:
        return (
            f"RMS field up to {self.largest_field:.2f}, RMS coupling·√spins up to {self.largest_coupling:.2f}, "
            f"{self.spins[0]} to {self.spins[1]} spins"
        )

    def to_json(self) -> dict[str, Any]:
        """A dictionary that JSON can hold; `from_json` reads it back without loss."""
        data = asdict(self)
        data["spins"] = list(self.spins)
        data["recipe"] = {k: list(v) if isinstance(v, tuple) else v for k, v in data["recipe"].items()}
        return data

    @classmethod
    def from_json(cls, data: Any) -> Design:
        """What `to_json` wrote.

        Raises:
            ValueError: a key that is missing or unknown, or values that make no sense.
        """
        _require_keys("design", data, cls)
        _require_keys("recipe", data["recipe"], Recipe)
        try:
            made: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data["recipe"].items()}
            fewest, most = (int(n) for n in data["spins"])
        except (TypeError, ValueError):
            raise ValueError(f"design has spins {data['spins']!r}; give [fewest, most]") from None
        return cls(**{**data, "spins": (fewest, most), "recipe": Recipe(**made)})


def strengths(model: IsingModel) -> tuple[Tensor, Tensor]:
    """How strong fields and couplings are.

    √(mean_i h_i²)   and   √(n mean_{i<j} J_ij²)

    Args:
        model: the models.

    Returns:
        (groups, models) and (groups,); the second is 0 for a single spin, which has no couplings.
    """
    fields = model.fields.square().mean(-1).sqrt()
    pairs = max(1, model.spins * (model.spins - 1) // 2)
    return fields, (model.couplings.square().sum((-1, -2)) * model.spins / pairs).sqrt()


class RangeCheck:
    """Warns once when a designed schedule meets models outside its range.

    Whoever runs a schedule keeps one of these and calls it with every batch; other schedules pass unchecked.

    Args:
        design: of the schedule, or None where it has none.
    """

    def __init__(self, design: Design | None) -> None:
        self.design = design
        self.warned = False

    def __call__(self, model: IsingModel) -> None:
        """Warn if more than `TOLERATED_SHARE` of the batch is outside, unless that has been said before.

        Args:
            model: the models as asked for, before any calibration.
        """
        if self.design is None or self.warned or not model.fields.numel():
            return
        share = 1.0 - float(self.design.inside(model.detach()).double().mean())
        if share <= TOLERATED_SHARE:
            return
        self.warned = True
        fields, couplings = (float(x.detach().max()) for x in strengths(model))
        warnings.warn(
            f"{share:.0%} of {model.groups * model.models} models are outside the range that this schedule was "
            f"designed for ({self.design}; here up to {fields:.2f}, {couplings:.2f} and {model.spins} spins): their "
            "samples may be worse than a linear schedule's; use a wider preset, a design for these models, or a "
            "linear schedule",
            DesignRangeWarning,
            stacklevel=3,
        )


def _require_keys(name: str, data: Any, kind: type) -> None:
    expected = list(kind.__dataclass_fields__)  # type: ignore[attr-defined]
    if not isinstance(data, dict) or set(data) != set(expected):
        found = sorted(data) if isinstance(data, dict) else data
        raise ValueError(f"{name} holds {found}; it has the keys {', '.join(expected)}")
