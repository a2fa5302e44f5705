"""The report of a study: one page with the answer and figures one can ask, readable offline, and pictures beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

import hybrid_attention
from hybrid_attention.files import write_text
from hybrid_attention.study.accuracy_figures import cosine_figure, cost_figure, kl_figure, shots_figure
from hybrid_attention.study.columns import COLUMNS
from hybrid_attention.study.drawing import Figure, Panel, with_subscripts
from hybrid_attention.study.findings import findings
from hybrid_attention.study.headline import statements
from hybrid_attention.study.pictures import write_pictures
from hybrid_attention.study.settings import StudyConfig
from hybrid_attention.study.storage import StudyFolder, read_results
from hybrid_attention.study.study_charts import chart, height
from hybrid_attention.study.summary import Models, split
from hybrid_attention.study.temperature_figures import temperature_figure
from hybrid_attention.study.training_figures import training_figure
from hybrid_attention.study.training_summary import WITHIN

MOST_PICTURED = 12
"""Kinds of models up to which each gets its own pictures; beyond them the heads of a run are on the page alone."""


@dataclass(frozen=True)
class Shown:
    """A figure and when it is on the page.

    Args:
        figure: what is drawn.
        name: of its pictures, "" where it has none.
        choices: numbers of the kinds of models that it is about.
    """

    figure: Figure
    name: str
    choices: list[int]


def write_report(folder: StudyFolder) -> str:
    """Write a study's report.html and the pictures of its figures; what is there stays until the new is complete.

    Args:
        folder: of a finished study.

    Returns:
        The headline: the study's answer in plain sentences.

    Raises:
        InputError: a folder without settings or table.
    """
    study, table = StudyConfig.load(folder.settings), read_results(folder.path).to_pandas()
    kinds = split(table)
    shown = list(_figures(table, study, kinds))
    folder.figures.mkdir(exist_ok=True)
    for one in shown:
        if one.name:
            write_pictures(one.figure, folder.figures, one.name)
    answer = statements(table, study)
    write_text(folder.report, render(table, study, kinds, shown, answer))
    return " ".join(answer)


def render(table: pd.DataFrame, study: StudyConfig, kinds: list[Models], shown: list[Shown], answer: list[str]) -> str:
    """The report as one HTML page that loads nothing else.

    Args:
        table: of the study.
        study: its settings.
        kinds: of models, in the order of the page's choice.
        shown: figures.
        answer: the headline, statement by statement.
    """
    environment = page_environment()
    numbers = count(1)
    sections: dict[str, list[dict]] = {}
    for one in shown:
        panels = [page_panel(panel, f"figure-{next(numbers)}") for panel in one.figure.panels]
        block = {"figure": one.figure, "panels": panels, "name": one.name, "choices": one.choices}
        sections.setdefault(one.figure.title, []).append(block)
    return environment.get_template("study.html.j2").render(
        title="Schedule duration against accuracy",
        answer=answer,
        kinds=[models.name for models in kinds],
        findings=[findings(models, study) for models in kinds],
        sections=sections,
        settings=_settings(study),
        columns=COLUMNS,
        rows=len(table),
        instances=int(table["instance"].nunique()),
        study=study,
        within=WITHIN,
        trained=bool((table["kind"] == "training").any()),
        compared=bool(table["gradient_cosine"].notna().any()),
        version=hybrid_attention.__version__,
        plotly=Markup(get_plotlyjs()),
    )


def page_environment() -> jinja2.Environment:
    """What pages are made with."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hybrid_attention"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["written"] = _written
    return environment


def page_panel(panel: Panel, name: str) -> dict[str, Any]:
    """What a page needs of a panel.

    Args:
        panel: what is drawn.
        name: of its place on the page.
    """
    return {
        "id": name,
        "title": panel.title,
        "height": height(panel),
        # plotly writes <, > and / of its JSON as \u escapes, so that nothing in it can end the script element
        "json": Markup(chart(panel).to_json()),
    }


def _figures(table: pd.DataFrame, study: StudyConfig, kinds: list[Models]) -> Iterator[Shown]:
    """Every figure, section by section."""
    yield from _for_each(lambda models, _: kl_figure(models), kinds, study)
    yield from _for_each(cosine_figure, kinds, study)
    for spins in dict.fromkeys(models.spins for models in kinds):
        choices = [number for number, models in enumerate(kinds) if models.spins == spins]
        figure = temperature_figure([kinds[number] for number in choices if kinds[number].pooled])
        if figure is not None:
            yield Shown(figure, figure.key, choices)
    for spins in dict.fromkeys(models.spins for models in kinds):
        choices = [number for number, models in enumerate(kinds) if models.spins == spins]
        figure = training_figure(table, spins)
        if figure is not None:
            yield Shown(figure, figure.key, choices)
    yield from _for_each(cost_figure, kinds, study)
    yield from _for_each(shots_figure, kinds, study)


def _for_each(
    make: Callable[[Models, StudyConfig], Figure | None], kinds: list[Models], study: StudyConfig
) -> Iterator[Shown]:
    """A figure of every kind of models."""
    for number, models in enumerate(kinds):
        figure = make(models, study)
        if figure is not None:
            pictured = models.pooled or len(kinds) <= MOST_PICTURED
            name = figure.key if len(kinds) == 1 else f"{figure.key}-{models.key}"
            yield Shown(figure, name if pictured else "", [number])


def _written(text: str) -> Markup:
    """Text for the page: indices below, and numbers kept with their errors."""
    kept = text.replace(" ± ", "\u00a0±\u00a0").replace(" = ", "\u00a0=\u00a0")
    return Markup(with_subscripts(str(escape(kept)), "β<sub>{}</sub>"))


def _settings(study: StudyConfig) -> list[tuple[str, str]]:
    """Settings by flag, files by their names alone."""
    found = []
    for name, value in asdict(study).items():
        text = ("yes" if value else "no") if isinstance(value, bool) else str(value)
        if name in ("models", "text", "schedules"):
            text = ", ".join(Path(part).name for part in text.split(",")) if "/" in text else text.replace(",", ", ")
        elif isinstance(value, str):
            text = text.replace(",", ", ")
        found.append(("--" + name.replace("_", "-"), text or "–"))
    return found
