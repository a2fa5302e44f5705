"""A study's settings: what they expand to, and what is refused before any work."""

from __future__ import annotations

import numpy as np
import pytest
from small_runs import refused

from hybrid_attention.errors import InputError
from hybrid_attention.study.columns import COLUMNS, schema
from hybrid_attention.study.grid import Setting, Source, cells
from hybrid_attention.study.settings import StudyConfig, changed_settings


def test_ranges_and_lists() -> None:
    study = StudyConfig(durations="0.5:20:log10")
    np.testing.assert_allclose(study.duration_list, np.geomspace(0.5, 20, 10), rtol=1e-3)
    assert StudyConfig(durations="1:3:lin5").duration_list == [1, 1.5, 2, 2.5, 3]
    assert StudyConfig(durations="4, 1,2").duration_list == [1, 2, 4]
    assert StudyConfig(shots="law,8,64").shot_list == [0, 8, 64]
    assert StudyConfig(spins="4,8").spin_list == [4, 8]


@pytest.mark.parametrize(
    ("text", "duration", "steps"), [("12", 3.0, 12), ("4T", 6.0, 24), ("4T", 0.5, 8), ("2.5T", 5, 13)]
)
def test_trotter_steps_are_fixed_or_by_duration(text: str, duration: float, steps: int) -> None:
    assert StudyConfig(trotter_steps=text).steps_for(duration) == steps


WRONG = [
    ({"durations": "5:1:log4"}, "--durations is '5:1:log4'; give a rising positive range"),
    ({"durations": "0:1:log4"}, "--durations is '0:1:log4'; give a rising positive range"),
    ({"durations": "1:2:log1"}, "--durations is '1:2:log1'"),
    ({"durations": "1:2:cubic3"}, "--durations is '1:2:cubic3'"),
    ({"durations": ""}, "--durations is ''"),
    ({"durations": "-1,2"}, "--durations is '-1,2'; give numbers above 0"),
    ({"durations": "nan"}, "--durations is 'nan'"),
    ({"spins": "4,4"}, "name everything once"),
    ({"spins": "17"}, "--spins is 17; give at most 16, or add --no-exact"),
    ({"spins": "0"}, "--spins is '0'; give integers of at least 1"),
    ({"spins": "many"}, "--spins is 'many'; give integers"),
    ({"shots": "law", "exact": False}, "--shots is law; with --no-exact there is no law"),
    ({"shots": "1"}, "--shots is '1'; give integers of at least 2"),
    ({"trotter_steps": "T4"}, "--trotter-steps is 'T4'; give a number of steps"),
    ({"trotter_steps": "-3"}, "--trotter-steps is -3"),
    ({"calibrations": "two-beta,cold"}, "--calibrations is 'cold'; use none, one-beta, two-beta, tuned"),
    ({"samplers": "annealer"}, "--samplers is 'annealer'; use statevector"),
    ({"schedules": "lineal"}, "--schedules is 'lineal'; use linear, preset:K, or a file that exists"),
    ({"schedules": "preset:5"}, "--schedule: preset is '5'"),
    ({"polish": "-1"}, "--polish is '-1'"),
    ({"samplers": "exact", "polish": "1"}, "--polish is 1; exact sums leave nothing to polish"),
    ({"noise": "depolarizing:0.1"}, "--noise is depolarizing:0.1; it goes with --samplers aer alone"),
    ({"noise": "depolarizing:7", "samplers": "aer"}, "two_qubit is 7.0"),
    ({"durations": "1,1.0"}, "--durations is '1,1.0'; name every number once"),
    ({"durations": "0.5:0.50001:log10"}, "give a wider range, or fewer durations"),
    ({"spins": "3,03"}, "name every number once"),
    ({"shots": "64,0064"}, "name every number once"),
    ({"samplers": "aer", "noise": "depolarizing:0.01", "spins": "11"}, "--spins: spins is 11, but the law under noise"),
    ({"samplers": "aer", "noise": "generic:5", "spins": "6"}, "spins is 6, but the backend"),
    ({"strengths": "0"}, "--strengths is '0'; give numbers above 0"),
    ({"instances": 0}, "--instances is 0; give at least 1"),
    ({"target": 1.5}, "--target is 1.5"),
    ({"text": "a.txt"}, "--text is a.txt; it goes with --train text"),
    ({"train": "brackets", "spins": "5"}, "--length is 5"),
    ({"heads": "1"}, "--heads is 1; it goes with --models RUN"),
    ({"field_scale": -1.0}, "--field-scale is -1.0"),
]


