"""The simulators that Aer offers to `AerSampler`, and what each takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

METHODS = {"statevector": 20, "density_matrix": 10, "matrix_product_state": 128}
"""Aer's methods, and the most spins that each is asked for by default. A density matrix of n spins is as large as a
state vector of 2n; matrix-product states are small for as long as few spins are entangled with few others."""

COSTS = {
    "statevector": "memory and time double with each spin",
    "density_matrix": "memory and time grow fourfold with each spin",
    "matrix_product_state": "time grows with the entanglement across the chain",
}
"""What another spin costs with each method."""

LARGEST_LAW = METHODS["statevector"]
"""Most spins of which the method of matrix-product states writes out a law."""

TRUNCATION = 1e-16
"""Aer's own default: what a double-precision state loses anyway."""


@dataclass(frozen=True)
class Simulators:
    """How to make the simulators of one sampler.

    Args:
        method: a name in `METHODS`.
        max_bond: most Schmidt coefficients kept at each bond of a matrix-product state; None keeps all.
        truncation: Schmidt coefficients are dropped while their squares sum to less.
        device: "CPU", or what else Aer was built for, as "GPU".

    Raises:
        ValueError: an unknown method, options of another method, numbers out of range, or a device that Aer does not
            have.
    """

    method: str = "statevector"
    max_bond: int | None = None
    truncation: float = TRUNCATION
    device: str = "CPU"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method is {self.method!r}; choose one of {', '.join(METHODS)}")
        bond, truncation = self.max_bond, self.truncation
        if bond is not None and (isinstance(bond, bool) or not isinstance(bond, int) or bond < 1):
            raise ValueError(f"max_bond is {bond!r}; give an integer of at least 1, or None for no limit")
        if isinstance(truncation, bool) or not isinstance(truncation, int | float) or not 0 <= truncation < 1:
            raise ValueError(f"truncation is {truncation!r}; give a number from 0 to below 1")
        if self.method != "matrix_product_state" and (bond is not None or truncation != TRUNCATION):
            name, value = ("max_bond", bond) if bond is not None else ("truncation", truncation)
            raise ValueError(f"{name} is {value!r}, but method {self.method!r} has no bonds; leave it out")
        if self.device != "CPU":
            if self.method == "matrix_product_state":
                raise ValueError(f"device is {self.device!r}, but Aer has matrix-product states on 'CPU' alone")
            _require_device(self.device)

    def make(self, method: str, noise_model: Any = None) -> Any:
        """An `AerSimulator`.

        Args:
            method: a name in `METHODS`, this sampler's own or another.
            noise_model: a `qiskit_aer.noise.NoiseModel`, or None.
        """
        from qiskit_aer import AerSimulator

        options: dict[str, Any] = {"method": method, "precision": "double", "device": self.device}
        if noise_model is not None:
            options["noise_model"] = noise_model
        if method == "matrix_product_state":
            options["matrix_product_state_max_bond_dimension"] = self.max_bond
            options["matrix_product_state_truncation_threshold"] = self.truncation
        return AerSimulator(**options)


def _require_device(device: str) -> None:
    from qiskit_aer import AerSimulator

    available = AerSimulator().available_devices()
    if device not in available:
        raise ValueError(
            f"device is {device!r}, but this Aer has {', '.join(available)}; choose one of those, or install a "
            "qiskit-aer that was built for it"
        )
