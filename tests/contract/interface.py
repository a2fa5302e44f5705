"""Checks that need no statistics: shapes, dtypes, seeds, batches and bad arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from classical import IsingModel, Sampler, Samples
from tests.contract.case import Case, batch, part


def keeps_the_protocol(case: Case) -> None:
    """The sampler has the method that makes it one."""
    assert isinstance(case.sampler, Sampler)


def shapes_values_and_weights(case: Case) -> None:
    """Spins are ±1 as int8, weights are not negative and sum to one, and both fit the batch."""
    for spins, groups, models, shots in ((4, 2, 3, 33), (1, 1, 1, 2), (2, 3, 1, 1), (5, 1, 9, 64)):
        samples = case.sample(batch(spins, groups, models), shots=shots)
        rows = samples.spins.shape[2]
        assert samples.spins.shape == (groups, models, rows, spins)
        assert samples.weights.shape == (groups, models, rows)
        assert samples.spins.dtype == torch.int8
        assert bool((samples.spins.abs() == 1).all())
        assert bool((samples.weights >= 0).all())
        total = samples.weights.double().sum(-1)
        torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-5)
        assert samples.shots in (shots, None)
        if samples.shots is not None:
            counts = samples.weights.double() * shots
            torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-3)


def dtypes_follow_the_fields(case: Case) -> None:
    """Weights have the dtype of the fields, and no gradient however the model came about."""
    for dtype in (torch.float32, torch.float64):
        model = batch(dtype=dtype)
        samples = case.sample(IsingModel(model.fields.requires_grad_(), model.couplings.requires_grad_()), shots=8)
        assert samples.weights.dtype == dtype
        assert not samples.weights.requires_grad


def the_model_is_left_as_it_was(case: Case) -> None:
    """Sampling writes to nobody's tensors."""
    model = batch()
    before = model.fields.clone(), model.couplings.clone()
    case.sample(model, shots=8)
    assert torch.equal(model.fields, before[0])
    assert torch.equal(model.couplings, before[1])


def same_seed_same_samples(case: Case) -> None:
    """Also from another instance, and whatever torch's own random numbers are."""
    model = batch()
    first = case.sample(model, shots=64)
    torch.rand(7)
    assert _same(first, case.sample(model, shots=64))
    assert _same(first, Case(case.contract, case.own_seeds, case.run).sample(model, shots=64))


def different_seeds_different_samples(case: Case) -> None:
    """Neighbouring, negative and very large seeds all differ."""
    model = batch(spins=6, field=0.2, coupling=0.1)
    seeds: list[Any] = [0, 1, 2, -1, 2**63, 2**64 - 2]
    if case.own_seeds:
        seeds = [torch.arange(4).reshape(2, 2) + start for start in (0, 10, 2**40, -(2**62))]
    drawn = [case.sampler.sample(model, shots=200, seed=seed).frequencies() for seed in seeds]
    for i, first in enumerate(drawn):
        for second in drawn[i + 1 :]:
            assert bool((first != second).any(-1).all())


def models_do_not_share_random_numbers(case: Case) -> None:
    """Equal models of one batch are sampled apart."""
    one = batch(spins=6, groups=1, models=1, field=0.2, coupling=0.1)
    model = IsingModel(one.fields.expand(2, 3, -1), one.couplings.expand(2, -1, -1))
    drawn = case.sample(model, shots=200).frequencies().flatten(0, 1)
    assert len(torch.unique(drawn, dim=0)) == 6


def own_seeds_make_a_model_independent_of_its_batch(case: Case) -> None:
    """With a seed for every model, its samples are those it has alone, between strangers, or in another order."""
    if not case.own_seeds:
        return
    model = batch(groups=3, models=9)
    seeds = case.model_seeds(model)
    whole = case.sampler.sample(model, shots=64, seed=seeds).frequencies()
    for group, number in ((0, 0), (2, 4), (1, 8)):
        alone = case.sampler.sample(part(model, group, number), shots=64, seed=seeds[group, number][None, None])
        assert torch.equal(alone.frequencies()[0, 0], whole[group, number])
    order = torch.tensor([2, 0, 1])
    shuffled = IsingModel(model.fields[order].flip(1), model.couplings[order])
    drawn = case.sampler.sample(shuffled, shots=64, seed=seeds[order].flip(1)).frequencies()
    assert torch.equal(drawn, whole[order].flip(1))


def other_groups_do_not_matter(case: Case) -> None:
    """With a seed for every model, what another group holds leaves samples as they were."""
    if not case.own_seeds:
        return
    model, strangers = batch(), batch(seed=1)
    drawn = case.sample(model, shots=64).frequencies()
    for kept, other in ((0, 1), (1, 0)):
        fields, couplings = model.fields.clone(), model.couplings.clone()
        fields[other], couplings[other] = strangers.fields[other], strangers.couplings[other]
        mixed = case.sample(IsingModel(fields, couplings), shots=64).frequencies()
        assert torch.equal(mixed[kept], drawn[kept])
        assert not torch.equal(mixed[other], drawn[other])


def bad_arguments_are_refused(case: Case) -> None:
    """Each with a ValueError that names the argument."""
    model = batch()
    for shots in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="shots is"):
            case.sampler.sample(model, shots=shots, seed=case.seed(model))  # type: ignore[arg-type]
    seeds: tuple[Any, ...] = (torch.zeros(2, 3, dtype=torch.int64), torch.zeros(4, dtype=torch.int64))
    for seed in (*seeds, torch.zeros(2, 2), 1.5, None):
        with pytest.raises(ValueError, match="seed is"):
            case.sampler.sample(model, shots=8, seed=seed)


def too_many_spins_are_refused(case: Case) -> None:
    """Before any work, with the number that would fit."""
    largest = getattr(case.sampler, "max_spins", None)
    if largest is None:
        return
    model = batch(spins=largest + 1, groups=1, models=1)
    with pytest.raises(ValueError, match=f"spins is {largest + 1}.*at most {largest}"):
        case.sample(model, shots=8)


def _same(first: Samples, second: Samples) -> bool:
    return torch.equal(first.spins, second.spins) and torch.equal(first.weights, second.weights)


INTERFACE: dict[str, Callable[[Case], None]] = {
    check.__name__: check
    for check in (
        keeps_the_protocol,
        shapes_values_and_weights,
        dtypes_follow_the_fields,
        the_model_is_left_as_it_was,
        same_seed_same_samples,
        different_seeds_different_samples,
        models_do_not_share_random_numbers,
        own_seeds_make_a_model_independent_of_its_batch,
        other_groups_do_not_matter,
        bad_arguments_are_refused,
        too_many_spins_are_refused,
    )
}
"""Every check by name; each takes a case and raises an AssertionError."""
