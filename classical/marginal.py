"""P(s_j = +1) from the bilinear form, with its gradient by hand.

Attention asks for nothing else, at every step, so this is where the time goes. With the upstream gradient g on
P(s_j = +1) and f(s) = Σ_j g_j [s_j = +1] = f_A(a) + f_B(b),

    ∂L/∂h_j = Cov(f, s_j),   ∂L/∂log C_ab = Cov(f, [a, b]) = C_ab (U'_a V_b + U_a V'_b) / Z

with U' = U (f_A − ⟨f⟩) and V' = V f_B: the same matrix products once more, and no stored intermediate of autograd.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from classical import bilinear


def up_probability(fields: Tensor, couplings: Tensor, visible: Tensor | None) -> Tensor:
    """P(s_j = +1) of models whose exponentials are within the dtype's range, as `bilinear.up_probability`.

    Args:
        fields: (groups, models, spins); where `visible` is given, already treated by `bilinear.pin_hidden`.
        couplings: (groups, spins, spins), strictly upper triangular.
        visible: bool, (groups or 1, models, spins), or None where every spin is.

    Returns:
        (groups, models, spins), differentiable any number of times.
    """
    log_c = bilinear.log_coupling_matrix(couplings)
    up: Tensor = _UpProbability.apply(fields.transpose(1, 2), log_c, visible)
    return up.transpose(1, 2)


class _UpProbability(torch.autograd.Function):
    """From fields (groups, spins, models) and log C to P(s_j = +1), (groups, spins, models)."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, log_c: Tensor, visible: Tensor | None) -> Tensor:
        form = bilinear.evaluate(h, log_c, visible, logarithmic=False)
        s = bilinear.halves(h.shape[1], h.dtype, h.device)
        up = bilinear.up_probability(form, s).transpose(1, 2)
        ctx.save_for_backward(h, log_c, form.weight_a, form.weight_b, form.total, form.u, form.v, form.c, up)
        ctx.visible = visible
        return up

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        h, log_c, weight_a, weight_b, total, u, v, c, up = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient of the gradient: leave both to autograd
            wanted = [x for x in (h, log_c) if x.requires_grad]
            form = bilinear.evaluate(h, log_c, ctx.visible, logarithmic=False)
            again = bilinear.up_probability(form, bilinear.halves(h.shape[1], h.dtype, h.device))
            found = iter(torch.autograd.grad(again.transpose(1, 2), wanted, upstream, create_graph=True))
            return *(next(found) if x.requires_grad else None for x in (h, log_c)), None
        s = bilinear.halves(h.shape[1], h.dtype, h.device)
        first = s.a.shape[1]
        mean = (upstream * up).sum(1, keepdim=True)
        f_a = bilinear.is_up(s.a) @ upstream[:, :first] - mean
        f_b = bilinear.is_up(s.b) @ upstream[:, first:]
        u_scaled = u / total
        u_prime, v_prime = u_scaled * f_a, v * f_b
        by_a = f_a * weight_a / total + u_scaled * (c @ v_prime)
        by_b = f_b * weight_b / total + v * (c.transpose(1, 2) @ u_prime)
        by_h = torch.cat([s.a.T @ by_a, s.b.T @ by_b], 1)
        by_log_c = c * torch.baddbmm(u_prime @ v.transpose(1, 2), u_scaled, v_prime.transpose(1, 2))
        return by_h, by_log_c, None
