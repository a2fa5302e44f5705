"""A study's rows against dense matrices and finite differences, and its table through crashes and resumption."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from small_runs import refused, small_config

from classical import IsingModel
from hybrid_attention import hamiltonians
from hybrid_attention.cli import main
from hybrid_attention.errors import InputError
from hybrid_attention.run import RunFolder
from hybrid_attention.study.columns import COLUMNS
from hybrid_attention.study.engine import batches
from hybrid_attention.study.figures_of_merit import exact_law, variance_of_one_shot
from hybrid_attention.study.grid import Source, cells
from hybrid_attention.study.instances import instances
from hybrid_attention.study.measure import measure
from hybrid_attention.study.run import run_study
from hybrid_attention.study.settings import StudyConfig
from hybrid_attention.study.storage import StudyFolder, read_results
from hybrid_attention.train import train
from quantum import AnnealSchedule, calibrate, response
from tests.contract import anneal, boltzmann

TINY = {
    "spins": "3",
    "durations": "1,4",
    "calibrations": "one-beta,two-beta",
    "schedules": "linear",
    "strengths": "0.05,1",
    "instances": 5,
    "shots": "law,64",
    "seeds": 2,
}


def tiny(**changes) -> StudyConfig:
    return StudyConfig(**{**TINY, **changes}).validate()


def frame(table) -> pd.DataFrame:
    return table.to_pandas()


def without_times(table) -> pd.DataFrame:
    return frame(table).drop(columns=["seconds"])


def moments_by_hand(law: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = int(np.log2(law.shape[-1]))
    s = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    pairs = np.stack([s[:, i] * s[:, j] for i in range(n) for j in range(i + 1, n)], 1)
    return law @ s, law @ pairs


def gradient_by_differences(model: IsingModel, w: torch.Tensor, step: float = 1e-5) -> np.ndarray:
    """d(w·⟨s⟩)/d(h, J) of the Boltzmann law of one model."""

    def value(h: torch.Tensor, J: torch.Tensor) -> float:
        return float(w.flatten().numpy() @ moments_by_hand(boltzmann(IsingModel(h, J)).numpy()[0, 0])[0])

    found = []
    n = model.spins
    for i in range(n):
        shift = step * torch.eye(n, dtype=torch.float64)[i]
        up, down = (value(model.fields + sign * shift, model.couplings) for sign in (1, -1))
        found.append((up - down) / (2 * step))
    for i in range(n):
        for j in range(i + 1, n):
            shift = torch.zeros(1, n, n, dtype=torch.float64)
            shift[0, i, j] = step
            up, down = (value(model.fields, model.couplings + sign * shift) for sign in (1, -1))
            found.append((up - down) / (2 * step))
    return np.array(found)


def test_rows_of_the_law_are_what_dense_matrices_give() -> None:
    study = tiny(shots="law", strengths="1", durations="4", calibrations="two-beta", trotter_steps="6")
    (cell,) = cells(study, [Source(3, 1.0)])
    rows = measure(cell, study)
    given = instances(study, Source(3, 1.0))
    schedule = AnnealSchedule.linear(4.0)
    law, exact = anneal(schedule, 6)(given.model).numpy()[:, 0], boltzmann(given.model).numpy()[:, 0]
    fed = given.model.scaled(*calibrate(schedule, 6, "two-beta"))
    finer = anneal(schedule, 12, "none")(fed).numpy()[:, 0]
    beta = response(schedule, 6)
    assert [row["instance"] for row in rows] == list(range(5))
    for i, row in enumerate(rows):
        assert set(row) == set(COLUMNS)
        p, q = exact[i], law[i]
        assert row["kl"] == pytest.approx((p * np.log(p / q)).sum(), rel=1e-4, abs=1e-6)
        assert row["total_variation"] == pytest.approx(np.abs(p - q).sum() / 2, rel=1e-4, abs=1e-6)
        assert row["trotter_error"] == pytest.approx(np.abs(q - finer[i]).sum() / 2, rel=1e-3, abs=1e-6)
        (mean, pairs), (true_mean, true_pairs) = moments_by_hand(q), moments_by_hand(p)
        assert row["mean_error"] == pytest.approx(np.sqrt(((mean - true_mean) ** 2).mean()), rel=1e-4, abs=1e-6)
        assert row["correlation_error"] == pytest.approx(
            np.sqrt(((pairs - true_pairs) ** 2).mean()), rel=1e-4, abs=1e-6
        )
        assert row["sampling_error"] == pytest.approx(0, abs=1e-7)
        assert (row["beta_field"], row["beta_coupling"]) == pytest.approx((beta.beta_h, beta.beta_J))
        assert (row["shots"], row["seed"], row["gradient_variance"]) == (0, 0, 0)
        assert row["seconds"] is None
        # a layer of H, and in every step RZ, three RZZ that share spins, and RX
        assert (row["depth"], row["two_qubit_gates"]) == (1 + 6 * 5, 6 * 3)


def test_exact_statistics_have_no_error_and_the_right_gradient() -> None:
    study = tiny(samplers="exact", shots="law,20000", strengths="1", instances=3, seeds=1)
    (cell,) = cells(study, [Source(3, 1.0)])
    rows = measure(cell, study)
    given = instances(study, Source(3, 1.0))
    for i in range(3):
        one = IsingModel(given.model.fields[i : i + 1], given.model.couplings[i : i + 1])
        true = gradient_by_differences(one, given.upstream[i])
        law_row, shot_row = rows[i], rows[3 + i]
        assert law_row["kl"] == pytest.approx(0, abs=1e-12)
        assert law_row["gradient_cosine"] == pytest.approx(1, abs=1e-12)
        assert law_row["gradient_relative_bias"] == pytest.approx(0, abs=1e-10)
        assert law_row["beta_field_fit"] == pytest.approx(1, abs=1e-6)
        assert law_row["beta_coupling_fit"] == pytest.approx(1, abs=1e-6)
        assert law_row["kl_fit"] == pytest.approx(0, abs=1e-10)
        # the squared error of 20,000 shots is the variance that the law says, a sum of few squares
        ratio = shot_row["gradient_relative_error"] ** 2 / shot_row["gradient_variance"]
        assert 0.01 < ratio < 8
        # and the variance is that of repeated estimates of the same gradient
        spread = variance_of_one_shot(exact_law(one), given.upstream[i : i + 1]) / (true**2).sum()
        assert shot_row["gradient_variance"] == pytest.approx(float(spread) / 20_000, rel=1e-6)


def test_variance_is_that_of_many_estimates() -> None:
    from classical import ExactSampler
    from hybrid_attention.estimators import ESTIMATORS
    from hybrid_attention.study.figures_of_merit import gradient

    given = instances(tiny(), Source(3, 1.0))
    one = IsingModel(given.model.fields[:1], given.model.couplings[:1])
    many = IsingModel(one.fields.expand(400, -1, -1), one.couplings.expand(400, -1, -1))
    drawn = ExactSampler().sample(many, shots=200, seed=3)
    found = gradient(ESTIMATORS["covariance"], drawn, many, given.upstream[:1].expand(400, -1, -1))  # type: ignore[arg-type]
    true = gradient_by_differences(one, given.upstream[0])
    np.testing.assert_allclose(found.mean(0), true, atol=5 * float(found.std(0).max()) / 20)
    spread = float(found.var(0).sum()) * 200
    # the sum of variances from 400 estimates is known to about √(2/400), with a few correlated parts
    assert spread == pytest.approx(float(variance_of_one_shot(exact_law(one), given.upstream[:1])), rel=0.25)


def test_weak_models_show_the_predicted_temperatures_and_strong_ones_do_not() -> None:
    study = tiny(shots="law", durations="4", calibrations="one-beta", trotter_steps="40", instances=8)
    for strength, close in ((0.05, True), (2.0, False)):
        (cell,) = cells(tiny(**{**TINY, "durations": "4", "calibrations": "one-beta"}), [Source(3, strength)])
        rows = measure(cell, study)
        away = [abs(row[f"beta_{x}_fit"] / row[f"beta_{x}"] - 1) for row in rows for x in ("field", "coupling")]
        assert (max(away) < 0.05) == close


def test_instances_are_the_same_numbers_at_every_strength_and_in_longer_studies() -> None:
    weak, strong = instances(tiny(), Source(3, 0.05)), instances(tiny(instances=9), Source(3, 1.0))
    torch.testing.assert_close(weak.model.fields / 0.05, strong.model.fields[:5])
    torch.testing.assert_close(weak.model.couplings / 0.05, strong.model.couplings[:5])
    assert torch.equal(weak.upstream, strong.upstream[:5])


def test_a_table_has_every_row_once(tmp_path) -> None:
    study = tiny()
    finished = run_study(study, StudyFolder(tmp_path / "study"), progress=False)
    rows = frame(read_results(tmp_path / "study"))
    assert finished.rows == len(rows) == 2 * 2 * 2 * 5 * (1 + 2)
    keys = ["strength", "duration", "calibration", "shots", "seed", "instance"]
    assert not rows.duplicated(keys).any()
    assert rows["kl"].notna().all()
    by_shots = rows.groupby("shots")["sampling_error"].mean()
    assert by_shots[0] < 1e-6 < by_shots[64]


def test_a_killed_study_goes_on_and_ends_with_the_same_table(tmp_path) -> None:
    whole = StudyFolder(tmp_path / "whole")
    run_study(tiny(), whole, progress=False)
    for stop_after in (0, 1, 5):
        folder = StudyFolder(tmp_path / f"stopped-{stop_after}")
        calls = []

        def dying(cell, study, calls=calls, stop_after=stop_after):
            if len(calls) == stop_after:
                raise KeyboardInterrupt
            calls.append(cell)
            return measure(cell, study)

        with pytest.raises(KeyboardInterrupt):
            run_study(tiny(), folder, progress=False, measure=dying)
        assert not folder.results.exists()
        # what a crash in the middle of writing leaves
        (folder.path / "parts").mkdir(exist_ok=True)
        (folder.path / "parts" / ".model-abc.parquet.123").write_bytes(b"half")
        run_study(tiny(), folder, resume=True, progress=False)
        assert not list((folder.path / "parts").glob(".*"))
        pd.testing.assert_frame_equal(
            without_times(read_results(folder.path)), without_times(read_results(whole.path)), check_exact=True
        )


def test_a_finished_study_resumes_to_itself_and_refuses_other_settings(tmp_path) -> None:
    folder = StudyFolder(tmp_path / "study")
    study = tiny(durations="1", calibrations="none", strengths="1", shots="law")
    run_study(study, folder, progress=False)
    first = folder.results.read_bytes()
    run_study(study, folder, resume=True, progress=False)
    assert folder.results.read_bytes() == first
    with pytest.raises(InputError, match="already has a study; add --resume"):
        run_study(study, folder, progress=False)
    with pytest.raises(InputError, match=r"study of other settings: durations \(1 → 2\); leave them out"):
        run_study(tiny(durations="2", calibrations="none", strengths="1", shots="law"), folder, resume=True)
    part = next((folder.path / "parts").iterdir())
    part.write_bytes(part.read_bytes()[:50])
    with pytest.raises(InputError, match=r"cannot be read .*; delete it and go on with --resume"):
        run_study(study, folder, resume=True, progress=False)


def test_without_exact_sums_more_spins_are_allowed(tmp_path) -> None:
    study = tiny(spins="18", exact=False, shots="32", durations="1", calibrations="none", strengths="1", instances=2)
    run_study(study, StudyFolder(tmp_path / "study"), progress=False)
    rows = frame(read_results(tmp_path / "study"))
    assert rows["kl"].isna().all()
    assert rows["gradient_cosine"].isna().all()
    assert rows["beta_field_fit"].notna().all()
    assert (rows["seconds"] > 0).all()


def test_training_rows(tmp_path) -> None:
    study = tiny(
        spins="4", train="brackets", training_steps=4, durations="2", calibrations="two-beta", strengths="1", seeds=2
    )
    folder = StudyFolder(tmp_path / "study")
    run_study(study, folder, progress=False)
    rows = frame(read_results(folder.path))
    runs = rows[rows["kind"] == "training"]
    assert sorted(runs["sampler"]) == ["exact", "exact", "statevector", "statevector"]
    assert runs["loss"].notna().all()
    assert set(runs["training_steps"]) == {4}
    assert set(runs["shots"]) == {64}
    assert runs["kl"].isna().all()
    assert not list(folder.runs.iterdir())


def test_mean_field_gibbs_polish_and_noise_have_their_laws(tmp_path) -> None:
    study = tiny(samplers="gibbs,mean-field", polish="0,1", strengths="1", shots="law")
    run_study(study, StudyFolder(tmp_path / "classical"), progress=False)
    kl = frame(read_results(tmp_path / "classical")).groupby(["sampler", "polish"])["kl"].mean()
    assert kl["gibbs", 0] < 1e-3
    assert kl["mean-field", 1] < kl["mean-field", 0]
    base = {"samplers": "aer", "durations": "4", "calibrations": "two-beta", "strengths": "1", "shots": "law"}
    for name, noise in (("quiet", ""), ("noisy", "depolarizing:0.05")):
        run_study(tiny(**base, noise=noise), StudyFolder(tmp_path / name), progress=False)
    quiet, noisy = (
        frame(read_results(tmp_path / name))["gradient_relative_bias"].mean() for name in ("quiet", "noisy")
    )
    assert noisy > quiet + 0.05


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    """A run that kept its Hamiltonians at steps 0, 3 and 6."""
    folder = RunFolder(tmp_path_factory.mktemp("run") / "run")
    train(small_config(export_every=3, couplings="position").resolved(), folder, progress=False)
    return folder


def of_a_run(run: RunFolder, **changes) -> StudyConfig:
    settings = {"models": str(run.path), "spins": "4", "strengths": "0.05,1", "shots": "law"}
    return tiny(**{**settings, **changes})


def test_the_hamiltonians_of_a_run(run, tmp_path) -> None:
    study = of_a_run(run, durations="4", calibrations="two-beta", at_steps="0,6", heads="1", instances=2)
    run_study(study, StudyFolder(tmp_path / "study"), progress=False)
    rows = frame(read_results(tmp_path / "study"))
    assert len(rows) == 2 * 2
    assert sorted(rows["step"].unique()) == [0, 6]
    assert set(rows["head"]) == {1}
    assert rows["strength"].isna().all()
    kept = hamiltonians.load(run, 6)
    given = instances(study, Source(4, 1.0, 6, 0, 1))
    for i in range(2):
        model = kept.model(0, 1, 3, i)
        torch.testing.assert_close(given.model.fields[i : i + 1], model.fields)
        torch.testing.assert_close(given.model.couplings[i : i + 1], model.couplings)
        torch.testing.assert_close(given.upstream[i, 0], kept.upstream[0][i, 1, 3, :4].double())
    # at the start there are no couplings, hence no coupling temperature to fit
    start = rows[rows["step"] == 0]
    assert start["beta_coupling_fit"].isna().all()
    assert start["beta_field_fit"].notna().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"at_steps": "4"}, r"--at-steps names 4; --models .* has 0, 3, 6"),
        ({"layers": "1"}, r"--layers names 1; --models .* has 0"),
        ({"heads": "7"}, r"--heads names 7; --models .* has 0, 1"),
        ({"spins": "9"}, r"--spins is 9, but the queries of --models .* see at most 4 keys"),
    ],
)
def test_what_a_run_does_not_have(run, tmp_path, settings, message) -> None:
    with pytest.raises(InputError, match=message):
        run_study(of_a_run(run, **settings), StudyFolder(tmp_path / "study"), progress=False)
    assert not (tmp_path / "study").exists()


def test_a_run_that_kept_nothing(tmp_path) -> None:
    folder = RunFolder(tmp_path / "run")
    train(small_config(steps=1, eval_every=1).resolved(), folder, progress=False)
    with pytest.raises(InputError, match="kept no Hamiltonians; train it with --export-every"):
        run_study(of_a_run(folder), StudyFolder(tmp_path / "study"), progress=False)


def test_a_gradient_that_vanishes_has_no_direction() -> None:
    from hybrid_attention.study.measure import _cosine

    found = _cosine(
        torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]])
    )
    assert found.isnan().tolist() == [True, False, True]
    assert float(found[1]) == pytest.approx(0.5**0.5)


def test_models_outside_a_designs_range_are_marked() -> None:
    study = tiny(schedules="preset:8", shots="law", strengths="1")
    marks = {}
    for strength in (0.5, 20.0):
        (cell,) = cells(study, [Source(3, strength)])
        marks[strength] = {row["outside_design"] for row in measure(cell, study)}
    assert marks == {0.5: {0}, 20.0: {1}}


def test_the_command_goes_on_with_the_studys_own_settings(tmp_path, capsys) -> None:
    out = tmp_path / "study"
    flags = ["--spins", "3", "--durations", "1,4", "--calibrations", "two-beta", "--schedules", "linear"]
    assert main(["study", *flags, "--instances", "2", "--workers", "0", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "gradient cosine" in said
    assert f"report: {out / 'report.html'}" in said
    next((out / "parts").iterdir()).unlink()
    assert main(["study", "--out", str(out), "--resume", "--workers", "0"]) == 0
    assert capsys.readouterr().out == said
    refused(capsys, ["study", "--out", out, "--resume", "--instances", "3"], "instances (2 → 3)")
    refused(capsys, ["study", "--out", out], "already has a study; add --resume")
    (out / "study.toml").write_text("colour = 3\n")
    refused(capsys, ["study", "--out", out, "--resume"], "is not a study's record")


def test_chains_claim_no_errors_that_hold_for_independent_shots() -> None:
    study = tiny(samplers="gibbs", shots="64", strengths="1", seeds=1)
    (cell,) = cells(study, [Source(3, 1.0)])
    for row in measure(cell, study):
        assert row["gradient_variance"] is None
        assert row["beta_field_fit_error"] is None
        assert row["beta_field_fit"] is not None


def test_the_time_of_a_row_is_not_that_of_compiling() -> None:
    study = tiny(samplers="gibbs", shots="64", strengths="1", seeds=2)
    (cell,) = cells(study, [Source(3, 1.0)])
    seconds = [row["seconds"] for row in measure(cell, study)]
    assert max(seconds) < 100 * min(seconds)


def test_trotter_error_is_the_steps_alone() -> None:
    settings = {"samplers": "aer", "durations": "4", "calibrations": "two-beta", "strengths": "1", "shots": "law"}
    found = []
    for noise in ("", "depolarizing:0.02"):
        study = tiny(**settings, noise=noise)
        (cell,) = cells(study, [Source(3, 1.0)])
        found.append([row["trotter_error"] for row in measure(cell, study)])
    np.testing.assert_allclose(*found, atol=1e-9)


def test_a_folder_whose_study_was_killed_at_its_very_start(tmp_path) -> None:
    study = tiny(durations="1", calibrations="none", strengths="1", shots="law")
    folder = StudyFolder(tmp_path / "study")
    folder.path.mkdir()
    (folder.path / ".study.toml.99").write_text("spi")  # while its settings were being written
    run_study(study, folder, progress=False)
    other = StudyFolder(tmp_path / "other")
    other.open(study.with_absolute_paths(), resume=False)  # and right after
    run_study(study, other, resume=True, progress=False)
    assert other.results.is_file()


def test_cells_that_share_a_fit_go_to_one_worker() -> None:
    study = tiny(calibrations="two-beta,tuned", durations="1,4", train="brackets", spins="4", strengths="0.5,1")
    grid = cells(study, [Source(4, 0.5), Source(4, 1.0)])
    found = batches(grid)
    assert sorted(cell.name for batch in found for cell in batch) == sorted(cell.name for cell in grid)
    together = [batch for batch in found if len(batch) > 1]
    assert [{cell.setting.calibration for cell in batch} for batch in together] == [{"tuned"}] * 2
    assert [[cell.source.strength for cell in batch] for batch in together] == [[0.5, 1.0]] * 2
    assert all(cell.kind == "model" for batch in together for cell in batch)
