"""Dense associative memories: dynamics against exact arithmetic, energies that never rise, capacity beyond 0.138 n."""

from decimal import Decimal, localcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from classical.associative import DenseMemory, errorless_capacity
from classical.hopfield import HopfieldNetwork, corrupted, random_patterns
from classical.ising import all_configurations

POWERS = [2, 3, 4, 5, None]
every_power = pytest.mark.parametrize("power", POWERS)


def exact_energy(patterns: list[list[int]], s: list[int], power: int | None) -> Decimal | int:
    """−Σ_μ F(ξ^μ·s) in integers, or to fifty digits."""
    dots = [sum(a * b for a, b in zip(row, s, strict=True)) for row in patterns]
    if power is None:
        with localcontext(prec=50):
            return -sum((Decimal(x).exp() for x in dots), Decimal(0))
    return -sum(x**power for x in dots)


def _tie(a: Decimal | int, b: Decimal | int) -> bool:
    """Whether energies differ by the rounding of their fifty digits alone."""
    return isinstance(a, Decimal) and abs(a - b) < abs(a) * Decimal("1e-40")


def by_exact_energies(patterns: Tensor, start: Tensor, power: int | None) -> list[int]:
    """The dynamics by comparing the energies before and after each turn."""
    rows, s = patterns.tolist(), start.tolist()
    energy = exact_energy(rows, s, power)
    moved = True
    while moved:
        moved = False
        for i in range(len(s)):
            s[i] = -s[i]
            after = exact_energy(rows, s, power)
            if after < energy and not _tie(after, energy):
                energy, moved = after, True
            else:
                s[i] = -s[i]
    return s


@every_power
@given(st.integers(1, 10), st.integers(1, 6), st.integers(0, 10**6))
def test_recall_is_that_of_exact_arithmetic(power: int | None, spins: int, patterns: int, seed: int) -> None:
    memory = DenseMemory(random_patterns(2, patterns, spins, seed), power)
    cues = random_patterns(2, 2, spins, seed + 1)
    found = memory.recall(cues)
    assert bool(found.settled.all())
    expected = [[by_exact_energies(x, c, power) for c in of] for x, of in zip(memory.patterns, cues, strict=True)]
    assert found.spins[:, :, 0].tolist() == expected


@every_power
@given(st.integers(2, 40), st.integers(1, 60), st.integers(0, 10**6))
def test_energy_never_rises(power: int | None, spins: int, patterns: int, seed: int) -> None:
    memory = DenseMemory(random_patterns(2, patterns, spins, seed), power)
    s = random_patterns(2, 3, spins, seed + 1)
    energy = memory.energy(s)
    for _ in range(50):
        step = memory.recall(s, most=1)
        s, after = step.spins[:, :, 0], memory.energy(step.spins[:, :, 0])
        assert bool((after <= energy + 1e-12 * energy.abs()).all())
        energy = after
        if bool(step.settled.all()):
            return
    pytest.fail("no rest after fifty sweeps")


@every_power
def test_energy_is_the_formula(power: int | None) -> None:
    memory = DenseMemory(random_patterns(2, 5, 7), power)
    s = all_configurations(7)
    energy = memory.energy(s.expand(2, -1, -1))
    for network, (rows, of) in enumerate(zip(memory.patterns.tolist(), energy, strict=True)):
        for x in (0, 5, 77, 127):
            exact = exact_energy(rows, s[x].tolist(), power)
            expected = float(-(-exact).ln()) if isinstance(exact, Decimal) else exact / 7 ** (power - 1)
            assert of[x].item() == pytest.approx(expected, rel=1e-12), network


def test_quadratic_dynamics_are_those_of_the_hopfield_network() -> None:
    patterns, cues = random_patterns(3, 12, 60), random_patterns(3, 10, 60, seed=1)
    dense, hopfield = DenseMemory(patterns, 2), HopfieldNetwork(patterns)
    assert all(torch.equal(a, b) for a, b in zip(dense.recall(cues), hopfield.recall(cues), strict=True))
    pairwise = hopfield.model(cues[:, :1]).energy(cues[:, None])[:, 0]
    torch.testing.assert_close(dense.energy(cues), 2 * pairwise - 12, rtol=1e-12, atol=1e-12)


