"""One loopback server and client for all tests that need no other."""

from __future__ import annotations

from functools import cache
from typing import Any

from quantum.dwave import DWaveSampler
from tests.loopback import Boltzmann, LoopbackServer, chip

BETA = (9.0, 8.0)
"""β_h and β_J of the server's processor."""


@cache
def service() -> LoopbackServer:
    """Small chips that sample Boltzmann's law at `BETA`, for as long as the process lives."""
    return LoopbackServer(
        [chip("pegasus", 2), chip("zephyr", 2), chip("pegasus", 2, name="Slow", fast=False)], Boltzmann(*BETA)
    ).start()


@cache
def client() -> Any:
    """D-Wave's client for it."""
    return service().client()


@cache
def solver(name: str = "Loopback_pegasus2") -> Any:
    """One of its solvers."""
    return client().get_solver(name=name)


def loopback_sampler(**options: Any) -> DWaveSampler:
    """A sampler whose temperatures are known; by default with linear biases under standard anneals."""
    defaults: dict[str, Any] = {"anneal": "standard", "calibration": "hand", "beta": BETA, "control_error": 1e-3}
    return DWaveSampler(solver(), **{**defaults, **options})
