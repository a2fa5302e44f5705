"""The auxiliary energy loss: its formula, its gradient, and that it costs nothing where it has no weight."""

import math

import pytest
import torch
from arm_cases import build, normal, padding, tokens
from injected_samplers import PerfectSampler
from small_runs import numbers, small_config

from hybrid_attention import build as building
from hybrid_attention.energy import Pattern, collecting_energy, pattern_energy
from hybrid_attention.errors import InputError
from hybrid_attention.run import RunFolder
from hybrid_attention.samplers import build_sampler
from hybrid_attention.train import train


def oracle(h, J, up, visible):
    """The energy, spin by spin."""
    total, models = 0.0, 0
    batch, heads, queries, keys = h.shape
    for b in range(batch):
        for head in range(heads):
            for i in range(queries):
                seen = [j for j in range(keys) if visible[b, head, i, j]]
                cost = 0.0
                for j in seen:
                    pull = sum(
                        (J[b, head, min(j, k), max(j, k)] * (2 * up[b, head, i, k] - 1)).item() for k in seen if k != j
                    )
                    t = h[b, head, i, j].item() + pull
                    p = up[b, head, i, j].item()
                    cost += p * math.log1p(math.exp(-2 * t)) + (1 - p) * math.log1p(math.exp(2 * t))
                if seen:
                    total, models = total + cost / len(seen), models + 1
    return total / models


@pytest.mark.parametrize("shape", ["by head", "by sequence", "none"])
@pytest.mark.parametrize("masked", [True, False])
def test_equals_the_formula(shape, masked):
    h = normal(2, 2, 3, 4)
    up = torch.sigmoid(normal(2, 2, 3, 4, seed=1))
    J = normal(2, 2, 4, 4, seed=2).triu(1)
    if shape == "by head":
        J = J[:1].expand(2, -1, -1, -1)
    visible = torch.ones(2, 1, 3, 4, dtype=torch.bool)
    if masked:
        visible[0, 0, 0], visible[0, 0, 1, 2], visible[1, 0, :, :2] = False, False, False
        up = up.masked_fill(~visible, 0.0)
    given = {"by head": J[0], "by sequence": J, "none": None}[shape]
    if shape == "none":
        J = torch.zeros(2, 2, 4, 4)
    found = pattern_energy(Pattern(h, given, up, visible if masked else None))
    assert found.item() == pytest.approx(oracle(h, J, up, visible.expand(2, 2, 3, 4)), rel=1e-12)


def test_landmarks():
    """ln 2 where nothing pulls, a decision's entropy without couplings, near 0 where decisions are firm and agree."""
    half = torch.full((1, 1, 1, 3), 0.5)
    assert pattern_energy(Pattern(torch.zeros(1, 1, 1, 3), None, half, None)).item() == pytest.approx(math.log(2))
    h = normal(1, 1, 1, 5)
    p = torch.sigmoid(2 * h)
    entropy = -(p * p.log() + (1 - p) * (1 - p).log()).mean()
    assert pattern_energy(Pattern(h, None, p, None)).item() == pytest.approx(entropy.item())
    J = torch.ones(1, 3, 3).triu(1)
    firm = Pattern(torch.full((1, 1, 1, 3), 5.0), J, torch.ones(1, 1, 1, 3), None)
    against = firm._replace(couplings=-4 * J)
    assert pattern_energy(firm).item() < 1e-5
    assert pattern_energy(against).item() > 1.0
    huge = Pattern(torch.full((1, 1, 1, 3), -1e30), J, torch.zeros(1, 1, 1, 3), None)
    assert pattern_energy(huge).item() == 0.0


def test_gradient_of_the_function_equals_finite_differences():
    visible = torch.tensor([[True, False, True], [False, False, False]]).view(1, 1, 2, 3)

    def energy(h, J, raw):
        up = torch.sigmoid(raw).masked_fill(~visible, 0.0)
        return pattern_energy(Pattern(h, J.triu(1), up, visible))

    inputs = (normal(1, 2, 2, 3), normal(2, 3, 3, seed=1), normal(1, 2, 2, 3, seed=2))
    assert torch.autograd.gradcheck(energy, [x.requires_grad_() for x in inputs])


