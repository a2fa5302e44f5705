"""The report of a study: the right answer in words, numbers that can be checked by hand, and a page that works."""

from __future__ import annotations

import html.parser
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import t as student

from hybrid_attention.errors import InputError
from hybrid_attention.study import pictures, report
from hybrid_attention.study.columns import COLUMNS, schema
from hybrid_attention.study.drawing import cosine_axis, log_ticks
from hybrid_attention.study.findings import difference, findings
from hybrid_attention.study.headline import statements
from hybrid_attention.study.report import write_report
from hybrid_attention.study.settings import StudyConfig
from hybrid_attention.study.storage import StudyFolder
from hybrid_attention.study.summary import Mean, mean, means, measured, paired, split
from hybrid_attention.study.temperature_figures import agreement, crossing
from hybrid_attention.study.training_summary import training_means
from quantum import AnnealSchedule, response

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def row(**values: Any) -> dict[str, Any]:
    """A row of a table, null where nothing is said."""
    usual = {"kind": "model", "models": "random", "spins": 8, "strength": 1.0, "sampler": "statevector", "polish": 0}
    usual |= {"schedule": "linear", "calibration": "two-beta", "shots": 0, "instance": 0, "seed": 0}
    usual |= {"estimator": "covariance", "trotter_steps": 8, "two_qubit_gates": 224, "depth": 86}
    return {name: {**usual, **values}.get(name) for name in COLUMNS}


def table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pa.Table.from_pylist(rows, schema=schema()).to_pandas()


def anneal(T: float, cosines: list[float], **values: Any) -> list[dict[str, Any]]:
    """One linear anneal on several models."""
    beta = response(AnnealSchedule.linear(T), 64)
    fits = {"beta_field": beta.beta_h, "beta_coupling": beta.beta_J, "field_factor": 1.0, "coupling_factor": 1.0}
    fits |= {"beta_field_fit": beta.beta_h * 1.01, "beta_coupling_fit": beta.beta_J * 0.99}
    shape = {"duration": T, "two_qubit_gates": int(100 * T), **fits}
    return [row(**{**shape, "instance": i, "gradient_cosine": c, "kl": 1 - c, **values}) for i, c in enumerate(cosines)]


def designed(steps: int, cosines: list[float], **values: Any) -> list[dict[str, Any]]:
    shape = {"schedule": f"preset:{steps}", "calibration": "none", "trotter_steps": steps, **values}
    return [row(**shape, instance=i, gradient_cosine=c, kl=1 - c) for i, c in enumerate(cosines)]


def trained(losses: list[float], **values: Any) -> list[dict[str, Any]]:
    shape = {"kind": "training", "task": "text", "training_steps": 20, "shots": 256, "instance": None, **values}
    return [row(**{**shape, "seed": s, "loss": x, "loss_error": 0.01, "accuracy": 0.5}) for s, x in enumerate(losses)]


def exact(losses: list[float]) -> list[dict[str, Any]]:
    return trained(losses, sampler="exact", schedule=None, calibration=None, trotter_steps=None, two_qubit_gates=None)


def said(rows: list[dict[str, Any]], **settings: Any) -> str:
    return " ".join(statements(table(rows), StudyConfig(**settings)))


def test_the_shortest_duration_that_reaches_the_target() -> None:
    rows = anneal(4, [0.97, 0.98]) + anneal(10, [0.991, 0.993]) + anneal(20, [0.994, 0.996])
    rows += anneal(10, [0.995, 0.995], calibration="tuned")
    text = said(rows + designed(8, [0.996, 0.998]) + designed(16, [0.999, 0.999]))
    assert text.startswith(
        "To reach a gradient cosine of 0.99 at 8 spins, anneal for at least T = 10 (tuned calibration"
    )
    assert "linear): it reaches 0.9950." in text
    assert text.endswith("The designed circuit of 8 steps reaches 0.9970 ± 0.0010.")


def test_a_mean_above_the_target_by_less_than_its_error_does_not_reach_it() -> None:
    text = said(anneal(4, [0.90, 0.92]) + anneal(10, [0.982, 1.0]))
    assert "none of the linear anneals was long enough" in text
    assert "the best reaches 0.9910 ± 0.0090 at T = 10" in text
    assert "above the target, but by less than its standard error" in text


