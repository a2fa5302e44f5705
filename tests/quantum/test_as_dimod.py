"""as_dimod: dimod's own tests of samplers, answers in every kind of variable, reads from weights, and refusals."""

from __future__ import annotations

import json
import unittest
from fractions import Fraction
from typing import Any

import dimod
import dimod.testing
import numpy as np
import pytest
import torch
from scipy import stats

from classical import ExactSampler, IsingModel, Samples
from classical.ising import all_configurations
from quantum import AnnealSchedule, DimodSampler, StatevectorSampler, as_dimod


def exact() -> Any:
    return as_dimod(ExactSampler())


def statevector() -> Any:
    return as_dimod(StatevectorSampler(AnnealSchedule.linear(6.0), 6, backend="torch"))


def there_and_back() -> Any:
    return as_dimod(DimodSampler(exact()))


@dimod.testing.load_sampler_bqm_tests(exact)
@dimod.testing.load_sampler_bqm_tests(statevector)
@dimod.testing.load_sampler_bqm_tests(there_and_back)
class TestDimodsOwn(unittest.TestCase):
    """What dimod asks of every sampler."""


def test_dimods_own_tests_are_there() -> None:
    names = [name for name in dir(TestDimodsOwn) if name.startswith("test_")]
    assert len(names) == 3 * 4 * 8  # samplers, sizes, and kinds of models


@pytest.mark.parametrize("make", [exact, statevector, there_and_back])
def test_the_interface_is_dimods(make: Any) -> None:
    dimod.testing.assert_sampler_api(make())
    assert set(make().parameters) == {"num_reads", "seed", "beta"}
    for names in make().parameters.values():
        assert set(names) <= set(make().properties)


LABELS = ["spin", 3, ("x", 1), frozenset({2})]
MODEL = dimod.BinaryQuadraticModel(
    dict(zip(LABELS, [0.5, -0.3, 0.2, 0.0], strict=True)),
    {(LABELS[0], LABELS[1]): 0.6, (LABELS[3], LABELS[1]): -0.8, (LABELS[2], LABELS[3]): 0.4},
    2.5,
    "SPIN",
)


def boltzmann_of(bqm: dimod.BinaryQuadraticModel, beta: float) -> dict[tuple[int, ...], float]:
    """P ∝ exp(−β E) with dimod's own energies, by configuration in the order of the bqm's variables."""
    low = min(bqm.vartype.value)
    states = [tuple(low if bit else 1 for bit in index) for index in np.ndindex(*(2,) * bqm.num_variables)]
    energy = bqm.energies((np.array(states, dtype=np.int8), list(bqm.variables)))
    weight = np.exp(-beta * (energy - energy.min()))
    return dict(zip(states, weight / weight.sum(), strict=True))


@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
@pytest.mark.parametrize("kind", [dimod.Float64BQM, dimod.Float32BQM, dimod.DictBQM])
@pytest.mark.parametrize("beta", [None, 0.4, 3.0])
def test_reads_follow_the_energies(vartype: str, kind: Any, beta: float | None) -> None:
    bqm = kind(MODEL.change_vartype(vartype, inplace=False))
    answer = as_dimod(ExactSampler(), beta=1.7).sample(bqm, num_reads=20_000, seed=1, beta=beta)
    assert answer.vartype is bqm.vartype
    assert set(answer.variables) == set(LABELS)
    dimod.testing.assert_sampleset_energies(answer, bqm, precision=5)
    assert answer.info["beta"] == (beta or 1.7)
    counts = {
        tuple(int(sample[label]) for label in bqm.variables): int(n)
        for sample, n in answer.data(["sample", "num_occurrences"])
    }
    assert len(counts) == len(answer)  # each configuration once
    assert sum(counts.values()) == 20_000
    law = boltzmann_of(bqm, beta or 1.7)
    common = [state for state, p in law.items() if p * 20_000 >= 5]
    observed, expected = [counts.get(s, 0) for s in common], [law[s] * 20_000 for s in common]
    observed, expected = [*observed, 20_000 - sum(observed)], [*expected, 20_000 - sum(expected)]
    observed, expected = zip(*[(o, e) for o, e in zip(observed, expected, strict=True) if e > 1e-6], strict=True)
    assert stats.chisquare(observed, expected).pvalue > 1e-4


