"""Checks of what is sampled, against the declared law and against symmetries that need no law.

**Level.** A χ² check objects below p = α = 10⁻⁵, a moment beyond five standard errors. With m χ² checks and M moments
a run of an honest sampler objects with probability of at most m α + 5.7·10⁻⁷ M, which is below 2·10⁻⁴ here: dozens of
samplers, each seeded in two ways, then pass together in 99 of 100 choices of seeds.

**Power.** Let a sampler's law q be at total variation δ from the declared p, and take R shots. χ² is then noncentral,

    λ = R Σ_s (q − p)²/p ≥ R (Σ_s |q − p|)² = 4 δ² R

by the inequality of Cauchy and Schwarz, with equality where |q − p|/p is the same everywhere: no bias of that size is
harder to see. At δ = 0.05, R = 5000 and four models of four spins λ ≥ 200 and ν ≤ 60 degrees of freedom: noncentral
χ² stays below its critical value of 118.6 with probability 10⁻⁸, and that is the first check alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from classical import IsingModel, Samples
from classical.ising import all_configurations, symmetric
from tests.contract.case import Case, batch, part
from tests.contract.laws import boltzmann
from tests.statistics import LEAST_EXPECTED, chi_squared_p

LEVEL = 1e-5
ERRORS = 5.0


def joint_configurations_follow_the_law(case: Case) -> None:
    """χ² over the joint configurations of a batch, and of single spins and pairs."""
    for number, model in enumerate((batch(spins=4, seed=2), batch(spins=2, groups=1, models=3, seed=3))):
        _follows(case.sample(model, number), case.law(model))


def moments_follow_the_law(case: Case) -> None:
    """⟨s⟩ and ⟨s sᵀ⟩ within five standard errors, at more spins than a joint χ² could hold."""
    model = batch(spins=7, seed=4)
    law, s = case.law(model), all_configurations(7).double()
    _close(case, model, law @ s, torch.einsum("gmx,xi,xj->gmij", law, s, s))


def free_spins_are_independent(case: Case) -> None:
    """At J = 0 each spin follows its own field: P(s_j = +1) = σ(2h_j) if the law is Boltzmann's."""
    model = batch(spins=5, coupling=0.0, seed=5)
    if case.contract.law is boltzmann:
        mean = 2 * torch.sigmoid(2 * model.fields) - 1
    else:
        one = IsingModel(model.fields.reshape(1, -1, 1), model.couplings.new_zeros(1, 1, 1))
        mean = (1 - 2 * case.law(one)[..., 1]).reshape(model.fields.shape)
    pairs = mean.unsqueeze(-1) * mean.unsqueeze(-2)
    _close(case, model, mean, pairs.masked_fill(torch.eye(5, dtype=torch.bool), 1.0))


def without_fields_a_flip_changes_nothing(case: Case) -> None:
    """At h = 0 a configuration and its opposite are equally likely: Σ (n_s − n_−s)²/(n_s + n_−s) is χ²."""
    model = batch(field=0.0, seed=6)
    counts = _counts(case.sample(model))
    half = counts.shape[-1] // 2  # the opposite of configuration x is the x-th from the end
    _indistinguishable(counts[..., :half], counts[..., ::-1][..., :half], lost=0)


def the_order_of_spins_does_not_matter(case: Case) -> None:
    """A model with its spins renumbered gives the same configurations, renumbered."""
    model, order = batch(seed=7), torch.tensor([2, 3, 1, 0])
    couplings = symmetric(model.couplings)[:, order][..., order].triu(1)
    renumbered = case.sample(IsingModel(model.fields[..., order], couplings), 1)
    spins = torch.empty_like(renumbered.spins)
    spins[..., order] = renumbered.spins
    restored = Samples(spins, renumbered.weights, renumbered.shots)
    _indistinguishable(_counts(case.sample(model)), _counts(restored), lost=1)


def a_law_does_not_depend_on_its_batch(case: Case) -> None:
    """A model alone and the same model among many strangers give the same configurations."""
    model = batch(spins=3, groups=2, models=9, field=1.0, coupling=0.8, seed=8)
    counts, places = _counts(case.sample(model)), ((0, 2), (0, 6), (1, 1), (1, 5), (1, 8))
    among = np.stack([counts[place] for place in places])
    alone = np.stack([_counts(case.sample(part(model, *place), 1 + i))[0, 0] for i, place in enumerate(places)])
    _indistinguishable(among, alone, lost=1)
    _follows(case.sample(part(model, 0, 0), 9), case.law(part(model, 0, 0)))


def groups_do_not_mix(case: Case) -> None:
    """Groups with the same fields and opposite couplings each follow their own."""
    one = batch(spins=3, groups=1, models=2, coupling=0.8, seed=9)
    model = IsingModel(one.fields.expand(2, -1, -1), torch.cat([one.couplings, -one.couplings]))
    _follows(case.sample(model), case.law(model))


STATISTICAL: dict[str, Callable[[Case], None]] = {
    check.__name__: check
    for check in (
        joint_configurations_follow_the_law,
        moments_follow_the_law,
        free_spins_are_independent,
        without_fields_a_flip_changes_nothing,
        the_order_of_spins_does_not_matter,
        a_law_does_not_depend_on_its_batch,
        groups_do_not_mix,
    )
}
"""Every check by name; each takes a case and raises an AssertionError."""

CHI_SQUARED_TESTS = 7
MOMENT_TESTS = 4 * (7 + 21) + 4 * (5 + 10)


def first_objection(case: Case) -> str | None:
    """Name of the first statistical check that objects, or None."""
    for name, check in STATISTICAL.items():
        try:
            check(case)
        except AssertionError:
            return name
    return None


def _follows(samples: Samples, law: Tensor) -> None:
    p = chi_squared_p(samples, law)
    assert p > LEVEL, f"χ² against the declared law has p = {p:.2g}"


def _close(case: Case, model: IsingModel, mean: Tensor, second: Tensor) -> None:
    """Sampled moments within some standard errors of the expected ones."""
    samples = case.sample(model)
    for name, found, expected in (("⟨s⟩", samples.mean(), mean), ("⟨s sᵀ⟩", samples.second_moment(), second)):
        error = ((1 - expected**2).clamp(min=0) / case.shots).sqrt() + 1e-12
        worst = float(((found - expected).abs() / error).amax())
        assert worst < ERRORS, f"{name} is {worst:.1f} standard errors from the declared law"


def _counts(samples: Samples) -> np.ndarray:
    """How often every configuration came, (groups, models, 2**spins)."""
    assert samples.shots is not None, "a χ² test takes counted samples"
    return np.rint(samples.frequencies().double().numpy() * samples.shots)


def _indistinguishable(first: np.ndarray, second: np.ndarray, lost: int) -> None:
    """χ² = Σ (a − b)²/(a + b) of two equally large sets of shots, rare outcomes of a model counted together.

    Args:
        first: counts, (…, outcomes).
        second: likewise.
        lost: degrees of freedom that a model loses because both sets have as many shots (1), or none.
    """
    statistic, degrees = 0.0, 0
    for a, b in zip(first.reshape(-1, first.shape[-1]), second.reshape(-1, second.shape[-1]), strict=True):
        rare = a + b < 2 * LEAST_EXPECTED
        a, b = (np.append(x[~rare], x[rare].sum()) for x in (a, b))
        seen = a + b > 0
        statistic += float(((a - b)[seen] ** 2 / (a + b)[seen]).sum())
        degrees += int(seen.sum()) - lost
    p = float(stats.chi2.sf(statistic, degrees))
    assert p > LEVEL, f"χ² between two sets of shots that should be alike has p = {p:.2g}"
