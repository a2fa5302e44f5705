"""The report of an ablation: one page with the answer and its figures, readable offline, and pictures beside it."""

from __future__ import annotations

from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup
from plotly.offline import get_plotlyjs

import hybrid_attention
from hybrid_attention.ablation.columns import COLUMNS
from hybrid_attention.ablation.figures import figures
from hybrid_attention.ablation.grid import TUNE
from hybrid_attention.ablation.settings import AblationConfig
from hybrid_attention.ablation.statements import statements
from hybrid_attention.ablation.storage import AblationFolder
from hybrid_attention.ablation.summary import compared
from hybrid_attention.config import TrainConfig
from hybrid_attention.files import write_text
from hybrid_attention.flags import flag
from hybrid_attention.study.pictures import write_pictures
from hybrid_attention.study.report import page_environment, page_panel
from hybrid_attention.tables import read_table

TITLE = "What the couplings are worth"


def read_results(path: Path) -> pd.DataFrame:
    """The table of an ablation.

    Args:
        path: its folder or its results.parquet.

    Raises:
        InputError: no table there, or one without the columns of an ablation.
    """
    table: pd.DataFrame = read_table(path, COLUMNS, "an ablation").to_pandas()
    return table


def write_report(folder: AblationFolder) -> list[str]:
    """Write report.html and the pictures of its figures; what is there stays until the new is complete.

    Args:
        folder: of an ablation.

    Returns:
        The answer in plain sentences.

    Raises:
        InputError: a folder without settings or table.
    """
    ablation, table = AblationConfig.load(folder.settings), read_results(folder.path)
    answer = statements(table, ablation)
    shown = list(figures(table, ablation)) if len(compared(table)) else []
    folder.figures.mkdir(exist_ok=True)
    for figure in shown:
        write_pictures(figure, folder.figures, figure.key)
    numbers = count(1)
    blocks = [
        {
            "figure": figure,
            "panels": [page_panel(panel, f"figure-{next(numbers)}") for panel in figure.panels],
            "name": figure.key,
        }
        for figure in shown
    ]
    page = page_environment().get_template("ablation.html.j2")
    text = page.render(
        title=TITLE,
        answer=answer,
        blocks=blocks,
        tuning=_tuning(table),
        matched=ablation.match,
        settings=_settings(ablation),
        columns=COLUMNS,
        rows=len(table),
        version=hybrid_attention.__version__,
        plotly=Markup(get_plotlyjs()),
    )
    write_text(folder.report, text)
    return answer


def _tuning(table: pd.DataFrame) -> dict[str, Any] | None:
    """Mean losses by learning rate, None where there was nothing to choose."""
    rows = table[table["stage"] == TUNE]
    if not len(rows):
        return None
    rates = sorted(rows["rate"].unique())
    lines = []
    for (task, length, arm), own in rows.groupby(["task", "length", "arm"], sort=False):
        means = {rate: of_rate["loss"].mean(skipna=False) for rate, of_rate in own.groupby("rate")}
        found = [f"{means[rate]:.4f}" if rate in means and means[rate] == means[rate] else "–" for rate in rates]
        lines.append([task, str(length), arm, *found])
    return {"columns": ["Task", "Length", "Arm", *(f"rate {rate:g}" for rate in rates)], "rows": lines}


def _settings(ablation: AblationConfig) -> list[tuple[str, str]]:
    """Settings by flag, those of runs where they differ from train's defaults, files by their names alone."""
    own = {name: value for name, value in asdict(ablation).items() if name != "runs"}
    runs = {name: value for name, value in asdict(ablation.runs).items() if value != getattr(TrainConfig, name)}
    found = []
    for name, value in {**own, **runs, "steps": ablation.runs.steps}.items():
        text = ("yes" if value else "no") if isinstance(value, bool) else str(value)
        text = Path(text).name if name == "text" else text.replace(",", ", ")
        found.append((flag(name), text or "–"))
    return found
