"""Annealing schedules, their circuits, and the simulators and devices that run them.

Importing this package loads no quantum library; each is loaded when something first needs it.
"""

from quantum.aer import AerSampler
from quantum.as_dimod import as_dimod
from quantum.calibration import CALIBRATIONS, Factors, calibrate
from quantum.design import design_schedule
from quantum.design_range import Design, DesignRangeWarning
from quantum.dimod_sampler import DimodSampler, boltzmann_annealing
from quantum.distribution import ModelDistribution
from quantum.dwave import DWaveSampler
from quantum.ibm import IBMSampler
from quantum.jobs import Journal
from quantum.noise import depolarizing_noise, read_noise
from quantum.readout_mitigation import ReadoutMitigated
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
    "DWaveSampler",
    "Design",
    "DesignRangeWarning",
    "DimodSampler",
    "Factors",
    "IBMSampler",
    "Journal",
    "ModelDistribution",
    "ReadoutMitigated",
    "Response",
    "StatevectorSampler",
    "as_dimod",
    "boltzmann_annealing",
    "calibrate",
    "depolarizing_noise",
    "design_schedule",
    "read_noise",
    "response",
    "trotter_circuit",
    "tune_factors",
]
