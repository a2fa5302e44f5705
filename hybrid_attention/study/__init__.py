"""The study: how long an anneal must be, what it costs, and which error is left."""

from hybrid_attention.study.columns import COLUMNS
from hybrid_attention.study.settings import StudyConfig

__all__ = ["COLUMNS", "StudyConfig"]
