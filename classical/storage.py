"""How much a Hopfield network of many spins retains: the replica-symmetric theory of random patterns.

At load α = p/n, temperature T = 1/β and a field f along a cue with overlap c̄ (spins c = ±1 relative to the pattern, of
mean c̄), the overlap m with the cued pattern, the spins' order q and the noise r of all other patterns solve

    m = ⟨⟨tanh β(m + f c + √(α r) z)⟩⟩,   q = ⟨⟨tanh² β(m + f c + √(α r) z)⟩⟩,   r = q / (1 − β(1 − q))²

averaged over c and a normal z. At T = 0 the averages are error functions.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import erf

_Z = np.linspace(-9.0, 9.0, 3001)
_NORMAL = np.exp(-(_Z**2) / 2)
_NORMAL /= _NORMAL.sum()


def storage_limit() -> float:
    """Largest load p/n at which patterns are retrieved at temperature zero, 0.1379.

    α_c = max_y ½ [erf(y)/y − (2/√π) e^{−y²}]²

    Reference:
        D. J. Amit, H. Gutfreund and H. Sompolinsky, Physical Review Letters 55, 1530 (1985).
    """
    best = minimize_scalar(lambda y: -_root_of_twice_load(y), bounds=(0.5, 4.0), method="bounded")
    return float(best.fun**2 / 2)


def _root_of_twice_load(y: float) -> float:
    return float(erf(y) / y - 2 / math.sqrt(math.pi) * math.exp(-(y**2)))


def retrieval_overlap(load: float, temperature: float = 0.0, *, field: float = 0.0, cue_overlap: float = 1.0) -> float:
    """Overlap with a cued pattern in equilibrium, for many spins and random patterns.

    The solution is the one reached from m = q = 1: that of retrieval where there is one, and otherwise what the field
    keeps up in the spin glass, without a field 0. It says what is stable there, not from how far a cue gets there.

    Args:
        load: α = p/n, above 0.
        temperature: T, in units of the local field of 1 in a retrieved pattern, at least 0.
        field: f, in the same units, at least 0.
        cue_overlap: c̄, from −1 to 1.

    Returns:
        m, from −1 to 1.

    Raises:
        ValueError: a number out of its range.

    Reference:
        D. J. Amit, H. Gutfreund and H. Sompolinsky, Annals of Physics 173, 30 (1987). Replica symmetry
        is assumed; breaking it moves the limit at T = 0 by less than 0.01.
    """
    for name, value, good in (
        ("load", load, load > 0),
        ("temperature", temperature, temperature >= 0),
        ("field", field, field >= 0),
        ("cue_overlap", cue_overlap, -1 <= cue_overlap <= 1),
    ):
        if not (good and math.isfinite(value)):
            wanted = {"load": "a number above 0", "cue_overlap": "a number from −1 to 1"}.get(name, "at least 0")
            raise ValueError(f"{name} is {value!r}; give {wanted}")
    up = (1 + cue_overlap) / 2
    m, r, before = 1.0, 1.0, 0.0
    for _ in range(20_000):
        noise = math.sqrt(load * r)
        sides = [(up, m + field), (1 - up, m - field)]
        step = _frozen(sides, noise) if temperature == 0 else _thermal(sides, noise, 1 / temperature)
        before, m, r = m, (m + step[0]) / 2, (r + step[1]) / 2
        if abs(m - before) < 1e-10:
            break
    return m


def _frozen(sides: list[tuple[float, float]], noise: float) -> tuple[float, float]:
    """m and r that follow from a noise at T = 0."""
    m = sum(share * math.erf(pull / (math.sqrt(2) * noise)) for share, pull in sides)
    slope = sum(share * math.exp(-(pull**2) / (2 * noise**2)) for share, pull in sides)
    return m, _amplified(1.0, math.sqrt(2 / math.pi) / noise * slope)


def _thermal(sides: list[tuple[float, float]], noise: float, beta: float) -> tuple[float, float]:
    """m and r that follow from a noise at T > 0."""
    m = q = 0.0
    for share, pull in sides:
        t = np.tanh(beta * (pull + noise * _Z))
        m += share * float(_NORMAL @ t)
        q += share * float(_NORMAL @ t**2)
    return m, _amplified(q, beta * (1 - q))


def _amplified(q: float, susceptibility: float) -> float:
    """r = q/(1−χ)²; on the way to the solution χ may pass 1, where the noise is as large as it gets."""
    return q / max(1 - susceptibility, 0.05) ** 2
