"""Every kind of couplings, entry by entry."""

import pytest
import torch

from hybrid_attention.couplings import COUPLINGS, ContentCouplings, FixedCouplings

DIM, HEADS, LONGEST = 6, 2, 5


def build(kind, seed=0):
    return COUPLINGS[kind](DIM, HEADS, LONGEST, seed)


def keys(length=4, batch=3):
    return torch.randn(batch, length, DIM, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("length", [1, 2, 4, 5])
@pytest.mark.parametrize("kind", list(COUPLINGS))
def test_strictly_upper_with_one_matrix_for_each_group(kind, length):
    module = build(kind)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    J = module(keys(length))
    assert J.shape == (3 * HEADS if module.per_sequence else HEADS, length, length)
    assert not J.tril().any()
    if kind != "none" and length > 1:
        assert J[:, *torch.triu_indices(length, length, 1)].all()


@pytest.mark.parametrize("kind", ["position", "relative", "content", "none"])
def test_no_effect_at_the_start(kind):
    assert not build(kind)(keys()).any()


def test_position_values_run_through_the_pairs_row_by_row():
    module = build("position")
    with torch.no_grad():
        module.values.copy_(torch.arange(1.0, 21).view(HEADS, 10))
    first, second = module(keys(4))
    assert first.tolist() == [[0, 1, 2, 3], [0, 0, 5, 6], [0, 0, 0, 8], [0, 0, 0, 0]]
    assert torch.equal(second, first + 10 * torch.ones(4, 4).triu(1))


def test_relative_values_depend_on_the_distance():
    module = build("relative")
    with torch.no_grad():
        module.values.copy_(torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]]))
    assert module(keys(4))[0].tolist() == [[0, 1, 2, 3], [0, 0, 1, 2], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert module(keys(5))[1, 0].tolist() == [0, 5, 6, 7, 8]


def test_content_couplings_are_products_of_two_projections():
    module = ContentCouplings(DIM, HEADS)
    torch.nn.init.normal_(module.second.weight, generator=torch.Generator().manual_seed(2))
    x = keys()
    J = module(x)
    for b in range(3):
        for head in range(HEADS):
            rows = slice(3 * head, 3 * head + 3)
            for j in range(4):
                for k in range(j + 1, 4):
                    a, b_k = module.first.weight[rows] @ x[b, j], module.second.weight[rows] @ x[b, k]
                    torch.testing.assert_close(J[b * HEADS + head, j, k], a @ b_k / 3**0.5)


def test_content_couplings_start_to_learn_at_once():
    module = ContentCouplings(DIM, HEADS)
    module(keys()).sum().backward()
    assert module.second.weight.grad.any()


def test_fixed_couplings_are_a_function_of_the_seed_and_are_not_trained():
    first, same, other = (FixedCouplings(8, 40, seed)(keys()) for seed in (3, 3, 4))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    module = FixedCouplings(8, 40, 3)
    assert not list(module.parameters())
    assert "values" in module.state_dict()
    drawn = module.values[:, *torch.triu_indices(40, 40, 1)]
    count = drawn.numel()
    # variance 1/40; the variance of N normal numbers has standard error √(2/N), their mean 1/√N in units of σ
    assert abs(40 * drawn.var().item() - 1) < 5 * (2 / count) ** 0.5
    assert abs(40**0.5 * drawn.mean().item()) < 5 / count**0.5


def test_gradients_reach_every_trained_value():
    for kind in ("position", "relative"):
        module = build(kind)
        module(keys(LONGEST)).sum().backward()
        expected = torch.ones(HEADS, 10) if kind == "position" else torch.tensor([4.0, 3, 2, 1]).expand(HEADS, -1)
        torch.testing.assert_close(module.values.grad, expected)


def test_one_position_has_no_pairs():
    for kind in COUPLINGS:
        assert COUPLINGS[kind](DIM, HEADS, 1, 0)(keys(1)).abs().sum() == 0
