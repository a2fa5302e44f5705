"""Our attention under torch.compile: whole graphs where there can be, Python in between where there cannot."""

import subprocess
import sys

import pytest
import torch
from arm_cases import HEADS, tokens
from drop_in_cases import ATTENTION, BATCH, LENGTH, encoder, padding

from classical import GibbsSampler
from hybrid_attention import BoltzmannAttention, SoftmaxAttention

WHOLE = ["softmax", "sigmoid", "hopfield", "linear", "gated linear"]
MASKS = {
    "none": {},
    "causal": {"is_causal": True},
    "padding": {"key_padding_mask": padding()},
    "float": {"attn_mask": torch.zeros(5, 5).masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)},
}


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def outcome(call, module, x, **options):
    """Output and all gradients."""
    x = x.clone().requires_grad_()
    module.zero_grad()
    output, _ = call(x, seed=3, need_weights=False, **options)
    output.square().sum().backward()
    return [output.detach(), x.grad, *(p.grad for p in module.parameters() if p.grad is not None)]


def compare(name, mask, tolerance=0.0, **settings):
    module, x = ATTENTION[name]().float(), tokens(BATCH, LENGTH).float()
    plain = outcome(module, module, x, **MASKS[mask])
    compiled = outcome(torch.compile(module, **settings), module, x, **MASKS[mask])
    assert len(plain) == len(compiled)
    for a, b in zip(compiled, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("mask", ["causal", "padding"])
@pytest.mark.parametrize("name", ["softmax", "hopfield"])
def test_one_graph(name, mask):
    compare(name, mask, backend="eager", fullgraph=True)


def test_spins_stay_outside_of_graphs():
    """The same numbers to the last bit: it is the same Python that makes them."""
    compare("boltzmann", "causal", backend="eager")


def test_what_cannot_be_one_graph_says_so():
    module = torch.compile(ATTENTION["boltzmann"]().float(), backend="eager", fullgraph=True)
    with pytest.raises(torch._dynamo.exc.Unsupported, match="disable"):
        module(tokens().float())


def test_samples_go_on_from_call_to_call():
    modules = [BoltzmannAttention(6, HEADS, 6, sampler=GibbsSampler(), shots=16) for _ in range(2)]
    modules[1].load_state_dict(modules[0].state_dict())
    compiled, x = torch.compile(modules[1], backend="eager"), tokens().float()
    for calls in range(1, 4):
        assert torch.equal(modules[0](x)[0], compiled(x)[0])
        assert modules[0].calls == modules[1].calls == calls


def test_graphs_are_made_once():
    counted = []

    def count(graph, inputs):
        counted.append(graph)
        return graph

    module = torch.compile(ATTENTION["boltzmann"]().float(), backend=count)
    x = tokens().float()
    module(x, is_causal=True)
    module(x, is_causal=True)
    after = len(counted)
    for seed in range(12):
        module(tokens(seed=seed).float(), is_causal=True)
    assert len(counted) == after


def test_nothing_loads_the_compiler_but_its_use():
    script = (
        "import sys, torch, hybrid_attention\n"
        "with torch.no_grad():\n"
        "    hybrid_attention.BoltzmannAttention(4, 2, 3)(torch.zeros(1, 3, 4))\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("mask", ["none", "causal", "padding"])
@pytest.mark.parametrize("name", WHOLE)
def test_every_one_graph(name, mask):
    compare(name, mask, tolerance=1e-5, backend="aot_eager", fullgraph=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(ATTENTION))
def test_every_mask_with_breaks(name):
    for mask in MASKS:
        torch.compiler.reset()
        compare(name, mask, tolerance=1e-5, backend="aot_eager")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["softmax", "boltzmann"])
def test_compiled_by_inductor(name):
    compare(name, "causal", tolerance=1e-4, backend="inductor")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["boltzmann", "softmax"])
def test_a_compiled_stock_encoder(name):
    model, x = encoder(ATTENTION[name]()).float(), tokens(BATCH, LENGTH).float()
    compiled = torch.compile(model, backend="aot_eager")
    for training in (True, False):
        model.train(training)
        plain = model(x, src_key_padding_mask=padding())
        torch.testing.assert_close(compiled(x, src_key_padding_mask=padding()), plain, rtol=1e-5, atol=1e-5)
    assert isinstance(model.layers[0].self_attn, (BoltzmannAttention, SoftmaxAttention))
