"""StatevectorSampler: seeds, and that neither chunks, threads nor the rest of a batch change a model's result."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from classical import IsingModel
from quantum import AnnealSchedule, StatevectorSampler

LINEAR = AnnealSchedule.linear(6.0)


def batch(groups: int, models: int, spins: int, seed: int = 0) -> IsingModel:
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(groups, models, spins, generator=generator)
    J = torch.randn(groups, spins, spins, generator=generator) / spins**0.5
    return IsingModel(h, J.triu(1))


def test_seeds() -> None:
    model, sampler = batch(2, 4, 4), StatevectorSampler(LINEAR, 3)
    first = sampler.sample(model, shots=64, seed=1)
    assert torch.equal(first.spins, sampler.sample(model, shots=64, seed=1).spins)
    draws = [sampler.sample(model, shots=64, seed=seed).spins for seed in (1, 2, -1, 2**63)]
    for i, one in enumerate(draws):
        assert all(not torch.equal(one, other) for other in draws[i + 1 :])
    same = IsingModel(model.fields[:1, :1].expand(2, 4, -1), model.couplings[:1].expand(2, -1, -1))
    spins = sampler.sample(same, shots=64, seed=1).spins.flatten(0, 1)
    assert len({row.numpy().tobytes() for row in spins}) == 8  # equal models, unrelated shots


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_neither_chunks_nor_threads_change_anything(backend: str) -> None:
    model = batch(3, 17, 6)
    whole = StatevectorSampler(LINEAR, 4, threads=1, backend=backend)
    law, samples, mean = whole.probabilities(model), whole.sample(model, shots=33, seed=7).spins, whole.mean(model)
    for threads in (1, 2, 3):
        for limit in (40_000, 60_000, 2**28):
            other = StatevectorSampler(LINEAR, 4, threads=threads, memory_limit=limit, backend=backend)
            tolerance = 0.0 if backend == "numba" else 1e-6  # matrix products round by their size
            torch.testing.assert_close(other.probabilities(model), law, rtol=0, atol=tolerance)
            torch.testing.assert_close(other.mean(model), mean, rtol=0, atol=tolerance)
            changed = (other.sample(model, shots=33, seed=7).spins != samples).any(-1).float().mean()
            assert changed <= (0.0 if backend == "numba" else 1e-3)


def test_chunks_are_real() -> None:
    calls = []
    sampler = StatevectorSampler(LINEAR, 4, threads=1, memory_limit=40_000)
    _, chunked = sampler._fed(batch(3, 17, 6))
    for part, piece in chunked._chunks(batch(3, 17, 6)):
        calls.append((part, piece.groups * piece.models))
    assert len(calls) > 1
    assert sum(count for _, count in calls) == 51


def test_a_models_samples_do_not_depend_on_its_batch() -> None:
    model, sampler = batch(3, 4, 5), StatevectorSampler(LINEAR, 3)
    seeds = torch.arange(12).reshape(3, 4) * 7 - 5
    whole, law = sampler.sample(model, shots=64, seed=seeds), sampler.probabilities(model)
    for group in range(3):
        for number in range(4):
            part = (slice(group, group + 1), slice(number, number + 1))
            alone = IsingModel(model.fields[part], model.couplings[part[0]])
            assert torch.equal(sampler.sample(alone, shots=64, seed=seeds[part]).spins, whole.spins[part])
            assert torch.equal(sampler.probabilities(alone), law[part])


def test_empty_batches() -> None:
    sampler = StatevectorSampler(LINEAR, 3)
    for groups, models in ((0, 3), (2, 0)):
        model = IsingModel(torch.zeros(groups, models, 2), torch.zeros(groups, 2, 2))
        assert sampler.probabilities(model).shape == (groups, models, 4)
        assert sampler.amplitudes(model).shape == (groups, models, 4)
        assert sampler.mean(model).shape == (groups, models, 2)
        assert sampler.sample(model, shots=8, seed=0).spins.shape == (groups, models, 8, 2)


def test_tensors_of_any_layout() -> None:
    model, sampler = batch(2, 4, 5), StatevectorSampler(LINEAR, 3)
    strided = IsingModel(model.fields.transpose(0, 2).contiguous().transpose(0, 2), model.couplings.mT.contiguous().mT)
    assert torch.equal(sampler.probabilities(strided), sampler.probabilities(model))
    seeds = torch.arange(8).reshape(4, 2).T
    expected = sampler.sample(model, shots=16, seed=seeds.contiguous()).spins
    assert torch.equal(sampler.sample(strided, shots=16, seed=seeds).spins, expected)


def test_calls_from_several_threads_at_once() -> None:
    model, sampler = batch(2, 8, 6), StatevectorSampler(LINEAR, 4, threads=2)
    expected = [sampler.sample(model, shots=32, seed=seed).spins for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda seed: sampler.sample(model, shots=32, seed=seed).spins, range(8)))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def _sum_in_child(sampler: StatevectorSampler, queue: multiprocessing.Queue) -> None:
    queue.put(float(sampler.probabilities(batch(1, 8, 5)).square().sum()))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own() -> None:
    sampler = StatevectorSampler(LINEAR, 4, threads=2)
    expected = float(sampler.probabilities(batch(1, 8, 5)).square().sum())
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_sum_in_child, args=(sampler, queue))
    child.start()
    try:
        assert queue.get(timeout=60) == expected
    finally:
        child.join(timeout=10)
        if child.is_alive():
            child.kill()


def test_samplers_can_be_copied_and_sent() -> None:
    model, sampler = batch(1, 4, 5), StatevectorSampler(LINEAR, 4)
    law = sampler.probabilities(model)
    for other in (copy.deepcopy(sampler), pickle.loads(pickle.dumps(sampler))):  # noqa: S301
        assert torch.equal(other.probabilities(model), law)


def test_importing_the_package_does_not_load_the_compiler() -> None:
    code = "import sys, quantum; quantum.StatevectorSampler; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