def test_not_reached() -> None:
    text = said(anneal(20, [0.91, 0.91]) + anneal(40, [0.986, 0.988]))
    assert "none of the linear anneals was long enough; the best reaches 0.9870 ± 0.0010 at T = 40" in text
    assert "above the target" not in text


def test_a_longer_anneal_that_fails_again_is_named() -> None:
    text = said(anneal(4, [0.995, 0.995]) + anneal(9, [0.97, 0.97]), target=0.99)
    assert "at least T = 4" in text
    assert "but no longer at T = 9" in text


def test_weak_models_and_few_shots_do_not_make_the_headline() -> None:
    rows = anneal(4, [0.95, 0.95]) + anneal(4, [0.999, 0.999], strength=0.1) + anneal(4, [0.8, 0.8], shots=64)
    assert "the best reaches 0.9500 at T = 4" in said(rows)


def test_without_a_law_the_most_shots_are_taken_and_said() -> None:
    rows = anneal(4, [0.8, 0.8], shots=64) + anneal(4, [0.993, 0.993], shots=512)
    assert "at 8 spins with 512 shots, anneal for at least T = 4" in said(rows)


def test_a_statement_for_every_number_of_spins() -> None:
    found = statements(table(anneal(4, [0.995, 0.995], spins=10) + anneal(4, [0.9, 0.9], spins=6)), StudyConfig())
    assert len(found) == 2
    assert "at 6 spins, none" in found[0]
    assert "at 10 spins, anneal for at least T = 4" in found[1]


def test_other_studies_have_sensible_statements() -> None:
    assert "At 8 spins, no linear anneal was studied. The designed circuit of 4 steps reaches" in said(
        designed(4, [0.98, 0.97])
    )
    bare = [{**one, "gradient_cosine": None, "kl": None} for one in anneal(4, [0.9], shots=64)]
    assert "says nothing on the accuracy" in said(bare, exact=False)
    gibbs = [
        row(sampler="gibbs", schedule=None, calibration=None, gradient_cosine=c, instance=i) for i, c in [(0, 0.9)]
    ]
    assert "Gibbs reaches 0.9000" in said(gibbs)
    assert "one model, so no error is known" in said(anneal(4, [0.995]))


def test_hamiltonians_of_a_run_are_averaged_over_heads_within_a_sequence() -> None:
    rows = []
    for head, shift in ((0, 0.0), (1, 0.004)):
        of_run = {"models": "/somewhere/my-run", "strength": None, "step": 300, "layer": 0, "head": head}
        rows += anneal(6, [0.991 + shift, 0.993 + shift], **of_run)
    kinds = split(table(rows))
    assert [models.name for models in kinds] == [
        "8 keys, step 300, all layers and heads",
        "8 keys, step 300, layer 0, head 0",
        "8 keys, step 300, layer 0, head 1",
    ]
    found = mean(kinds[0].rows, "gradient_cosine")
    assert found.value == pytest.approx(0.994)
    assert found.error == pytest.approx(0.001)  # of 0.993 and 0.995, not of four numbers
    text = said(rows, models="/somewhere/my-run")
    assert "for the 8-key Hamiltonians of my-run at step 300, anneal for at least T = 6" in text
    assert "/somewhere" not in text


def test_means_by_hand() -> None:
    rows = [row(duration=1.0, instance=i, seed=s, kl=v) for i, s, v in ((0, 0, 1.0), (0, 1, 3.0), (1, 0, 6.0))]
    found = means(table([*rows, row(duration=1.0, instance=2)]), "kl", ["duration"]).iloc[0]
    assert found["value"] == 4.0  # of 2 and 6: the repetitions of a model count once, and a null does not
    assert found["error"] == pytest.approx(2.0)
    assert found["number"] == 2


def test_differences_are_taken_model_by_model_and_called_noise_when_they_are() -> None:
    first, second = (table([row(instance=i, kl=v) for i, v in enumerate(vs)]) for vs in ((1, 5, 9), (0.9, 4.8, 8.7)))
    found = paired(first, second, "kl")
    assert found.value == pytest.approx(0.2)
    assert found.error == pytest.approx(0.1 / math.sqrt(3))
    assert "noise" not in difference(found)
    assert difference(Mean(0.2, 0.1, 3)).endswith("inside the noise")
    assert difference(Mean(-0.3, 0.1, 3)) == "−0.30 ± 0.10"


