"""The ablation: its grid, its record, its runs and how it goes on."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ablation_cases import SMALL, TINY, invented

from hybrid_attention.ablation.arms import ADDITIONS, BASES, arm_settings
from hybrid_attention.ablation.grid import (
    COMPARE,
    TUNE,
    Cell,
    chosen_rates,
    compared_cells,
    data_digests,
    settings,
    tuning_cells,
)
from hybrid_attention.ablation.report import read_results, write_report
from hybrid_attention.ablation.run import run_ablation
from hybrid_attention.ablation.settings import AblationConfig
from hybrid_attention.ablation.storage import AblationFolder
from hybrid_attention.errors import InputError
from hybrid_attention.parameters import count_parameters
from hybrid_attention.run import RunFolder
from hybrid_attention.train import train


def test_every_arm_gives_settings_that_a_run_can_have() -> None:
    refused = {("linear", "bias"), ("gated-linear", "bias")} | {
        (base, "sum") for base in ("hopfield", "linear", "gated-linear")
    }
    for base in BASES:
        for addition in ADDITIONS:
            config = replace(TINY, length=4, **arm_settings(f"{base}+{addition}"))
            if (base, addition) in refused:
                with pytest.raises(InputError):
                    config.validate()
            else:
                config.validate()


@pytest.mark.parametrize("arm", ["tanh", "softmax+", "softmax+biased", "softmax+bias+bias", "position+sum+free-energy"])
def test_arms_that_do_not_exist_are_named_with_those_that_do(arm: str) -> None:
    with pytest.raises(InputError, match="--arms has") as error:
        AblationConfig(arms=f"softmax,{arm}").validate()
    assert repr(arm) in str(error.value)
    if arm == "tanh":
        assert "gated-linear" in str(error.value)


def test_arms_have_nearly_as_many_parameters_as_the_largest() -> None:
    ablation = replace(SMALL, arms="softmax,position+bias,content,softmax+free-energy")
    found = settings(ablation)
    counts = [
        count_parameters(replace(one.cell(COMPARE, 0, 1e-3).train_config(ablation), dim=8, heads=2)) for one in found
    ]
    unit = 2 * TINY.dim + 1
    assert max(counts) - min(counts) <= unit
    plain = settings(replace(ablation, match=False))
    assert [one.feed_forward for one in plain] == [None] * 4


def test_a_limit_leaves_arms_out_of_longer_sequences() -> None:
    ablation = replace(SMALL, arms="softmax+bias,content+bias", lengths="4,6", limits="content=4").validate()
    assert [(one.length, one.arm) for one in settings(ablation)] == [
        (4, "softmax+bias"),
        (4, "content+bias"),
        (6, "softmax+bias"),
    ]
    with pytest.raises(InputError, match="--limits"):
        replace(ablation, against="content+bias").validate()


def test_arms_without_spins_have_one_sampler() -> None:
    ablation = replace(SMALL, samplers="exact-samples,gibbs/burn-in=3").validate()
    assert [(one.arm, one.sampler) for one in settings(ablation)] == [
        ("softmax+bias", "exact"),
        ("position+bias", "exact-samples"),
        ("position+bias", "gibbs/burn-in=3"),
    ]
    config = settings(ablation)[2].cell(COMPARE, 0, 1e-3).train_config(ablation)
    assert (config.sampler, config.burn_in) == ("gibbs", 3)


def test_estimators_of_perfect_samples_are_compared(tmp_path: Path) -> None:
    names = ("exact", "exact-samples", "exact-samples/estimator=callen")
    ablation = replace(SMALL, arms="position+bias", samplers=",".join(names), seeds=1)
    run_ablation(ablation, AblationFolder(tmp_path), progress=False)
    table = pd.read_parquet(AblationFolder(tmp_path).results)
    assert tuple(table["sampler"]) == names
    assert table["loss"].nunique() == 3
    assert set(table["evaluated_by"]) == {"exact"}


def test_the_rate_of_the_smallest_mean_loss_is_chosen() -> None:
    ablation = replace(SMALL, rates="1e-3,6e-3", tuning_seeds=2, lengths="4,6", tuning_lengths="4").validate()
    found = settings(ablation)
    cells = tuning_cells(ablation, found)
    assert len(cells) == 2 * 2 * 2
    assert {cell.length for cell in cells} == {4}
    assert not {cell.seed for cell in cells} & set(range(ablation.seeds))
    losses = {("softmax+bias", 1e-3): 1.0, ("softmax+bias", 6e-3): 2.0, ("position+bias", 1e-3): None}
    rates = chosen_rates(ablation, found, [(cell, losses.get((cell.arm, cell.rate), 3.0)) for cell in cells])
    assert rates["brackets", 6, "softmax+bias"] == 1e-3
    assert rates["brackets", 6, "position+bias"] == 6e-3  # at the other one every run failed
    assert chosen_rates(ablation, found, [(cell, None) for cell in cells]) == {}


def test_compared_runs_come_seed_after_seed() -> None:
    found = settings(SMALL)
    cells = compared_cells(SMALL, found, {("brackets", 4, arm): 1e-3 for arm in SMALL.arm_list})
    assert [cell.seed for cell in cells] == [0, 0, 1, 1]


def test_a_row_is_what_training_alone_gives(tmp_path: Path) -> None:
    folder = AblationFolder(tmp_path / "ablation")
    finished = run_ablation(replace(SMALL, arms="position+bias", seeds=1), folder, progress=False)
    assert (finished.rows, finished.missing) == (1, 0)
    row = read_results(folder.path).iloc[0]
    config = replace(TINY, length=4, position_bias=True, lr=3e-3, feed_forward=int(row["feed_forward"]))
    own = train(config, RunFolder(tmp_path / "run"), progress=False)
    assert row["parameters"] == own.model.parameter_count()
    from hybrid_attention.evaluate import evaluate_run, load_run

    assert row["loss"] == pytest.approx(evaluate_run(load_run(tmp_path / "run"), progress=False)["loss"], abs=1e-12)
    assert not list((folder.path / "runs").iterdir())


def test_what_was_done_is_not_done_again(tmp_path: Path) -> None:
    folder, done = AblationFolder(tmp_path), []

    def work(cell: Cell, ablation: AblationConfig, where: Path) -> list[dict[str, Any]]:
        done.append(cell)
        return invented(cell, ablation, where)

    run_ablation(replace(SMALL, rates="3e-3,6e-3"), folder, progress=False, work=work)
    assert [cell.stage for cell in done] == [TUNE] * 4 + [COMPARE] * 4
    first = read_results(tmp_path)
    assert set(first[first["stage"] == COMPARE]["rate"]) == {0.006}
    done.clear()
    more = replace(SMALL, rates="3e-3,6e-3", seeds=3)
    run_ablation(more, folder, resume=True, progress=False, work=work)
    assert [(cell.seed, cell.arm) for cell in done] == [(2, "softmax+bias"), (2, "position+bias")]
    again = read_results(tmp_path)
    pd.testing.assert_frame_equal(again[again["seed"] != 2].reset_index(drop=True), first)


def test_processor_time_ends_it_and_says_how_far_it_came(tmp_path: Path) -> None:
    def slow(cell: Cell, ablation: AblationConfig, where: Path) -> list[dict[str, Any]]:
        started = time.process_time()
        while time.process_time() - started < 0.05:
            pass
        return invented(cell, ablation, where)

    folder = AblationFolder(tmp_path)
    finished = run_ablation(SMALL, folder, progress=False, cpu_minutes=0.075 / 60, work=slow)
    assert (finished.rows, finished.missing) == (2, 2)
    assert "1 of 2 seeds were reached." in write_report(folder)
    assert run_ablation(SMALL, folder, resume=True, progress=False, work=slow).missing == 0


def test_a_failed_run_is_left_out_and_told(tmp_path: Path) -> None:
    folder = AblationFolder(tmp_path)
    run_ablation(replace(SMALL, rates="1e18", seeds=1), folder, progress=False)
    table = read_results(tmp_path)
    assert table["loss"].isna().all()
    assert table["failure"].notna().all()
    assert any("2 of 2 runs failed" in line for line in write_report(folder))


def test_an_interrupted_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    ablation = replace(SMALL, arms="position+bias", seeds=1)
    whole = AblationFolder(tmp_path / "whole")
    run_ablation(ablation, whole, progress=False)
    halted = AblationFolder(tmp_path / "halted")
    with halted.opened(ablation, data_digests(ablation), resume=False):
        pass
    (setting,) = settings(ablation)
    cell = setting.cell(COMPARE, 0, 3e-3)
    config = cell.train_config(ablation).resolved()
    run = RunFolder(halted.run_folder(cell))
    train(config, run, progress=False)
    newest = run.latest()
    assert newest is not None
    import shutil

    shutil.rmtree(newest)  # as if killed before the last checkpoint
    run_ablation(ablation, halted, resume=True, progress=False)
    assert read_results(halted.path)["loss"].item() == read_results(whole.path)["loss"].item()


def test_other_data_are_not_mixed_into_an_ablation(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("abc " * 100)
    ablation = replace(SMALL, tasks="text", runs=replace(TINY, text=str(text)))
    folder = AblationFolder(tmp_path / "ablation")
    run_ablation(replace(ablation, seeds=1), folder, progress=False, work=invented)
    text.write_text("abd " * 100)
    with pytest.raises(InputError, match="runs on other data of text, length 4"):
        run_ablation(ablation, folder, resume=True, progress=False, work=invented)


def test_one_process_works_on_a_folder_at_a_time(tmp_path: Path) -> None:
    folder = AblationFolder(tmp_path)

    def work(cell: Cell, ablation: AblationConfig, where: Path) -> list[dict[str, Any]]:
        with pytest.raises(InputError, match="worked on by another process"):
            run_ablation(ablation, folder, resume=True, progress=False, work=invented)
        return invented(cell, ablation, where)

    run_ablation(SMALL, folder, progress=False, work=work)


def test_what_was_not_reached_is_said_of_every_task_and_length(tmp_path: Path) -> None:
    ablation = replace(SMALL, lengths="4,6", arms="softmax,position", limits="position=4")

    def one(cell: Cell, ablation: AblationConfig, where: Path) -> list[dict[str, Any]]:
        (row,) = invented(cell, ablation, where)
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass
        return [row]

    folder = AblationFolder(tmp_path)
    run_ablation(ablation, folder, progress=False, cpu_minutes=0.01 / 60, work=one)
    said = write_report(folder)
    assert "0 to 1 of 2 seeds were reached; nothing yet of position at length 4, softmax at length 6." in said
    run_ablation(ablation, folder, resume=True, progress=False, work=one)
    assert not any("reached" in line for line in write_report(folder))


def test_an_arm_that_always_fails_is_told_and_left_out(tmp_path: Path) -> None:
    def work(cell: Cell, ablation: AblationConfig, where: Path) -> list[dict[str, Any]]:
        (row,) = invented(cell, ablation, where)
        return [{**row, "loss": None} if cell.arm == "position+bias" else row]

    folder = AblationFolder(tmp_path)
    run_ablation(replace(SMALL, rates="1e-3,2e-3"), folder, progress=False, work=work)
    assert "At every learning rate failed, and are not compared: position+bias on brackets." in write_report(folder)


def test_a_difference_that_rises_is_no_gain_and_one_seed_no_noise(tmp_path: Path) -> None:
    def work(cell: Cell, ablation: AblationConfig, where: Path) -> list[dict[str, Any]]:
        (row,) = invented(cell, ablation, where)
        worse = cell.arm == "position+bias"
        return [{**row, "loss": 2.0 + worse * (0.01 * cell.length + 0.001 * cell.seed)}]

    ablation = replace(SMALL, lengths="4,6,8", seeds=1)
    folder = AblationFolder(tmp_path)
    run_ablation(ablation, folder, progress=False, work=work)
    assert not any("noise" in line or "length:" in line for line in write_report(folder))
    run_ablation(replace(ablation, seeds=3), folder, resume=True, progress=False, work=work)
    said = " ".join(write_report(folder))
    assert "the difference of position+bias to softmax+bias rises with length: +0.01000" in said
    assert "gain" not in said


def test_all_arms_are_held_to_the_same_sequences(tmp_path: Path) -> None:
    ablation = replace(
        SMALL, tasks="text", lengths="24", arms="softmax,position", samplers="mean-field", seeds=1, runs=TINY
    )
    run_ablation(ablation, AblationFolder(tmp_path), progress=False)
    table = read_results(tmp_path)
    assert list(table["sequences"]) == [TINY.eval_sequences] * 2
    assert list(table["evaluated_by"]) == ["exact", "mean-field"]


def test_settings_of_one_arm_do_not_stop_the_others() -> None:
    runs = replace(TINY, hopfield_updates=2, window=2, energy_loss=0.1, field_limit=2.0)
    ablation = replace(SMALL, arms="softmax,hopfield,linear,position+energy", runs=runs).validate()
    found = {one.arm: one.cell(COMPARE, 0, 1e-3).train_config(ablation) for one in settings(ablation)}
    assert (found["hopfield"].hopfield_updates, found["softmax"].hopfield_updates) == (2, None)
    assert [found[arm].field_limit for arm in ("position+energy", "softmax", "hopfield", "linear")] == [
        2,
        2,
        None,
        None,
    ]
    assert (found["softmax"].window, found["linear"].window) == (2, None)
    assert (found["position+energy"].energy_loss, found["softmax"].energy_loss) == (0.1, 0.0)


def test_samplers_with_files_and_commas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from quantum import AnnealSchedule

    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    AnnealSchedule.from_angles(field=[0.3], coupling=[0.2], mixer=[0.4]).save(tmp_path / "sub" / "own.json")
    noisy = "aer/noise=depolarizing:0.01,readout:0.02"
    ablation = replace(SMALL, arms="position", samplers=f'statevector/schedule=sub/own.json,"{noisy}"', seeds=1)
    run_ablation(ablation, AblationFolder(tmp_path / "ablation"), progress=False, work=invented)
    kept = AblationConfig.load(tmp_path / "ablation" / "ablation.toml")
    assert kept.sampler_list == [f"statevector/schedule={tmp_path / 'sub' / 'own.json'}", noisy]


@pytest.mark.slow
def test_workers_give_the_rows_of_one_process(tmp_path: Path) -> None:
    for name, workers in (("one", 0), ("two", 2)):
        run_ablation(SMALL, AblationFolder(tmp_path / name), progress=False, workers=workers)
    one, two = (read_results(tmp_path / name).drop(columns=["cpu_seconds", "seconds"]) for name in ("one", "two"))
    pd.testing.assert_frame_equal(one, two)
