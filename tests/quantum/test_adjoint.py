"""Derivatives of the annealed law: against finite differences, against autograd, and how much memory they take."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from classical import IsingModel
from quantum import AnnealSchedule, StatevectorSampler
from quantum.adjoint import linear_function, linear_moments, pair_moments
from quantum.evolution import angle_tensors, evolve, probabilities

LINEAR = AnnealSchedule.linear(6.0)
WILD = AnnealSchedule.from_angles(field=[0.3, -0.8, 0.5], coupling=[0.7, 0.2, -0.9], mixer=[2.0, -0.9, 5.1])
BACKENDS = ["numba", "torch"]


def tensors(groups: int, models: int, spins: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(groups, models, spins, generator=generator, dtype=torch.float64)
    J = torch.randn(groups, spins, spins, generator=generator, dtype=torch.float64) / spins**0.5
    return h.requires_grad_(), J.triu(1).requires_grad_()


def exact(schedule: AnnealSchedule, steps: int | None, calibration: str, backend: str, **options: Any) -> Any:
    return StatevectorSampler(schedule, steps, calibration, dtype=torch.complex128, backend=backend, **options)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("spins", [1, 3])
def test_gradcheck(backend: str, spins: int) -> None:
    h, J = tensors(2, 2, spins)
    for sampler in (exact(LINEAR, 4, "two-beta", backend), exact(WILD, None, "none", backend)):
        for read in (sampler.mean, sampler.probabilities):
            assert torch.autograd.gradcheck(lambda h, J, read=read: read(IsingModel(h, J.triu(1))), (h, J))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("spins", [1, 3, 6, 7, 9, 10])
def test_agrees_with_autograd_through_the_evolution(backend: str, spins: int) -> None:
    h, J = tensors(2, 3, spins, seed=spins)
    upstream = torch.randn(2, 3, spins, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for schedule, steps in ((LINEAR, 6), (LINEAR, 35), (WILD, None)):
        sampler = exact(schedule, steps, "none", backend)
        law = probabilities(evolve(IsingModel(h, J), angle_tensors(sampler.angles, torch.float64)))
        by_h, by_J = torch.autograd.grad((linear_moments(law) * upstream).sum(), (h, J))
        found = torch.autograd.grad((sampler.mean(IsingModel(h, J)) * upstream).sum(), (h, J))
        torch.testing.assert_close(found[0], by_h, rtol=0, atol=1e-12)
        torch.testing.assert_close(found[1], by_J.triu(1), rtol=0, atol=1e-12)
        assert not torch.allclose(found[0], -by_h, atol=1e-3)


def test_single_precision() -> None:
    h, J = tensors(2, 5, 8)
    reference = torch.autograd.grad(exact(LINEAR, 16, "two-beta", "torch").mean(IsingModel(h, J)).sum(), (h, J))
    single = StatevectorSampler(LINEAR, 16).mean(IsingModel(h.float(), J.float()))
    assert single.dtype == torch.float32
    for found, expected in zip(torch.autograd.grad(single.sum(), (h, J)), reference, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_chunks_and_threads(backend: str) -> None:
    h, J = tensors(3, 17, 6)
    upstream = torch.randn(3, 17, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def gradients(**options: Any) -> tuple[Tensor, ...]:
        mean = exact(LINEAR, 4, "two-beta", backend, **options).mean(IsingModel(h, J))
        return torch.autograd.grad((mean * upstream).sum(), (h, J))

    whole = gradients(threads=1)
    for options in ({"threads": 3}, {"threads": 1, "memory_limit": 60_000}, {"threads": 2, "memory_limit": 100_000}):
        for found, expected in zip(gradients(**options), whole, strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_only_what_is_asked_for() -> None:
    h, J = tensors(1, 2, 3)
    sampler = StatevectorSampler(LINEAR, 4)
    assert not sampler.mean(IsingModel(h.detach(), J.detach())).requires_grad
    sampler.mean(IsingModel(h, J.detach())).sum().backward()
    assert h.grad is not None
    assert not sampler.amplitudes(IsingModel(h, J)).requires_grad
    (gradient,) = torch.autograd.grad(sampler.mean(IsingModel(h, J)).square().sum(), h, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_moments_of_weights() -> None:
    # against sums over configurations written out one by one
    for spins in (1, 2, 5):
        weights = torch.randn(3, 2**spins, generator=torch.Generator().manual_seed(spins), dtype=torch.float64)
        bits = (torch.arange(2**spins).unsqueeze(-1) >> torch.arange(spins)) & 1
        s = 1.0 - 2.0 * bits.double()
        torch.testing.assert_close(linear_moments(weights), weights @ s)
        torch.testing.assert_close(pair_moments(weights), torch.einsum("bx,xi,xj->bij", weights, s, s).triu(1))
        g = torch.randn(3, spins, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
        torch.testing.assert_close(linear_function(g), g @ s.T)


# --- memory ---------------------------------------------------------------------------------------------------


class PeakMemory(TorchDispatchMode):
    """Largest sum of the bytes of tensors that operations inside have made and that still live."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in self.live and storage.nbytes():
                    self.live[storage.data_ptr()] = storage.nbytes()
                    weakref.finalize(storage, self.live.pop, storage.data_ptr(), None)
        self.peak = max(self.peak, sum(self.live.values()))
        return result


def peak_of(work: Any) -> int:
    with PeakMemory() as memory:
        work()
    return memory.peak


def saved_bytes(work: Any) -> int:
    total = 0

    def note(tensor: Tensor) -> Tensor:
        nonlocal total
        total += tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        work()
    return total


@pytest.mark.parametrize("backend", BACKENDS)
def test_memory_does_not_grow_with_the_steps(backend: str) -> None:
    h, J = tensors(1, 64, 8)

    def anneal_and_back(steps: int) -> None:
        exact(LINEAR, steps, "none", backend).mean(IsingModel(h, J)).sum().backward()

    def naive(steps: int) -> None:
        angles = angle_tensors(LINEAR.angles(steps), torch.float64)
        linear_moments(probabilities(evolve(IsingModel(h, J), angles))).sum().backward()

    assert saved_bytes(lambda: anneal_and_back(8)) == saved_bytes(lambda: anneal_and_back(64))
    peaks = {steps: peak_of(lambda steps=steps: anneal_and_back(steps)) for steps in (8, 64)}
    naively = {steps: peak_of(lambda steps=steps: naive(steps)) for steps in (8, 64)}
    print(f"{backend}: peak at K = 8, 64: {peaks}, autograd through the evolution: {naively}")
    # the measure must see what grows: autograd keeps every step's state
    assert peaks[64] <= peaks[8] + 4096  # the angles themselves
    assert naively[64] > 5 * naively[8]
