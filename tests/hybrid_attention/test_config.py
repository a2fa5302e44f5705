"""Settings: what is refused, and that TOML, flags and dataclass are one thing."""

import dataclasses

import pytest

from hybrid_attention.config import TrainConfig, as_arguments, changed_keys, read_toml
from hybrid_attention.errors import InputError
from hybrid_attention.parse import parse_config

OTHER = {
    "task": "text",
    "task_options": "levels=5",
    "text": "some file.txt",
    "types": 3,
    "attention": "softmax",
    "hopfield_updates": 5,
    "couplings": "content",
    "position_bias": True,
    "window": 5,
    "global_keys": 2,
    "field_limit": 2.5,
    "readout": "sum",
    "energy_loss": 0.5,
    "sampler": "aer",
    "schedule": "schedule.json",
    "duration": 2.5,
    "trotter_steps": 7,
    "calibration": "one-beta",
    "shots": 99,
    "polish": 2,
    "noise": "depolarizing:0.01",
    "burn_in": 30,
    "chains": 4,
    "export_every": 5,
    "solver": "Advantage_system99",
    "anneal": "standard",
    "field": "ghost",
    "schedule_table": "table.csv",
    "beta": "8,9",
    "control_error": 0.03,
    "precision": 9,
    "qpu_budget": 12.5,
    "qpu_evaluation": True,
    "estimator": "callen",
    "independent_halves": True,
    "length": 6,
    "layers": 2,
    "heads": 2,
    "dim": 24,
    "feed_forward": 50,
    "batch": 5,
    "steps": 77,
    "lr": 1.25e-4,
    "lr_couplings": 0.0625,
    "seed": 9,
    "eval_every": 11,
    "eval_sequences": 13,
    "dtype": "bfloat16",
    "device": "auto",
}


def test_defaults_are_the_documented_ones():
    config = TrainConfig().resolved().validate()
    documented = {
        "task": "brackets",
        "attention": "boltzmann",
        "couplings": "position",
        "position_bias": False,
        "readout": "mean",
        "sampler": "exact",
        "schedule": "linear",
        "duration": 6,
        "trotter_steps": 12,
        "calibration": "two-beta",
        "shots": 256,
        "length": 8,
        "layers": 1,
        "heads": 4,
        "dim": 32,
        "batch": 64,
        "steps": 1000,
        "lr": 3e-3,
        "seed": 0,
    }
    assert {key: getattr(config, key) for key in documented} == documented
    assert config.coupling_rate == 3e-3
    assert config.evaluation_interval == 100


def test_every_setting_survives_toml(tmp_path):
    assert set(OTHER) == {field.name for field in dataclasses.fields(TrainConfig)}
    config = TrainConfig(**OTHER)
    # budget and device are no settings: a run that is gone on with may have others
    assert len(changed_keys(config, TrainConfig())) == len(OTHER) - 2
    for one in (config, TrainConfig()):
        one.save(tmp_path / "config.toml")
        assert parse_config(as_arguments(read_toml(tmp_path / "config.toml"))) == one.with_absolute_paths()
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


def test_switches_can_be_turned_off():
    on = TrainConfig(position_bias=True)
    assert parse_config(as_arguments({"position_bias": False}), default=on).position_bias is False
    assert parse_config([], default=on).position_bias is True


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("types", 0),
        ("trotter_steps", 0),
        ("length", 0),
        ("layers", 0),
        ("heads", 0),
        ("dim", 0),
        ("batch", 0),
        ("steps", 0),
        ("eval_sequences", 0),
        ("eval_every", 0),
        ("shots", 1),
        ("seed", -1),
        ("seed", 2**62),
        ("duration", -1.0),
        ("duration", 0.0),
        ("duration", float("nan")),
        ("duration", float("inf")),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("lr_couplings", -1e-3),
        ("length", 7),
        ("dim", 30),
        ("text", "file.txt"),
    ],
)
def test_bad_values_are_refused_by_flag_and_value(name, value):
    with pytest.raises(InputError, match=rf"^--{name.replace('_', '-')} is {value}; ".replace("+", r"\+")):
        TrainConfig(**{name: value}).validate()


@pytest.mark.parametrize("attention", ["softmax", "sigmoid", "hopfield", "linear", "gated-linear"])
def test_what_belongs_to_couplings_is_refused_where_there_are_none(attention):
    for name, value in (("couplings", "content"), ("lr_couplings", 0.1)):
        named = rf"^--{name.replace('_', '-')} is {value}; --attention {attention} has no couplings"
        with pytest.raises(InputError, match=named):
            TrainConfig(attention=attention, **{name: value}).validate()


def test_odd_lengths_are_for_text():
    assert TrainConfig(task="text", length=7).validate().length == 7


def test_changed_keys():
    assert changed_keys(TrainConfig(), TrainConfig(seed=1, lr=0.1)) == ["lr", "seed"]
