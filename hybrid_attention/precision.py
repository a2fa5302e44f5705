"""Models that compute in bfloat16 where that does no harm."""

from __future__ import annotations

from typing import Any

import torch

from hybrid_attention.transformer import Prediction, Transformer


class MixedPrecision(Transformer):
    """A Transformer whose matrix products are in bfloat16.

    By autocast; parameters and their gradients stay in float32, and so do sums over spin configurations, samples, and
    the logits and weights that it returns.
    """

    def forward(self, *args: Any, **options: Any) -> Prediction:
        """Predict a class at every position, as `Transformer.forward` does."""
        with torch.autocast(self.head.weight.device.type, torch.bfloat16):
            predicted = super().forward(*args, **options)
        return Prediction(predicted.logits.float(), [weights.float() for weights in predicted.weights])
