"""Noise models for `AerSampler`: a uniform one, and what a command line can name."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from quantum.noise_file import load_noise

GENERIC_SEED = 0
"""Of the error rates of made-up devices, so that the same text is always the same one."""

FORMS = (
    "'depolarizing:0.005' (also with ',single:0.0005' and ',readout:0.02'), 'generic:5' (a made-up device of that many "
    "qubits), the class name of a fake backend of qiskit-ibm-runtime, as 'FakeManilaV2', or a JSON file of a NoiseModel"
)
_RATES = {"depolarizing": "two_qubit", "single": "one_qubit", "readout": "readout"}


def depolarizing_noise(two_qubit: float, one_qubit: float = 0.0, readout: float = 0.0) -> Any:
    """The same noise on every qubit of an anneal's circuit: random Paulis after its gates, and flipped readings.

    RZZ: ρ → (1 − 16p/15) ρ + (16p/15) Tr_ij(ρ) ⊗ 1/4,    U and RX: ρ → (1 − 4q/3) ρ + (4q/3) Tr_i(ρ) ⊗ 1/2,
    P(read s | is −s) = r

    that is, with probability p one of the 15 two-qubit Paulis other than the identity, and with q one of three.

    Args:
        two_qubit: p, probability of an error after each RZZ, 0 to 1.
        one_qubit: q, probability of an error after each one-qubit gate, 0 to 1.
        readout: r, probability that a spin is read with the wrong sign, 0 to 1/2.

    Returns:
        A `qiskit_aer.noise.NoiseModel` on the gates of `quantum.trotter.template`; an ideal one where all are 0.

    Raises:
        ValueError: a number outside its range.
    """
    for name, value, largest in (
        ("two_qubit", two_qubit, 1.0),
        ("one_qubit", one_qubit, 1.0),
        ("readout", readout, 0.5),
    ):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= largest:
            raise ValueError(f"{name} is {value!r}; give a probability from 0 to {largest:g}")
    from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error

    model = NoiseModel()
    # Aer's parameter is the weight of the fully mixed state, in which the identity is one Pauli among 4ⁿ
    model.add_all_qubit_quantum_error(depolarizing_error(two_qubit * 16 / 15, 2), ["rzz"])
    model.add_all_qubit_quantum_error(depolarizing_error(one_qubit * 4 / 3, 1), ["u", "rx"])
    model.add_all_qubit_readout_error(ReadoutError([[1 - readout, readout], [readout, 1 - readout]]))
    return model


def read_noise(text: str) -> Any:
    """The noise that a command-line flag names, for `AerSampler(noise=…)`.

    Args:
        text: `depolarizing:p`, with `,single:q` and `,readout:r` where wanted (see `depolarizing_noise`); `generic:N`,
            Qiskit's made-up device of N qubits; the class name of a fake backend of qiskit-ibm-runtime, as
            `FakeManilaV2`; or the path of a JSON file that holds `NoiseModel.to_dict(serializable=True)`.

    Returns:
        A `qiskit_aer.noise.NoiseModel`, or a Qiskit backend.

    Raises:
        ValueError: a text that is none of these (the message names the forms), numbers out of range, a fake backend
            that does not exist or whose package is not installed, or a file that is missing or holds no noise model.
    """
    if not isinstance(text, str):
        raise ValueError(f"noise is {text!r}; give {FORMS}")
    name, colon, rest = text.partition(":")
    if colon and name in _RATES:
        return depolarizing_noise(**_rates(text))
    if colon and name == "generic":
        return _generic(text, rest)
    if text.endswith(".json"):
        return load_noise(Path(text))
    if re.fullmatch(r"Fake\w+", text):
        return _fake_backend(text)
    raise ValueError(f"noise is {text!r}; give {FORMS}")


def _rates(text: str) -> dict[str, float]:
    rates = {"two_qubit": 0.0}
    named = [part.partition(":") for part in text.split(",")]
    for name, _, value in named:
        try:
            rates[_RATES[name]] = float(value)
        except (KeyError, ValueError):
            raise ValueError(f"noise is {text!r}; give {FORMS}") from None
    if len({name for name, _, _ in named}) < len(named):
        raise ValueError(f"noise is {text!r}; name each of {', '.join(_RATES)} at most once")
    return rates


def _generic(text: str, qubits: str) -> Any:
    if not qubits.isdecimal() or int(qubits) < 2:
        raise ValueError(f"noise is {text!r}; give 'generic:N' with a number of qubits of at least 2")
    from qiskit.providers.fake_provider import GenericBackendV2

    return GenericBackendV2(int(qubits), seed=GENERIC_SEED)


def _fake_backend(name: str) -> Any:
    try:
        fake_provider = import_module("qiskit_ibm_runtime.fake_provider")
    except ImportError as error:
        raise ValueError(
            f"noise is {name!r}, a fake backend of qiskit-ibm-runtime, which is not installed; "
            "pip install 'hybrid-attention[ibm]'"
        ) from error
    from qiskit.providers import BackendV2

    backend = getattr(fake_provider, name, None)
    if not isinstance(backend, type) or not issubclass(backend, BackendV2):
        known = ", ".join(sorted(x for x in dir(fake_provider) if re.fullmatch(r"Fake\w+V2", x)))
        raise ValueError(f"noise is {name!r}, but qiskit-ibm-runtime has no such fake backend; it has {known}")
    return backend()