def test_a_cold_sampler_finds_the_ground_state() -> None:
    lowest = dimod.ExactSolver().sample(MODEL).first
    answer = exact().sample(MODEL, num_reads=50, seed=2, beta=40.0)
    assert answer.first.sample == lowest.sample
    assert answer.first.energy == lowest.energy
    assert len(answer) == 1
    assert answer.first.num_occurrences == 50


def test_models_without_interactions_variables_or_plain_numbers() -> None:
    free = exact().sample(dimod.BinaryQuadraticModel({"a": 1.0, "b": 0.0}, {}, "BINARY"), num_reads=30, seed=1)
    assert set(free.variables) == {"a", "b"}
    for vartype in ("SPIN", "BINARY"):
        empty = exact().sample(dimod.BinaryQuadraticModel({}, {}, 1.5, vartype), num_reads=30)
        assert empty.record.energy.tolist() == [1.5]
        assert empty.record.num_occurrences.tolist() == [30]
    fractions = dimod.DictBQM({"a": Fraction(1, 3), "b": Fraction(0)}, {("a", "b"): Fraction(-1, 7)}, "SPIN")
    dimod.testing.assert_sampleset_energies(exact().sample(fractions, num_reads=30), fractions)


def test_seeds() -> None:
    bqm = dimod.BinaryQuadraticModel(dict.fromkeys(range(20), 0.0), {}, "SPIN")
    first = exact().sample(bqm, num_reads=5, seed=3)
    assert first == exact().sample(bqm, num_reads=5, seed=np.int64(3))
    assert first != exact().sample(bqm, num_reads=5, seed=4)
    fresh = exact().sample(bqm, num_reads=5)
    assert fresh != exact().sample(bqm, num_reads=5)
    assert fresh == exact().sample(bqm, num_reads=5, seed=fresh.info["seed"])


class Weighted:
    """Rows and weights that are given, some rows twice; remembers what it was asked."""

    def __init__(self, weights: list[float], shots: int | None, diagnostics: dict[str, Any] | None = None) -> None:
        self.weights, self.shots, self.diagnostics = weights, shots, diagnostics or {}
        self.asked: list[tuple[int, Any]] = []

    def sample(self, model: IsingModel, *, shots: int, seed: Any) -> Samples:
        self.asked.append((shots, seed))
        rows = all_configurations(2)[[0, 1, 2, 0, 3]][None, None]
        return Samples(rows, torch.tensor(self.weights)[None, None], self.shots, self.diagnostics)


def by_state(answer: dimod.SampleSet) -> dict[tuple[int, int], int]:
    return {(int(s["a"]), int(s["b"])): int(n) for s, n in answer.data(["sample", "num_occurrences"])}


PAIR = dimod.BinaryQuadraticModel({"a": 0.1, "b": 0.2}, {}, "SPIN")


def test_weights_of_counted_shots_become_occurrences() -> None:
    sampler = Weighted([0.1, 0.2, 0.3, 0.4, 0.0], 10)
    answer = as_dimod(sampler).sample(PAIR, num_reads=10, seed=6)
    assert sampler.asked == [(10, 6)]
    assert by_state(answer) == {(1, 1): 5, (-1, 1): 2, (1, -1): 3}  # equal rows together, none that did not occur
    assert answer.record.num_occurrences.dtype.kind == "i"


def test_reads_are_drawn_from_weights_that_are_probabilities() -> None:
    probabilities = [0.1, 0.2, 0.3, 0.4, 0.0]
    adapted = as_dimod(Weighted(probabilities, None))
    answer = by_state(adapted.sample(PAIR, num_reads=10_000, seed=6))
    assert set(answer) == {(1, 1), (-1, 1), (1, -1)}
    assert sum(answer.values()) == 10_000
    observed = [answer[state] for state in ((1, 1), (-1, 1), (1, -1))]
    assert stats.chisquare(observed, [5_000, 2_000, 3_000]).pvalue > 1e-4
    assert by_state(adapted.sample(PAIR, num_reads=10_000, seed=6)) == answer
    assert by_state(adapted.sample(PAIR, num_reads=10_000, seed=7)) != answer


