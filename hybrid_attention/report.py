"""The report of a run: one page with its result, learning curves, attention maps and couplings, readable offline."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import jinja2
import plotly.graph_objects as go
import torch
from markupsafe import Markup
from plotly.offline import get_plotlyjs
from torch import Tensor, nn

import hybrid_attention
from classical.ising import symmetric
from hybrid_attention import charts
from hybrid_attention.attention import BoltzmannAttention
from hybrid_attention.build import using_sampler
from hybrid_attention.config import TrainConfig
from hybrid_attention.evaluate import Evaluation, evaluate, optimal_loss
from hybrid_attention.files import write_text
from hybrid_attention.report_settings import draws_samples, settings_in_words
from hybrid_attention.samplers import exact_fits, reference_sampler
from hybrid_attention.train import TrainedRun

EXAMPLES = 2
LONGEST_SHOWN = 48
"""Positions at the end of a sequence that maps show."""
_Embed = Callable[[go.Figure], dict[str, Any]]
_GAP = 20  # pixels between maps
_LOOKED_AT = 64  # held-out sequences among which examples are chosen


@dataclass(frozen=True)
class Example:
    """What a model does with one held-out sequence, by exact sums.

    Args:
        labels: a visible character for each token, (length), of the last tokens where there are many.
        weights: for each layer, the numbers that multiply the values, (heads, queries, keys).
        couplings: for each layer, symmetric J (heads, keys, keys), or None where there are none; under a window (heads,
            slots, slots), content couplings those of the last query.
        keys: what to call the keys or slots of the couplings.
    """

    labels: list[str]
    weights: list[Tensor]
    couplings: list[Tensor | None]
    keys: list[str]


def write_report(run: TrainedRun) -> Path:
    """Write a run's report.html; one that is there stays as it is until the new one is complete.

    Args:
        run: a finished run.

    Returns:
        The page's path.
    """
    write_text(run.folder.report, render(run))
    return run.folder.report


def render(run: TrainedRun) -> str:
    """The report as one HTML page that loads nothing else.

    Args:
        run: a finished run.
    """
    config, held_out = run.config, run.task.validation(run.config.eval_sequences)
    result = evaluate(run.model, held_out, reference_sampler(config, run.sampler), config.seed)
    examples = [look_at(run, tokens) for tokens in example_sequences(run)]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hybrid_attention"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    numbers = count(1)
    width = max(240, 70 + 15 * len(examples[0].labels))

    def embed(figure: go.Figure) -> dict[str, Any]:
        # plotly writes <, > and / of its JSON as \u escapes, so that nothing in it can end the script element
        return {"id": f"figure-{next(numbers)}", "json": Markup(figure.to_json())}

    return environment.get_template("report.html.j2").render(
        title=_title(run),
        headline=_headline(run, result),
        tiles=_tiles(run, result),
        config=config,
        anneals=draws_samples(config),
        exact=exact_fits(config),
        chance=run.task.chance,
        curves=[
            (name, embed(figure))
            for name, figure in (
                ("Loss on held-out and training sequences", charts.loss_curves(run.rows, run.task.chance, config)),
                ("Accuracy on held-out sequences", charts.accuracy_curves(run.rows, run.task.chance, config)),
            )
        ],
        attention=_attention_section(config, examples, embed),
        couplings=_coupling_section(config, examples, embed),
        attention_colors=charts.ATTENTION_COLORS,
        coupling_colors=charts.COUPLING_COLORS,
        hidden_color=charts.HIDDEN,
        diagonal_color=charts.DIAGONAL,
        map_width=width,
        cut=config.length > LONGEST_SHOWN,
        longest_shown=LONGEST_SHOWN,
        block_width=config.heads * (width + _GAP) - _GAP,
        settings=settings_in_words(config, run),
        rows=run.rows,
        version=hybrid_attention.__version__,
        plotly=Markup(get_plotlyjs()),
    )


def example_sequences(run: TrainedRun) -> Tensor:
    """The held-out sequences with the most different tokens, int64 (up to 2, length), from the first few.

    Args:
        run: gives the task.
    """
    tokens = torch.unique(run.task.validation(_LOOKED_AT).tokens, dim=0)
    variety = torch.tensor([len(set(row.tolist())) for row in tokens])
    return tokens[variety.argsort(descending=True, stable=True)[:EXAMPLES]]


@torch.no_grad()
def look_at(run: TrainedRun, tokens: Tensor) -> Example:
    """Attention weights and couplings of one sequence, by exact sums where they fit.

    Args:
        run: gives model and task.
        tokens: int64 (length).
    """
    couplings: list[Tensor | None] = []
    hooks = []
    for layer, attention in enumerate(run.model.attentions()):
        couplings.append(None)
        if isinstance(attention, BoltzmannAttention) and attention.coupling_kind != "none":
            hooks.append(attention.couplings.register_forward_hook(_keeper(couplings, layer)))
    try:
        with using_sampler(run.model, reference_sampler(run.config, run.sampler)):
            weights = run.model(tokens.unsqueeze(0), need_weights=True).weights
    finally:
        for hook in hooks:
            hook.remove()
    labels, shown = run.task.labels(tokens), slice(-LONGEST_SHOWN, None)
    window, content = run.config.attention_window, run.config.couplings == "content"
    if window is None:
        keys = labels if content else [str(j + 1) for j in range(len(labels))]
        couplings = [None if J is None else J[:, shown, shown] for J in couplings]
    else:
        slots = range(window.slots)
        keys = [str(slot) if slot < window.size else f"global {slot - window.size + 1}" for slot in slots]
        if content:
            keys = [labels[position] for position in window.positions(len(labels) - 1)]
            couplings = [None if J is None else J[0, :, -1] for J in couplings]
    return Example(labels[shown], [layer[0, :, shown, shown] for layer in weights], couplings, keys[shown])


def _keeper(couplings: list[Tensor | None], layer: int) -> Callable[[nn.Module, Any, Tensor], None]:
    """A hook that puts a layer's couplings, made symmetric, into a list."""

    def keep(_module: nn.Module, _keys: Any, J: Tensor) -> None:
        couplings[layer] = symmetric(J)

    return keep


