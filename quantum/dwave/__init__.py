"""D-Wave's processors: validation, encoding, submission and decoding. Importing it loads no Ocean library."""

from quantum.dwave.calibration import Temperatures
from quantum.dwave.errors import AnswerError, DWaveError, JobError, RejectedError, UnknownOutcomeError
from quantum.dwave.precision import ControlErrorWarning, ProgrammedValues
from quantum.dwave.sampler import DWaveSampler

__all__ = [
    "AnswerError",
    "ControlErrorWarning",
    "DWaveError",
    "DWaveSampler",
    "JobError",
    "ProgrammedValues",
    "RejectedError",
    "Temperatures",
    "UnknownOutcomeError",
]
