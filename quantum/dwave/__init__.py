"""D-Wave's processors: validation, encoding, submission and decoding. Importing it loads no Ocean library."""

from quantum.dwave.calibration import Temperatures
from quantum.dwave.precision import AncillaWarning, ControlErrorWarning, ProgrammedValues
from quantum.dwave.sampler import DWaveSampler
from quantum.jobs.errors import AnswerError, JobError, QPUError, RejectedError, UnknownOutcomeError

__all__ = [
    "AncillaWarning",
    "AnswerError",
    "ControlErrorWarning",
    "DWaveSampler",
    "JobError",
    "ProgrammedValues",
    "QPUError",
    "RejectedError",
    "Temperatures",
    "UnknownOutcomeError",
]
