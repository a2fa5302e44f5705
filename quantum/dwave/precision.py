"""Programmed values against the errors with which a processor keeps them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from quantum.dwave.encode import Submission
from quantum.dwave.layout import Floats

POLARISED = 0.9
"""⟨Z⟩ of an ancilla below which its fields cannot be called static."""

CONTROL_ERROR = 0.02
"""Of a programmed h or J, one standard deviation: the order of what D-Wave publishes for its processors."""


class ControlErrorWarning(UserWarning):
    """Programmed values that are smaller than the error with which they are kept: samples of a random model."""


class AncillaWarning(UserWarning):
    """An ancilla that is not polarised: the fields that it stands for are weaker than they should be."""


@dataclass(frozen=True)
class ProgrammedValues:
    """How large values on the chip are, chains left out; root mean squares over those that are not zero.

    Args:
        field_rms: of what fields became, on qubits or on couplers to one more spin; nan where there are none.
        field_largest: 0 where there are none.
        coupling_rms: likewise.
        coupling_largest: likewise.
        control_error: one standard deviation of what is really there.
    """

    field_rms: float
    field_largest: float
    coupling_rms: float
    coupling_largest: float
    control_error: float


def programmed_values(submissions: Sequence[Submission], extra: int, control_error: float) -> ProgrammedValues:
    """Collect what submissions put on a chip.

    Args:
        submissions: encoded.
        extra: spins of every copy that stand for the direction of fields, 0 or 1; they are its last.
        control_error: one standard deviation.
    """
    fields, couplings = [], []
    for one in submissions:
        layout = one.layout
        values = one.couplings[layout.problem]
        by_field = layout.problem_pair[:, 1] >= layout.spins - extra
        fields += [one.biases, values[by_field]]
        couplings.append(values[~by_field])
    (field_rms, field_largest), (coupling_rms, coupling_largest) = _sizes(fields), _sizes(couplings)
    return ProgrammedValues(field_rms, field_largest, coupling_rms, coupling_largest, control_error)


def warn_where_drowned(values: ProgrammedValues, solver: str, warned: set[str]) -> None:
    """Warn where the error is larger than what it is an error of, once of each.

    Args:
        values: programmed.
        solver: its name.
        warned: of what was warned before; what is warned of now is added.
    """
    for name, rms in (("fields", values.field_rms), ("couplings", values.coupling_rms)):
        if rms < values.control_error and name not in warned:
            warned.add(name)
            warnings.warn(
                f"{name} are programmed as {rms:.2g} (root mean square), below the control error of "
                f"{values.control_error:g} that {solver} is taken to have: until they are larger, samples follow the "
                "error",
                ControlErrorWarning,
                stacklevel=4,
            )


def warn_where_unpolarised(means: Tensor | None, solver: str, warned: set[str]) -> None:
    """Warn once where an ancilla is not polarised at the end; that it is does not prove that it was all along.

    Args:
        means: ⟨Z⟩ of the ancilla of every model, or None.
        solver: its name.
        warned: of what was warned before; what is warned of now is added.
    """
    if means is None or not means.numel() or float(means.min()) >= POLARISED or "ancilla" in warned:
        return
    warned.add("ancilla")
    warnings.warn(
        f"the ancilla that stands for fields has a mean of only {float(means.min()):.3f} on {solver} (1 is polarised), "
        "so that fields are weaker than they should be; raise flux_bias, or use field='ghost'",
        AncillaWarning,
        stacklevel=4,
    )


def _sizes(parts: list[Floats]) -> tuple[float, float]:
    values = np.concatenate(parts) if parts else np.zeros(0)
    values = values[values != 0]
    if not len(values):
        return float("nan"), 0.0
    return float(np.sqrt((values**2).mean())), float(np.abs(values).max())
