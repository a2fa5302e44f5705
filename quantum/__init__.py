"""Annealing schedules, their circuits, and the simulators and devices that run them.

Importing this package loads no quantum library; each is loaded when something first needs it.
"""

from quantum.aer import AerSampler
from quantum.calibration import CALIBRATIONS, Factors, calibrate
from quantum.response import Response, response
from quantum.schedule import Angles, AnnealSchedule
from quantum.trotter import trotter_circuit

__all__ = [
    "CALIBRATIONS",
    "AerSampler",
    "Angles",
    "AnnealSchedule",
    "Factors",
    "Response",
    "calibrate",
    "response",
    "trotter_circuit",
]
