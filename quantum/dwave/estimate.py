"""What sampling would cost, by the solver's own timing model; nothing is submitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quantum.dwave.calibration import LADDER, probe_kinds, probe_rounds
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
        return self._of(spins, self.placement.shares(spins, models), shots)

    def calibration(self, spins: int, shots: int, started: bool) -> Estimate:
        """Of measuring temperatures for models of so many spins, on every kind of copy.

        Args:
            spins: of the models.
            shots: of every model of a calibration batch.
            started: whether temperatures to start from were given.
        """
        kinds = max(self.placement.kinds(spins)) + 1
        ladder = Estimate()
        if not started:
            ladder = self._of(spins, self.placement.shares_on(spins, [0] * len(LADDER)), shots)
        probes = self._of(spins, self.placement.shares_on(spins, probe_kinds(kinds)), shots)
        return ladder + probes * probe_rounds(kinds)

    def _of(self, spins: int, shares: Sequence[tuple[int, ...]], shots: int) -> Estimate:
        qubits = [one.qubits for one in self.placement.embeddings(spins)]
        parts = split_reads(shots, self.most_reads, max(1, self.reversals))
        models = sum(map(len, shares))
        cost = {copies: self._cost(sum(qubits[copy] for copy in copies), parts) for copies in set(shares)}
        return Estimate(
            models,
            len(shares) * len(parts),
            max(map(len, shares)),
            sum(cost[copies] for copies in shares) / MICROSECONDS,
            models * self._cost(qubits[0], parts) / MICROSECONDS,
        )

    def _cost(self, qubits: int, parts: list[int]) -> float:
        time = self.annealing_time
        return sum(float(self.timing(num_qubits=qubits, num_reads=reads, annealing_time=time)) for reads in parts)
