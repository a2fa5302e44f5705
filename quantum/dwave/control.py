"""What really stands on an emulated chip: programmed values after rounding and errors, in our sign."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from classical.random import derive_seeds, uniforms
from quantum.dwave.emulated_device import EmulatedDevice
from quantum.dwave.encode import Submission
from quantum.dwave.layout import Floats

_COUPLINGS, _FIELDS = 1, 2
"""Labels that set random numbers of a submission apart."""


@dataclass(frozen=True, eq=False)
class Control:
    """What acts on the used qubits of a chip, log-weight = Σ f s + Σ J s s.

    Args:
        fields: f of flux on every used qubit, in units of h where A = B, (active,).
        couplings: J of every coupler in `pairs`, (pairs,).
        pairs: places of coupled qubits among those used, (pairs, 2).
    """

    fields: Floats
    couplings: Floats
    pairs: NDArray[np.int64]


def controlled(submission: Submission, device: EmulatedDevice) -> Control:
    """The values of a submission as a device realizes them (`EmulatedDevice` has the formulas).

    Couplers that do nothing are left out: all between two models, and, without coupling errors, those at zero.

    Args:
        submission: of a fast anneal, without linear biases.
        device: its precision and errors.
    """
    layout, digest = submission.layout, submission_seed(submission)
    used = np.sort(np.concatenate([layout.problem, layout.chain]))
    J = -rounded(submission.couplings[used], layout.limits.j_range, device.precision)
    if device.coupling_error:
        J += device.coupling_error * _normals(derive_seeds(digest, device.seed, _COUPLINGS), len(J))
    else:
        used, J = used[J != 0], J[J != 0]
    fields = np.zeros(len(layout.active))
    flux = submission.parameters.get("flux_biases")
    if flux is not None:
        fields += device.field_per_flux * np.asarray(flux)[layout.limits.qubits[layout.active]]
    if device.field_error:
        fields += device.field_error * _normals(derive_seeds(digest, device.seed, _FIELDS), len(fields))
    return Control(fields, J, layout.ends[used])


def rounded(values: Floats, span: tuple[float, float], bits: int | None) -> Floats:
    """Values on a grid with a point at zero.

    step = (high − low) / 2^bits

    Args:
        values: any.
        span: (low, high) of the range that has 2^bits steps; the grid goes on outside.
        bits: or None, which leaves values as they are.
    """
    if bits is None:
        return values
    step = (span[1] - span[0]) / 2**bits
    grid: Floats = step * np.rint(values / step)
    return grid


def submission_seed(submission: Submission) -> int:
    """Of all random numbers of a submission; equal submissions have equal ones.

    Args:
        submission: with a digest.
    """
    return int(submission.digest[:16], 16)


def _normals(seed: torch.Tensor, count: int) -> Floats:
    numbers: Floats = torch.special.ndtri(uniforms(seed, count)).numpy()
    return numbers
