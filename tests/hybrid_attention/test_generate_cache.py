"""One step of generation against the last row of a whole forward pass."""

import pytest
import torch
from arm_cases import ARMS
from injected_samplers import PerfectSampler
from small_runs import small_config

from classical import ExactSampler
from classical.random import derive_seeds
from hybrid_attention.build import build_model
from hybrid_attention.evaluate import load_run
from hybrid_attention.generate import GENERATION_SEED, generate
from hybrid_attention.run import RunFolder
from hybrid_attention.tasks import TextTask
from hybrid_attention.train import train

LENGTH = 12
PLAIN = ("softmax", "sigmoid", "boltzmann", "hopfield")
TASK = TextTask("the quick brown fox jumps over the lazy dog; " * 40, LENGTH)


def model_of(sampler=None, **changes):
    """A model in float64 with random numbers in every parameter."""
    config = small_config(task="text", length=LENGTH, **changes)
    model = build_model(config, TASK, ExactSampler() if sampler is None else sampler).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


def stepped(model, tokens, seed=0):
    """Logits position by position."""
    caches = model.new_caches()
    with torch.no_grad():
        return torch.stack([model.step(column, caches, seed) for column in tokens.T], 1)


def require_steps_equal_forward(model, tokens):
    with torch.no_grad():
        expected = model(tokens).logits
    torch.testing.assert_close(stepped(model, tokens), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("readout", ["mean", "free-energy"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("attention", list(ARMS))
def test_steps_are_the_rows_of_a_forward_pass(attention, layers, readout):
    bias = attention in PLAIN
    model = model_of(attention=attention, layers=layers, readout=readout, position_bias=bias)
    require_steps_equal_forward(model, TASK.training_batch(3, 0, 0).tokens)


@pytest.mark.parametrize("window", [{"window": 3}, {"window": 3, "global_keys": 2}, {"window": 1}, {"window": LENGTH}])
@pytest.mark.parametrize("attention", PLAIN)
def test_in_a_window_too(attention, window):
    model = model_of(attention=attention, layers=2, readout="free-energy", position_bias=True, **window)
    require_steps_equal_forward(model, TASK.training_batch(3, 0, 0).tokens)


@pytest.mark.parametrize("window", [{}, {"window": 3, "global_keys": 2}])
@pytest.mark.parametrize("couplings", ["relative", "content", "fixed", "none"])
def test_with_every_kind_of_couplings(couplings, window):
    model = model_of(couplings=couplings, layers=2, **window)
    require_steps_equal_forward(model, TASK.training_batch(3, 0, 0).tokens)


@pytest.mark.parametrize("window", [{}, {"window": 3, "global_keys": 2}])
def test_a_step_draws_the_samples_of_a_forward_pass(window):
    """In one layer; deeper ones have keys that were sampled when they were added."""
    model = model_of(PerfectSampler(), shots=8, **window)
    tokens = TASK.training_batch(3, 0, 0).tokens
    with torch.no_grad():
        expected = model(tokens, seed=4).logits
    torch.testing.assert_close(stepped(model, tokens, 4), expected, rtol=1e-9, atol=1e-9)
    assert (stepped(model, tokens, 5) - expected).abs().max() > 1e-3


def rms(x):
    return x.double().square().mean().sqrt()


@pytest.mark.parametrize("window", [{}, {"window": 3, "global_keys": 2}])
@pytest.mark.parametrize("attention", list(ARMS))
def test_steps_in_bfloat16_are_those_of_a_forward_pass_in_bfloat16(attention, window):
    """Windows add local and global keys after rounding each, 8 bits; a step has them in one sum."""
    if window and attention not in PLAIN:
        return
    changes = {"attention": attention, "layers": 2, **window}
    tokens = TASK.training_batch(8, 0, 0).tokens
    mixed, plain = (model_of(dtype=dtype, **changes).float() for dtype in ("bfloat16", "float32"))
    with torch.no_grad():
        found, expected, wide = stepped(mixed, tokens), mixed(tokens).logits, plain(tokens).logits
    assert found.dtype == torch.float32
    assert torch.equal(found.bfloat16().float(), found)  # the head's product was rounded
    assert rms(found - expected) < rms(found - wide)
    assert (found - expected).abs().max() < 8 * 2**-8 * wide.abs().max()


def test_what_a_window_forgets_has_no_influence_and_takes_no_room():
    """The cache of a position far down the text is that of a text that began shortly before it."""
    model, far = model_of(window=3), torch.arange(200) % 7
    caches = model.new_caches()
    with torch.no_grad():
        for token in far:
            logits = model.step(token[None], caches)
        expected = model(far[None]).logits[:, -1]
        near = model(far[None, -3:]).logits[:, -1]
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(logits, near, rtol=1e-9, atol=1e-9)
    assert all(part.shape[-2] == 3 for cache in caches for part in cache.seen())


def test_the_state_of_a_recurrence_does_not_grow():
    model = model_of(attention="gated-linear")
    tokens, caches = TASK.training_batch(1, 0, 0).tokens[0], model.new_caches()
    sizes = set()
    with torch.no_grad():
        for token in tokens:
            model.step(token[None], caches)
            state = caches[0].__dict__
            sizes.add(sum(x.numel() for x in (*state["newest"], state["_state"])))
    assert len(sizes) == 1


def test_positions_beyond_those_learned_are_refused():
    model = model_of()
    caches = model.new_caches()
    for _ in range(LENGTH):
        model.step(torch.zeros(1, dtype=torch.int64), caches)
    with pytest.raises(ValueError, match="caches hold 12 positions, and length is 12; start new ones"):
        model.step(torch.zeros(1, dtype=torch.int64), caches)
    attention = model.attentions()[0]
    with pytest.raises(ValueError, match="cache holds 12 positions, and max_length is 12"):
        attention.step(torch.zeros(1, 1, 8, dtype=torch.float64), caches[0])


def before(run, prompt, tokens, temperature, seed):
    """Characters without a cache: every one from a forward pass over the last `length` characters."""
    context, generator, made = run.task.encode(prompt), torch.Generator().manual_seed(seed), []
    for number in range(tokens):
        window = torch.tensor([context[-run.task.length :]])
        with torch.no_grad():
            logits = run.model(window, seed=derive_seeds(seed, GENERATION_SEED, number)).logits[0, -1]
        if temperature == 0:
            choice = int(logits.argmax())
        else:
            choice = int(torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator))
        context.append(choice)
        made.append(run.task.decode([choice]))
    return "".join(made)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("prompt", ["t", "the lazy dog"])
def test_generation_gives_the_characters_it_gave_without_a_cache(text_run, prompt, temperature):
    for sampler in ("exact", "mean-field"):
        run = load_run(text_run, with_data=False, sampler=sampler)
        expected = before(run, prompt, 20, temperature, 3)
        assert "".join(generate(run, prompt, 20, temperature, 3)) == expected


def test_generation_in_a_window_goes_on_beyond_the_length(text_run, workplace):
    """Every character is predicted from all of the text so far, as far as layers and windows reach."""
    config = small_config(task="text", text=str(text_run.parent / "text.txt"), window=2, layers=2)
    config = config if (text_run.parent / "text.txt").exists() else small_config(task="text", window=2, layers=2)
    train(config, RunFolder(workplace / "windowed"), progress=False)
    run = load_run(workplace / "windowed", with_data=False)
    made = "".join(generate(run, "the ", 30, 0.0))
    text = run.task.encode("the " + made)
    with torch.no_grad():
        best = run.model(torch.tensor([text])).logits[0].argmax(-1)
    assert run.task.decode(best[3:-1].tolist()) == made