def with_error(value: float, error: float) -> str:
    """A number and its standard error, to the error's second digit.

    Args:
        value: the number.
        error: its standard error, in the same unit.
    """
    if not (math.isfinite(error) and error > 0):
        return f"{value:.4f}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _title(run: TrainedRun) -> str:
    config, task = run.config, run.task.title or type(run.task).__name__
    attention = "Boltzmann" if config.attention == "boltzmann" else config.attention
    return f"{task} with {attention} attention"


def _headline(run: TrainedRun, result: Evaluation) -> str:
    chance = "" if run.task.chance is None else f" (chance {run.task.chance:.1%})"
    return (
        f"After {run.rows[-1]['step']:,} steps, {result.accuracy:.1%} of the {run.task.counted} in held-out sequences "
        f"are predicted right{chance}, with a loss of {with_error(result.loss, result.loss_error)} nats."
    )


def _tiles(run: TrainedRun, result: Evaluation) -> list[tuple[str, str, str]]:
    """Figures at the top of the page: name, value, remark."""
    config, last = run.config, run.rows[-1]
    loss, _, error = with_error(result.loss, result.loss_error).partition(" ± ")
    exact = " exact" if config.attention == "boltzmann" and exact_fits(config) else ""
    tiles = [
        (f"Accuracy,{exact or ' held out'}", f"{result.accuracy:.1%}", f"of the {run.task.counted}"),
        (f"Loss,{exact or ' held out'}", loss, f"± {error} nats" if error else "nats"),
    ]
    if draws_samples(config):
        how, remark = ("by mean field", "as trained") if config.sampler == "mean-field" else ("on samples", "")
        tiles[1:1] = [(f"Accuracy, {how}", f"{last['accuracy']:.1%}", remark or f"{config.shots} shots, as trained")]
        tiles.append((f"Loss, {how}", f"{last['loss']:.4f}", "nats"))
    if run.task.chance is not None:
        tiles.append(("Chance", f"{run.task.chance:.1%}", f"loss {-math.log(run.task.chance):.3f} nats"))
    optimal = optimal_loss(run.task, run.task.validation(config.eval_sequences))
    if optimal is not None:
        tiles.append(("Best possible loss", f"{optimal:.4f}", "nats, on the same sequences"))
    if run.task.bits_per:
        tiles.append((f"Bits per {run.task.bits_per}", f"{result.loss / math.log(2):.3f}", "loss in bits"))
    return tiles


def _attention_section(config: TrainConfig, examples: list[Example], embed: _Embed) -> dict[str, Any]:
    """A block of maps per example, and where their common colour scale ends.

    A query that sees few keys gives each a large share, whatever it learned, so the scale of shares ends at the largest
    one among the later half of the queries.
    """
    shares = config.attention == "softmax" or config.readout != "sum"
    later = [float(w[:, w.shape[1] // 2 :].max()) for example in examples for w in example.weights]
    limit = max(later) if shares else 1.0
    blocks = [
        {
            "sequence": example.labels,
            "layers": [
                [embed(charts.attention_map(head, example.labels, limit)) for head in layer]
                for layer in example.weights
            ],
        }
        for example in examples
    ]
    return {"shares": shares, "blocks": blocks, "limit": limit}


def _coupling_section(config: TrainConfig, examples: list[Example], embed: _Embed) -> dict[str, Any]:
    """What the page says and shows about couplings: a block per example for content couplings, else one for all."""
    content = config.couplings == "content"
    shown = [example for example in examples[: None if content else 1] if any(J is not None for J in example.couplings)]
    if not shown:
        return {"kind": None, "blocks": [], "limit": 0.0}
    every = [J for example in shown for J in example.couplings if J is not None]
    limit = max(float(J.abs().max()) for J in every)
    blocks = []
    for example in shown:
        layers = [
            [] if J is None else [embed(charts.coupling_map(head, example.keys, limit)) for head in J]
            for J in example.couplings
        ]
        blocks.append({"sequence": example.labels if content else None, "layers": layers})
    return {"kind": config.couplings, "blocks": blocks, "limit": limit}
