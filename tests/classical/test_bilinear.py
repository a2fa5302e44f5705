import math

import pytest
import torch

from classical import IsingModel, all_configurations, bilinear
from tests.classical.enumeration import laws, random_model

SPINS = [1, 2, 3, 6, 7]


@pytest.mark.parametrize("spins", SPINS)
def test_halves_together_are_all_configurations(spins: int) -> None:
    s = bilinear.halves(spins, torch.float64, torch.device("cpu"))
    first = s.a.shape[1]
    assert first == math.ceil(spins / 2)
    assert s.b.shape == (2 ** (spins - first), spins - first)
    joined = torch.cat([s.a.repeat(len(s.b), 1), s.b.repeat_interleave(len(s.a), 0)], 1)
    assert torch.equal(joined.to(torch.int8), all_configurations(spins))


def test_tables_made_in_inference_mode_serve_autograd_later() -> None:
    bilinear.halves.cache_clear()
    with torch.inference_mode():
        bilinear.halves(3, torch.float64, torch.device("cpu"))
    h = random_model(3).fields.requires_grad_()
    (h[..., :2] @ bilinear.halves(3, torch.float64, torch.device("cpu")).a.T).exp().sum().backward()


@pytest.mark.parametrize("spins", SPINS)
def test_log_coupling_matrix_is_the_log_weight_without_fields(spins: int) -> None:
    model = random_model(spins, groups=3, models=1)
    bare = IsingModel(torch.zeros_like(model.fields), model.couplings)
    expected = bare.log_weight(all_configurations(spins)[None, None])[:, 0]
    log_c = bilinear.log_coupling_matrix(model.couplings)
    torch.testing.assert_close(log_c.transpose(1, 2).flatten(1), expected)  # A holds the lower bits


@pytest.mark.parametrize("spins", SPINS)
@pytest.mark.parametrize("logarithmic", [False, True])
def test_weights_are_the_marginals_of_both_halves(spins: int, logarithmic: bool) -> None:
    model = random_model(spins)
    form = bilinear.solve(model.fields, model.couplings, None, logarithmic)
    size_a = 2 ** math.ceil(spins / 2)
    for g, group in enumerate(laws(model)):
        for m, one in enumerate(group):
            joint = torch.tensor(one.probabilities.astype(float)).view(-1, size_a)
            torch.testing.assert_close((form.weight_a / form.total)[g, :, m], joint.sum(0))
            torch.testing.assert_close((form.weight_b / form.total)[g, :, m], joint.sum(1))
            assert form.log_z[g, m].item() == pytest.approx(float(one.log_partition), rel=1e-12)


def test_pinned_fields_cancel_the_hidden_spins() -> None:
    model = random_model(5, groups=2, models=3)
    visible = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(1)) > 0.4
    pinned = bilinear.pin_hidden(model.fields, model.couplings, visible)
    full = model.couplings + model.couplings.transpose(1, 2)
    for g in range(2):
        for m in range(3):
            for k in range(5):
                hidden = [j for j in range(5) if not visible[g, m, j]]
                pull = sum(full[g, j, k].item() for j in hidden)
                expected = model.fields[g, m, k].item() + pull if visible[g, m, k] else 0.0
                assert pinned[g, m, k].item() == pytest.approx(expected, abs=1e-12)


def _deepest(model: IsingModel) -> torch.Tensor:
    """−log of the shifted Z of a model, by enumeration."""
    s = all_configurations(model.spins)[None, None]
    log_z = torch.logsumexp(model.log_weight(s), -1)
    log_c = bilinear.log_coupling_matrix(model.couplings).amax((1, 2))
    return model.fields.abs().sum(-1) + log_c.unsqueeze(-1) - log_z


@pytest.mark.parametrize("spins", [2, 3, 4, 7, 9])
def test_no_sum_needs_more_range_than_promised(spins: int) -> None:
    for seed in range(40):
        strength = [0.3, 1.0, 4.0, 15.0][seed % 4]
        model = random_model(spins, field=4 * strength, coupling=strength, seed=seed)
        if seed % 3 == 0:  # fields that oppose ferromagnetic couplings
            signs = torch.tensor([1.0, -1.0]).repeat(spins)[:spins]
            model = IsingModel(model.fields.abs() * signs, model.couplings.abs())
        rarest = torch.tensor(
            [[-float(torch.log(torch.tensor(one.up.astype(float))).min()) for one in group] for group in laws(model)]
        )
        depth = _deepest(model)
        for pinned in (False, True):
            promised = bilinear.range_needed(model.fields, model.couplings, pinned) + math.log(2) + 1e-9
            assert bool((2 * depth <= promised).all())
            assert bool((depth + rarest.double().clamp(max=700) <= promised).all())


def test_weak_models_need_little_range() -> None:
    """The promise is of use only if it keeps ordinary models in float32."""
    ordinary = random_model(12, models=50, field=1.0, coupling=12**-0.5)
    assert bilinear.range_needed(ordinary.fields, ordinary.couplings, False).max().item() < bilinear.FLOAT32_RANGE


@pytest.mark.parametrize("logarithmic", [False, True])
def test_second_moment_of_both_arithmetics(logarithmic: bool) -> None:
    model = random_model(5)
    form = bilinear.solve(model.fields, model.couplings, None, logarithmic)
    s = bilinear.halves(5, torch.float64, torch.device("cpu"))
    for g, group in enumerate(laws(model)):
        for m, one in enumerate(group):
            expected = torch.tensor(one.second.astype(float))
            torch.testing.assert_close(bilinear.second_moment(form, s)[g, m], expected)
            torch.testing.assert_close(bilinear.up_probability(form, s)[g, m], torch.tensor(one.up.astype(float)))
