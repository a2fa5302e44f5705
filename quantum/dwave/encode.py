"""From models to what is posted: numbers on a chip, in the solver's order, with a digest that is theirs alone."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum.dwave.anneal import Anneal
from quantum.dwave.layout import Floats, Layout
from quantum.jobs.errors import UnsuitableError

ANSWER_MODES = ("histogram", "raw")


@dataclass(frozen=True)
class Run:
    """What all submissions of a sampler have in common.

    Args:
        anneal: fast or standard.
        answer_mode: a name in `ANSWER_MODES`.
        chain_strength: above zero.
        flux_bias: Φ₀ on every qubit of a spin that is pinned to +1.
        reversed: whether spins are turned over at random, so that ranges must hold for either sign.
    """

    anneal: Anneal
    answer_mode: str
    chain_strength: float
    flux_bias: float
    reversed: bool


@dataclass(frozen=True, eq=False)
class Submission:
    """One problem, as it is posted and with what its answer is read by.

    Args:
        layout: where its copies stand.
        biases: of used qubits, (active,), in the vendor's sign.
        couplings: of couplers between them, (couplers,), likewise.
        parameters: for the solver.
        gauge: −1 where a spin is turned over, (copies, spins) int8.
        reads: how many.
        digest: the same for the same problem, parameters and key, and otherwise different.
    """

    layout: Layout
    biases: Floats
    couplings: Floats
    parameters: dict[str, Any]
    gauge: NDArray[np.int8]
    reads: int
    digest: str

    def data(self) -> dict[str, Any]:
        """The problem in SAPI's `qp` format: float64, little-endian, NaN for qubits that are not used."""
        lin = np.full(len(self.layout.limits.qubits), np.nan, dtype="<f8")
        lin[self.layout.active] = self.biases
        quad = self.couplings.astype("<f8")
        return {"format": "qp", "lin": _base64(lin), "quad": _base64(quad), "offset": 0.0}

    @property
    def tie_seed(self) -> int:
        """For the toss where a chain is split evenly."""
        return int(self.digest[:16], 16)


def encode(
    layout: Layout,
    h: Floats,
    J: Floats,
    run: Run,
    *,
    reads: int,
    gauge: NDArray[np.int8],
    pinned: int | None = None,
    key: tuple[int, ...] = (),
) -> Submission:
    """Put models on a chip.

    E(s) = Σ_j (−h_j) s_j + Σ_{j<k} (−J_jk) s_j s_k,   s_j → g_j s_j

    The sign is flipped here and nowhere else.

    Args:
        layout: where they stand.
        h: (copies, spins), ours, already divided by β_h.
        J: (copies, spins, spins), ours, strictly upper triangular, already divided by β_J.
        run: anneal, answer mode, chains and flux.
        reads: how many.
        gauge: g, (copies, spins) int8.
        pinned: a spin that flux biases hold at +1, or None.
        key: whatever tells this submission from another of the same problem, as the seeds of its models.

    Raises:
        UnsuitableError: a value outside the solver's ranges; nothing is clipped or rescaled.
    """
    g = gauge.astype(np.float64)
    biases = layout.linear(-h * g)
    couplings = layout.quadratic(-J * g[:, :, None] * g[:, None, :], run.chain_strength)
    _require_ranges(layout, biases, couplings, run.reversed)
    parameters: dict[str, Any] = {
        **run.anneal.parameters(),
        "num_reads": reads,
        "answer_mode": run.answer_mode,
        "auto_scale": False,
    }
    if pinned is not None:
        parameters["flux_biases"] = _flux(layout, pinned, gauge, run.flux_bias)
    digest = _digest(layout, biases, couplings, parameters, key)
    return Submission(layout, biases, couplings, parameters, gauge, reads, digest)


def _flux(layout: Layout, pinned: int, gauge: NDArray[np.int8], flux_bias: float) -> list[float]:
    """Biases for all sites: a positive one favours +1, and a spin that is turned over takes its flux along."""
    flux = np.zeros(layout.limits.num_qubits)
    held = layout.spin == pinned
    flux[layout.limits.qubits[layout.active[held]]] = flux_bias * gauge[layout.copy[held], pinned]
    values: list[float] = flux.tolist()
    return values


def _require_ranges(layout: Layout, biases: Floats, couplings: Floats, either_sign: bool) -> None:
    limits = layout.limits
    model = couplings[layout.problem]
    j_range = limits.j_range if either_sign else limits.extended_j_range
    for name, values, (low, high), beta in (
        ("fields", biases, limits.h_range, "β_h"),
        ("couplings", model, j_range, "β_J"),
    ):
        if either_sign:
            high = min(-low, high)
            low = -high
        outside = (values < low) | (values > high)
        if outside.any():
            raise UnsuitableError(
                f"{name} come to {np.abs(values).max():.4g} on a qubit or coupler after division by {beta}, but "
                f"{limits.name} takes {low:g} to {high:g}; use weaker {name} (nothing is clipped or rescaled)"
            )
    if len(couplings) and couplings.min() < limits.j_range[0] and limits.per_qubit_coupling_range is not None:
        low, high = limits.per_qubit_coupling_range
        total = np.zeros(len(biases))
        for end in (0, 1):
            np.add.at(total, layout.ends[:, end], couplings)
        if total.min() < low or total.max() > high:
            raise UnsuitableError(
                f"couplings of one qubit sum to {total.min():.4g} to {total.max():.4g}, but {limits.name} takes "
                f"{low:g} to {high:g}; lower chain_strength"
            )


def _digest(layout: Layout, biases: Floats, couplings: Floats, parameters: dict[str, Any], key: tuple[int, ...]) -> str:
    limits = layout.limits
    digest = hashlib.sha256(f"{limits.name}\n{limits.graph_id}\n{key}\n".encode())
    digest.update(json.dumps(parameters, sort_keys=True).encode())
    # where models stand, without which an answer cannot be read
    for part in (limits.qubits[layout.active], layout.copy, layout.spin, biases, couplings):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def _base64(values: NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode()
