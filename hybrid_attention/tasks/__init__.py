"""What a model is trained on."""

from hybrid_attention.tasks.base import Batch, Task
from hybrid_attention.tasks.brackets import BracketsTask
from hybrid_attention.tasks.text import TextTask

__all__ = ["Batch", "BracketsTask", "Task", "TextTask"]
