"""From probabilities to the numbers that multiply the values."""

import pytest
import torch
from injected_samplers import PerfectSampler

from hybrid_attention import boltzmann_probability
from hybrid_attention.readout import READOUTS, mean_readout, sum_readout


def test_mean_divides_by_the_sum_and_sum_does_not():
    a = torch.tensor([[0.5, 0.25, 0.25], [1e-7, 3e-7, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(mean_readout(a)[0], a[0], rtol=1e-11, atol=0)
    torch.testing.assert_close(mean_readout(a)[1], a.new_tensor([0.25, 0.75, 0.0]), rtol=1e-5, atol=0)
    assert torch.equal(sum_readout(a), a)


@pytest.mark.parametrize("name", list(READOUTS))
def test_nothing_attended_is_zero(name):
    assert not READOUTS[name](torch.zeros(2, 3)).any()


def test_mean_gradient():
    a = torch.rand(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(mean_readout, a)


def test_samples_that_attend_to_nothing_give_no_gradient():
    # 1/100 is no binary fraction: rounding must not be blown up by the slope 1/ε at zero
    h = torch.full((1, 200, 5), -12.0, requires_grad=True)
    values = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    a = boltzmann_probability(h, torch.zeros(1, 5, 5), sampler=PerfectSampler(), shots=100)
    assert not a.any()
    (mean_readout(a) * values).sum().backward()
    assert not h.grad.any()