@pytest.mark.parametrize(("settings", "message"), WRONG)
def test_wrong_settings_say_which_and_how(settings: dict, message: str) -> None:
    def check() -> None:
        study = StudyConfig(**settings).validate()
        cells(study, [Source(n) for n in study.spin_list])

    with pytest.raises(InputError) as error:
        check()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_grid_is_every_combination_that_makes_sense() -> None:
    study = StudyConfig(
        durations="1,2,3",
        calibrations="one-beta,two-beta",
        schedules="linear,preset:8",
        polish="0,1",
        samplers="statevector,gibbs,exact",
        strengths="1",
    ).validate()
    grid = cells(study, [Source(4), Source(6)])
    anneals = [cell for cell in grid if cell.setting.schedule]
    assert len(anneals) == 2 * 2 * (3 * 2 + 1)
    assert {cell.setting.calibration for cell in anneals if cell.setting.schedule == "preset:8"} == {"none"}
    others = [(cell.setting.sampler, cell.setting.polish) for cell in grid if not cell.setting.schedule]
    assert others == [("gibbs", 0), ("gibbs", 1), ("exact", 0)] * 2
    assert len({cell.name for cell in grid}) == len(grid)


def test_training_has_perfect_samples_to_compare_with() -> None:
    study = StudyConfig(train="brackets", spins="4", durations="1,2", schedules="linear", calibrations="none", seeds=3)
    runs = [cell for cell in cells(study.validate(), [Source(4)]) if cell.kind == "training"]
    assert [cell.setting for cell in runs[:3]] == [Setting("exact")] * 3
    assert [cell.seed for cell in runs] == [0, 1, 2] * 3
    assert {run.train_config(study).sampler for run in runs} == {"exact", "statevector"}


def test_names_depend_on_everything_and_on_nothing_else(tmp_path) -> None:
    study = StudyConfig(durations="1", schedules="linear", calibrations="none", strengths="1").validate()
    (first,) = cells(study, [Source(4)])
    (again,) = cells(study, [Source(4)])
    (other,) = cells(StudyConfig(durations="1.5", schedules="linear", calibrations="none", strengths="1"), [Source(4)])
    assert first.name == again.name != other.name


def test_settings_survive_toml(tmp_path) -> None:
    study = StudyConfig(spins="4,6", target=0.9, exact=False, shots="32", schedules="preset:4")
    study.save(tmp_path / "study.toml")
    assert StudyConfig.load(tmp_path / "study.toml") == study
    assert changed_settings(study, StudyConfig.load(tmp_path / "study.toml")) == {}
    assert set(changed_settings(study, StudyConfig())) == {"spins", "target", "exact", "shots", "schedules"}
    (tmp_path / "broken.toml").write_text("spins = [")
    with pytest.raises(InputError, match="is not a study's record"):
        StudyConfig.load(tmp_path / "broken.toml")
    annealer = StudyConfig(samplers="dwave", field="ghost", qpu_budget=2.5, shots="50")
    annealer.save(tmp_path / "annealer.toml")  # what is None is left out, as TOML has no such value
    assert StudyConfig.load(tmp_path / "annealer.toml") == annealer


def test_columns_have_units_and_the_promised_names() -> None:
    promised = (
        "spins duration trotter_steps schedule calibration sampler shots polish instance seed kl total_variation "
        "mean_error correlation_error beta_field beta_coupling beta_field_fit beta_coupling_fit gradient_cosine "
        "gradient_relative_bias trotter_error seconds"
    )
    assert set(promised.split()) <= set(COLUMNS)
    found = schema()
    assert found.names == list(COLUMNS)
    assert all(found.field(name).metadata[b"unit"] for name in COLUMNS)


def test_command_line_errors_are_one_line_and_leave_nothing(capsys, tmp_path) -> None:
    out = tmp_path / "study"
    refused(capsys, ["study", "--out", out, "--durations", "3:1:log4"], "--durations", "3:1:log4")
    refused(capsys, ["study", "--out", out, "--spins", "30"], "--spins is 30", "--no-exact")
    refused(capsys, ["study", "--out", out, "--models", tmp_path / "none"], "--models", "has no run")
    refused(capsys, ["study", "--out", out, "--workers", "-2"], "--workers is -2; give at least 0")
    refused(capsys, ["study", "--out", out, "--scheduler", "tcp://127.0.0.1:9"], "--scheduler", "does not answer")
    refused(capsys, ["study", "--out", out, "--scheduler", "nonsense"], "--scheduler nonsense")
    refused(capsys, ["study", "--out", out, "--resume"], "has no study to resume")
    assert not out.exists()
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    refused(capsys, ["study", "--out", out], "is not empty and has no study")
    assert [entry.name for entry in out.iterdir()] == ["thesis.tex"]
