"""Every arm by its flags: the four-way table, parameters counted and matched, and what does not go together."""

import itertools

import pytest
import torch
from small_runs import SMALL, refused, small_config

from classical import ExactSampler
from hybrid_attention import BoltzmannAttention
from hybrid_attention.arms import AttentionName
from hybrid_attention.build import ATTENTION, build_model, build_task
from hybrid_attention.config import TrainConfig
from hybrid_attention.errors import InputError
from hybrid_attention.flags import flag
from hybrid_attention.hopfield import HopfieldAttention
from hybrid_attention.linear import LinearAttention
from hybrid_attention.parameters import count_parameters, match_parameters, parameter_table
from hybrid_attention.parse import parse_config

TABLE = {
    "softmax": ["--attention", "softmax"],
    "sigmoid": ["--attention", "sigmoid"],
    "no couplings": ["--couplings", "none"],
    "fixed": ["--couplings", "fixed"],
    "position": ["--couplings", "position"],
    "relative": ["--couplings", "relative"],
    "content": ["--couplings", "content"],
    "hopfield": ["--attention", "hopfield", "--hopfield-updates", "2"],
    "linear": ["--attention", "linear"],
    "gated": ["--attention", "gated-linear"],
}
PLAIN = {name: flags for name, flags in TABLE.items() if name not in ("linear", "gated")}


def made(*flags):
    small = [part for key, value in SMALL.items() for part in (flag(key), str(value))]
    config = parse_config([*small, *flags]).validate()
    task = build_task(config)
    return build_model(config, task, ExactSampler()), task


@pytest.mark.parametrize("readout", ["mean", "free-energy"])
@pytest.mark.parametrize("name", list(TABLE))
def test_every_arm_is_built_by_flags_and_takes_a_step(name, readout):
    for bias in (["--position-bias"], []) if name in PLAIN else ([],):
        model, task = made(*TABLE[name], *bias, "--readout", readout)
        attention = model.blocks[0].attention
        assert (attention.position_bias is not None) == bool(bias)
        assert (attention.free_energy is not None) == (readout == "free-energy")
        batch = task.training_batch(4, 0, 0)
        logits = model(batch.tokens).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=-100)
        loss.backward()
        assert torch.isfinite(loss)
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_the_classes_behind_the_names():
    assert set(ATTENTION) == set(AttentionName.__args__)
    assert isinstance(made(*TABLE["position"])[0].blocks[0].attention, BoltzmannAttention)
    hopfield = made(*TABLE["hopfield"])[0].blocks[0].attention
    assert isinstance(hopfield, HopfieldAttention)
    assert hopfield.updates == 2
    assert made("--attention", "hopfield")[0].blocks[0].attention.updates == 3
    linear, gated = (made(*TABLE[name])[0].blocks[0].attention for name in ("linear", "gated"))
    assert isinstance(linear, LinearAttention)
    assert (linear.gated, gated.gated) == (False, True)


def test_arms_start_from_the_same_shared_parameters():
    """So that differences between arms of one seed are the arms'. Content couplings alone draw numbers of their own."""
    first = dict(made(*TABLE["softmax"])[0].named_parameters())
    for name, readout in itertools.product(TABLE, ["mean", "free-energy"]):
        if name == "content":
            continue
        bias = ["--position-bias"] if name in PLAIN else []
        other = dict(made(*TABLE[name], *bias, "--readout", readout)[0].named_parameters())
        assert all(torch.equal(parameter, other[key]) for key, parameter in first.items())


def test_parameters_are_counted():
    counts = {}
    for name, flags in TABLE.items():
        model, _ = made(*flags)
        small = [part for key, value in SMALL.items() for part in (flag(key), str(value))]
        counts[name] = count_parameters(parse_config([*small, *flags]))
        assert counts[name] == model.parameter_count() == sum(p.numel() for p in model.parameters() if p.requires_grad)
    heads, dim, length = 2, 8, 4
    more = {name: count - counts["softmax"] for name, count in counts.items()}
    assert more == {
        "softmax": 0,
        "sigmoid": 0,
        "no couplings": 0,
        "fixed": 0,
        "position": heads * length * (length - 1) // 2,
        "relative": heads * (length - 1),
        "content": 2 * dim * dim,
        "hopfield": heads,
        "linear": 0,
        "gated": heads * (dim + 1),
    }
    assert count_parameters(small_config(position_bias=True, couplings="none")) - counts["softmax"] == heads * length**2
    assert (
        count_parameters(small_config(attention="softmax", readout="free-energy")) - counts["softmax"]
        == dim + 2 * dim**2
    )


