"""Dense associative memories: energies steeper than quadratic in the overlaps, which hold more patterns.

    E(s) = −Σ_μ F(Σ_i ξ_i^μ s_i)

F(x) = x² is the Hopfield network. A steeper F lets the pattern that is nearest drown the noise of all others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from classical.descent import Descent
from classical.heat_bath import require_sweeps
from classical.hopfield import overlap, require_patterns, require_states

_ROUNDING = 2.0**-40


@dataclass(frozen=True, eq=False)
class DenseMemory:
    """Networks that store patterns in many-spin interactions, polynomial or exponential.

    E(s) = −n Σ_μ m_μ^k,   or   E(s) = −log Σ_μ exp(n m_μ),   m_μ = (1/n) Σ_i ξ_i^μ s_i

    These are Krotov and Hopfield's F(x) = x^k in units of n^{k−1}, and the logarithm of Demircigil's energy with
    F(x) = e^x, which is as low in the same places. At k = 2 the dynamics are those of the `HopfieldNetwork`. For odd k
    and the exponential, turning all spins of a pattern over gives no memory.

    Args:
        patterns: ξ, (networks, patterns, spins), −1 and +1.
        power: k, at least 2; None for the exponential.

    Raises:
        ValueError: patterns of another shape or with other values, or a power below 2.

    Reference:
        D. Krotov and J. J. Hopfield, "Dense associative memory for pattern recognition", NeurIPS 2016,
        arXiv:1606.01164; M. Demircigil et al., Journal of Statistical Physics 168, 288 (2017), arXiv:1702.01929.
    """

    patterns: Tensor
    power: int | None = None

    def __post_init__(self) -> None:
        require_patterns(self.patterns)
        _require_power(self.power)

    @property
    def load(self) -> float:
        """Patterns per spin, p/n."""
        return self.patterns.shape[1] / self.patterns.shape[2]

    def energy(self, spins: Tensor) -> Tensor:
        """E(s), dimensionless.

        Args:
            spins: (networks, …, spins), values −1 and +1.

        Returns:
            (networks, …) float64.

        Raises:
            ValueError: networks or spins that are not as many.
        """
        n = self.patterns.shape[-1]
        m = overlap(spins, self.patterns)
        if self.power is None:
            return -torch.logsumexp(n * m, -1)
        return -n * _power(m, self.power).sum(-1)

    def recall(self, cues: Tensor, *, most: int = 1000) -> Descent:
        """Turn spins, 0 to n−1 and again, to where the energy is lower until none would turn.

        s_i ← sign Σ_μ [F(ξ_i^μ + Σ_{j≠i} ξ_j^μ s_j) − F(−ξ_i^μ + Σ_{j≠i} ξ_j^μ s_j)], as it is where that vanishes

        Args:
            cues: where to start, (networks, cues, spins), −1 and +1.
            most: sweeps after which to stop, at least 1.

        Returns:
            Spins (networks, cues, 1, spins), and whether they are at rest.

        Raises:
            ValueError: cues of the wrong shape or with other values, or most below 1.
        """
        require_states("cues", cues, self.patterns)
        require_sweeps("most", most, least=1)
        columns = self.patterns.double().permute(2, 0, 1).unsqueeze(2)  # (spins, networks, 1, patterns)
        s = cues.double()
        sweeps = torch.zeros(cues.shape[:2], dtype=torch.int64, device=cues.device)
        moving = torch.ones_like(sweeps, dtype=torch.bool)
        for _ in range(most):
            sweeps += moving
            before = s.clone()
            x = s @ self.patterns.double().transpose(-1, -2)
            for i, column in enumerate(columns):
                up, down = self._both(x - s[..., i, None] * column, column)
                gain = s[..., i] * (up - down).sum(-1)
                against = gain < -_ROUNDING * (up.abs() + down.abs()).sum(-1)
                if bool(against.any()):
                    change = torch.where(against, -2 * s[..., i], 0.0)
                    s[..., i] += change
                    x += change.unsqueeze(-1) * column
            moving = moving & (s != before).any(-1)
            if not bool(moving.any()):
                break
        return Descent(s.to(torch.int8).unsqueeze(2), sweeps.unsqueeze(2), ~moving.unsqueeze(2))

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

    def _both(self, rest: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
        """F with the spin at +1 and at −1 given Σ_{j≠i} ξ_j s_j, each divided by one common number."""
        if self.power is None:
            largest = rest.amax(-1, keepdim=True)
            return torch.exp(rest - largest + column), torch.exp(rest - largest - column)
        n = self.patterns.shape[-1]
        return _power((rest + column) / n, self.power), _power((rest - column) / n, self.power)


def errorless_capacity(spins: int, power: int | None = None) -> float:
    """How many random patterns can be stored so that all of them are fixed points, for many spins.

    n^{k−1} / (2 (2k−3)!! ln n),   or   2^{n/2} for the exponential

    Args:
        spins: n, at least 2.
        power: k, at least 2; None for the exponential.

    Raises:
        ValueError: a number below 2.

    Reference:
        Krotov and Hopfield (2016); Demircigil et al. (2017), as a bound from below.
    """
    if isinstance(spins, bool) or not isinstance(spins, int) or spins < 2:
        raise ValueError(f"spins is {spins!r}; give an integer of at least 2")
    _require_power(power)
    if power is None:
        return float(2.0 ** (spins / 2))
    return float(spins ** (power - 1) / (2 * math.prod(range(2 * power - 3, 1, -2)) * math.log(spins)))


def _require_power(power: int | None) -> None:
    if power is not None and (isinstance(power, bool) or not isinstance(power, int) or power < 2):
        raise ValueError(f"power is {power!r}; give an integer of at least 2, or None for the exponential")


def _power(x: Tensor, k: int) -> Tensor:
    """x^k by products: pow of a tensor is many times slower."""
    out = x
    for _ in range(k - 1):
        out = out * x
    return out
