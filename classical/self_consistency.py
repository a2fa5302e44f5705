"""Self-consistent fields: the mean-field equations, a descent that solves them, and the gradient of their solution.

A spin feels its own field, the mean of its neighbours and, in TAP, the reaction of the neighbours to itself:

    θ_i = h_i + Σ_k J_ik m_k − m_i Σ_k J_ik² (1 − m_k²),   m_i = tanh θ_i

Solutions are the stationary points of a free energy G(m) = −Σ_i [H(m_i) + h_i m_i] − ½ Σ_ik J_ik m_i m_k
− ¼ Σ_ik J_ik² (1 − m_i²)(1 − m_k²), the last term in TAP alone, with ∇G = θ − felt(m) and H the entropy of a spin.
Damping θ rather than m makes the iteration a mirror descent on G,

    θ ← (1 − α) θ + α felt(m),

which lowers G at every step if α ≤ 1/L, where G is L-smooth relative to −H. As the Hessian of −H is diag 1/(1 − m²),

    L = 1 − λ_min(J) + (3/2) max_i Σ_k J_ik²   (the last term in TAP alone)

is enough: 1 from −H itself, −λ_min(J) ≥ 0 from the couplings, and from the reaction at most max_i Σ_k J_ik² on the
diagonal and, since m²(1 − m²) ≤ ¼, at most half as much off it. G is bounded and infinitely steep at m = ±1, so its
values converge and the residual goes to zero, if slowly where the Hessian is nearly singular.

Reference: H. Lu, R. M. Freund, Y. Nesterov, SIAM Journal on Optimization 28, 333 (2018), for relative smoothness.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from classical.ising import symmetric

_NUMBERS_AT_ONCE = 2**18
"""Entries of the matrices that are solved together: few enough for the processor's cache."""
_LOOK_EVERY = 8
"""Iterations between asking whether all models are done, for which a device has to wait."""
_NEAR = 1e-3
"""Residual from which Newton's method takes over, if the free energy is convex there."""
_NEWTON_STEPS = 8
_ROUNDINGS = 16
"""Residual, in roundings of the dtype, below which nothing can be told."""


class Solution(NamedTuple):
    """What `Equations.solve` found.

    Args:
        theta: self-consistent fields θ, (groups, models, spins); 0 at hidden spins.
        residual: largest |felt(m) − θ| of a model in units of the most its spins could feel, (groups, models).
        iterations: of the descent, int64 (groups, models).
        converged: whether the residual is within the tolerance, bool (groups, models).
    """

    theta: Tensor
    residual: Tensor
    iterations: Tensor
    converged: Tensor