def overlap_at(load: float, power: int | None, spins: int = 64) -> float:
    """Mean overlap with the cued pattern from cues with a tenth of the spins wrong."""
    memory = DenseMemory(random_patterns(2, round(load * spins), spins, seed=3), power)
    found = memory.recall(corrupted(memory.patterns[:, :12], spins // 10))
    assert bool(found.settled.all())
    return memory.overlap(found.spins[:, :, 0]).diagonal(dim1=1, dim2=2).mean().item()


@pytest.mark.parametrize(("power", "load"), [(3, 1.0), (4, 8.0), (None, 64.0)])
def test_more_patterns_than_spins_come_back_where_pairs_of_spins_lose_them(power: int | None, load: float) -> None:
    # the capacity without errors is 2.6, 33 and 2^32/64 patterns a spin here; with pairs of spins it is 0.12
    assert load < errorless_capacity(64, power) / 64 / 2
    assert overlap_at(load, power) > 0.99
    assert overlap_at(load, 2) < 0.6


def test_every_pattern_is_at_rest_below_the_capacity_and_most_are_not_far_above() -> None:
    n = 48
    for load, at_rest in ((0.4, 1.0), (30.0, 0.5)):
        memory = DenseMemory(random_patterns(1, round(load * errorless_capacity(n, 3)), n), 3)
        same = (memory.recall(memory.patterns[:, :40], most=1).spins[:, :, 0] == memory.patterns[:, :40]).all(-1)
        share = same.double().mean().item()
        assert share == 1.0 if at_rest == 1.0 else share < at_rest


def test_the_opposite_of_a_pattern_is_a_memory_for_even_powers_alone() -> None:
    patterns = random_patterns(2, 20, 60)
    for power, expected in ((4, -1.0), (3, None), (None, None)):
        memory = DenseMemory(patterns, power)
        m = memory.overlap(memory.recall(-patterns).spins[:, :, 0]).diagonal(dim1=1, dim2=2).mean().item()
        assert m == expected if expected is not None else m > -0.8


def test_exponentials_do_not_overflow() -> None:
    memory = DenseMemory(random_patterns(1, 50, 2000))
    found = memory.recall(corrupted(memory.patterns[:, :2], 600))
    assert torch.equal(found.spins[:, :, 0], memory.patterns[:, :2])
    assert bool(torch.isfinite(memory.energy(found.spins[:, :, 0])).all())


def test_capacities() -> None:
    assert errorless_capacity(100, 2) == pytest.approx(100 / (2 * 4.605170186))
    assert errorless_capacity(100, 3) == pytest.approx(100**2 / (6 * 4.605170186))
    assert errorless_capacity(100, 4) == pytest.approx(100**3 / (30 * 4.605170186))
    assert errorless_capacity(20) == 1024


ONES = torch.ones(1, 2, 4, dtype=torch.int8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DenseMemory(ONES, 1), "power is 1; give an integer of at least 2, or None"),
        (lambda: DenseMemory(ONES, 2.5), "power is 2.5"),
        (lambda: DenseMemory(0 * ONES), "patterns contains 0"),
        (lambda: DenseMemory(ONES).recall(ONES[0]), r"cues has shape \(2, 4\)"),
        (lambda: DenseMemory(ONES).recall(0 * ONES), "cues contains 0"),
        (lambda: DenseMemory(ONES).recall(ONES, most=0), "most is 0"),
        (lambda: DenseMemory(ONES).energy(ONES[..., :3]), r"spins has shape \(1, 2, 3\)"),
        (lambda: errorless_capacity(1, 2), "spins is 1"),
        (lambda: errorless_capacity(10, 1), "power is 1"),
    ],
)
def test_what_does_not_fit_is_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
