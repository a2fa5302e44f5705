"""Whether chains agree, and how many independent samples theirs are worth.

For a quantity observed along m chains of r steps each (every chain cut in half, so that a drift within one shows):

    W = mean variance within chains,   V = (r−1)/r W + variance of the chains' means
    R̂ = √(V/W)
    ESS = m r / τ,   τ = 1 + 2 Σ_t ρ_t,   ρ_t = 1 − (W − mean autocovariance at lag t)/V

with the sum cut where pairs of neighbouring ρ stop being positive and kept from rising again (Geyer's initial monotone
sequence), as in Stan.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from classical.ising import IsingModel
from classical.samples import Samples


class Mixing(NamedTuple):
    """How well the chains of every model mix, by the quantity of theirs that mixes worst.

    Args:
        effective_sample_size: how many independent samples would give the mean of that quantity as precisely,
            (groups, models). Above the number of shots where neighbours are anticorrelated.
        r_hat: near 1 where chains agree; above 1.01 they have not forgotten where they began, (groups, models).
    """

    effective_sample_size: Tensor
    r_hat: Tensor


def mixing(samples: Samples, model: IsingModel) -> Mixing:
    """Diagnose samples that came from chains: by every spin and by the log-weight.

    Args:
        samples: of a `GibbsSampler`, with at least four rows in every chain; a last chain of fewer rows is left out.
        model: what was sampled.

    Raises:
        ValueError: samples that did not come from chains, or chains of fewer than four rows.
    """
    diagnostics = samples.diagnostics
    if "chains" not in diagnostics or "rows" not in diagnostics:
        raise ValueError("samples do not say from which chains they came; take those of a GibbsSampler")
    rows = diagnostics["rows"]
    whole = samples.spins.shape[2] // rows
    if rows < 4 or whole < 1:
        raise ValueError(
            f"samples hold chains of {rows} rows; take at least 4 rows a chain, by more shots or fewer chains"
        )
    spins = samples.spins[:, :, : whole * rows]
    log_weight = model.detach().log_weight(spins).unsqueeze(2)
    observed = torch.cat([spins.double().transpose(2, 3), log_weight.double()], 2)
    draws = observed.unflatten(-1, (whole, rows))
    return Mixing(effective_sample_size(draws).amin(-1), r_hat(draws).amax(-1))


def r_hat(draws: Tensor) -> Tensor:
    """Potential scale reduction R̂ of halved chains.

    Args:
        draws: (…, chains, rows), at least four rows.

    Returns:
        (…); 1 where nothing varies at all, infinity where only the chains differ.

    Reference:
        Vehtari, Gelman, Simpson, Carpenter and Bürkner, Bayesian Analysis 16, 667 (2021); without its ranks.
    """
    halves = _halves(draws)
    within, total = _variances(halves)
    ratio = (total / within).sqrt()
    return torch.where(total == 0, torch.ones_like(ratio), ratio)


def effective_sample_size(draws: Tensor) -> Tensor:
    """Number of independent samples with the same error of the mean.

    Args:
        draws: (…, chains, rows), at least four rows.

    Returns:
        (…); the number of draws where nothing varies.

    Reference:
        C. J. Geyer, Statistical Science 7, 473 (1992), and Vehtari et al. (2021).
    """
    halves = _halves(draws)
    chains, rows = halves.shape[-2:]
    within, total = _variances(halves)
    centred = halves - halves.mean(-1, keepdim=True)
    spectrum = torch.fft.rfft(centred, n=2 * rows)
    covariance = torch.fft.irfft(spectrum.abs() ** 2, n=2 * rows)[..., :rows].mean(-2) / (rows - 1)
    rho = 1 - (within.unsqueeze(-1) - covariance * (rows - 1) / rows) / total.unsqueeze(-1)
    rho[..., 0] = 1.0
    pairs = rho[..., : rows - rows % 2].unflatten(-1, (-1, 2)).sum(-1)
    positive = (pairs > 0).long().cumprod(-1)
    tau = 2 * (pairs.cummin(-1).values * positive).sum(-1) - 1
    count = chains * rows
    size = count / tau.clamp(min=1 / torch.tensor(float(count)).log10())
    return torch.where(total == 0, torch.full_like(size, float(count)), size)


def _halves(draws: Tensor) -> Tensor:
    rows = draws.shape[-1]
    if rows < 4:
        raise ValueError(f"draws has {rows} rows a chain; give at least 4")
    half = rows // 2
    return torch.cat([draws[..., :half], draws[..., rows - half :]], -2)


def _variances(chains: Tensor) -> tuple[Tensor, Tensor]:
    """W and V."""
    rows = chains.shape[-1]
    within = chains.var(-1).mean(-1)
    return within, within * (rows - 1) / rows + chains.mean(-1).var(-1)
