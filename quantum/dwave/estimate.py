"""What sampling would cost, by the solver's own timing model; nothing is submitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from quantum.dwave.calibration import LADDER, PROBES
from quantum.dwave.placement import Placement
from quantum.dwave.reads import split_reads
from quantum.jobs.estimate import Estimate

MICROSECONDS = 1e6


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
        time = self.annealing_time
        return sum(float(self.timing(num_qubits=qubits, num_reads=reads, annealing_time=time)) for reads in parts)
