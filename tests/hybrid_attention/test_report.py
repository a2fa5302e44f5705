"""The report: complete, readable without network, safe with any text, and never half-written."""

from __future__ import annotations

import html.parser
import json
import math
from pathlib import Path
from typing import Any

import plotly.offline
import pytest
import torch

from classical import ExactSampler
from hybrid_attention import charts, report
from hybrid_attention.build import using_sampler
from hybrid_attention.config import TrainConfig
from hybrid_attention.evaluate import evaluate
from hybrid_attention.run import RunFolder
from hybrid_attention.train import TrainedRun, train

SMALL = {"steps": 4, "eval_every": 2, "batch": 4, "dim": 8, "heads": 2, "length": 6, "eval_sequences": 32}
HOSTILE = "<script>alert(1)</script> & \"quoted\" 'text' <b>bold</b> {{ 7 * 7 }} %{z} <!-- \u2028 $x$\r\n" * 12


class Page(html.parser.HTMLParser):
    """What a browser would make of a page: elements, visible text, and figures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.script, self.styles = "", "", ""
        self.figures: dict[str, dict[str, Any]] = {}
        self._raw, self._figure, self._buffer = "", "", ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._raw, self._figure, self._buffer = tag, dict(attrs).get("data-for") or "", ""

    def handle_endtag(self, tag: str) -> None:
        if tag != self._raw:
            return
        if self._figure:
            self.figures[self._figure] = json.loads(self._buffer)
        elif tag == "script":
            self.script += self._buffer
        else:
            self.styles += self._buffer
        self._raw = ""

    def handle_data(self, data: str) -> None:
        if self._raw:
            self._buffer += data
        else:
            self.text += data

    def shown(self, kind: str) -> dict[str, dict[str, Any]]:
        """Figures by their accessible name, of one class."""
        places = {a["id"]: a for tag, a in self.elements if tag == "div" and a.get("class") == kind}
        return {str(place["aria-label"]): self.figures[str(name)] for name, place in places.items()}


def trained(folder: Path, **settings: Any) -> TrainedRun:
    return train(TrainConfig(**{**SMALL, **settings}), RunFolder(folder / "run"), progress=False)


def page(run: TrainedRun) -> Page:
    return Page(report.write_report(run).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def brackets(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    return trained(tmp_path_factory.mktemp("brackets"), layers=2)


def test_it_loads_nothing(brackets: TrainedRun) -> None:
    found = page(brackets)
    loaded = [
        (tag, name, value)
        for tag, attributes in found.elements
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "data", "action", "poster") and not (value or "").startswith("data:")
    ]
    assert loaded == []
    assert "@import" not in found.styles
    assert "url(" not in found.styles
    policy = [a["content"] for tag, a in found.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy
    assert policy[0] is not None
    assert "default-src 'none'" in policy[0]
    assert "http" not in policy[0]


def test_the_library_is_embedded_once_and_whole(brackets: TrainedRun) -> None:
    found = page(brackets)
    assert found.script.count(plotly.offline.get_plotlyjs()) == 1
    assert found.script.rstrip().endswith("}")
    assert any(tag == "noscript" for tag, _ in found.elements)


def test_curves_show_every_evaluation(brackets: TrainedRun) -> None:
    figures = page(brackets).shown("curve")
    loss, accuracy = figures["Loss on held-out and training sequences"], figures["Accuracy on held-out sequences"]
    rows = brackets.rows
    traces = {trace["name"]: trace for trace in loss["data"]}
    assert set(traces) == {"training", "held out, exact", "chance, 1.386"}
    assert traces["held out, exact"]["x"] == [row["step"] for row in rows] == [0, 2, 4]
    assert traces["held out, exact"]["y"] == [row["loss_exact"] for row in rows]
    assert traces["training"]["y"] == [row["train_loss"] for row in rows[1:]]
    assert traces["chance, 1.386"]["y"] == [math.log(4)] * 2
    assert loss["layout"]["xaxis"]["title"]["text"] == "training step"
    assert "nats" in loss["layout"]["yaxis"]["title"]["text"]
    traces = {trace["name"]: trace for trace in accuracy["data"]}
    assert traces["held out, exact"]["y"] == [row["accuracy_exact"] for row in rows]
    assert traces["chance, 25%"]["y"] == [0.25, 0.25]


def test_samples_and_exact_sums_are_separate_curves(tmp_path: Path) -> None:
    run = trained(tmp_path, sampler="aer", steps=1, eval_every=1, length=2, eval_sequences=4, shots=8, trotter_steps=4)
    found = page(run)
    traces = {t["name"]: t["y"] for t in found.shown("curve")["Loss on held-out and training sequences"]["data"]}
    assert traces["held out, aer"] == [row["loss"] for row in run.rows]
    assert traces["held out, exact"] == [row["loss_exact"] for row in run.rows]
    assert traces["held out, aer"] != traces["held out, exact"]
    assert "Loss, on samples" in found.text
    assert "linear, T = 6, 4 Trotter steps" in found.text


def test_the_headline_is_the_exact_result(brackets: TrainedRun) -> None:
    found = page(brackets)
    held_out = brackets.task.validation(brackets.config.eval_sequences)
    result = evaluate(brackets.model, held_out, ExactSampler(), brackets.config.seed)
    assert result.loss == pytest.approx(brackets.rows[-1]["loss_exact"], rel=1e-6)
    assert report.with_error(result.loss, result.loss_error) in found.text
    assert f"{result.accuracy:.1%}" in found.text
    assert "chance 25.0%" in found.text


def test_attention_of_every_layer_and_head_with_future_keys_blank(brackets: TrainedRun) -> None:
    figures = page(brackets).shown("map")
    sequences = report.example_sequences(brackets)
    assert len(sequences) == 2
    with using_sampler(brackets.model, ExactSampler()), torch.no_grad():
        weights = brackets.model(sequences, need_weights=True).weights
    for number, tokens in enumerate(sequences):
        for layer in range(2):
            for head in range(2):
                name = f"Attention weights of sequence {number + 1}, layer {layer + 1}, head {head + 1}"
                figure = figures[name]
                shown = figure["data"][0]["z"]
                for query in range(6):
                    assert shown[query][query + 1 :] == [None] * (5 - query)
                    expected = weights[layer][number, head, query, : query + 1].tolist()
                    assert shown[query][: query + 1] == pytest.approx(expected, abs=1e-6)
                for axis in ("xaxis", "yaxis"):
                    ticks = figure["layout"][axis]["ticktext"]
                    assert [html.unescape(tick) for tick in ticks] == brackets.task.labels(tokens)
                assert figure["layout"]["yaxis"]["autorange"] == "reversed"


def test_learned_couplings_of_every_head_on_a_scale_about_zero(brackets: TrainedRun) -> None:
    figures = page(brackets).shown("map")
    for layer, attention in enumerate(brackets.model.attentions()):
        learned = attention.get_submodule("couplings")(torch.zeros(1, 6, 8)).tolist()
        for head in range(2):
            figure = figures[f"Couplings, layer {layer + 1}, head {head + 1}"]
            data = figure["data"][0]
            assert data["zmin"] == -data["zmax"] < 0
            for j in range(6):
                assert data["z"][j][j] is None
                for k in range(j + 1, 6):
                    assert data["z"][j][k] == data["z"][k][j] == pytest.approx(learned[head][j][k])
            assert figure["layout"]["xaxis"]["ticktext"] == ["1", "2", "3", "4", "5", "6"]


@pytest.mark.parametrize("attention", ["softmax", "sigmoid"])
def test_attention_without_couplings(tmp_path: Path, attention: str) -> None:
    found = page(trained(tmp_path, attention=attention, heads=1))
    assert "no couplings" in found.text
    assert sorted(found.shown("map")) == [f"Attention weights of sequence {i}, layer 1, head 1" for i in (1, 2)]
    assert "Ising" not in found.text


def test_no_couplings_and_fixed_couplings(tmp_path: Path) -> None:
    assert "no couplings" in page(trained(tmp_path / "none", couplings="none")).text
    assert "not trained" in page(trained(tmp_path / "fixed", couplings="fixed")).text


def test_content_couplings_are_those_of_the_sequence(tmp_path: Path) -> None:
    run = trained(tmp_path, couplings="content", lr=0.05)
    figures = page(run).shown("map")
    shown = []
    for number, tokens in enumerate(report.example_sequences(run), 1):
        figure = figures[f"Couplings of sequence {number}, layer 1, head 2"]
        assert [html.unescape(tick) for tick in figure["layout"]["xaxis"]["ticktext"]] == run.task.labels(tokens)
        shown.append(figure["data"][0]["z"])
    assert shown[0] != shown[1]


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    source = tmp_path / "<img src=x onerror=alert(1)>.txt"
    source.write_text(HOSTILE, encoding="utf-8", newline="")
    run = trained(tmp_path, task="text", text=str(source), eval_sequences=8, readout="sum")
    found = page(run)
    assert sum(tag == "script" for tag, _ in found.elements) == len(found.figures) + 2
    assert all(tag not in ("img", "b") for tag, _ in found.elements)
    assert source.name in found.text
    for tokens in report.example_sequences(run):
        assert "".join(run.task.labels(tokens)) in found.text
    for figure in found.shown("map").values():
        for row in [figure["layout"]["xaxis"]["ticktext"], *figure["data"][0]["customdata"]]:
            assert not any("<" in text for text in row)
    assert "Bits per character" in found.text
    assert "probabilities that a key is attended" in found.text


def test_labels_reach_the_axes_escaped() -> None:
    figure = charts.attention_map(torch.eye(3), ["<", "&", '"'], 1.0)
    assert list(figure.layout.xaxis.ticktext) == ["&lt;", "&amp;", '"']
    assert figure.data[0].customdata[1][0] == "query 2 &amp; → key 1 &lt;"


def test_a_failure_leaves_the_report_before(brackets: TrainedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    before = report.write_report(brackets).read_bytes()

    def fail(*_: Any) -> None:
        raise RuntimeError("no chart")

    monkeypatch.setattr(charts, "coupling_map", fail)
    with pytest.raises(RuntimeError, match="no chart"):
        report.write_report(brackets)
    assert brackets.folder.report.read_bytes() == before
    assert [path.name for path in brackets.folder.path.glob("*report*")] == ["report.html"]
    assert [path.name for path in brackets.folder.path.glob(".*")] == []


def test_looking_at_a_model_leaves_it_as_it_was(brackets: TrainedRun) -> None:
    samplers = [attention.sampler for attention in brackets.model.attentions()]
    report.look_at(brackets, report.example_sequences(brackets)[0])
    assert [attention.sampler for attention in brackets.model.attentions()] == samplers
    assert not any(a.get_submodule("couplings")._forward_hooks for a in brackets.model.attentions())


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (2.13312, 0.00871, "2.1331 ± 0.0087"),
        (0.04566, 0.0663, "0.046 ± 0.066"),
        (12.3, 15.2, "12 ± 15"),
        (1.5, 0.0, "1.5000"),
        (1.5, math.nan, "1.5000"),
    ],
)
def test_a_number_has_as_many_digits_as_its_error_allows(value: float, error: float, text: str) -> None:
    assert report.with_error(value, error) == text
