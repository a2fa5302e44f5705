"""Models that compute in bfloat16 where that does no harm."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hybrid_attention.transformer import Prediction, Transformer


class MixedPrecision(Transformer):
    """A Transformer whose matrix products are in bfloat16.

    By autocast; parameters and their gradients stay in float32, and so do sums over spin configurations, samples, and
    the logits and weights that it returns.
    """

    def forward(self, *args: Any, **options: Any) -> Prediction:
        """Predict a class at every position, as `Transformer.forward` does."""
        with self._rounding():
            predicted = super().forward(*args, **options)
        return Prediction(predicted.logits.float(), [weights.float() for weights in predicted.weights])

    def step(self, *args: Any, **options: Any) -> Tensor:
        """Predict a class at one more position, as `Transformer.step` does."""
        with self._rounding():
            logits = super().step(*args, **options)
        return logits.float()

    def _rounding(self) -> torch.autocast:
        return torch.autocast(self.head.weight.device.type, torch.bfloat16)
