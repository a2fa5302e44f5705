"""Sums over chains of spins that couple within a band, by transfer matrices, with their gradient by hand.

Spins enter one after the other. Before spin k the state x = (s_{k−w} … s_{k−1}) holds the last w spins and has a
weight a_k(x), the sum over all that came before. Spin k feels e_k(x) = h_k + Σ_{d=1..w} J_{k−d,k} s_{k−d} and pushes
the oldest one out:

    a_{k+1}(rest, s) = Σ_old exp(s e_k(old, rest)) a_k(old, rest),   Z = Σ_x a_n(x)

That sum also gives q_k(old | rest, s), the law of the spin that goes given what follows, as a sigmoid of a difference
of logarithms. Read backwards it yields the law of every state,

    γ_k(old, rest) = Σ_s q_k(old | rest, s) γ_{k+1}(rest, s),

a sum of positive terms that keeps its digits however small it is. It draws perfect samples in the same way.

**Gradient.** For f(s) = Σ_k g_k [s_k = +1] let F_k(x) be the mean of its terms before spin k given the state x, and
W_k(x) the mean of its other terms times the indicator of x. Both follow from q alone,

    F_{k+1}(rest, s) = g_k [s = +1] + Σ_old q_k F_k(old, rest)
    W_k(old, rest) = Σ_s q_k (W_{k+1} + γ_{k+1} g_k [s = +1])

and with them Cov(f, [x, s_k = s]) = q_k (γ_{k+1} (F_k + g_k [s = +1] − ⟨f⟩) + W_{k+1}), whose difference between
s = +1 and −1 is the derivative of ⟨f⟩ in e_k(x). For log Z it is that of q_k γ_{k+1}.

Spins before the first one are free: w of them, without field or coupling, that add w log 2.

Reference: H. A. Kramers, G. H. Wannier, Physical Review 60, 252 (1941), for the transfer matrix; L. R. Rabiner,
Proceedings of the IEEE 77, 257 (1989), for the two passes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from classical.ising import all_configurations


class Chain(NamedTuple):
    """Models whose couplings lie in a band.

    Args:
        fields: h, (groups, models, spins) float64; 0 at hidden spins.
        band: J_{k−d,k} at [group, k, d − 1], (groups, spins, width) float64; 0 where k − d is no spin.
        visible: (groups, models, spins) float64, 1 or 0, or None where every spin is visible.
    """

    fields: Tensor
    band: Tensor
    visible: Tensor | None

    @property
    def width(self) -> int:
        """Number w of spins in a state."""
        return self.band.shape[-1]

    def states(self) -> Tensor:
        """(2^w, w) spins of every state, the newest first, which is the lowest bit; bit 0 = +1."""
        return all_configurations(self.width, self.fields.device).to(self.fields.dtype)

    def seen_before(self, spin: int) -> Tensor | None:
        """Which of the w spins before one are visible, the newest first, (groups, models, w), or None for all."""
        if self.visible is None:
            return None
        seen = self.visible[..., max(0, spin - self.width) : spin].flip(-1)
        return torch.nn.functional.pad(seen, (0, self.width - seen.shape[-1]))

    def felt(self, spin: int, states: Tensor) -> Tensor:
        """What a spin feels in every state, e_k(x), (groups, models, 2^w); 0 for a hidden one."""
        band, seen = self.band[:, spin].unsqueeze(1), self.seen_before(spin)
        field = self.fields[..., spin, None]
        if seen is None or self.visible is None:
            return field + band @ states.T
        return (field + (band * seen) @ states.T) * self.visible[..., spin, None]


class Forward(NamedTuple):
    """The pass that sums.

    Args:
        log_partition: (groups, models).
        last: log a_n(x) up to a constant, (groups, models, 2^w).
        leaving: for every spin k, log q_k(+1 | rest, s) − log q_k(−1 | rest, s), (groups, models, 2^{w−1}, 2).
    """

    log_partition: Tensor
    last: Tensor
    leaving: list[Tensor]


def forward(chain: Chain, keep: bool = True) -> Forward:
    """Sum over all spins, one after the other; weights are rescaled so that nothing overflows.

    Args:
        chain: the models.
        keep: also keep what a backward reading takes.
    """
    groups, models, spins = chain.fields.shape
    states = chain.states()
    weight = chain.fields.new_zeros(groups, models, len(states))
    log_partition = chain.fields.new_full((groups, models), -chain.width * math.log(2))
    leaving = []
    for spin in range(spins):
        felt = chain.felt(spin, states)
        both = torch.stack([weight + felt, weight - felt], -1).unflatten(2, (2, -1))  # old, rest, s
        plus, minus = both.unbind(2)
        if keep:
            leaving.append(plus - minus)
        weight = torch.logaddexp(plus, minus).flatten(2)  # s is the lowest bit of the next state
        largest = weight.detach().amax(-1)
        weight, log_partition = weight - largest.unsqueeze(-1), log_partition + largest
    return Forward(log_partition + weight.logsumexp(-1), weight, leaving)


def up_probability(found: Forward) -> Tensor:
    """P(s_j = +1) of every spin, (groups, models, spins), hidden ones included; differentiable by autograd.

    Args:
        found: the sums.
    """
    law, ups = torch.softmax(found.last, -1), []
    for logit in reversed(found.leaving):
        law = law.unflatten(-1, (-1, 2))  # rest, s
        ups.append(law[..., 0].sum(-1))
        law = torch.cat([(torch.sigmoid(x) * law).sum(-1) for x in (logit, -logit)], -1)  # old, rest
    return torch.stack(ups[::-1], -1)


def statistics(chain: Chain) -> tuple[Tensor, Tensor]:
    """log Z, (groups, models), and P(s_j = +1), (groups, models, spins), differentiable any number of times.

    Args:
        chain: the models.
    """
    found: tuple[Tensor, Tensor] = _Statistics.apply(chain.fields, chain.band, chain.visible)
    return found


class _Statistics(torch.autograd.Function):
    """From fields and band to log Z and P(s_j = +1)."""

    @staticmethod
    def forward(ctx: Any, fields: Tensor, band: Tensor, visible: Tensor | None) -> tuple[Tensor, Tensor]:
        chain = Chain(fields, band, visible)
        found = forward(chain)
        up = up_probability(found)
        ctx.save_for_backward(fields, band, found.last, up, *found.leaving)
        ctx.visible = visible
        return found.log_partition, up

    @staticmethod
    def backward(ctx: Any, on_log_z: Tensor, on_up: Tensor) -> tuple[Tensor | None, ...]:
        fields, band, last, up, *leaving = ctx.saved_tensors
        chain = Chain(fields, band, ctx.visible)
        if torch.is_grad_enabled():  # a gradient of the gradient: leave both to autograd
            again = forward(chain)
            outputs = (again.log_partition, up_probability(again))
            wanted = [x for x, needed in zip((fields, band), ctx.needs_input_grad, strict=False) if needed]
            found = iter(torch.autograd.grad(outputs, wanted, (on_log_z, on_up), create_graph=True))
            return *(next(found) if needed else None for needed in ctx.needs_input_grad[:2]), None
        by_field, by_band = torch.zeros_like(fields), torch.zeros_like(band)
        states = chain.states()
        offset = (on_log_z - (on_up * up).sum(-1))[..., None, None, None]
        for spin, by_felt in _covariances(leaving, last, on_up, offset):
            seen = chain.seen_before(spin)
            if seen is None:
                by_field[..., spin] = by_felt.sum(-1)
                by_band[:, spin] = (by_felt @ states).sum(1)
            else:
                by_felt = by_felt * ctx.visible[..., spin, None]
                by_field[..., spin] = by_felt.sum(-1)
                by_band[:, spin] = ((by_felt @ states) * seen).sum(1)
        return by_field, by_band, None


def _covariances(leaving: list[Tensor], last: Tensor, g: Tensor, offset: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Every spin, the last one first, with ∂⟨f⟩/∂e_k(x), (groups, models, 2^w).

    Args:
        leaving: as in `Forward`.
        last: as in `Forward`.
        g: (groups, models, spins).
        offset: minus the mean of f, plus the gradient on log Z, (groups, models, 1, 1, 1).
    """
    before, befores = torch.zeros_like(last), []
    for spin, logit in enumerate(leaving):  # F_k, before each spin
        befores.append(before)
        old = before.unflatten(-1, (2, -1, 1))  # old, rest, any s
        after = torch.lerp(old[:, :, 1], old[:, :, 0], torch.sigmoid(logit))
        after[..., 0] += g[..., spin, None]
        before = after.flatten(2)
    law, later = torch.softmax(last, -1).unflatten(-1, (-1, 2)), torch.zeros_like(last).unflatten(-1, (-1, 2))
    for spin in reversed(range(len(leaving))):
        logit, before = leaving[spin], befores.pop().unflatten(-1, (2, -1, 1)) + offset
        own = torch.stack([g[..., spin], torch.zeros_like(g[..., spin])], -1).unsqueeze(-2)
        fixed, next_law, next_later, by_felt = law * own + later, [], [], []
        for old, share in enumerate((torch.sigmoid(logit), torch.sigmoid(-logit))):
            joint = share * (law * before[:, :, old] + fixed)
            by_felt.append(joint[..., 0] - joint[..., 1])
            next_law.append((share * law).sum(-1))
            next_later.append((share * fixed).sum(-1))
        law, later = (torch.cat(x, -1).unflatten(-1, (-1, 2)) for x in (next_law, next_later))
        yield spin, torch.cat(by_felt, -1)


def draw(chain: Chain, numbers: Tensor) -> Tensor:
    """Perfect samples: the last state from its law, then the spins before it, each given what follows.

    Args:
        chain: the models.
        numbers: uniform in (0, 1), (groups, models, shots, 1 + spins − w) for spins ≥ w.

    Returns:
        (groups, models, shots, spins) int8.
    """
    found, (groups, models, spins) = forward(chain), chain.fields.shape
    width, shots = chain.width, numbers.shape[2]
    cumulative = torch.softmax(found.last, -1).cumsum(-1)
    first = (numbers[..., 0] * cumulative[..., -1:]).contiguous()
    state = torch.searchsorted(cumulative, first).clamp_(max=cumulative.shape[-1] - 1)
    out = torch.empty(groups, models, shots, spins, dtype=torch.int8, device=numbers.device)
    for bit in range(width):
        out[..., spins - 1 - bit] = 1 - 2 * ((state >> bit) & 1)
    for spin in reversed(range(width, spins)):
        up = torch.sigmoid(found.leaving[spin].flatten(2).gather(-1, state))
        down = (numbers[..., spins - spin] >= up).long()
        out[..., spin - width] = 1 - 2 * down
        state = (state >> 1) | (down << (width - 1))
    return out
