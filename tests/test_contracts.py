"""Every sampler against the contract, and the contract against samplers that break it.

A new sampler joins with one line in `CONTRACTS`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from dwave.samplers import TreeDecompositionSampler
from qiskit_aer import AerSimulator
from scipy import stats

from classical import ExactSampler, GhostSpin, GibbsSampler, MeanFieldSampler, Polished, ProductSampler
from quantum import (
    AerSampler,
    AnnealSchedule,
    DimodSampler,
    IBMSampler,
    StatevectorSampler,
    as_dimod,
    depolarizing_noise,
)
from tests.contract import (
    BIASES,
    INTERFACE,
    STATISTICAL,
    BiasedSampler,
    Case,
    Contract,
    anneal,
    boltzmann,
    first_objection,
    ghosted,
    independent,
    swept,
)
from tests.contract.banded import FullBand
from tests.contract.case import batch
from tests.contract.mean_field import mean_field
from tests.contract.noisy import noisy_anneal
from tests.contract.statistical import CHI_SQUARED_TESTS, LEVEL, MOMENT_TESTS
from tests.dwave.service import loopback_sampler
from tests.quantum.dimod_children import HistogramSampler
from tests.statistics import chi_squared_p

LINEAR = AnnealSchedule.linear(6.0)
ANGLES = AnnealSchedule.from_angles(field=[0.3, 0.6, 0.9], coupling=[0.2, 0.5, 0.8], mixer=[0.9, 0.5, 0.2])

NOISE = (0.03, 0.005, 0.04)
"""Errors after two-qubit gates, after one-qubit gates, and of readings."""

IN_ORDER = ("the_order_of_spins_does_not_matter",)
"""Few heat-bath sweeps leave a law that remembers in which order they visited the spins."""

SIDE_BY_SIDE = ("own_seeds_make_a_model_independent_of_its_batch", "other_groups_do_not_matter")
"""Models that share a submission share its random numbers: a device takes none from us."""

CONTRACTS = [
    Contract("exact", ExactSampler),
    Contract("exact, little memory", lambda: ExactSampler(memory_limit=2**16)),
    Contract("aer", lambda: AerSampler(LINEAR, 6), law=anneal(LINEAR, 6)),
    Contract("aer, angles", lambda: AerSampler(ANGLES, calibration="none"), law=anneal(ANGLES, calibration="none")),
    Contract("aer, one-beta", lambda: AerSampler(LINEAR, 4, "one-beta"), law=anneal(LINEAR, 4, "one-beta")),
    Contract("aer, matrix products", lambda: AerSampler(LINEAR, 4, method="matrix_product_state"), anneal(LINEAR, 4)),
    Contract(
        "aer, noise", lambda: AerSampler(LINEAR, 4, noise=depolarizing_noise(*NOISE)), noisy_anneal(LINEAR, 4, *NOISE)
    ),
    Contract("statevector", lambda: StatevectorSampler(LINEAR, 6), law=anneal(LINEAR, 6)),
    Contract(
        "statevector, angles", lambda: StatevectorSampler(ANGLES, calibration="none"), law=anneal(ANGLES, None, "none")
    ),
    Contract("dimod, there and back", lambda: DimodSampler(as_dimod(ExactSampler()))),
    Contract("dimod, shuffled histograms of bits", lambda: DimodSampler(HistogramSampler())),
    Contract("dimod, tree decomposition", lambda: DimodSampler(TreeDecompositionSampler())),
    Contract("product", ProductSampler, law=independent),
    Contract("gibbs, a chain per shot", lambda: GibbsSampler(burn_in=40, chains=None)),
    Contract("polished product", lambda: Polished(ProductSampler()), law=swept(independent, 1), exempt=IN_ORDER),
    Contract(
        "polished aer", lambda: Polished(AerSampler(LINEAR, 4), 2), law=swept(anneal(LINEAR, 4), 2), exempt=IN_ORDER
    ),
    Contract("ghost spin", lambda: GhostSpin(ExactSampler())),
    Contract(
        "ghost spin, statevector",
        lambda: GhostSpin(StatevectorSampler(LINEAR, 6)),
        law=ghosted(anneal(LINEAR, 6)),
        exempt=("free_spins_are_independent",),  # an anneal makes spins that share a neighbour depend on each other
    ),
    Contract("mean field", MeanFieldSampler, law=mean_field("naive")),
    Contract("mean field, tap", lambda: MeanFieldSampler(method="tap"), law=mean_field("tap")),
    Contract("banded", FullBand),
    Contract("dwave over HTTP, one by one", lambda: loopback_sampler(anneal="fast", field="ghost", copies=1)),
    Contract("dwave over HTTP", lambda: loopback_sampler(anneal="fast", field="ghost"), exempt=SIDE_BY_SIDE),
    Contract("ibm, local", lambda: IBMSampler(AerSimulator(), LINEAR, 4), anneal(LINEAR, 4), exempt=SIDE_BY_SIDE[:1]),
    Contract("test double", lambda: BiasedSampler(distance=0.0)),
]

RUNS = 100
BIAS = 0.05


@pytest.mark.parametrize("own_seeds", [False, True], ids=["one seed", "own seeds"])
@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.name)
@pytest.mark.parametrize("check", [*INTERFACE.values(), *STATISTICAL.values()], ids=[*INTERFACE, *STATISTICAL])
def test_contract(check: Callable[[Case], None], contract: Contract, own_seeds: bool) -> None:
    if check.__name__ in contract.exempt:
        pytest.skip(f"{contract.name} does not promise it")
    check(Case(contract, own_seeds))


@pytest.mark.parametrize("bias", BIASES)
def test_biases_are_as_large_as_they_say_and_no_harder_to_see_than_the_bound(bias: str) -> None:
    law = boltzmann(batch(seed=2))
    wrong = BIASES[bias](law, BIAS)
    assert bool((wrong >= 0).all())
    torch.testing.assert_close(wrong.sum(-1), torch.ones(2, 2, dtype=torch.float64))
    torch.testing.assert_close((wrong - law).abs().sum(-1) / 2, torch.full((2, 2), BIAS, dtype=torch.float64))
    noncentrality = ((wrong - law) ** 2 / law).sum(-1)
    assert bool((noncentrality >= 4 * BIAS**2 * (1 - 1e-9)).all())
    if bias == "tilted":
        assert bool((noncentrality < 4.05 * BIAS**2).all())


@pytest.mark.parametrize("bias", BIASES)
def test_the_suite_rejects_a_sampler_five_percent_off(
    bias: str, record_property: Callable[[str, object], None]
) -> None:
    biased = Contract(bias, lambda: BiasedSampler(bias, BIAS))
    rejections = sum(first_objection(Case(biased, own_seeds=True, run=1 + run)) is not None for run in range(RUNS))
    assert rejections >= 99


def test_the_suite_accepts_an_honest_sampler() -> None:
    honest = Contract("honest", lambda: BiasedSampler(distance=0.0))
    objections = [first_objection(Case(honest, own_seeds=True, run=1 + run)) for run in range(RUNS)]
    alarms = [name for name in objections if name]
    # alarms are at most Poisson with this mean; the bound is passed by chance once in 10,000 choices of seeds
    mean = RUNS * (CHI_SQUARED_TESTS * LEVEL + MOMENT_TESTS * 2 * float(stats.norm.sf(5)))
    assert len(alarms) <= stats.poisson.isf(1e-4, mean), alarms


def test_p_values_of_an_honest_sampler_are_uniform() -> None:
    # or else the level of the suite would not be what it says
    model = batch(seed=2)
    law = boltzmann(model)
    values = [chi_squared_p(BiasedSampler(distance=0.0).sample(model, shots=5_000, seed=s), law) for s in range(200)]
    assert stats.kstest(values, "uniform").pvalue > 1e-3
    assert np.mean(np.array(values) < 0.05) < 0.05 + 5 * (0.05 * 0.95 / 200) ** 0.5


class Rounded(BiasedSampler):
    """Forgets the models' own seeds."""

    def sample(self, model, *, shots=256, seed=0):
        return super().sample(model, shots=shots, seed=0)


