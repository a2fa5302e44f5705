"""DimodSampler: what children are given, how their answers are read, and what is refused."""

from __future__ import annotations

from typing import Any

import dimod
import dwave.samplers as dwave
import numpy as np
import pytest
import torch
from dimod_children import HistogramSampler, ScriptedSampler, model_of

from classical import ExactSampler
from quantum import DimodSampler
from quantum.dimod_sampler import boltzmann_annealing
from tests.classical.enumeration import law
from tests.contract.case import batch

STRUCTURED = dimod.StructureComposite(dimod.ExactSolver(), ["a", "b"], [("a", "b")])


def sample_set(rows: list[list[int]], occurrences: list[int], vartype: str = "SPIN", labels: Any = None) -> Any:
    rows = np.array(rows)
    return dimod.SampleSet.from_samples(
        (rows, labels or list(range(rows.shape[1]))),
        vartype,
        energy=np.zeros(len(rows)),
        num_occurrences=occurrences,
        sort_labels=False,
    )


# what a child is given


@pytest.mark.parametrize("beta", [1.0, 2.5])
def test_problems_have_minus_the_log_weight_over_beta_as_their_energy(beta: float) -> None:
    child, model = HistogramSampler(), batch(spins=4, groups=2, models=3)
    DimodSampler(child, beta=beta).sample(model, shots=2)
    assert len(child.problems) == 6
    for number, problem in enumerate(child.problems):
        one = law(model.fields.flatten(0, 1)[number], model.couplings[number // 3])
        logarithm = np.log(one.probabilities) + one.log_partition
        energy = problem.energies((one.configurations.astype(np.int8), range(4)))
        np.testing.assert_allclose(energy, -logarithm.astype(np.float64) / beta, rtol=0, atol=1e-12)


def test_couplings_of_zero_are_left_out_and_every_spin_is_there() -> None:
    child = HistogramSampler()
    DimodSampler(child).sample(model_of([0.0, 0.0, 0.3], {(0, 2): 0.7}), shots=2)
    assert list(child.problems[0].variables) == [0, 1, 2]
    assert child.problems[0].quadratic == {(0, 2): -0.7}
    assert child.problems[0].linear == {0: 0.0, 1: 0.0, 2: -0.3}
    assert child.problems[0].vartype is dimod.SPIN


def test_reads_seed_and_parameters_reach_the_child() -> None:
    child = HistogramSampler()
    samples = DimodSampler(child, parameters={"sweeps": 7}).sample(batch(groups=3, models=50), shots=9, seed=1)
    assert all(call.keys() == {"num_reads", "seed", "sweeps"} for call in child.calls)
    assert {(call["num_reads"], call["sweeps"]) for call in child.calls} == {(9, 7)}
    seeds = [call["seed"] for call in child.calls]
    assert len(set(seeds)) == 150
    assert all(type(seed) is int and 1 <= seed < 2**31 for seed in seeds)
    assert max(seeds) > 2**30  # with 150 of them, but for one case in 2¹⁵⁰
    assert samples.diagnostics["reproducible"]
    assert samples.diagnostics["child"] == "HistogramSampler"
    assert samples.diagnostics["beta"] == 1.0
    assert len(samples.diagnostics["info"]) == 150


def test_a_seed_that_is_named_but_not_declared_is_given() -> None:
    assert "seed" not in dimod.RandomSampler().parameters
    sampler, model = DimodSampler(dimod.RandomSampler()), batch(spins=20)
    assert sampler.reproducible
    assert torch.equal(sampler.sample(model, shots=5, seed=3).spins, sampler.sample(model, shots=5, seed=3).spins)


def test_a_child_without_a_seed_is_said_not_to_be_reproducible() -> None:
    child = ScriptedSampler(sample_set([[1, -1]], [5]))
    samples = DimodSampler(child).sample(model_of([0.0, 0.0], {}), shots=5)
    assert child.calls == [{"num_reads": 5}]
    assert samples.diagnostics["reproducible"] is False


def test_problems_wait_together() -> None:
    class Remote(ScriptedSampler):
        """Answers only once it is asked for what it answered."""

        def sample(self, bqm: Any, **keywords: Any) -> Any:
            super().sample(bqm, **keywords)
            read_at.append(0)
            number = len(read_at) - 1

            def resolve(_: Any) -> Any:
                read_at[number] = len(self.calls)
                return self.answer

            return dimod.SampleSet.from_future(None, resolve)

    read_at: list[int] = []
    DimodSampler(Remote(sample_set([[1]], [5]))).sample(batch(spins=1, groups=1, models=250), shots=5)
    assert read_at == [100] * 100 + [200] * 100 + [250] * 50


# how answers are read


def test_an_aggregated_shuffled_binary_answer_is_read_right() -> None:
    # columns are spins 2, 0, 1
    answer = sample_set([[0, 1, 1], [1, 0, 1], [0, 0, 0]], [5, 2, 1], "BINARY", labels=[2, 0, 1])
    samples = DimodSampler(ScriptedSampler(answer)).sample(batch(spins=3, groups=1, models=1), shots=8)
    assert samples.spins[0, 0].tolist() == [[1, 1, -1], [-1, 1, 1], [-1, -1, -1]]
    assert samples.weights[0, 0].tolist() == [5 / 8, 2 / 8, 1 / 8]
    assert samples.shots == 8
    assert samples.mean()[0, 0].tolist() == [2 / 8, 6 / 8, -4 / 8]


def test_unequal_histograms_are_padded_with_weight_zero() -> None:
    class Unequal(ScriptedSampler):
        def sample(self, bqm: Any, **keywords: Any) -> Any:
            rows = [[1, 1], [1, -1], [-1, 1]][: len(self.calls) + 1]
            super().sample(bqm, **keywords)
            return sample_set(rows, [4 - len(rows) + 1] + [1] * (len(rows) - 1))

    samples = DimodSampler(Unequal(None)).sample(batch(spins=2, groups=1, models=3), shots=4)
    assert samples.spins.shape == (1, 3, 3, 2)
    assert samples.weights[0].tolist() == [[1, 0, 0], [0.75, 0.25, 0], [0.5, 0.25, 0.25]]
    assert bool((samples.spins.abs() == 1).all())


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float32])
def test_values_may_have_any_type(dtype: Any) -> None:
    answer = dimod.SampleSet.from_samples(
        np.array([[1, -1], [-1, -1]], dtype=dtype), "SPIN", energy=[0, 0], samples_dtype=dtype
    )
    assert answer.record.sample.dtype == dtype
    samples = DimodSampler(ScriptedSampler(answer)).sample(batch(spins=2, groups=1, models=1), shots=2)
    assert samples.spins[0, 0].tolist() == [[1, -1], [-1, -1]]


