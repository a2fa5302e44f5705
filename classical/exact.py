"""Exact Boltzmann moments, log-partition function and perfect samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from classical import bilinear, marginal, perfect_draw
from classical.bilinear import BilinearForm, Halves
from classical.ising import IsingModel
from classical.random import model_seeds
from classical.sampler import Seed, require_shots, require_spins
from classical.samples import Samples

LARGEST_EXACT = 26
_CACHED_NUMBERS = 2**17


class Arithmetic(IntEnum):
    """How a model is summed: the cheapest way in which its partition function cannot underflow."""

    FLOAT32 = 0
    FLOAT64 = 1
    LOGARITHMIC = 2


@dataclass(frozen=True)
class ExactSampler:
    """Exact Boltzmann statistics by the bilinear form of `classical.bilinear`.

    P(s) = exp(Σ_j h_j s_j + Σ_{j<k} J_jk s_j s_k) / Z, at a cost of 2^{n/2} multiplications by a 2^{n/2} matrix.

    Moments are differentiable in fields and couplings, any number of times. Each model is summed in float32, float64
    or by logarithms, whichever its own bound on underflow allows (float64 models never in float32); nobody has to ask.

    Args:
        memory_limit: bytes that intermediate results may take; models are worked through in chunks that fit, and a
            gradient recomputes each chunk instead of keeping it.

    Raises:
        ValueError: a memory limit that is not positive.
    """

    memory_limit: int = 2**30

    def __post_init__(self) -> None:
        if self.memory_limit <= 0:
            raise ValueError(f"memory_limit is {self.memory_limit}; give a positive number of bytes")

    @property
    def max_spins(self) -> int:
        """Most spins that fit the memory limit, where one model may take four arrays of 2^n float64 numbers."""
        return max(0, min(LARGEST_EXACT, (self.memory_limit // 32).bit_length() - 1))

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
            ValueError: more spins than fit, or a mask of the wrong shape or dtype.
        """
        return self._read(model, _Chunk.up_probability, visible)

    def mean(self, model: IsingModel) -> Tensor:
        """Mean ⟨s⟩ = 2 P(s = +1) − 1, (groups, models, spins), differentiable.

        Args:
            model: the models.

        Raises:
            ValueError: more spins than fit.
        """
        return 2 * self.up_probability(model) - 1

    def second_moment(self, model: IsingModel) -> Tensor:
        """Second moment ⟨s sᵀ⟩, (groups, models, spins, spins), differentiable.

        Args:
            model: the models.

        Raises:
            ValueError: more spins than fit.
        """
        half = 2 ** ((model.spins + 1) // 2)
        return self._read(model, lambda c: bilinear.second_moment(c.solve(), c.halves()), extra=3 * half * model.spins)

    def log_partition(self, model: IsingModel) -> Tensor:
        """Logarithm of the partition function, log Z = log Σ_s exp(log-weight(s)), (groups, models), differentiable.

        Args:
            model: the models.

        Raises:
            ValueError: more spins than fit.
        """
        return self._read(model, lambda chunk: chunk.solve().log_z)

    def sample(self, model: IsingModel, *, shots: int = 256, seed: Seed = 0) -> Samples:
        """Draw independent samples of the Boltzmann law itself.

        First half a ~ U_a (C V)_a, then second half b ~ C_ab V_b.

        Args:
            model: the models.
            shots: configurations for each model, at least 1.
            seed: an integer, or int64 (groups, models) with a seed for every model.

        Returns:
            Samples with one row for each shot and equal weights.

        Raises:
            ValueError: more spins than fit, shots below 1, or a seed of the wrong shape.
        """
        require_shots(shots)
        seeds = model_seeds(seed, model.groups, model.models, model.fields.device)

        def draw(chunk: _Chunk) -> Tensor:
            return perfect_draw.draw(chunk.solve(), chunk.halves(), chunk.seeds, shots)

        half = 2 ** (model.spins // 2)
        with torch.no_grad():
            spins = self._apply(model, None, seeds, draw, extra=shots * (3 * half + 2 * model.spins))
        weights = model.fields.new_full((model.groups, model.models, shots), 1 / shots)
        return Samples(spins.to(torch.int8), weights, shots)

    def arithmetic(self, model: IsingModel, visible: Tensor | None = None) -> Tensor:
        """Which `Arithmetic` each model needs, int64 (groups, models).

        Args:
            model: the models.
            visible: as for `up_probability`.
        """
        fields = model.fields
        if visible is not None:
            _require_mask(visible, model)
            fields = bilinear.pin_hidden(fields, model.couplings, visible)
        return self._arithmetic(fields, model.couplings, pinned=visible is not None)

    @staticmethod
    def _arithmetic(fields: Tensor, couplings: Tensor, pinned: bool) -> Tensor:
        """Which `Arithmetic` each model needs, where hidden spins are already pinned."""
        size = bilinear.range_needed(fields, couplings, pinned)
        need = (size >= bilinear.FLOAT32_RANGE).long() + (size >= bilinear.FLOAT64_RANGE).long()
        least = Arithmetic.FLOAT32 if fields.dtype == torch.float32 else Arithmetic.FLOAT64
        return need.clamp(min=int(least))

    def _read(self, model: IsingModel, read: _Compute, visible: Tensor | None = None, extra: int = 0) -> Tensor:
        """One moment of every model, in the dtype of the model."""
        seeds = torch.zeros(model.fields.shape[:2], dtype=torch.int64, device=model.fields.device)
        moment = self._apply(model, visible, seeds, read, extra)
        return moment.to(model.fields.dtype).contiguous()

    def _apply(
        self, model: IsingModel, visible: Tensor | None, seeds: Tensor, compute: _Compute, extra: int = 0
    ) -> Tensor:
        """Run `compute` over chunks of models that need the same arithmetic and put the results back in order."""
        require_spins(model, self.max_spins, "ExactSampler", "give it more memory_limit or use fewer spins")
        fields, couplings = model.fields, model.couplings.triu(1)  # no gradient where no coupling can be
        if visible is not None:
            _require_mask(visible, model)
            fields, visible = (
                bilinear.pin_hidden(fields, couplings, visible),
                visible.expand(model.groups, -1, -1),
            )
        fields = fields.transpose(1, 2).contiguous().transpose(1, 2)  # spin by spin, as sums over spins like it
        need = self._arithmetic(fields, couplings, pinned=visible is not None)
        if model.groups > model.models > 0:  # many groups of few models: sort whole groups
            need = need.amax(1, keepdim=True).expand_as(need)
        whole = _Chunk(fields, couplings, visible, seeds, Arithmetic.FLOAT64)
        kinds = need.unique().tolist()
        if len(kinds) < 2:
            return self._chunks(whole.summed_in(kinds[0]) if kinds else whole, compute, extra)
        uniform = (need == need[:, :1]).all(1)
        parts, order = [], []
        for kind in kinds:
            groups = (uniform & (need[:, 0] == kind)).nonzero().squeeze(-1)
            if groups.numel():
                parts.append(self._chunks(whole.part(groups, slice(None)).summed_in(kind), compute, extra).double())
                order.append(groups)
        for group in (~uniform).nonzero():
            parts.append(self._mixed(whole.part(group, slice(None)), need[group].squeeze(0), compute, extra))
            order.append(group)
        return torch.cat(parts)[torch.cat(order).argsort()]

    def _mixed(self, one_group: _Chunk, need: Tensor, compute: _Compute, extra: int) -> Tensor:
        """Run `compute` over one group whose models need different arithmetic."""
        parts, order = [], []
        for kind in need.unique().tolist():
            models = (need == kind).nonzero().squeeze(-1)
            alike = one_group.part(slice(None), models).summed_in(kind)
            parts.append(self._chunks(alike, compute, extra).double())
            order.append(models)
        return torch.cat(parts, 1)[:, torch.cat(order).argsort()]

    def _chunks(self, whole: _Chunk, compute: _Compute, extra: int) -> Tensor:
        """Run `compute` over pieces that fit the memory limit, recomputing them for a gradient where there are many."""
        groups, models, spins = whole.fields.shape
        size = 4 if whole.arithmetic == Arithmetic.FLOAT32 else 8
        full, half = 2**spins, 2 ** ((spins + 1) // 2)
        model_bytes = size * (12 * half + extra + (4 * full if whole.arithmetic == Arithmetic.LOGARITHMIC else 0))
        group_bytes = size * 3 * full
        models_at_once = max(1, min(models, (self.memory_limit - group_bytes) // model_bytes))
        groups_at_once = max(1, min(groups, self.memory_limit // (group_bytes + models_at_once * model_bytes)))
        recompute = torch.is_grad_enabled() and (whole.fields.requires_grad or whole.couplings.requires_grad)
        if not recompute:  # smaller pieces stay in the processor's cache, large enough to pay for their C
            cached = max(_CACHED_NUMBERS // half, half)
            models_at_once = min(models_at_once, cached)
            groups_at_once = max(1, min(groups_at_once, cached // max(1, models_at_once)))
        pieces = [
            whole.part(slice(g, g + groups_at_once), slice(m, m + models_at_once))
            for g in range(0, max(groups, 1), groups_at_once)
            for m in range(0, max(models, 1), models_at_once)
        ]
        if len(pieces) == 1:
            return compute(whole)
        results = [
            checkpoint(compute, piece, use_reentrant=False, preserve_rng_state=False) if recompute else compute(piece)
            for piece in pieces
        ]
        columns = -(-models // models_at_once)
        return torch.cat([torch.cat(results[i : i + columns], 1) for i in range(0, len(results), columns)])


@dataclass(frozen=True, eq=False)
class _Chunk:
    """Models that are summed together: their fields (already pinned where some are hidden) and how to sum them."""

    fields: Tensor
    couplings: Tensor
    visible: Tensor | None
    seeds: Tensor
    arithmetic: Arithmetic

    def summed_in(self, kind: int) -> _Chunk:
        """The same models in another arithmetic."""
        return replace(self, arithmetic=Arithmetic(kind))

    def part(self, groups: slice | Tensor, models: slice | Tensor) -> _Chunk:
        """Some of the groups and models."""
        return _Chunk(
            self.fields[groups][:, models],
            self.couplings[groups],
            None if self.visible is None else self.visible[groups][:, models],
            self.seeds[groups][:, models],
            self.arithmetic,
        )

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type to sum in."""
        return torch.float32 if self.arithmetic == Arithmetic.FLOAT32 else torch.float64

    def solve(self) -> BilinearForm:
        """The bilinear form of these models."""
        logarithmic = self.arithmetic == Arithmetic.LOGARITHMIC
        return bilinear.solve(self.fields.to(self.dtype), self.couplings.to(self.dtype), self.visible, logarithmic)

    def up_probability(self) -> Tensor:
        """P(s_j = +1) of these models, with its gradient by hand where the arithmetic allows it."""
        if self.arithmetic == Arithmetic.LOGARITHMIC:
            return bilinear.up_probability(self.solve(), self.halves())
        return marginal.up_probability(self.fields.to(self.dtype), self.couplings.to(self.dtype), self.visible)

    def halves(self) -> Halves:
        """Configurations of both halves, in the dtype they are summed in."""
        return bilinear.halves(self.fields.shape[-1], self.dtype, self.fields.device)


_Compute = Callable[[_Chunk], Tensor]


def _require_mask(visible: Tensor, model: IsingModel) -> None:
    shapes = [(model.groups, model.models, model.spins), (1, model.models, model.spins)]
    if visible.dtype != torch.bool or tuple(visible.shape) not in shapes:
        raise ValueError(
            f"visible is {visible.dtype} with shape {tuple(visible.shape)}; give torch.bool with shape "
            f"(groups or 1, models, spins) = {shapes[0]}"
        )
