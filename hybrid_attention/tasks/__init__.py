"""What a model is trained on."""

from hybrid_attention.tasks.base import IGNORED, Batch, Task
from hybrid_attention.tasks.brackets import BracketsTask
from hybrid_attention.tasks.seasons import SeasonsTask
from hybrid_attention.tasks.text import TextTask

__all__ = ["IGNORED", "Batch", "BracketsTask", "SeasonsTask", "Task", "TextTask"]
