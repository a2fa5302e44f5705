"""Exact statistics of models whose couplings reach no further than a band, at a cost linear in their length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from classical import transfer
from classical.ising import IsingModel
from classical.random import model_seeds, uniforms
from classical.sampler import Seed, require_shots
from classical.samples import Samples
from classical.transfer import Chain

WIDEST = 20
_ARRAYS = 3
"""Numbers that are kept for every spin and state: sigmoids' arguments, F_k of the gradient, and room to work in."""
_WORKING = 12
"""Numbers for every state that one step takes besides."""


@dataclass(frozen=True)
class BandedSampler:
    """Exact Boltzmann statistics of chains of spins that couple to their `width` nearest neighbours on either side.

    P(s) = exp(Σ_j h_j s_j + Σ_{j<k≤j+w} J_jk s_j s_k) / Z, by the transfer matrix of `classical.transfer`

    The cost is 2^w for every spin: linear in the length. All sums are in float64, rescaled spin by spin, so that
    strong fields and long chains lose no digits; results have the dtype of the model. They are differentiable any
    number of times in fields and couplings within the band. Couplings outside it are zero by declaration and get no
    gradient.

    Args:
        width: w, the largest |j − k| of a coupling, from 1 to `max_width`. A model of n > 1 spins takes at most
            n − 1; a model of one spin has no couplings, and every width serves.
        memory_limit: bytes that intermediate results may take; models are worked through in chunks that fit, and a
            gradient recomputes each chunk where there are several.

    Raises:
        ValueError: a width that is no integer, below 1 or too wide for the memory, or a memory limit that is not
            positive.
    """

    width: int
    memory_limit: int = 2**30

    def __post_init__(self) -> None:
        if isinstance(self.memory_limit, bool) or not isinstance(self.memory_limit, int) or self.memory_limit <= 0:
            raise ValueError(f"memory_limit is {self.memory_limit!r}; give a positive number of bytes")
        if isinstance(self.width, bool) or not isinstance(self.width, int) or self.width < 1:
            raise ValueError(
                f"width is {self.width!r}; give an integer of at least 1, the largest |j − k| of a coupling"
            )
        if self.width > self.max_width:
            raise ValueError(
                f"width is {self.width}, but at most {self.max_width} fits; reorder the spins for a narrower band, or "
                f"give more memory_limit (up to a width of {WIDEST})"
            )

    @property
    def max_width(self) -> int:
        """Widest band of which the shortest model, width + 1 spins, fits the memory limit."""
        return max((w for w in range(1, WIDEST + 1) if _model_bytes(w + 1, w) <= self.memory_limit), default=0)

    def up_probability(self, model: IsingModel, visible: Tensor | None = None) -> Tensor:
        """Probability of s_j = +1, right to the dtype's relative precision however small it is.

        P(s_j = +1) = Σ_{s: s_j=+1} exp(log-weight(s)) / Z

        Args:
            model: the models.
            visible: bool, (groups or 1, models, spins). A hidden spin is absent: it has probability 0 and acts on no
                other. All spins are visible by default.

        Returns:
            (groups, models, spins), differentiable in fields and couplings.

        Raises:
            ValueError: couplings outside the band, a band wider than the model, a model too long for the memory, or a
                mask of the wrong shape or dtype.
        """
        chain = self._chain(model, visible)
        up = self._apply(chain, lambda piece: transfer.statistics(piece)[1]).to(model.fields.dtype)
        return up if visible is None else up * visible

    def mean(self, model: IsingModel) -> Tensor:
        """Mean ⟨s⟩ = 2 P(s = +1) − 1, (groups, models, spins), differentiable.

        Args:
            model: the models.

        Raises:
            ValueError: as `up_probability`.
        """
        chain = self._chain(model, None)
        return self._apply(chain, lambda piece: 2 * transfer.statistics(piece)[1] - 1).to(model.fields.dtype)

    def log_partition(self, model: IsingModel) -> Tensor:
        """Logarithm of the partition function, log Z = log Σ_s exp(log-weight(s)), (groups, models), differentiable.

        Its derivative in J_jk is ⟨s_j s_k⟩, summed over the models of a group.

        Args:
            model: the models.

        Raises:
            ValueError: as `up_probability`.
        """
        chain = self._chain(model, None)
        return self._apply(chain, lambda piece: transfer.statistics(piece)[0]).to(model.fields.dtype)

    def sample(self, model: IsingModel, *, shots: int = 256, seed: Seed = 0) -> Samples:
        """Draw independent samples of the Boltzmann law itself: sum forwards, then draw backwards.

        Args:
            model: the models.
            shots: configurations for each model, at least 1.
            seed: an integer, or int64 (groups, models) with a seed for every model.

        Returns:
            Samples with one row for each shot and equal weights.

        Raises:
            ValueError: as `up_probability`, shots below 1, or a seed of the wrong shape.
        """
        require_shots(shots)
        seeds = model_seeds(seed, model.groups, model.models, model.fields.device)
        chain = self._chain(model.detach(), None)
        count = 1 + model.spins - chain.width
        with torch.no_grad():
            spins = self._apply(
                chain,
                lambda piece, own: transfer.draw(piece, uniforms(own, shots * count).unflatten(-1, (shots, count))),
                seeds,
                extra=shots * (4 * count + 8),
            )
        weights = model.fields.new_full((model.groups, model.models, shots), 1 / shots).detach()
        return Samples(spins, weights, shots)

    def _chain(self, model: IsingModel, visible: Tensor | None) -> Chain:
        """Fields and band in float64, where the model fits this sampler."""
        spins, width = model.spins, self.width
        if spins == 1:
            width = 1
        elif width > spins - 1:
            raise ValueError(
                f"width is {width}, but a model of {spins} spins has no couplings beyond |j − k| = {spins - 1}; give "
                f"BandedSampler a width of at most {spins - 1}"
            )
        if _model_bytes(spins, width) > self.memory_limit:
            raise ValueError(
                f"memory_limit is {self.memory_limit}, but {spins} spins with a band of width {width} take "
                f"{_model_bytes(spins, width)} bytes; give more memory_limit or a narrower band"
            )
        outside = model.couplings.detach().triu(width + 1)
        if bool(outside.any()):
            group, j, k = (int(i) for i in outside.nonzero()[0])
            raise ValueError(
                f"couplings[{group}, {j}, {k}] is {outside[group, j, k].item():g}, but spins {j} and {k} are {k - j} "
                f"apart and the band has width {width}; give BandedSampler a width of at least {k - j}, or set it to 0"
            )
        band = torch.stack(
            [
                torch.nn.functional.pad(torch.diagonal(model.couplings, d, 1, 2), (min(d, spins), 0))
                for d in range(1, width + 1)
            ],
            -1,
        ).double()
        if visible is None:
            return Chain(model.fields.double(), band, None)
        shapes = [(model.groups, model.models, spins), (1, model.models, spins)]
        if visible.dtype != torch.bool or tuple(visible.shape) not in shapes:
            raise ValueError(
                f"visible is {visible.dtype} with shape {tuple(visible.shape)}; give torch.bool with shape "
                f"(groups or 1, models, spins) = {shapes[0]}"
            )
        fields = model.fields.masked_fill(~visible, 0.0).double()
        return Chain(fields, band, visible.expand(model.groups, -1, -1).double())

    def _apply(self, whole: Chain, compute: Callable[..., Tensor], *others: Tensor, extra: int = 0) -> Tensor:
        """Run `compute` over pieces that fit the memory limit and put the results together."""
        groups, models, spins = whole.fields.shape
        room = max(1, self.memory_limit // (_model_bytes(spins, whole.width) + 8 * extra))
        models_at_once = max(1, min(models, room))
        groups_at_once = max(1, min(groups, room // models_at_once))
        recompute = torch.is_grad_enabled() and (whole.fields.requires_grad or whole.band.requires_grad)
        rows = []
        for g in range(0, max(groups, 1), groups_at_once):
            row = []
            for m in range(0, max(models, 1), models_at_once):
                some = slice(g, g + groups_at_once), slice(m, m + models_at_once)
                piece = Chain(
                    whole.fields[some], whole.band[some[0]], None if whole.visible is None else whole.visible[some]
                )
                inputs = (piece, *(x[some] for x in others))
                if recompute and (groups_at_once < groups or models_at_once < models):
                    row.append(checkpoint(compute, *inputs, use_reentrant=False, preserve_rng_state=False))
                else:
                    row.append(compute(*inputs))
            rows.append(torch.cat(row, 1))
        return torch.cat(rows)


def _model_bytes(spins: int, width: int) -> int:
    """Bytes that one model takes with its gradient."""
    return 8 * 2**width * (_ARRAYS * spins + _WORKING)
