import pytest
import torch

from classical import Samples, all_configurations


def _random(rows: int = 6, spins: int = 3, groups: int = 2, models: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randint(0, 2, (groups, models, rows, spins), generator=generator) * 2 - 1).to(torch.int8)


def _counted() -> tuple[Samples, Samples]:
    """The same eleven shots for each model, as distinct rows with occurrences and row by row."""
    occurrences = torch.tensor([1, 5, 2, 3])
    rows = _random(rows=4)
    weights = (occurrences.double() / 11).expand(2, 2, -1)
    expanded = rows.repeat_interleave(occurrences, dim=2)
    return Samples(rows, weights, 11), Samples(expanded, torch.full((2, 2, 11), 1 / 11, dtype=torch.float64), 11)


@pytest.mark.parametrize("moment", ["mean", "second_moment", "up_probability", "frequencies"])
def test_occurrences_equal_rows_repeated(moment: str) -> None:
    counted, expanded = _counted()
    torch.testing.assert_close(getattr(counted, moment)(), getattr(expanded, moment)())


def test_moments_are_the_sums_written_out() -> None:
    s = _random()
    weights = torch.rand(2, 2, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights = weights / weights.sum(-1, keepdim=True)
    samples = Samples(s, weights, None)
    for g in range(2):
        for m in range(2):
            w, rows = weights[g, m].tolist(), s[g, m].tolist()
            for i in range(3):
                assert samples.mean()[g, m, i].item() == pytest.approx(
                    sum(w[r] * rows[r][i] for r in range(6)), abs=1e-12
                )
                up = sum(w[r] for r in range(6) if rows[r][i] == 1)
                assert samples.up_probability()[g, m, i].item() == pytest.approx(up, abs=1e-12)
                for j in range(3):
                    both = sum(w[r] * rows[r][i] * rows[r][j] for r in range(6))
                    assert samples.second_moment()[g, m, i, j].item() == pytest.approx(both, abs=1e-12)


def test_rows_of_weight_zero_change_nothing() -> None:
    counted, _ = _counted()
    padding = torch.ones(2, 2, 3, 3, dtype=torch.int8)
    padded = Samples(
        torch.cat([counted.spins, padding], 2), torch.cat([counted.weights, torch.zeros(2, 2, 3)], 2), counted.shots
    )
    for moment in ("mean", "second_moment", "up_probability", "frequencies"):
        torch.testing.assert_close(getattr(padded, moment)(), getattr(counted, moment)(), rtol=0, atol=1e-15)
    assert padded.covariance_scale() == counted.covariance_scale()


def test_a_rare_up_spin_keeps_its_digits() -> None:
    s = torch.tensor([[[[1], [-1]]]], dtype=torch.int8)
    samples = Samples(s, torch.tensor([[[1e-9, 1.0]]]), None)
    assert samples.up_probability().item() == pytest.approx(1e-9, rel=1e-6)


def test_frequencies_stand_where_all_configurations_do() -> None:
    s = all_configurations(4)[None, None]
    weights = torch.arange(1.0, 17.0)[None, None] / 136
    torch.testing.assert_close(Samples(s, weights, None).frequencies(), weights)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(Samples(s[:, :, order], weights[:, :, order], None).frequencies(), weights)


def test_covariance_scale_is_bessels_for_counts_and_one_for_probabilities() -> None:
    counted, _ = _counted()
    assert counted.covariance_scale() == pytest.approx(1.1)  # eleven shots in four rows
    assert Samples(counted.spins, counted.weights, None).covariance_scale() == 1.0
    with pytest.raises(ValueError, match="shots is 1; a covariance takes at least 2"):
        Samples(counted.spins, counted.weights, 1).covariance_scale()


def test_what_samples_refuse() -> None:
    s, weights = _random(), torch.full((2, 2, 6), 1 / 6)
    with pytest.raises(ValueError, match=r"spins has dtype torch.int64; it must be torch.int8"):
        Samples(s.long(), weights, 6)
    with pytest.raises(ValueError, match=r"spins has shape \(2, 2, 6, 3\) and weights \(2, 2, 5\)"):
        Samples(s, weights[..., :5], 6)
    with pytest.raises(ValueError, match=r"must be \(groups, models, rows, spins\)"):
        Samples(s[0], weights[0], 6)


def test_moments_take_the_dtype_of_the_weights() -> None:
    s = _random()
    for dtype in (torch.float32, torch.float64):
        samples = Samples(s, torch.full((2, 2, 6), 1 / 6, dtype=dtype), 6)
        assert {samples.mean().dtype, samples.second_moment().dtype, samples.frequencies().dtype} == {dtype}
