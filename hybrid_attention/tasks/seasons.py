"""A noisy seasonal series: its clean value is recovered from earlier moments of the same season, once that is known."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor

from hybrid_attention.tasks.base import IGNORED, Batch, Task
from hybrid_attention.tasks.split import HELD_OUT, has_both_sides, is_held_out

MOST_LEVELS = 100
VALIDATION_SEQUENCES = 2000
_VALIDATION_SEED = 20_260_714


class Series(NamedTuple):
    """Observed and clean levels, int64 (size, length), and the season of each series, int64 (size,)."""

    observed: np.ndarray
    clean: np.ndarray
    season: np.ndarray


class SeasonsTask(Task):
    """Tell the clean level behind the newest observation of a series whose season is not known.

    Each series has a season p, uniform over 2 … longest, and a level u_r, uniform over the levels 0 … k−1, for every
    phase r of it. At moment t it is observed as

        x_t = round(u_(t mod p) + σ g_t), cut off at 0 and k−1, with g_t standard normal.

    Inputs are x_0 … x_t, and the target at t is u_(t mod p), counted from the moment on at which every season has come
    round once (t ≥ longest). Whether a series is held out is decided by a hash of what is observed.

    Args:
        length: moments in a series.
        levels: k, how many there are.
        longest: season.
        noise: σ, the standard deviation of an observation before it is rounded, in levels.

    Raises:
        ValueError: values out of range, or so few different series that none can be held out.
    """

    title = "Recovering a noisy seasonal series"
    counted = "clean levels"

    def __init__(self, length: int, levels: int = 8, longest: int = 4, noise: float = 1.0) -> None:
        if not 2 <= levels <= MOST_LEVELS:
            raise ValueError(f"levels is {levels}; give 2 to {MOST_LEVELS}")
        if longest < 2:
            raise ValueError(f"longest is {longest}; a season has at least 2 moments")
        if not 0 < noise < float("inf"):
            raise ValueError(f"noise is {noise}; give a positive number of levels")
        if length <= longest:
            raise ValueError(
                f"length is {length}; a season of up to {longest} moments comes round once in {longest + 1} or more"
            )
        self.length, self.levels, self.longest, self.noise = length, levels, longest, noise
        self.vocabulary = self.classes = levels
        self.chance = 1 / levels
        if not has_both_sides(lambda size, generator: self.draw(size, generator).observed):
            raise ValueError(
                f"noise is {noise}, and of the few different series of {levels} levels and seasons up to {longest} "
                "none can be held out for validation; use more of any"
            )

    @property
    def channel(self) -> np.ndarray:
        """Probabilities of an observation, float64 (clean level, observed level)."""
        edges = np.concatenate([[-np.inf], np.arange(self.levels - 1) + 0.5, [np.inf]])
        steps = (edges - np.arange(self.levels)[:, None]) / self.noise
        # differences of the smaller tail, so that rare observations keep their digits
        lower, upper = steps[:, :-1], steps[:, 1:]
        flip = lower > 0
        return np.where(flip, ndtr(-lower) - ndtr(-upper), ndtr(upper) - ndtr(lower))

    def draw(self, size: int, generator: np.random.Generator) -> Series:
        """Series on either side of the split.

        Args:
            size: number of series.
            generator: of random numbers.
        """
        season = generator.integers(2, self.longest + 1, size=size)
        pattern = generator.integers(self.levels, size=(size, self.longest))
        clean = np.take_along_axis(pattern, np.arange(self.length) % season[:, None], axis=1)
        noisy = np.rint(clean + self.noise * generator.standard_normal(clean.shape))
        return Series(np.clip(noisy, 0, self.levels - 1).astype(np.int64), clean, season)

    def training_batch(self, size: int, seed: int, step: int) -> Batch:
        """Series that are not held out, a function of seed and step.

        Args:
            size: number of series.
            seed: of the run.
            step: of the training.
        """
        return self._batch(self._draw_side(size, np.random.default_rng((seed, step)), held_out=False))

    def validation(self, most: int | None = None) -> Batch:
        """Held-out series, always the same ones.

        Args:
            most: number of series; 2,000 by default, and no more.
        """
        return self._batch(Series(*(part[:most] for part in self._held_out)))

    def optimal(self, tokens: Tensor) -> Tensor:
        """Logarithms of the exact posterior of the clean level, given all that was observed up to each moment.

        P(u_(t mod p) = u | x_0 … x_t) ∝ Σ_p ∏_r Σ_(u_r) ∏_(i ≤ t, i mod p = r) P(x_i | u_r), the level of the newest
        moment's phase held at u.

        Args:
            tokens: observed levels, int64 (batch, length).

        Returns:
            float64 (batch, length, levels).
        """
        seen = torch.from_numpy(np.log(self.channel)).T[tokens]  # (batch, length, clean level)
        seasons = range(2, self.longest + 1)
        phases = [torch.zeros(len(tokens), season, self.levels, dtype=seen.dtype) for season in seasons]
        found = []
        for moment in range(tokens.shape[1]):
            joint = []
            for levels in phases:
                phase = moment % levels.shape[1]
                levels[:, phase] += seen[:, moment]
                evidence = levels.logsumexp(-1) - np.log(self.levels)
                joint.append(levels[:, phase] + (evidence.sum(-1) - evidence[:, phase]).unsqueeze(-1))
            found.append(torch.stack(joint).logsumexp(0).log_softmax(-1))
        return torch.stack(found, 1)

    def _batch(self, series: Series) -> Batch:
        targets = torch.from_numpy(series.clean.copy())
        targets[:, : self.longest] = IGNORED
        return Batch(torch.from_numpy(series.observed), targets)

    def _draw_side(self, size: int, generator: np.random.Generator, held_out: bool) -> Series:
        """Series of one side of the split, by rejection."""
        parts: list[Series] = []
        found = 0
        while found < size:
            drawn = self.draw(max(HELD_OUT * size if held_out else 2 * size, 64), generator)
            kept = is_held_out(drawn.observed) == held_out
            parts.append(Series(*(part[kept] for part in drawn)))
            found += int(kept.sum())
        return Series(*(np.concatenate(part)[:size] for part in zip(*parts, strict=True)))

    @cached_property
    def _held_out(self) -> Series:
        return self._draw_side(VALIDATION_SEQUENCES, np.random.default_rng(_VALIDATION_SEED), held_out=True)
