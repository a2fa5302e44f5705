"""The ablation: what each part of an attention is worth, by paired differences over seeds."""

from hybrid_attention.ablation.columns import COLUMNS
from hybrid_attention.ablation.settings import AblationConfig

__all__ = ["COLUMNS", "AblationConfig"]
