"""Hopfield networks: patterns stored in the couplings of an Ising model, and retrieved by whatever samples it.

With p patterns ξ^μ of n spins ±1 and the overlaps m_μ = Σ_i ξ_i^μ s_i / n,

    E(s) = −Σ_{i<j} J_ij s_i s_j = −(n/2) Σ_μ m_μ² + p/2,   J_ij = (1/n) Σ_μ ξ_i^μ ξ_j^μ

Random patterns are retrieved up to a load p/n of 0.138 (`classical.storage`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from classical.descent import Descent, descend, require_spin_values
from classical.ising import IsingModel
from classical.random import derive_seeds, uniforms
from classical.sampler import Seed


def require_patterns(patterns: Tensor) -> None:
    """Refuse what cannot be stored.

    Raises:
        ValueError: a shape other than (networks, patterns, spins), an empty one, or values other than −1 and +1.
    """
    require_spin_values("patterns", patterns)
    if patterns.ndim != 3 or 0 in patterns.shape:
        raise ValueError(
            f"patterns has shape {tuple(patterns.shape)}; it must be (networks, patterns, spins), each at least 1"
        )


def require_states(name: str, states: Tensor, patterns: Tensor, *, zero: bool = False) -> None:
    """Refuse configurations, several for each network, that do not fit the patterns.

    Raises:
        ValueError: a shape other than (networks, cues, spins), or values other than −1 and +1 (and 0, where allowed).
    """
    require_spin_values(name, states, zero=zero)
    networks, _, spins = patterns.shape
    if states.ndim != 3 or states.shape[0] != networks or states.shape[2] != spins:
        raise ValueError(
            f"{name} has shape {tuple(states.shape)}; for these patterns it must be (networks, cues, spins) = "
            f"({networks}, any, {spins})"
        )


def overlap(spins: Tensor, patterns: Tensor) -> Tensor:
    """How much configurations have in common with every pattern, m_μ = (1/n) Σ_i ξ_i^μ s_i.

    Args:
        spins: (networks, …, spins), values −1 and +1, or means of them.
        patterns: (networks, patterns, spins).

    Returns:
        (networks, …, patterns) float64, from −1 to 1.

    Raises:
        ValueError: networks or spins that are not as many.
    """
    if patterns.ndim != 3 or spins.ndim < 2 or (spins.shape[0], spins.shape[-1]) != (len(patterns), patterns.shape[-1]):
        raise ValueError(
            f"spins has shape {tuple(spins.shape)} and patterns {tuple(patterns.shape)}; they must be "
            "(networks, …, spins) and (networks, patterns, spins)"
        )
    flat = spins.double().flatten(1, -2) if spins.ndim > 3 else spins.double().reshape(len(spins), -1, spins.shape[-1])
    found = flat @ patterns.double().transpose(-1, -2) / patterns.shape[-1]
    return found.reshape(*spins.shape[:-1], patterns.shape[1])


def random_patterns(networks: int, patterns: int, spins: int, seed: Seed = 0) -> Tensor:
    """Patterns whose spins are all independent, +1 or −1 with probability one half.

    Args:
        networks: how many sets of patterns.
        patterns: how many in each.
        spins: of a pattern.
        seed: an integer; a network's first patterns do not depend on how many there are.

    Returns:
        (networks, patterns, spins) int8.

    Raises:
        ValueError: a number below 1.
    """
    for name, value in (("networks", networks), ("patterns", patterns), ("spins", spins)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is {value!r}; give an integer of at least 1")
    seeds = derive_seeds(seed, torch.arange(networks).unsqueeze(-1), torch.arange(patterns))
    return torch.where(uniforms(seeds, spins) < 0.5, 1, -1).to(torch.int8)


def corrupted(patterns: Tensor, flips: int, seed: Seed = 0) -> Tensor:
    """Patterns with the same number of spins turned over in each, chosen at random: an overlap of 1 − 2 flips/n.

    Args:
        patterns: (…, spins), −1 and +1.
        flips: how many spins to turn, from 0 to all.
        seed: an integer.

    Returns:
        A tensor of the same shape and dtype.

    Raises:
        ValueError: values other than −1 and +1, or flips out of range.
    """
    require_spin_values("patterns", patterns)
    spins = patterns.shape[-1]
    if isinstance(flips, bool) or not isinstance(flips, int) or not 0 <= flips <= spins:
        raise ValueError(f"flips is {flips!r}; give an integer from 0 to the {spins} spins of a pattern")
    count = patterns.numel() // spins
    seeds = derive_seeds(seed, torch.arange(count, device=patterns.device))
    rank = uniforms(seeds, spins).argsort(-1).argsort(-1).reshape(patterns.shape)
    return torch.where(rank < flips, -patterns, patterns)


def mixture(patterns: Tensor) -> Tensor:
    """The spurious state in which patterns vote, sign(Σ_μ ξ^μ): of three, an overlap of ½ with each.

    Args:
        patterns: (…, patterns, spins), −1 and +1, an odd number of patterns; flip some for other signs.

    Returns:
        (…, spins) int8.

    Raises:
        ValueError: an even number of patterns, whose votes may tie, or values other than −1 and +1.
    """
    require_spin_values("patterns", patterns)
    if patterns.ndim < 2 or patterns.shape[-2] % 2 == 0:
        raise ValueError(
            f"patterns has shape {tuple(patterns.shape)}; give (…, patterns, spins) with an odd number of patterns"
        )
    return patterns.sum(-2).sign().to(torch.int8)


@dataclass(frozen=True, eq=False)
class HopfieldNetwork:
    """Networks that store patterns in pairwise couplings by Hebb's rule.

    J_ij = (1/n) Σ_μ ξ_i^μ ξ_j^μ,   i < j

    As an `IsingModel` at inverse temperature β it can be retrieved from with any sampler. One network is a group, its
    cues are the models of that group.

    Args:
        patterns: ξ, (networks, patterns, spins), −1 and +1.

    Raises:
        ValueError: another shape or other values.

    Reference:
        J. J. Hopfield, Proceedings of the National Academy of Sciences 79, 2554 (1982).
    """

    patterns: Tensor

    def __post_init__(self) -> None:
        require_patterns(self.patterns)

    @property
    def load(self) -> float:
        """Patterns per spin, p/n."""
        return self.patterns.shape[1] / self.patterns.shape[2]

    def couplings(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """J at β = 1, (networks, spins, spins), strictly upper triangular.

        Args:
            dtype: torch.float32 or torch.float64.
        """
        x = self.patterns.to(dtype)
        return (x.transpose(-1, -2) @ x / x.shape[-1]).triu(1)

    def model(
        self, cues: Tensor, *, beta: float = 1.0, field: float = 0.0, dtype: torch.dtype = torch.float64
    ) -> IsingModel:
        """The Ising model of every cue.

        log-weight(s) = β [Σ_{i<j} J_ij s_i s_j + f Σ_i c_i s_i]

        Args:
            cues: c, (networks, cues, spins), −1 and +1, or 0 where a spin is not known.
            beta: inverse temperature β, above 0. Without a field, patterns are stable below a temperature 1/β of 1.
            field: f, how strongly a cue holds its spins, in units of the local field of 1 that a retrieved pattern
                makes; not negative. At 0 the cue is forgotten: give it to the dynamics as their start (`recall`).
            dtype: torch.float32 or torch.float64.

        Returns:
            Fields (networks, cues, spins) and couplings (networks, spins, spins).

        Raises:
            ValueError: cues of the wrong shape or with other values, beta not above 0, or a negative field.
        """
        require_states("cues", cues, self.patterns, zero=True)
        if not (beta > 0 and math.isfinite(beta)):
            raise ValueError(f"beta is {beta!r}; give an inverse temperature above 0 (`recall` is the limit of β → ∞)")
        if not (field >= 0 and math.isfinite(field)):
            raise ValueError(f"field is {field!r}; give a number of at least 0 (turn the cue over for the opposite)")
        return IsingModel(beta * field * cues.to(dtype), beta * self.couplings(dtype))

    def recall(self, cues: Tensor, *, field: float = 0.0, most: int = 1000) -> Descent:
        """Zero-temperature dynamics from every cue (`classical.descent.descend`).

        Args:
            cues: where to start, (networks, cues, spins), −1 and +1.
            field: f, how strongly the cue holds its spins meanwhile, not negative.
            most: sweeps after which to stop, at least 1.

        Returns:
            Spins (networks, cues, 1, spins), and whether they are at rest.

        Raises:
            ValueError: cues of the wrong shape or with other values, a negative field, or most below 1.
        """
        require_states("cues", cues, self.patterns)
        return descend(self.model(cues, field=field), cues.unsqueeze(2), most=most)

    def overlap(self, spins: Tensor) -> Tensor:
        """Overlap of configurations with every pattern.

        Args:
            spins: (networks, …, spins).

        Returns:
            (networks, …, patterns) float64.

        Raises:
            ValueError: networks or spins that are not as many.
        """
        return overlap(spins, self.patterns)
