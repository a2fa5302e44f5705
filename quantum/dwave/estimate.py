"""What sampling would cost, by the solver's own timing model; nothing is submitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from quantum.dwave.calibration import LADDER, PROBES
from quantum.dwave.placement import Placement
from quantum.dwave.reads import split_reads

MICROSECONDS = 1e6


@dataclass(frozen=True)
class Estimate:
    """A cost before it arises; estimates add up.

    Args:
        models: Ising models.
        submissions: that they are packed into.
        most_models: of one submission.
        seconds: QPU access time.
        one_by_one: QPU access time if every model were a submission of its own.
    """

    models: int = 0
    submissions: int = 0
    most_models: int = 0
    seconds: float = 0.0
    one_by_one: float = 0.0

    def __add__(self, other: Estimate) -> Estimate:
        """Both, one after the other."""
        return Estimate(
            self.models + other.models,
            self.submissions + other.submissions,
            max(self.most_models, other.most_models),
            self.seconds + other.seconds,
            self.one_by_one + other.one_by_one,
        )

    def __mul__(self, times: int) -> Estimate:
        """The same so many times."""
        return Estimate(
            self.models * times,
            self.submissions * times,
            self.most_models if times else 0,
            self.seconds * times,
            self.one_by_one * times,
        )


@dataclass(frozen=True)
class Costs:
    """What decides about costs.

    Args:
        placement: of models on the chip.
        timing: the solver's timing model, `estimate_qpu_access_time`.
        annealing_time: µs.
        most_reads: of one submission.
        reversals: choices of spins to turn over.
    """

    placement: Placement
    timing: Callable[..., float]
    annealing_time: float
    most_reads: int
    reversals: int

    def batch(self, models: int, spins: int, shots: int) -> Estimate:
        """Of a batch of models.

        Args:
            models: how many.
            spins: of each.
            shots: of each.
        """
        if models == 0:
            return Estimate()
        embeddings = self.placement.embeddings(spins)
        shares = self.placement.shares(spins, models)
        parts = split_reads(shots, self.most_reads, max(1, self.reversals))
        packed = {count: self._cost(sum(one.qubits for one in embeddings[:count]), parts) for count in set(shares)}
        return Estimate(
            models,
            len(shares) * len(parts),
            max(shares),
            sum(packed[count] for count in shares) / MICROSECONDS,
            models * self._cost(embeddings[0].qubits, parts) / MICROSECONDS,
        )

    def calibration(self, spins: int, shots: int, started: bool) -> Estimate:
        """Of measuring temperatures for models of so many spins.

        Args:
            spins: of the models.
            shots: of every model of a calibration batch.
            started: whether temperatures to start from were given.
        """
        ladder = Estimate() if started else self.batch(len(LADDER), spins, shots)
        return ladder + self.batch(PROBES, spins, shots)

    def _cost(self, qubits: int, parts: list[int]) -> float:
        return sum(
            self.timing(num_qubits=qubits, num_reads=reads, annealing_time=self.annealing_time) for reads in parts
        )
