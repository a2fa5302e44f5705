"""The columns of an ablation's table, with their units. A row is one training run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybrid_attention.tables import Column, arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS: dict[str, Column] = {
    "stage": Column("text", "1", "tune (its loss chooses a learning rate) or compare (its loss is reported)"),
    "task": Column("text", "1", "what was trained"),
    "length": Column("integer", "tokens", "input positions, the spins of the last query where there is no window"),
    "arm": Column("text", "1", "kind of attention, as in --arms"),
    "sampler": Column("text", "1", "where spin statistics came from in training, as in --samplers"),
    "seed": Column("integer", "1", "fixes batches, first parameters and samples"),
    "rate": Column("number", "1", "peak learning rate"),
    "steps": Column("integer", "training steps", "of the run"),
    "parameters": Column("integer", "1", "trainable parameters"),
    "feed_forward": Column("integer", "1", "width of the perceptrons"),
    "loss": Column("number", "nats", "held out, by exact sums where they fit; null where the run failed"),
    "loss_error": Column("number", "nats", "its standard error over held-out sequences"),
    "accuracy": Column("number", "1", "held out, likewise"),
    "sequences": Column("integer", "1", "held-out sequences that loss and accuracy are from, the same for all arms"),
    "evaluated_by": Column("text", "1", "sampler of the evaluation: exact, or the run's own where sums do not fit"),
    "failure": Column("text", "1", "why a run ended early; null where it did not"),
    "cpu_seconds": Column("number", "s", "processor time of the run; null where it was gone on with"),
    "seconds": Column("number", "s", "wall time, likewise"),
}
"""Every column by name, in the order of the table."""


def schema() -> pa.Schema:
    """The table's columns for Arrow, with unit and meaning in each field's metadata."""
    return arrow_schema(COLUMNS)
