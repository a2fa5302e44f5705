"""Perfect samples of the Boltzmann law: what an ideal device would give."""

from __future__ import annotations

from dataclasses import dataclass

from classical.exact import ExactSampler
from classical.ising import IsingModel
from classical.sampler import Seed
from classical.samples import Samples


@dataclass(frozen=True)
class PerfectSamples:
    """Independent samples of the Boltzmann law, without its closed form.

    P(s) = exp(Σ_j h_j s_j + Σ_{j<k} J_jk s_j s_k) / Z

    `ExactSampler` gives expectations of this law by sums, and trains without noise. These samples are the fair
    comparison for a device at equal shots: what separates the two is the device's law, not the number of its shots.
    """

    def sample(self, model: IsingModel, *, shots: int = 256, seed: Seed = 0) -> Samples:
        """Draw from the law itself.

        Args:
            model: any.
            shots: samples of each model.
            seed: an integer, or int64 (groups, models).
        """
        return ExactSampler().sample(model, shots=shots, seed=seed)