@dataclass(frozen=True, eq=False)
class Equations:
    """Mean-field equations of a batch of models.

    Args:
        fields: h, (groups, models, spins).
        couplings: J + Jᵀ, (groups, spins, spins).
        visible: bool, (groups, models, spins), or None where every spin is; hidden spins have no mean and no variance.
        reaction: whether spins feel their neighbours' reaction (TAP).
    """

    fields: Tensor
    couplings: Tensor
    visible: Tensor | None
    reaction: bool

    def moments(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Means tanh θ and variances 1 − tanh² θ = 4 σ(2θ) σ(−2θ), which keeps its digits; 0 at hidden spins."""
        mean, variance = torch.tanh(theta), 4 * torch.sigmoid(2 * theta) * torch.sigmoid(-2 * theta)
        return (mean, variance) if self.visible is None else (mean * self.visible, variance * self.visible)

    def felt(self, theta: Tensor) -> Tensor:
        """Field that every spin feels where the others' means are tanh θ, in one batched matrix product."""
        mean, variance = self.moments(theta)
        if not self.reaction:
            field = torch.baddbmm(self.fields, mean, self.couplings)
        else:
            both = torch.cat([mean, variance]) @ torch.cat([self.couplings, self.couplings**2])
            neighbours, reaction = both.chunk(2)
            field = self.fields + neighbours - mean * reaction
        return field if self.visible is None else field * self.visible

    def most(self) -> Tensor:
        """Bound on what a spin can feel, 1 + |h_i| + Σ_k |J_ik| (+ Σ_k J_ik²): the unit of residuals."""
        size = self.couplings.abs().sum(-1)
        if self.reaction:
            size = size + (self.couplings**2).sum(-1)
        return 1 + self.fields.abs() + size.unsqueeze(1)

    def safe_step(self) -> Tensor:
        """Step 1/L with which the descent converges, (groups, 1, 1)."""
        smoothness = 1 - torch.linalg.eigvalsh(self.couplings)[:, 0].clamp(max=0)
        if self.reaction:
            smoothness = smoothness + 1.5 * (self.couplings**2).sum(-1).amax(-1)
        return (1 / smoothness)[:, None, None]

    def solve(self, step: float | None, tolerance: float, max_iterations: int) -> Solution:
        """Solve them by descent from θ = h and, once a model is near a minimum of G, by Newton's method.

        A model that has converged is left as it is, so that its means do not depend on its batch.

        Args:
            step: α, or None for `safe_step`.
            tolerance: largest residual; never less than some roundings of the dtype.
            max_iterations: of the descent.
        """
        alpha = self.safe_step() if step is None else self.fields.new_full((len(self.fields), 1, 1), step)
        enough = max(tolerance, _ROUNDINGS * torch.finfo(self.fields.dtype).eps)
        theta = self.fields if self.visible is None else self.fields * self.visible
        iterations = torch.zeros(theta.shape[:2], dtype=torch.int64, device=theta.device)
        for goal in (max(_NEAR, enough), enough):  # the second time for models that Newton's method did not finish
            theta, residual, iterations = self._descend(theta, iterations, alpha, goal, max_iterations)
            theta, residual = self._finish(theta, residual, enough)
        return Solution(theta, residual, iterations, residual <= enough)

    def _descend(
        self, theta: Tensor, iterations: Tensor, alpha: Tensor, goal: float, most: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Fields, residuals and iterations of a descent; once half of the models are done, of the others alone."""
        unit, turn = self.most(), 0
        while True:
            change = self.felt(theta) - theta
            residual = (change.abs() / unit).amax(-1)
            active = (residual > goal) & (iterations < most)
            if turn % _LOOK_EVERY == 0:
                groups, models = (active.any(axis).nonzero().squeeze(-1) for axis in (1, 0))
                if 2 * groups.numel() * models.numel() <= active.numel():
                    break
            iterations = iterations + active
            theta = torch.where(active.unsqueeze(-1), theta + alpha * change, theta)
            turn += 1
        if groups.numel():
            place, rest = (groups[:, None], models), self._part(groups, models)
            found = rest._descend(theta[place], iterations[place], alpha[groups], goal, most)
            theta, residual, iterations = (
                whole.index_put(place, part) for whole, part in zip((theta, residual, iterations), found, strict=True)
            )
        return theta, residual, iterations

    def _part(self, groups: Tensor, models: Tensor) -> Equations:
        """The equations of some models of some groups."""
        place = groups[:, None], models
        visible = None if self.visible is None else self.visible[place]
        return Equations(self.fields[place], self.couplings[groups], visible, self.reaction)

    def _finish(self, theta: Tensor, residual: Tensor, enough: float) -> tuple[Tensor, Tensor]:
        """Newton's method θ ← θ + (1 − A D)⁻¹ (felt − θ) for models near a minimum; where it fails they stay put.

        Near a maximum or a saddle, where 1 − √D A √D is not positive definite, it would stop the descent from leaving.
        """
        near, out, left = (residual > enough) & (residual < _NEAR), theta.clone(), residual.clone()
        at_once = max(1, _NUMBERS_AT_ONCE // theta.shape[-1] ** 2)
        for place in zip(*(x.split(at_once) for x in near.nonzero(as_tuple=True)), strict=True):
            visible = None if self.visible is None else self.visible[place].unsqueeze(1)
            some = Equations(self.fields[place].unsqueeze(1), self.couplings[place[0]], visible, self.reaction)
            found, unit = theta[place].unsqueeze(1), some.most()
            mean, variance = some.moments(found)
            width = variance.sqrt()
            curvature = torch.eye(found.shape[-1], dtype=found.dtype, device=found.device) - some.response(
                mean, variance
            ) * width.unsqueeze(-1) * width.unsqueeze(-2)
            minimum = torch.linalg.cholesky_ex(curvature)[1] == 0
            for _ in range(_NEWTON_STEPS):
                found = found + some.respond(found, some.felt(found) - found, transposed=False)
                found = found if visible is None else found * visible
                error = ((some.felt(found) - found).abs() / unit).amax(-1)
                if bool(((error <= enough) | ~minimum).all()):
                    break
            better = minimum & (error <= enough)
            out[place] = torch.where(better.unsqueeze(-1), found, theta[place].unsqueeze(1)).squeeze(1)
            left[place] = torch.where(better, error, residual[place].unsqueeze(1)).squeeze(1)
        return out, left

    def response(self, mean: Tensor, variance: Tensor) -> Tensor:
        """A = ∂felt/∂m, symmetric, (groups, models, spins, spins)."""
        A = self.couplings.unsqueeze(1).expand(-1, mean.shape[1], -1, -1)
        if not self.reaction:
            return A
        square = self.couplings**2
        return (
            A + 2 * square.unsqueeze(1) * mean.unsqueeze(-1) * mean.unsqueeze(-2) - torch.diag_embed(variance @ square)
        )

    def respond(self, theta: Tensor, source: Tensor, transposed: bool) -> Tensor:
        """Solve (1 − A D) x = source, or its transpose, with A = ∂felt/∂m (symmetric) and D = diag ∂m/∂θ.

        Args:
            theta: where to take the derivatives, (groups, models, spins).
            source: likewise.
            transposed: (1 − D A) instead.

        Returns:
            (groups, models, spins); not finite where the matrix is singular.
        """
        groups, _, spins = theta.shape
        at_once = max(1, _NUMBERS_AT_ONCE // max(1, groups * spins**2))
        mean, variance = self.moments(theta)
        one, parts = torch.eye(spins, dtype=theta.dtype, device=theta.device), []
        for m, v, b in zip(*(x.split(at_once, 1) for x in (mean, variance, source)), strict=True):
            matrix = one - self.response(m, v) * v.unsqueeze(-1 if transposed else -2)
            parts.append(torch.linalg.solve_ex(matrix, b.unsqueeze(-1))[0].squeeze(-1))
        return torch.cat(parts, 1)


def attach_gradient(theta: Tensor, fields: Tensor, couplings: Tensor, equations: Equations) -> Tensor:
    """The solution θ with its gradient, by the implicit function theorem.

    With the upstream gradient g on θ, λ = (1 − D A)⁻¹ g and v = 1 − m²,

        ∂L/∂h_i = λ_i,   ∂L/∂J_jk = λ_j m_k + λ_k m_j − 2 J_jk (λ_j m_j v_k + λ_k m_k v_j)   (the last term in TAP)

    Args:
        theta: a solution of the equations.
        fields: h, (groups, models, spins), as differentiated.
        couplings: J, (groups, spins, spins), strictly upper triangular, as differentiated.
        equations: what theta solves.

    Returns:
        θ, differentiable any number of times.
    """
    solution: Tensor = _Implicit.apply(fields, couplings, theta, equations)
    return solution


class _Implicit(torch.autograd.Function):
    """From fields and couplings to a solution that is known already."""

    @staticmethod
    def forward(ctx: Any, fields: Tensor, couplings: Tensor, theta: Tensor, equations: Equations) -> Tensor:
        theta = theta.clone()
        ctx.save_for_backward(fields, couplings, theta)
        ctx.visible, ctx.reaction = equations.visible, equations.reaction
        return theta

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        fields, couplings, theta = ctx.saved_tensors  # theta carries its own graph: this can be differentiated again
        full = symmetric(couplings.triu(1))
        equations = Equations(fields, full, ctx.visible, ctx.reaction)
        adjoint = equations.respond(theta, upstream, transposed=True)
        if not bool(torch.isfinite(adjoint).all()):
            raise ValueError(
                "fields and couplings put a model at a critical point, where its mean-field solution has no "
                "gradient; change either a little, or use weaker couplings"
            )
        mean, variance = equations.moments(theta)
        by_pair = adjoint.transpose(1, 2) @ mean
        if ctx.reaction:
            by_pair = by_pair - 2 * full * ((adjoint * mean).transpose(1, 2) @ variance)
        return adjoint, symmetric(by_pair).triu(1), None, None
