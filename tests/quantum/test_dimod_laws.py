"""DimodSampler with children whose law is known: searches, annealers, structured solvers, and gradients."""

from __future__ import annotations

from typing import Any

import dimod
import dwave.samplers as dwave
import numpy as np
import pytest
import torch
from dimod_children import HistogramSampler, model_of
from dwave.system import EmbeddingComposite
from dwave.system.testing import MockDWaveSampler

from classical import ExactSampler, IsingModel, Sampler, Samples, all_configurations
from hybrid_attention import boltzmann_mean
from quantum import DimodSampler, as_dimod
from quantum.dimod_sampler import boltzmann_annealing
from tests.classical.enumeration import law, mean_gradient, table
from tests.contract import boltzmann
from tests.contract.case import batch
from tests.statistics import chi_squared_p

EXACT = dwave.TreeDecompositionSampler
LEVEL = 1e-4  # a χ² test objects below it; for a seed of ours it does so or does not, for good


def annealed(h: np.ndarray, J: np.ndarray, betas: list[float], criterion: str) -> np.ndarray:
    """Law after sweeps over the spins in their order, from the uniform law, by the chain's transition matrices."""
    n, states = len(h), np.arange(2 ** len(h))
    s = 1 - 2 * (states[:, None] >> np.arange(n) & 1)
    flipped = [states ^ 1 << j for j in range(n)]
    log_weight = s @ h + ((s @ J) * s).sum(1)
    p = np.full(2**n, 2.0**-n)
    for beta in betas:
        for j in range(n):
            rise = beta * (log_weight - log_weight[flipped[j]])
            accept = 1 / (1 + np.exp(rise)) if criterion == "Gibbs" else np.minimum(1, np.exp(-rise))
            p = p * (1 - accept) + (p * accept)[flipped[j]]
    return p


def test_boltzmann_annealing_comes_to_rest_where_a_range_that_ends_there_does_not() -> None:
    random, kl = np.random.default_rng(0), []
    schedules = [
        (boltzmann_annealing(100)["beta_schedule"], "Gibbs"),
        (np.geomspace(0.1, 1.0, 100).tolist(), "Metropolis"),  # what beta_range and num_sweeps stand for
    ]
    for _ in range(30):
        h, J = random.normal(0, 0.5, 8), np.triu(random.normal(0, 8**-0.5, (8, 8)), 1)
        p = law(torch.from_numpy(h), torch.from_numpy(J)).probabilities.astype(np.float64)
        kl.append([(q * np.log(q / p)).sum() for q in (annealed(h, J, *schedule) for schedule in schedules)])
    rested, ramped = np.mean(kl, axis=0)
    assert 0 < rested < 1e-6
    assert 2e-4 < ramped < 8e-4


def test_simulated_annealing_follows_the_chain_it_is_said_to_run() -> None:
    model = batch(spins=4, coupling=0.8, seed=3)
    parameters = boltzmann_annealing(4)
    samples = DimodSampler(dwave.SimulatedAnnealingSampler(), parameters=parameters).sample(model, shots=20_000, seed=2)
    chains = [
        [annealed(h, J, parameters["beta_schedule"], "Gibbs") for h in group]
        for group, J in zip(model.fields.numpy(), model.couplings.numpy(), strict=True)
    ]
    assert chi_squared_p(samples, torch.from_numpy(np.array(chains))) > LEVEL
    assert chi_squared_p(samples, boltzmann(model)) < LEVEL  # four sweeps are too few


@pytest.mark.parametrize(
    ("child", "options", "follows"),
    [
        (EXACT(), {}, True),
        (EXACT(), {"parameters": {"beta": 0.5}}, False),
        (EXACT(), {"parameters": {"beta": 0.5}, "beta": 0.5}, True),
        (EXACT(), {"beta": 0.5}, False),
        (as_dimod(ExactSampler(), beta=3.0), {"beta": 3.0}, True),
        (dwave.SimulatedAnnealingSampler(), {"parameters": boltzmann_annealing()}, True),
        (dwave.SimulatedAnnealingSampler(), {"parameters": {"num_sweeps": 100}}, False),
    ],
    ids=["tree", "tree, hot", "tree, hot and told so", "tree, told wrongly", "cold", "annealing", "search"],
)
def test_samples_follow_the_model_where_the_child_samples_at_beta(child: Any, options: Any, follows: bool) -> None:
    model = batch(spins=4, seed=2)
    p = chi_squared_p(DimodSampler(child, **options).sample(model, shots=5_000, seed=4), boltzmann(model))
    assert p > LEVEL if follows else p < 1e-9