class Mixing(BiasedSampler):
    """Gives every group the couplings of the first."""

    def sample(self, model, *, shots=256, seed=0):
        wrong = type(model)(model.fields, model.couplings[:1].expand(model.groups, -1, -1))
        return super().sample(wrong, shots=shots, seed=seed)


class Flipped(BiasedSampler):
    """Has its spins' sign the wrong way round."""

    def sample(self, model, *, shots=256, seed=0):
        return super().sample(model.scaled(-1, 1), shots=shots, seed=seed)


class Reversed(BiasedSampler):
    """Numbers its spins from the other end."""

    def sample(self, model, *, shots=256, seed=0):
        drawn = super().sample(model, shots=shots, seed=seed)
        return type(drawn)(drawn.spins.flip(-1), drawn.weights, drawn.shots)


class Pinned(BiasedSampler):
    """Has a field of its own on the first spin."""

    def sample(self, model, *, shots=256, seed=0):
        fields = model.fields + 0.2 * torch.eye(model.spins)[0]
        return super().sample(type(model)(fields, model.couplings), shots=shots, seed=seed)


class Crowded(BiasedSampler):
    """Lets the size of the batch change the law."""

    def sample(self, model, *, shots=256, seed=0):
        return super().sample(model.scaled(1 + 0.3 * (model.models > 4), 1), shots=shots, seed=seed)


class Lavish(BiasedSampler):
    """Draws where there is nothing to draw, and calls any number of shots right."""

    def sample(self, model, *, shots=256, seed=0):
        return super().sample(model, shots=max(2, int(shots)), seed=seed)


@pytest.mark.parametrize(
    ("sampler", "checks"),
    [
        (Rounded, {"different_seeds_different_samples"}),
        (Mixing, {"groups_do_not_mix", "other_groups_do_not_matter", "joint_configurations_follow_the_law"}),
        (Flipped, {"joint_configurations_follow_the_law", "moments_follow_the_law", "free_spins_are_independent"}),
        (Reversed, {"joint_configurations_follow_the_law", "the_order_of_spins_does_not_matter"}),
        (Pinned, {"without_fields_a_flip_changes_nothing", "the_order_of_spins_does_not_matter"}),
        (Crowded, {"a_law_does_not_depend_on_its_batch"}),
        (Lavish, {"bad_arguments_are_refused"}),
    ],
)
def test_each_defect_is_seen_by_the_checks_that_are_there_for_it(
    sampler: type[BiasedSampler], checks: set[str]
) -> None:
    case = Case(Contract("defect", lambda: sampler(distance=0.0)), own_seeds=True)
    for name in checks:
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            {**INTERFACE, **STATISTICAL}[name](case)