def test_a_child_that_takes_no_reads_is_taken_at_its_word() -> None:
    # dimod's ExactSolver: every configuration once
    samples = DimodSampler(dimod.ExactSolver()).sample(batch(spins=3, groups=2, models=2), shots=50)
    assert samples.shots is None
    assert torch.equal(samples.frequencies(), torch.full((2, 2, 8), 1 / 8, dtype=torch.float64))
    assert samples.diagnostics["reproducible"] is False


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_empty_batches(shape: tuple[int, int]) -> None:
    samples = DimodSampler(HistogramSampler()).sample(batch(groups=shape[0], models=shape[1]), shots=3)
    assert samples.spins.shape == (*shape, 0, 4)


# refusals


def test_an_edge_that_is_missing_is_named_before_any_work() -> None:
    models = batch(spins=3, groups=2, models=1)
    models.couplings[0] = 0
    child = ScriptedSampler(None)
    child.nodelist, child.edgelist = ["a", "b", "c"], [("a", "b"), ("c", "b")]
    with pytest.raises(ValueError, match=r"spins 0 and 2.*ScriptedSampler.*'a' and 'c'.*EmbeddingComposite"):
        DimodSampler(child, variables=["a", "b", "c"]).sample(models)
    with pytest.raises(ValueError, match=r"spin 0 is variable 0.*no node.*variables="):
        DimodSampler(child).sample(models)
    with pytest.raises(ValueError, match=r"spins is 4.*at most 3"):
        DimodSampler(child).sample(batch(spins=4))
    assert child.calls == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (sample_set([[1, -1]], [8], labels=[0, 1]), "without variable 2"),
        (sample_set([[1, -1, 1, 1]], [8]), "with variable 3"),
        (sample_set([[1, -1, 1, 1]], [8], labels=[1, 0, 3, 2]), "with variable 3"),
        (sample_set([[1, -1, 1]], [8], labels=["a", 1, 2]), "without variable 0"),
        (sample_set([[1, -1, 1]], [7]), "7 reads where num_reads was 8"),
        (sample_set([[1, -1, 1]] * 9, [1] * 9), "9 reads where num_reads was 8"),
        (sample_set([[1, -1, 1]] * 2, [9, -1]), "num_occurrences -1"),
        (sample_set([[1, 3, 1]], [8]), "with 3, which no SPIN variable"),
        (sample_set([[1, 0, 1]], [8]), "with 0, which no SPIN variable"),
        (sample_set([[1, 2, 1]], [8], "BINARY"), "with 2, which no BINARY variable"),
        (sample_set([[1, -1, 1]], [8], "BINARY"), "with -1, which no BINARY variable"),
        (sample_set([[1, -1, 1]], [8], "INTEGER"), "INTEGER"),
        (ValueError("lost"), r"answered ValueError\('lost'\).*SampleSet"),
        (None, "answered None"),
    ],
)
def test_answers_that_do_not_fit_are_refused(answer: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"ScriptedSampler.*{message}"):
        DimodSampler(ScriptedSampler(answer)).sample(batch(spins=3), shots=8)


