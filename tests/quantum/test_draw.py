"""Drawing from a known law."""

from __future__ import annotations

import torch

from classical.ising import all_configurations
from quantum.draw import configurations, draw


def test_frequencies_follow_the_law() -> None:
    law = torch.tensor([[[0.5, 0.0, 0.3, 0.2]]], dtype=torch.float64)
    shots = 40_000
    index = draw(law, shots, torch.tensor([[11]]))
    counts = index.flatten().bincount(minlength=4)
    assert counts[1] == 0
    deviation = (5 * (law[0, 0] * (1 - law[0, 0]) / shots).sqrt()).clamp_min(1e-12)
    assert bool(((counts / shots - law[0, 0]).abs() <= deviation).all())


def test_certain_outcomes_and_laws_that_miss_one_by_rounding() -> None:
    law = torch.tensor([[[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1 - 1e-12]]], dtype=torch.float64)
    index = draw(law, 64, torch.tensor([[1, 2, 3]]))
    assert index.amin(-1).tolist() == index.amax(-1).tolist() == [[2, 0, 3]]


def test_a_models_draws_are_its_own() -> None:
    law = torch.rand(2, 3, 8, dtype=torch.float64)
    seeds = torch.arange(6).reshape(2, 3)
    whole = draw(law, 16, seeds)
    assert torch.equal(whole[1:, 1:2], draw(law[1:, 1:2], 16, seeds[1:, 1:2]))
    assert not torch.equal(whole[0, 0], draw(law[:1, :1], 16, torch.tensor([[99]]))[0, 0])


def test_order_of_configurations_is_the_projects() -> None:
    assert torch.equal(configurations(torch.arange(32), 5), all_configurations(5))
