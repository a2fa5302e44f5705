import dimod
import pytest
import torch

from classical import IsingModel, all_configurations
from classical.ising import symmetric
from tests.classical.enumeration import random_model


def _loop(model: IsingModel, group: int, index: int, s: list[int]) -> float:
    h, J = model.fields[group, index].tolist(), model.couplings[group].tolist()
    n = len(h)
    return sum(h[j] * s[j] for j in range(n)) + sum(J[j][k] * s[j] * s[k] for j in range(n) for k in range(j + 1, n))


@pytest.mark.parametrize("spins", [1, 2, 5])
def test_log_weight_is_the_sum_written_out(spins: int) -> None:
    model = random_model(spins, groups=2, models=3)
    generator = torch.Generator().manual_seed(4)
    s = torch.randint(0, 2, (2, 3, 7, spins), generator=generator) * 2 - 1
    expected = [[[_loop(model, g, m, row) for row in s[g, m].tolist()] for m in range(3)] for g in range(2)]
    torch.testing.assert_close(model.log_weight(s.to(torch.int8)), torch.tensor(expected, dtype=torch.float64))


def test_configurations_are_shared_where_groups_and_models_are_one() -> None:
    model = random_model(4, groups=2, models=3)
    s = all_configurations(4)[None, None]
    torch.testing.assert_close(model.log_weight(s), model.log_weight(s.expand(2, 3, -1, -1)))


def test_energy_is_dimods_energy_of_the_model_with_both_signs_flipped() -> None:
    model = random_model(5, groups=1, models=2)
    s = all_configurations(5)
    for index in range(2):
        linear = {j: -model.fields[0, index, j].item() for j in range(5)}
        quadratic = {(j, k): -model.couplings[0, j, k].item() for j in range(5) for k in range(j + 1, 5)}
        vendor = dimod.BinaryQuadraticModel.from_ising(linear, quadratic)
        expected = torch.tensor(vendor.energies((s.numpy(), list(range(5)))), dtype=torch.float64)
        torch.testing.assert_close(model.energy(s[None, None])[0, index], expected)
        torch.testing.assert_close(model.log_weight(s[None, None])[0, index], -expected)


def test_log_weight_keeps_the_dtype_of_the_model() -> None:
    assert random_model(3, dtype=torch.float32).log_weight(all_configurations(3)[None, None]).dtype == torch.float32


def test_shapes_scaling_and_detaching() -> None:
    model = random_model(4, groups=2, models=3)
    assert (model.groups, model.models, model.spins) == (2, 3, 4)
    scaled = model.scaled(2.0, -0.5)
    torch.testing.assert_close(scaled.fields, 2 * model.fields)
    torch.testing.assert_close(scaled.couplings, -0.5 * model.couplings)
    tracked = IsingModel(model.fields.requires_grad_(), model.couplings.requires_grad_())
    loose = tracked.detach()
    assert not loose.fields.requires_grad
    assert not loose.couplings.requires_grad


def test_symmetric_couplings() -> None:
    J = torch.tensor([[0.0, 1.0, 2.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    expected = torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 3.0], [2.0, 3.0, 0.0]])
    torch.testing.assert_close(symmetric(J), expected)


def _upper(groups: int, spins: int, at: tuple[int, int] | None = None) -> torch.Tensor:
    J = torch.zeros(groups, spins, spins)
    if at is not None:
        J[-1, at[0], at[1]] = 0.25
    return J


@pytest.mark.parametrize(
    ("fields", "couplings", "message"),
    [
        ([[[0.0]]], _upper(1, 1), "fields is a list; pass a torch tensor"),
        (torch.zeros(1, 1, 1), None, "couplings is a NoneType; pass a torch tensor"),
        (torch.zeros(1, 1, 2, dtype=torch.int64), _upper(1, 2), "fields has dtype torch.int64"),
        (torch.zeros(1, 1, 2), _upper(1, 2).half(), "couplings has dtype torch.float16"),
        (torch.zeros(2, 3), _upper(1, 3), r"fields has shape \(2, 3\); it must be \(groups, models, spins\)"),
        (torch.zeros(1, 2, 0), _upper(1, 0), "with at least one spin"),
        (torch.zeros(2, 1, 3), _upper(1, 3), r"couplings has shape \(1, 3, 3\).*= \(2, 3, 3\)"),
        (torch.zeros(1, 1, 3), _upper(1, 2), r"couplings has shape \(1, 2, 2\).*= \(1, 3, 3\)"),
        (torch.zeros(1, 1, 2), _upper(1, 2).double(), "couplings is torch.float64 on cpu but fields is torch.float32"),
        (torch.full((1, 1, 2), -torch.inf), _upper(1, 2), "fields contains -inf; every value must be finite"),
        (torch.zeros(1, 1, 2), _upper(1, 2) * torch.nan, "couplings contains nan; every value must be finite"),
        (torch.zeros(2, 1, 3), _upper(2, 3, (2, 1)), r"couplings\[1, 2, 1\] is 0.25; couplings are strictly upper"),
        (torch.zeros(2, 1, 3), _upper(2, 3, (1, 1)), r"couplings\[1, 1, 1\] is 0.25; .*torch.triu"),
    ],
)
def test_what_a_model_refuses(fields: object, couplings: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        IsingModel(fields, couplings)  # type: ignore[arg-type]


def test_all_configurations_count_in_bits_where_a_zero_is_up() -> None:
    expected = [[1, 1, 1], [-1, 1, 1], [1, -1, 1], [-1, -1, 1], [1, 1, -1], [-1, 1, -1], [1, -1, -1], [-1, -1, -1]]
    configurations = all_configurations(3)
    assert configurations.tolist() == expected
    assert configurations.dtype == torch.int8
    for spins in (1, 6):
        table = all_configurations(spins).tolist()
        assert [sum((s < 0) << i for i, s in enumerate(row)) for row in table] == list(range(2**spins))


@pytest.mark.parametrize("spins", [0, 25])
def test_all_configurations_have_a_limit(spins: int) -> None:
    with pytest.raises(ValueError, match=f"spins is {spins}; enumeration takes 1 to 24 spins"):
        all_configurations(spins)
