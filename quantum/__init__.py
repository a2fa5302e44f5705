"""Annealing schedules, their circuits, and the simulators and devices that run them.

Importing this package loads no quantum library; each is loaded when something first needs it.
"""

from quantum.aer import AerSampler
from quantum.calibration import CALIBRATIONS, Factors, calibrate
from quantum.design import design_schedule
from quantum.design_range import Design, DesignRangeWarning
from quantum.distribution import ModelDistribution
from quantum.response import Response, response
from quantum.schedule import Angles, AnnealSchedule
from quantum.statevector import StatevectorSampler
from quantum.trotter import trotter_circuit
from quantum.tuned import tune_factors

__all__ = [
    "CALIBRATIONS",
    "AerSampler",
    "Angles",
    "AnnealSchedule",
    "Design",
    "DesignRangeWarning",
    "Factors",
    "ModelDistribution",
    "Response",
    "StatevectorSampler",
    "calibrate",
    "design_schedule",
    "response",
    "trotter_circuit",
    "tune_factors",
]
