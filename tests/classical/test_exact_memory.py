"""Working in pieces that fit a memory limit changes nothing but the memory."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from classical import ExactSampler, IsingModel
from tests.classical.enumeration import random_model

ROOMY = ExactSampler()
MOMENTS = ["mean", "second_moment", "log_partition"]


class LargestTensor(TorchDispatchMode):
    """Bytes of the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, torch.Tensor) and value.untyped_storage().nbytes() > self.bytes:
                self.bytes = value.untyped_storage().nbytes()
        return result


def _limits(spins: int) -> list[int]:
    """From the least that holds these spins to one that takes several models at once."""
    return [32 * 2**spins, 100 * 2**spins, 400 * 2**spins]


@pytest.mark.parametrize("spins", [5, 8])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("coupling", [0.7, 60.0])
def test_pieces_give_the_same_moments_and_gradients(spins: int, moment: str, coupling: float) -> None:
    model = random_model(spins, groups=3, models=7, field=2 * coupling, coupling=coupling)

    def run(exact: ExactSampler) -> tuple[torch.Tensor, ...]:
        h, J = model.fields.clone().requires_grad_(), model.couplings.clone().requires_grad_()
        value = getattr(exact, moment)(IsingModel(h, J))
        gradients = torch.autograd.grad((value * value).sum(), (h, J))
        with torch.no_grad():
            torch.testing.assert_close(getattr(exact, moment)(model), value, rtol=1e-11, atol=1e-13)
        return (value, *gradients)

    expected = run(ROOMY)
    for limit in _limits(spins):
        for actual, reference in zip(run(ExactSampler(memory_limit=limit)), expected, strict=True):
            torch.testing.assert_close(actual, reference, rtol=1e-10, atol=1e-11)


def test_pieces_with_hidden_spins() -> None:
    model = random_model(8, groups=3, models=8)
    causal = torch.ones(8, 8, dtype=torch.bool).tril()[None]
    expected = ROOMY.up_probability(model, causal)
    for limit in _limits(8):
        actual = ExactSampler(memory_limit=limit).up_probability(model, causal)
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=0)


def test_pieces_have_second_derivatives() -> None:
    model = random_model(3, groups=2, models=3)
    small = ExactSampler(memory_limit=32 * 2**3)
    inputs = (model.fields.requires_grad_(), model.couplings.requires_grad_())
    assert torch.autograd.gradgradcheck(lambda h, J: small.mean(IsingModel(h, J.triu(1))), inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pieces_give_the_same_samples(dtype: torch.dtype) -> None:
    model = random_model(8, groups=3, models=7, dtype=dtype)
    expected = ROOMY.sample(model, shots=40, seed=5).spins
    for limit in _limits(8):
        assert torch.equal(ExactSampler(memory_limit=limit).sample(model, shots=40, seed=5).spins, expected)


@pytest.mark.parametrize("coupling", [0.3, 60.0])
@pytest.mark.parametrize("moment", [*MOMENTS, "sample"])
def test_no_tensor_is_larger_than_the_limit(moment: str, coupling: float) -> None:
    model = random_model(10, groups=4, models=200, field=coupling, coupling=coupling, dtype=torch.float32)
    read = (
        (lambda exact: exact.sample(model, shots=50))
        if moment == "sample"
        else (lambda exact: getattr(exact, moment)(model))
    )
    largest = []
    for limit in (2**18, 2**20, 2**22):
        with LargestTensor() as seen:
            result = read(ExactSampler(memory_limit=limit))
        whole = (result.spins if moment == "sample" else result).nbytes
        assert seen.bytes <= max(limit, 8 * whole)  # the result itself may be larger than the limit
        largest.append(seen.bytes)
    assert largest[0] <= largest[-1]


def test_second_moments_of_many_groups_do_not_copy_their_couplings_part_for_every_model() -> None:
    model = random_model(12, groups=4, models=64, coupling=0.2, dtype=torch.float32)
    with LargestTensor() as seen:
        ROOMY.second_moment(model)
    assert seen.bytes <= 4 * 64 * 64 * 6 * 4  # groups × models × 2^6 × 6 numbers, not × 2^12


def test_a_gradient_keeps_no_more_than_the_limit() -> None:
    """Bytes saved for backward: inputs of every piece, not its intermediate results."""
    model = random_model(10, groups=1, models=400, dtype=torch.float32)
    saved: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    totals = []
    for exact in (ROOMY, ExactSampler(memory_limit=2**17)):
        saved.clear()
        h = model.fields.clone().requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            value = exact.mean(IsingModel(h, model.couplings))
        totals.append(sum(saved.values()))
        value.sum().backward()
    assert totals[1] < totals[0] / 3


def test_most_spins_follow_the_limit() -> None:
    assert ExactSampler().max_spins == 25
    assert ExactSampler(memory_limit=2**40).max_spins == 26
    small = ExactSampler(memory_limit=32 * 2**6)
    assert small.max_spins == 6
    small.mean(random_model(6))
    message = "spins is 7, but ExactSampler holds at most 6 spins; give it more memory_limit or use fewer spins"
    for call in (small.mean, small.second_moment, small.log_partition, small.up_probability, small.sample):
        with pytest.raises(ValueError, match=message):
            call(random_model(7))
    assert ExactSampler(memory_limit=1).max_spins == 0


@pytest.mark.parametrize("limit", [0, -5])
def test_a_limit_is_positive(limit: int) -> None:
    with pytest.raises(ValueError, match=f"memory_limit is {limit}; give a positive number of bytes"):
        ExactSampler(memory_limit=limit)


@pytest.mark.slow
def test_twenty_four_spins_in_a_quarter_of_the_memory() -> None:
    model = random_model(24, groups=1, models=3, coupling=24**-0.5, dtype=torch.float32)
    double = IsingModel(model.fields.double(), model.couplings.double())
    expected = ExactSampler().mean(double)
    torch.testing.assert_close(ExactSampler(memory_limit=2**29).mean(model).double(), expected, rtol=0, atol=5e-5)