def test_an_answer_without_a_read_is_refused() -> None:
    child = ScriptedSampler(sample_set([[1, 1, 1]], [0]), takes=())
    with pytest.raises(ValueError, match="no read at all"):
        DimodSampler(child).sample(batch(spins=3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"child": dwave.SimulatedAnnealingSampler}, "child is the class SimulatedAnnealingSampler.*instance"),
        ({"child": ExactSampler()}, "child is ExactSampler.*dimod sampler"),
        ({"child": None}, "child is None"),
        ({"beta": 0.0}, "beta is 0.0"),
        ({"beta": float("inf")}, "beta is inf"),
        ({"parameters": {"sweeeps": 3}}, "'sweeeps'.*HistogramSampler does not take.*sweeps"),
        ({"parameters": {"num_reads": 3}}, "'num_reads'.*every call"),
        ({"parameters": {"seed": 3}}, "'seed'.*every call"),
        ({"parameters": ["sweeps"]}, r"parameters is \['sweeps'\].*dict"),
        ({"child": dimod.ExactSolver(), "parameters": {"sweeps": 1}}, "ExactSolver does not take; it takes none"),
        ({"variables": []}, r"variables is \[\]"),
        ({"variables": "abc"}, "variables is 'abc'"),
        ({"variables": {"a", "b"}}, "variables is {"),
        ({"variables": ["a", "b", "a"]}, "'a' twice"),
        ({"variables": ["a", ["b"]]}, r"\['b'\].*not hashable"),
        ({"child": STRUCTURED, "variables": ["a", "e"]}, "'e', which is no node of StructureComposite"),
        ({"max_spins": 0}, "max_spins is 0"),
        ({"max_spins": True}, "max_spins is True"),
        ({"max_spins": 2.0}, "max_spins is 2.0"),
        ({"variables": ["a", "b"], "max_spins": 3}, "max_spins is 3.*at most 2"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DimodSampler(**{"child": HistogramSampler(), **arguments})


def test_most_spins() -> None:
    assert DimodSampler(HistogramSampler()).max_spins is None
    assert DimodSampler(HistogramSampler(), max_spins=3).max_spins == 3
    assert DimodSampler(HistogramSampler(), variables=["a", "b"]).max_spins == 2
    with pytest.raises(ValueError, match=r"spins is 4, but.*HistogramSampler.* at most 3 spins"):
        DimodSampler(HistogramSampler(), max_spins=3).sample(batch(spins=4))


@pytest.mark.parametrize("sweeps", [0, -1, 2.5, True])
def test_annealing_takes_a_number_of_sweeps(sweeps: Any) -> None:
    with pytest.raises(ValueError, match="sweeps is"):
        boltzmann_annealing(sweeps)
