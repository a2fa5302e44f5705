import numpy as np
import pytest
import torch
from scipy import stats

from classical.random import derive_seeds, model_seeds, uniforms

MASK = 2**64 - 1


def splitmix64(seed: int, count: int) -> list[int]:
    """Vigna's reference in unbounded integers."""
    numbers, state = [], seed & MASK
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        numbers.append(z ^ (z >> 31))
    return numbers


def test_the_reference_starts_as_published() -> None:
    assert splitmix64(0, 1) == [0xE220A8397B1DCDAF]


@pytest.mark.parametrize("seed", [0, 1, -1, 2**62 + 12345, -(2**63)])
def test_uniforms_are_the_upper_bits_of_splitmix64(seed: int) -> None:
    expected = [((x >> 12) + 0.5) / 2**52 for x in splitmix64(seed, 50)]
    assert uniforms(torch.tensor(seed), 50).tolist() == expected


def test_uniforms_never_leave_the_open_interval() -> None:
    numbers = uniforms(torch.arange(100), 10_000)
    assert numbers.dtype == torch.float64
    assert 0 < numbers.min().item() < 1e-5
    assert 1 - 1e-5 < numbers.max().item() < 1
    grid = numbers * 2**53
    assert bool((grid == grid.round()).all())
    assert bool((grid.long() % 2 == 1).all())  # odd multiples of 2⁻⁵³: 0 and 1 are not among them


def test_one_seeds_numbers_are_uniform_and_serially_independent() -> None:
    numbers = uniforms(torch.tensor(7), 200_000).numpy()
    assert stats.kstest(numbers, "uniform").pvalue > 1e-4
    cells = np.histogram2d(numbers[:-1:2], numbers[1::2], bins=16, range=[[0, 1], [0, 1]])[0]
    assert stats.chisquare(cells.ravel()).pvalue > 1e-4


def test_first_numbers_of_neighbouring_seeds_are_independent() -> None:
    for seeds in (torch.arange(100_000), model_seeds(0, 100, 1000).flatten()):
        numbers = uniforms(seeds, 2)
        assert stats.kstest(numbers[:, 0].numpy(), "uniform").pvalue > 1e-4
        for x, y in ((numbers[:-1, 0], numbers[1:, 0]), (numbers[:, 0], numbers[:, 1])):
            cells = np.histogram2d(x.numpy(), y.numpy(), bins=16, range=[[0, 1], [0, 1]])[0]
            assert stats.chisquare(cells.ravel()).pvalue > 1e-4


def test_numbers_depend_on_the_seed_and_the_counter_alone() -> None:
    seeds = model_seeds(3, 4, 5)
    whole = uniforms(seeds, 9)
    assert torch.equal(uniforms(seeds, 4), whole[..., :4])
    assert torch.equal(uniforms(seeds[2:, 1:3], 9), whole[2:, 1:3])
    assert torch.equal(uniforms(seeds[1, 1], 9), whole[1, 1])


def test_every_label_and_its_place_matter() -> None:
    variants = [
        derive_seeds(0),
        derive_seeds(0, 0),
        derive_seeds(0, 1),
        derive_seeds(1, 0),
        derive_seeds(1),
        derive_seeds(0, 0, 0),
        derive_seeds(0, 0, 1),
        derive_seeds(0, 1, 0),
        derive_seeds(0, 1, 1),
        derive_seeds(0, -1),
        derive_seeds(-1, 0),
    ]
    assert len({int(seed) for seed in variants}) == len(variants)


def test_labels_broadcast_and_equal_their_scalars() -> None:
    table = derive_seeds(9, torch.arange(3).unsqueeze(-1), torch.arange(4))
    assert table.shape == (3, 4)
    assert table.dtype == torch.int64
    for row in range(3):
        for column in range(4):
            assert table[row, column] == derive_seeds(9, row, column)
    assert torch.equal(derive_seeds(torch.tensor([5, 9]), 2), torch.stack([derive_seeds(5, 2), derive_seeds(9, 2)]))


def test_a_large_table_of_seeds_has_no_collision_and_balanced_bits() -> None:
    seeds = derive_seeds(1, torch.arange(300).unsqueeze(-1), torch.arange(300)).flatten()
    assert len(seeds.unique()) == 90_000
    bits = (seeds.unsqueeze(-1) >> torch.arange(64)) & 1
    assert (bits.double().mean(0) - 0.5).abs().max().item() < 5 * 0.5 / 300


def test_seeds_wrap_at_64_bits() -> None:
    assert torch.equal(derive_seeds(-1), derive_seeds(2**64 - 1))
    assert torch.equal(model_seeds(2**64 + 3, 2, 2), model_seeds(3, 2, 2))


def test_model_seeds_are_one_for_each_model() -> None:
    seeds = model_seeds(0, 3, 5)
    assert seeds.shape == (3, 5)
    assert len(seeds.unique()) == 15
    assert not bool((seeds == model_seeds(1, 3, 5)).any())
    assert torch.equal(model_seeds(seeds, 3, 5), seeds)


@pytest.mark.parametrize("seed", [1.0, True, "0", None, np.float64(1)])
def test_a_seed_is_an_integer(seed: object) -> None:
    with pytest.raises(ValueError, match=r"seed is .*give an integer, or torch.int64"):
        model_seeds(seed, 1, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [torch.zeros(2, 3), torch.zeros(3, 2, dtype=torch.int64), torch.tensor(1)])
def test_a_seed_tensor_has_an_integer_for_every_model(seed: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"seed is torch.* with shape .*= \(2, 3\)"):
        model_seeds(seed, 2, 3)