def test_findings_call_a_difference_between_calibrations_noise() -> None:
    rows = anneal(10, [0.95, 0.97]) + anneal(10, [0.96, 0.961], calibration="tuned")
    found = findings(split(table(rows))[0], StudyConfig())
    assert any("lowest KL at the longest duration, T = 10" in text and "inside the noise" in text for text in found)


def test_linear_response_holds_where_fits_are_close() -> None:
    beta = response(AnnealSchedule.linear(4.0), 64)
    good = anneal(4, [0.9, 0.9])
    bad = anneal(6, [0.9, 0.9], beta_field_fit=10.0)
    found = agreement(table(good + bad)).set_index(["duration", "part"])
    assert found.loc[(4.0, "field"), "value"] == pytest.approx(1.01)
    assert found["holds"].tolist() == [True, True, False, True]
    assert crossing() == pytest.approx(2.863, abs=2e-3)
    assert beta.beta_h > beta.beta_J


def test_training_intervals_are_paired_by_seed() -> None:
    rows = exact([2.30, 2.40, 2.50]) + trained([2.306, 2.404, 2.505], duration=4.0)
    found = training_means(table(rows)).set_index("sampler").loc["statevector"]
    differences = pd.Series([0.006, 0.004, 0.005])
    assert found["difference"] == pytest.approx(0.005)
    assert found["difference_half"] == pytest.approx(student.ppf(0.975, 2) * differences.std() / math.sqrt(3))
    assert found["loss_half"] > 0.2


def test_the_shortest_anneal_that_trains_as_well_as_exact_samples() -> None:
    rows = exact([2.30, 2.40, 2.50]) + trained([2.36, 2.45, 2.56], duration=1.0)
    rows += trained([2.306, 2.404, 2.505], duration=4.0) + trained([2.301, 2.401, 2.501], duration=9.0)
    text = said(anneal(4, [0.9, 0.9]) + rows)
    assert "the shortest anneal whose loss lies within 0.015 nats of exact samples" in text
    assert "has T = 4 (two-beta)" in text
    none = said(anneal(4, [0.9, 0.9]) + exact([2.3, 2.4]) + trained([2.32, 2.40], duration=4.0))
    assert "no loss is shown to lie within 0.015 nats" in none
    assert "more seeds would narrow it" in none
    assert "one seed gives no interval" in said(anneal(4, [0.9]) + exact([2.3]) + trained([2.3], duration=4.0))


def test_small_numbers_are_powers_of_ten() -> None:
    assert measured(0.99648, 0.00074) == "0.99648 ± 0.00074"
    assert measured(8.45e-6, 8.6e-7) == "(8.45 ± 0.86)·10⁻⁶"
    assert measured(0.0, math.nan) == "0.0000"


def test_axes_mark_round_numbers() -> None:
    assert [text for _, text in log_ticks(0.4, 21)] == ["0.5", "1", "2", "5", "10", "20"]
    assert [text for _, text in log_ticks(1e-6, 1e-2)] == ["10⁻⁶", "10⁻⁵", "0.0001", "0.001", "0.01"]
    axis = cosine_axis([0.5, 0.999])
    assert axis.flipped
    assert {"0.5", "0.9", "0.99", "0.999"} <= {text for _, text in axis.ticks}