def test_info_is_what_json_can_hold() -> None:
    diagnostics = {
        "tensor": torch.ones(2),
        "array": np.arange(2),
        3: np.float32(0.5),
        "nested": [{"set": {1}, "bool": np.bool_(True), "int": np.int64(4)}, (None, "text")],
        "object": Fraction(1, 2),
    }
    answer = as_dimod(Weighted([1.0, 0, 0, 0, 0], 1, diagnostics)).sample(PAIR, seed=8, beta=2.0)
    assert json.loads(json.dumps(answer.info)) == {
        "sampler": "Weighted",
        "beta": 2.0,
        "seed": 8,
        "diagnostics": {
            "tensor": [1.0, 1.0],
            "array": [0, 1],
            "3": 0.5,
            "nested": [{"set": [1], "bool": True, "int": 4}, [None, "text"]],
            "object": "Fraction(1, 2)",
        },
    }
    assert json.dumps(there_and_back().sample(MODEL).info)


def test_composites_take_it() -> None:
    tracked = dimod.TrackingComposite(dimod.StructureComposite(exact(), [0, 1], [(0, 1)]))
    answer = tracked.sample_ising({0: 1.0}, {(0, 1): 1.0}, num_reads=4, seed=1, beta=30.0)
    assert answer.first.sample == {0: -1, 1: 1}
    assert answer.first.num_occurrences == 4


def test_unknown_keywords_are_ignored_with_dimods_warning() -> None:
    with pytest.warns(dimod.exceptions.SamplerUnknownArgWarning, match="num_sweeps"):
        exact().sample(PAIR, num_sweeps=10)


@pytest.mark.parametrize(
    ("bqm", "keywords", "message"),
    [
        (PAIR, {"num_reads": 0}, "num_reads is 0"),
        (PAIR, {"num_reads": 2.0}, "num_reads is 2.0"),
        (PAIR, {"num_reads": True}, "num_reads is True"),
        (PAIR, {"seed": 1.5}, "seed is 1.5"),
        (PAIR, {"beta": -1.0}, "beta is -1.0"),
        (PAIR, {"beta": 0}, "beta is 0"),
        (dimod.BinaryQuadraticModel({"a": np.nan}, {}, "SPIN"), {}, "bqm has biases that are not finite"),
        (dimod.BinaryQuadraticModel({"a": 1e300}, {}, "SPIN"), {"beta": 1e300}, "not finite once multiplied by beta"),
        (dimod.BinaryQuadraticModel(27, "SPIN"), {}, "bqm has 27 variables, but ExactSampler holds at most 25"),
        (dimod.ConstrainedQuadraticModel(), {}, "bqm is a ConstrainedQuadraticModel"),
        ({"a": 1.0}, {}, "bqm is a dict"),
    ],
)
def test_bad_calls_are_refused(bqm: Any, keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        exact().sample(bqm, **keywords)


@pytest.mark.parametrize(
    ("sampler", "keywords", "message"),
    [
        (ExactSampler, {}, "sampler is <class"),
        (3, {}, "sampler is 3"),
        (dimod.ExactSolver(), {}, "ExactSolver.*dimod sampler already"),
        (ExactSampler(), {"beta": 0.0}, "beta is 0.0"),
    ],
)
def test_bad_samplers_are_refused(sampler: Any, keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_dimod(sampler, **keywords)


def test_weights_that_are_no_counts_are_refused() -> None:
    for weights, shots in (([0.15, 0.25, 0.2, 0.4, 0.0], 10), ([0.1, 0.2, 0.3, 0.3, 0.0], 10)):
        with pytest.raises(ValueError, match="sampler gave weights that are not counts of 10 shots"):
            as_dimod(Weighted(weights, shots)).sample(PAIR)


def test_its_samplers_properties() -> None:
    assert exact().properties == {"sampler": "ExactSampler", "max_num_variables": 25, "beta": 1.0}
    assert there_and_back().properties["max_num_variables"] is None
