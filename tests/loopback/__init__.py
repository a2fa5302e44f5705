"""A quantum processor behind SAPI's HTTP interface on this machine, for clients that must not know the difference.

`LoopbackServer` listens on 127.0.0.1 and nowhere else. D-Wave's own client talks to it over a socket: it lists its
solvers, posts problems, polls, fetches answers, and is billed by the timing model that the solver publishes. Problems,
answers and the bill live in an `Account`, which outlasts a server that is restarted.
"""

from tests.loopback.account import Account, Job
from tests.loopback.chips import chip
from tests.loopback.faults import Fault, FaultPlan
from tests.loopback.processors import Annealed, Boltzmann
from tests.loopback.server import TOKEN, LoopbackServer

__all__ = [
    "TOKEN",
    "Account",
    "Annealed",
    "Boltzmann",
    "Fault",
    "FaultPlan",
    "Job",
    "LoopbackServer",
    "chip",
]
