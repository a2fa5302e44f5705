"""Mean-field and TAP statistics: every spin by itself, in the field that the others' means make.

The law is a product, Q(s) = Π_i exp(θ_i s_i)/(2 cosh θ_i), with the self-consistent fields θ of
`classical.self_consistency`. Naive mean field is the product law closest to the model in KL(Q ‖ P) among those nearby;
TAP adds the reaction term of second order in the couplings, which is exact in the limit of many weak random ones.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from classical.ising import LARGEST_ENUMERATION, IsingModel, symmetric
from classical.product import product_spins
from classical.random import model_seeds
from classical.sampler import Seed, require_shots, require_spins
from classical.samples import Samples
from classical.self_consistency import Equations, Solution, attach_gradient

METHODS = ("naive", "tap")


class ConvergenceWarning(UserWarning):
    """Some mean-field equations were not solved to the tolerance; their means and gradients are rough."""


@dataclass(frozen=True, kw_only=True)
class MeanFieldSampler:
    """Independent spins with the means of naive mean-field theory or of Thouless, Anderson and Palmer (TAP).

    m_i = tanh(h_i + Σ_k J_ik m_k − m_i Σ_k J_ik² (1 − m_k²)), the last term in TAP alone

    Any number of spins, at the cost of one product with J (and one with J²) for each iteration. The iteration starts
    at θ = h, which has every symmetry that the model has: where fields vanish, so do the means, even where couplings
    are so strong that the model orders. Of several solutions it finds the one downhill from there. Means and
    log-partition function are differentiable any number of times, by the implicit function theorem.

    Args:
        method: "naive" or "tap".
        damping: share of the old fields θ that each iteration keeps, from 0 to below 1; None takes for every group
            the least for which the iteration is known to converge.
        tolerance: largest residual |felt field − θ|, in units of the most that the spin could feel
            (1 + |h_i| + Σ_k |J_ik|, in TAP + Σ_k J_ik²). Never less than 16 roundings of the model's dtype.
        max_iterations: of the descent, for each model; Newton's method finishes it once the residual is within 10⁻³.
            Models that need more are left as they are, with a `ConvergenceWarning`.

    Raises:
        ValueError: an unknown method, or a number out of its range.

    Reference:
        D. J. Thouless, P. W. Anderson, R. G. Palmer, Philosophical Magazine 35, 593 (1977).
    """

    method: str = "naive"
    damping: float | None = None
    tolerance: float = 1e-10
    max_iterations: int = 1000

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method is {self.method!r}; use one of {', '.join(METHODS)}")
        if self.damping is not None and not (_is_number(self.damping) and 0 <= self.damping < 1):
            raise ValueError(f"damping is {self.damping!r}; give a number from 0 to below 1, or None to have it chosen")
        if not (_is_number(self.tolerance) and 0 < self.tolerance < math.inf):
            raise ValueError(f"tolerance is {self.tolerance!r}; give a positive number")
        if isinstance(self.max_iterations, bool) or not isinstance(self.max_iterations, int) or self.max_iterations < 1:
            raise ValueError(f"max_iterations is {self.max_iterations!r}; give an integer of at least 1")

    def up_probability(self, model: IsingModel, visible: Tensor | None = None) -> Tensor:
        """Probability of s_j = +1 in the product law, right to the dtype's relative precision however small it is.

        P(s_j = +1) = σ(2 θ_j)

        Args:
            model: the models.
            visible: bool, (groups or 1, models, spins). A hidden spin is absent: it has probability 0 and acts on no
                other. All spins are visible by default.

        Returns:
            (groups, models, spins), differentiable in fields and couplings.

        Raises:
            ValueError: a mask of the wrong shape or dtype.
        """
        if visible is not None:
            visible = _full_mask(visible, model)
        up = torch.sigmoid(2 * self._fields(model, visible))
        return up if visible is None else up * visible

    def mean(self, model: IsingModel) -> Tensor:
        """Mean ⟨s⟩ = tanh θ of the product law, (groups, models, spins), differentiable.

        Args:
            model: the models.
        """
        return torch.tanh(self._fields(model))

    def log_partition(self, model: IsingModel) -> Tensor:
        """Variational estimate of log Z: in naive mean field a lower bound, in TAP an approximation from either side.

        log Z ≈ Σ_i [H(m_i) + h_i m_i] + Σ_{j<k} J_jk m_j m_k + ½ Σ_{j<k} J_jk² (1 − m_j²)(1 − m_k²)

        with H(m) the entropy of a spin and the last term in TAP alone. The bound holds whether or not the iteration
        converged; at convergence the derivatives are m_j and, in naive mean field, m_j m_k.

        Args:
            model: the models.

        Returns:
            (groups, models), differentiable.
        """
        theta = self._fields(model)
        up, down = torch.sigmoid(2 * theta), torch.sigmoid(-2 * theta)
        mean, couplings = torch.tanh(theta), model.couplings.triu(1)
        entropy = -up * torch.nn.functional.logsigmoid(2 * theta) - down * torch.nn.functional.logsigmoid(-2 * theta)
        bound = (entropy + model.fields * mean + (mean @ couplings) * mean).sum(-1)
        if self.method == "naive":
            return bound
        variance = 4 * up * down
        return bound + ((variance @ couplings**2) * variance).sum(-1) / 2

    def probabilities(self, model: IsingModel) -> Tensor:
        """Probability of every configuration in the product law.

        Q(s) = Π_i σ(2 θ_i s_i)

        Args:
            model: the models.

        Returns:
            (groups, models, 2**spins), differentiable; bit i of the index is spin i, bit 0 is +1.

        Raises:
            ValueError: more than 24 spins.
        """
        require_spins(model, LARGEST_ENUMERATION, "a table of probabilities", "use up_probability, which has no limit")
        theta = self._fields(model)
        either = torch.sigmoid(2 * torch.stack([theta, -theta], -1))
        law = torch.ones_like(theta[..., :1])
        for spin in range(model.spins):  # each spin is a higher bit than those before it
            law = (either[..., spin, :].unsqueeze(-1) * law.unsqueeze(-2)).flatten(-2)
        return law

    def sample(self, model: IsingModel, *, shots: int = 256, seed: Seed = 0) -> Samples:
        """Draw independent spins with the means that were found.

        Args:
            model: the models.
            shots: configurations for each model, at least 1.
            seed: an integer, or int64 (groups, models) with a seed for every model.

        Returns:
            Samples with one row for each shot and equal weights. Diagnostics: method, and for every model its
            residual, iterations and whether it converged, each (groups, models).

        Raises:
            ValueError: shots below 1 or a seed of the wrong shape.
        """
        require_shots(shots)
        model = model.detach()
        seeds = model_seeds(seed, model.groups, model.models, model.fields.device)
        solution = self._solve(self._equations(model, None), callers=2)
        spins = product_spins(solution.theta, seeds, shots)
        diagnostics = {
            "method": self.method,
            "residual": solution.residual,
            "iterations": solution.iterations,
            "converged": solution.converged,
        }
        weights = model.fields.new_full((model.groups, model.models, shots), 1 / shots)
        return Samples(spins, weights, shots, diagnostics)

    def _fields(self, model: IsingModel, visible: Tensor | None = None) -> Tensor:
        """Self-consistent fields θ, differentiable."""
        equations = self._equations(model.detach(), visible)
        theta = self._solve(equations, callers=3).theta
        if torch.is_grad_enabled() and (model.fields.requires_grad or model.couplings.requires_grad):
            return attach_gradient(theta, model.fields, model.couplings, equations)
        return theta

    def _equations(self, model: IsingModel, visible: Tensor | None) -> Equations:
        fields = model.fields if visible is None else model.fields.masked_fill(~visible, 0.0)
        return Equations(fields, symmetric(model.couplings), visible, self.method == "tap")

    def _solve(self, equations: Equations, callers: int) -> Solution:
        """Solve them and, where that failed, say so to whoever is so many callers above."""
        step = None if self.damping is None else 1 - self.damping
        with torch.no_grad():
            solution = equations.solve(step, self.tolerance, self.max_iterations)
        failed = ~solution.converged
        if bool(failed.any()):
            advice = "raise max_iterations" if self.damping is None else "raise damping (None chooses it)"
            warnings.warn(
                f"{int(failed.sum())} of {failed.numel()} models ({float(failed.double().mean()):.1%}) did not "
                f"converge in {self.max_iterations} iterations of method {self.method!r}: the largest residual is "
                f"{float(solution.residual.max()):.1e}, the tolerance {self.tolerance:g}; {advice}",
                ConvergenceWarning,
                stacklevel=1 + callers,
            )
        return solution


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _full_mask(visible: Tensor, model: IsingModel) -> Tensor:
    shapes = [(model.groups, model.models, model.spins), (1, model.models, model.spins)]
    if visible.dtype != torch.bool or tuple(visible.shape) not in shapes:
        raise ValueError(
            f"visible is {visible.dtype} with shape {tuple(visible.shape)}; give torch.bool with shape "
            f"(groups or 1, models, spins) = {shapes[0]}"
        )
    return visible.expand(model.groups, -1, -1)