@pytest.mark.parametrize("couplings", ["position", "relative", "content", "none", "fixed"])
def test_an_attention_shows_its_patterns(couplings):
    arm, energies = build("boltzmann", couplings=couplings), []
    seen = []
    arm.observer = lambda *shown: seen.append(shown)
    x = tokens().requires_grad_()
    with collecting_energy(arm, energies):
        arm(x, is_causal=True, key_padding_mask=padding())
        arm(x, is_causal=True, key_padding_mask=padding())
    arm(x)
    assert arm.pattern_observer is None
    assert len(energies) == 2
    h, J, up = seen[0]
    visible = (torch.ones(5, 5, dtype=torch.bool).tril() & ~padding()[:, None, None]).expand(2, 2, 5, 5)
    J = J if J.ndim == 4 else J.expand(2, -1, -1, -1)
    assert energies[0].item() == pytest.approx(oracle(h, J, up, visible), rel=1e-10)
    energies[0].backward()
    assert x.grad.abs().max() > 0


def test_the_attention_gradient_equals_finite_differences():
    for name in ("boltzmann", "sigmoid"):
        arm = build(name, position_bias=True)

        def energy(x, arm=arm):
            energies = []
            with collecting_energy(arm, energies):
                arm(x, is_causal=True)
            return energies[0]

        assert torch.autograd.gradcheck(energy, tokens(1, 3).requires_grad_(), atol=1e-7)


def test_sigmoid_is_the_case_without_couplings():
    free, sigmoid, energies = build("boltzmann", couplings="none"), build("sigmoid"), []
    sigmoid.load_state_dict({k: v for k, v in free.state_dict().items() if k != "calls"})
    for arm in (free, sigmoid):
        with collecting_energy(arm, energies):
            arm(tokens(), is_causal=True)
    assert energies[0].item() == pytest.approx(energies[1].item(), rel=1e-10)


def test_autocast_keeps_it_in_float32():
    arm, energies = build("boltzmann").float(), []
    with torch.autocast("cpu", dtype=torch.bfloat16), collecting_energy(arm, energies):
        arm(tokens().float(), is_causal=True)
    assert energies[0].dtype == torch.float32
    energies[0].backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in arm.parameters())


def test_samples_serve_it_too():
    arm, energies = build("boltzmann", sampler=PerfectSampler(), shots=20_000), []
    exact = build("boltzmann")
    for one in (arm, exact):
        with collecting_energy(one, energies):
            one(tokens(), is_causal=True, seed=1)
    assert energies[0].item() == pytest.approx(energies[1].item(), abs=0.01)


def run(path, **settings):
    return train(small_config(**settings), RunFolder(path), progress=False)


def test_without_weight_it_is_never_computed(tmp_path, monkeypatch):
    run(tmp_path / "plain")
    monkeypatch.setattr("hybrid_attention.energy.pattern_energy", lambda pattern: 1 / 0)
    run(tmp_path / "zero", energy_loss=0.0)
    assert numbers(tmp_path / "plain") == numbers(tmp_path / "zero")
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "some", energy_loss=0.1)


@pytest.mark.parametrize("attention", ["boltzmann", "sigmoid"])
def test_training_with_it_lowers_it(tmp_path, attention):
    found = []
    for weight in (0.0, 1.0):
        settings = {"energy_loss": weight, "steps": 60, "batch": 16, "lr": 1e-2, "attention": attention, "layers": 2}
        trained = run(tmp_path / f"{weight}", **settings)
        energies = []
        with torch.no_grad(), collecting_energy(trained.model, energies):
            trained.model(trained.task.validation(64).tokens)
        assert len(energies) == 2
        found.append(sum(energies).item() / 2)
        # what is reported is the loss of the task alone
        assert trained.rows[-1]["loss"] < trained.rows[0]["loss"] < 1.8
        assert trained.rows[-1]["train_loss"] < 1.0
    assert found[1] < 0.7 * found[0]


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_bad_weights_are_refused(value):
    with pytest.raises(InputError, match=r"^--energy-loss is .*; give 0 or a positive number"):
        small_config(energy_loss=value)


def test_it_goes_with_spins():
    with pytest.raises(InputError, match=r"^--energy-loss is 0.1; .*use --attention boltzmann or sigmoid"):
        small_config(energy_loss=0.1, attention="softmax")


def test_couplings_are_driven_by_it():
    config = small_config(energy_loss=0.5)
    model = building.build_model(config, building.build_task(config), build_sampler(config))
    energies = []
    with collecting_energy(model, energies):
        model(torch.randint(0, 4, (3, 4), generator=torch.Generator().manual_seed(0)))
    energies[0].backward()
    assert model.blocks[0].attention.couplings.values.grad.abs().max() > 0