def test_labels_name_the_spins() -> None:
    # dimod sorts strings, so that the tenth comes second
    labels = [f"q{j}" for j in range(12)]
    child, model = EXACT(), batch(spins=12, groups=1, models=2, coupling=0.2)
    named = DimodSampler(child, variables=labels, parameters={"marginals": False}).sample(model, shots=400, seed=1)
    assert list(child.sample(dimod.BQM(dict.fromkeys(labels, 1.0), {}, "SPIN")).variables) != labels
    mean = table(model, "mean")
    error = ((1 - mean**2) / 400) ** 0.5
    assert float(((named.mean() - mean).abs() / error).max()) < 5


# samples that came as histograms, in a gradient


MODEL = model_of([-1.366, 0.984, -0.312], {(0, 1): 0.3, (0, 2): -0.2, (1, 2): 0.25})
EXACT_MEAN = [-0.81, 0.60, 0.004]  # to two digits


class Expanded:
    """The same reads as a sampler gives, one row for each."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler

    def sample(self, model: IsingModel, *, shots: int, seed: Any) -> Samples:
        samples = self.sampler.sample(model, shots=shots, seed=seed)
        counts = (samples.weights * shots).round().long()
        rows = [torch.repeat_interleave(s, n, 0) for s, n in zip(samples.spins[0], counts[0], strict=True)]
        spins = torch.stack(rows)[None]
        return Samples(spins, torch.full(spins.shape[:3], 1 / shots, dtype=samples.weights.dtype), shots)


SHOTS = 40_000
UPSTREAM = torch.tensor([1.0, -0.5, 0.7], dtype=torch.float64)


def value_and_gradients(sampler: Sampler, estimator: str) -> list[torch.Tensor]:
    """⟨s⟩ and the gradient of UPSTREAM · ⟨s⟩ in fields and couplings."""
    h, J = MODEL.fields.clone().requires_grad_(), MODEL.couplings.clone().requires_grad_()
    mean = boltzmann_mean(h, J, sampler=sampler, shots=SHOTS, seed=5, estimator=estimator)
    return [mean.detach()[0, 0], *(x[0] for x in torch.autograd.grad((mean * UPSTREAM).sum(), (h, J)))]


@pytest.mark.parametrize("estimator", ["covariance", "callen"])
def test_histograms_give_the_mean_and_gradient_of_their_reads(estimator: str) -> None:
    sampler = DimodSampler(HistogramSampler())
    rows = sampler.sample(MODEL, shots=SHOTS, seed=5).spins[0, 0]
    assert rows.double().mean(0).tolist() == [0, 0, 0]  # all eight are seen: without their counts nothing is left
    aggregated, expanded = (value_and_gradients(one, estimator) for one in (sampler, Expanded(sampler)))
    for found, expected in zip(aggregated, expanded, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=SHOTS * 2.0**-52)  # rounding of so many terms


def test_histograms_give_the_exact_mean_and_gradient_but_for_noise() -> None:
    one = law(MODEL.fields[0, 0], MODEL.couplings[0])
    s, p = one.configurations.astype(np.float64), one.probabilities.astype(np.float64)
    exact = [np.asarray(x, dtype=np.float64) for x in (one.mean, *mean_gradient(one, UPSTREAM.numpy()))]
    np.testing.assert_allclose(exact[0], EXACT_MEAN, rtol=0, atol=0.005)
    # variance of a sample covariance of R reads: (⟨(f − f̄)² (x − x̄)²⟩ − Cov²)/R to leading order
    centred = s - p @ s
    f = centred @ UPSTREAM.numpy()
    products = s[:, :, None] * s[:, None, :]
    products = products - np.einsum("x,xjk->jk", p, products)
    variances = [
        p @ centred**2,
        (p * f**2) @ centred**2 - exact[1] ** 2,
        np.triu(np.einsum("x,xjk->jk", p * f**2, products**2) - exact[2] ** 2, 1),
    ]
    found = value_and_gradients(DimodSampler(HistogramSampler()), "covariance")
    for value, expected, variance in zip(found, exact, variances, strict=True):
        assert (np.abs(value.numpy() - expected) <= 5 * np.sqrt(variance / SHOTS)).all()
    assert np.abs(exact[1]).min() > 20 * np.sqrt(variances[1].max() / SHOTS)  # no derivative could pass as zero


# children of Ocean


def ground_states(model: IsingModel) -> tuple[torch.Tensor, float]:
    """The likeliest configuration of every model, (groups, models, 1, spins), and how it is likelier than the next."""
    p = torch.sort(boltzmann(model), -1, descending=True)
    spins = all_configurations(model.spins)[p.indices[..., :1]]
    return spins, float((p.values[..., 0] / p.values[..., 1]).min())


@pytest.mark.parametrize(
    ("child", "parameters"),
    [
        (dwave.SimulatedAnnealingSampler(), {"num_sweeps": 100}),
        (dwave.PathIntegralAnnealingSampler(), {"num_sweeps": 100}),
        (dwave.TabuSampler(), {"timeout": 5}),
        (dwave.SteepestDescentSampler(), {}),
    ],
    ids=["annealing", "path integral", "tabu", "descent"],
)
def test_searches_find_the_likeliest_configuration(child: Any, parameters: Any) -> None:
    model = batch(spins=6, groups=2, models=2, field=1.0, coupling=1.5, seed=43)
    best, ratio = ground_states(model)
    assert ratio > 1.5
    samples = DimodSampler(child, parameters=parameters).sample(model, shots=20, seed=7)
    assert samples.shots == 20
    found = ((samples.spins == best).all(-1) * samples.weights).sum(-1)
    assert float(found.min()) > 0.25  # 16 times its share of all configurations
    if type(child) is dwave.SteepestDescentSampler:  # no flip of a single spin makes any row likelier
        weight = model.log_weight(samples.spins)
        for spin in range(6):
            flipped = samples.spins.clone()
            flipped[..., spin] *= -1
            assert bool((model.log_weight(flipped) <= weight).all())


def test_random_samples_are_uniform() -> None:
    samples = DimodSampler(dwave.RandomSampler()).sample(batch(seed=8), shots=5_000, seed=1)
    assert chi_squared_p(samples, torch.full((2, 2, 16), 1 / 16)) > LEVEL


# children with a graph of their own


SQUARE = dimod.StructureComposite(EXACT(), ["a", "b", "c", "d"], [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")])


def test_a_structured_child_takes_models_on_its_graph() -> None:
    model = model_of([0.5, -0.4, 0.3, 0.1], {(0, 1): 0.5, (2, 3): -0.6, (0, 3): 0.4})
    sampler = DimodSampler(SQUARE, variables=["d", "c", "b", "a"])
    assert sampler.max_spins == 4
    assert chi_squared_p(sampler.sample(model, shots=5_000, seed=3), boltzmann(model)) > LEVEL


def test_an_embedded_solver_takes_what_its_graph_does_not_have() -> None:
    # the solver has no triangle, so one spin is a chain of two nodes, which break apart with a probability of e⁻²⁰
    solver = MockDWaveSampler(
        topology_type="chimera", topology_shape=[1, 1, 4], substitute_sampler=EXACT(), substitute_kwargs={"seed": 2}
    )
    model = model_of([0.5, -1.0, 0.6], {(0, 1): 0.3, (0, 2): 0.2, (1, 2): 0.4})
    with pytest.raises(ValueError, match="no edge between 0 and 1"):
        DimodSampler(solver).sample(model)
    parameters = {"chain_strength": 10.0, "embedding_parameters": {"random_seed": 1}}
    samples = DimodSampler(EmbeddingComposite(solver), parameters=parameters).sample(model, shots=5_000)
    assert samples.shots == 5_000
    assert samples.spins.shape[2] < 9  # the solver counts equal reads together
    assert "problem_id" in samples.diagnostics["info"][0]
    assert chi_squared_p(samples, boltzmann(model)) > LEVEL