def test_the_width_of_the_perceptron_matches_parameters():
    base = small_config(attention="softmax", layers=2)
    configs = {"softmax": base, "content": small_config(layers=2), "wide": small_config(layers=2, couplings="content")}
    matched = match_parameters(configs)
    unit = 2 * (2 * 8 + 1)
    assert matched["softmax"].config is base
    assert matched["softmax"].excess == 0
    for name, row in matched.items():
        assert row.before == count_parameters(configs[name])
        assert row.parameters == count_parameters(row.config)
        assert row.excess == row.parameters - matched["softmax"].parameters
        assert abs(row.excess) <= unit / 2
    assert matched["wide"].config.feed_forward == 32 - round(2 * 2 * 64 / unit)
    larger = match_parameters(configs, to="wide")
    assert larger["wide"].config is configs["wide"]
    assert larger["softmax"].config.feed_forward > 32
    assert match_parameters({"softmax": base}, to=5000)["softmax"].parameters == pytest.approx(5000, abs=unit / 2)
    lines = parameter_table(configs).splitlines()
    assert [line.split()[0] for line in lines] == list(configs)
    assert "--feed-forward" in lines[2]
    assert "--feed-forward" not in lines[0]


def test_what_no_width_matches_is_refused():
    with pytest.raises(InputError, match="to is 'nope'; use one of softmax"):
        match_parameters({"softmax": small_config(attention="softmax")}, to="nope")
    with pytest.raises(InputError, match=r"softmax has .* parameters with --feed-forward 1, more than 10;"):
        match_parameters({"softmax": small_config(attention="softmax")}, to=10)


def test_the_feed_forward_width():
    assert TrainConfig(dim=12, heads=4).perceptron_width == 48
    model, _ = made("--feed-forward", "5")
    assert model.blocks[0].perceptron[0].out_features == 5


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--attention", "nope"], "gated-linear"),
        (["--readout", "nope"], "free-energy"),
        (["--couplings", "nope"], "relative"),
        (
            ["--attention", "hopfield", "--readout", "sum"],
            "--readout is sum; the weights of --attention hopfield sum to 1",
        ),
        (["--attention", "gated-linear", "--readout", "sum"], "use mean or free-energy"),
        (["--attention", "linear", "--position-bias"], "--position-bias is True; it is a number for every pair"),
        (["--hopfield-updates", "2"], "--hopfield-updates is 2; it goes with --attention hopfield"),
        (["--attention", "hopfield", "--hopfield-updates", "0"], "--hopfield-updates is 0; give at least 1"),
        (["--feed-forward", "0"], "--feed-forward is 0; give at least 1"),
        (
            ["--attention", "hopfield", "--field-limit", "2"],
            "--field-limit is 2.0; --attention hopfield",
        ),
        (["--field-limit", "0"], "--field-limit is 0.0; give a positive number"),
        (["--field-limit", "inf"], "--field-limit is inf; give a positive number"),
        (["--attention", "linear", "--energy-loss", "1"], "--energy-loss is 1.0;"),
        (["--attention", "hopfield", "--heads", "3"], "--dim is 32; make it a multiple of --heads 3"),
        (["--attention", "linear", "--sampler", "gibbs"], "--sampler is gibbs; only --attention boltzmann"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(workplace, capsys, flags, message):
    refused(capsys, ["train", "--out", "run", *flags], message)
    assert not list(workplace.iterdir())


def test_unknown_names_are_refused_without_a_parser():
    for name in ("attention", "couplings", "readout"):
        with pytest.raises(InputError, match=rf"^--{name} is nope; use one of .*, "):
            TrainConfig(**{name: "nope"}).validate()