class Page(html.parser.HTMLParser):
    """Elements of a page, and its text outside scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self._raw = "", False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._raw = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._raw = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._raw else data


def finished(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> StudyFolder:
    folder.mkdir()
    StudyConfig(**settings).save(folder / "study.toml")
    pq.write_table(pa.Table.from_pylist(rows, schema=schema()), folder / "results.parquet")
    return StudyFolder(folder)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    rows = []
    for strength in (1.0, 0.1):
        for shots in (0, 64, 256) if strength == 1.0 else (0,):
            loss = 0.0 if shots == 0 else 1.0 / shots
            for T, cosine in ((1.0, 0.8), (4.0, 0.95), (12.0, 0.99)):
                for calibration in ("two-beta", "tuned"):
                    shape = {"strength": strength, "shots": shots, "calibration": calibration}
                    rows += anneal(T, [cosine - loss, cosine + 0.004 - loss], **shape)
            rows += designed(8, [0.996 - loss, 0.997 - loss], strength=strength, shots=shots)
    rows += exact([2.3, 2.4]) + trained([2.32, 2.41], duration=1.0) + trained([2.301, 2.401], duration=12.0)
    folder = finished(tmp_path_factory.mktemp("study") / "it", rows, shots="law,64,256", text="", schedules="linear")
    write_report(folder)
    return folder


def test_the_page_is_complete_and_loads_nothing(study: StudyFolder) -> None:
    page = Page(study.report.read_text(encoding="utf-8"))
    links = [value or "" for tag, found in page.elements for name, value in found.items() if name in ("src", "href")]
    assert "results.parquet" in links
    assert not [link for link in links if "//" in link]
    assert not [link for link in links if link.startswith("figures/") and not (study.path / link).exists()]
    assert not [tag for tag, _ in page.elements if tag in ("img", "iframe", "object")]
    for name, column in COLUMNS.items():
        assert name in page.text
        assert column.unit in page.text
    assert str(study.path) not in page.text
    for heading in ("KL against duration", "Two temperatures", "Training", "Cost against accuracy", "Shots against"):
        assert heading in page.text
    assert "anneal for at least T\u00a0=\u00a012" in page.text


def test_every_figure_has_its_files(study: StudyFolder) -> None:
    names = {path.stem for path in study.figures.iterdir()}
    every = {f"{key}-n8-strength{s}" for key in ("kl-duration", "cosine-duration", "cost-accuracy") for s in (1, 0.1)}
    assert every | {"temperatures-n8", "training-n8", "shots-accuracy-n8-strength1"} <= names
    for name in names:
        assert (study.figures / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in (study.figures / f"{name}.svg").read_bytes()[:2000]


def test_files_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = finished(tmp_path / "study", designed(8, [0.9, 0.92]))
    written: list[str] = []
    monkeypatch.setattr(report, "write_text", lambda path, text: written.append(path.name))
    monkeypatch.setattr(pictures, "write_bytes", lambda path, data: written.append(path.name))
    write_report(folder)
    assert written[-1] == "report.html"
    assert {"kl-duration.png", "kl-duration.svg", "cost-accuracy.png"} <= set(written)
    assert not list(folder.figures.iterdir())  # nothing goes past what replaces a file at once


def test_a_folder_without_a_table_is_refused(tmp_path: Path) -> None:
    StudyConfig().save(tmp_path / "study.toml")
    with pytest.raises(InputError, match="finished study"):
        write_report(StudyFolder(tmp_path))


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the search path (chromium, google-chrome)")
def test_in_a_browser(study: StudyFolder) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True).new_page()
        trouble: list[str] = []
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith("file:") else trouble.append(request.url))
        page.goto(study.report.as_uri())
        _is_drawn(page, 13)
        first = page.locator(".curve:visible").first
        before = first.locator(".scatterlayer .trace").count()
        first.locator(".legendtoggle").first.click()
        _until(page, lambda: first.locator(".scatterlayer .trace").count() < before)
        shown = first.get_attribute("id")
        page.select_option("#models", label="8 spins, strength 0.1")
        assert page.locator(".curve:visible").first.get_attribute("id") != shown
        page.set_viewport_size({"width": 390, "height": 844})
        _is_drawn(page, 10)
        assert trouble == []
        browser.close()


def _until(page: Any, done: Callable[[], bool]) -> None:
    """Wait for the page; its own policy forbids the scripts by which a browser could be made to."""
    for _ in range(200):
        if done():
            return
        page.wait_for_timeout(50)
    raise AssertionError("the page did not get there in ten seconds")


def _is_drawn(page: Any, figures: int) -> None:
    """Every visible figure has its lines, and nothing sticks out sideways."""
    shown = "[...document.querySelectorAll('.curve')].filter(place => place.offsetParent)"
    _until(page, lambda: page.evaluate(f"{shown}.every(place => place.querySelector('.legend'))"))
    _until(page, lambda: page.evaluate(f"{shown}.every(p => p.querySelector('svg').clientWidth <= p.clientWidth)"))
    places = page.locator(".curve:visible")
    assert places.count() == figures
    for place in places.all():
        box = place.locator("svg.main-svg").first.bounding_box()
        assert box is not None
        assert box["width"] > 200
        assert box["height"] > 200
        assert place.locator(".scatterlayer .trace").count() >= 1
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
