"""Which circuits a batch of models becomes on Aer, and with which values."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from classical.ising import IsingModel
from quantum.aer_batches import Piece, shares
from quantum.calibration import Factors
from quantum.noisy_circuits import NoisyCircuits, with_probabilities
from quantum.schedule import Angles
from quantum.trotter import Template, pairs, template

_SHARING_MODELS, _SHARING_SPINS = 8, range(2, 15)
"""Groups of at least so many models, and of so many spins, get a circuit with their couplings in it. For fewer models
the 2**spins numbers per step, which pass through Python once per group, cost more than they save."""

_TEMPLATES = 64
"""How many parametrised circuits are kept: one for each pattern of couplings that are not zero, and each ending."""


class AerCircuits:
    """The circuits of one sampler.

    Args:
        angles: the anneal's angles.
        factors: what multiplies fields and couplings.
        threads: how many circuits a batch is divided into.
        noise: what acts on the circuits, or None.
        sharing: whether the couplings of a large group may be one diagonal gate.
        chain: whether gates act on neighbouring qubits alone (`quantum.trotter.template`).
    """

    def __init__(
        self, angles: Angles, factors: Factors, threads: int, noise: NoisyCircuits | None, sharing: bool, chain: bool
    ) -> None:
        self.angles = angles
        self.factors = factors
        self.threads = threads
        self.noise = noise
        self.sharing = sharing
        self.chain = chain
        self._templates: dict[tuple[int, str, bytes], Template] = {}

    def pieces(self, model: IsingModel, ending: str, numbers: int, limit: int) -> Iterator[Piece]:
        """The batch in its order, as circuits and the values of their parameters for some models each.

        Args:
            model: the batch.
            ending: "measure" or "probabilities".
            numbers: what Aer returns for one model.
            limit: most numbers, of parameters and results, in one piece.
        """
        h = model.fields.detach().double().cpu().numpy() * self.factors.field_factor
        J = self._couplings(model)
        if not h.size:
            return
        if self.sharing and model.models >= _SHARING_MODELS and model.spins in _SHARING_SPINS:
            for fields, couplings in zip(h, J, strict=True):
                circuit = template(model.spins, self.angles, ending, couplings)
                yield from shares(circuit, circuit.values(fields), -(-self.threads // model.groups), numbers, limit)
            return
        # a model's circuit is its own group's affair, so that neither law nor samples depend on the other groups
        for _, run in groupby(range(model.groups), key=lambda group: _present(J[group]).tobytes()):
            groups = list(run)
            circuit = self._template(model.spins, _present(J[groups[0]]), ending)
            values = circuit.values(h[groups].reshape(-1, model.spins), J[groups].repeat(model.models, axis=0))
            yield from shares(circuit, values, self.threads, numbers, limit)

    def measured(self, model: IsingModel) -> list[Template]:
        """The parametrised circuit that measures the models of each group.

        Args:
            model: the batch; of its values only which couplings are zero matters.
        """
        return [self._template(model.spins, _present(J), "measure") for J in self._couplings(model)]

    def _couplings(self, model: IsingModel) -> NDArray[np.float64]:
        """Couplings that are fed, (groups, pairs)."""
        rows, columns = pairs(model.spins)
        return model.couplings.detach().double().cpu().numpy()[:, rows, columns] * self.factors.coupling_factor

    def _template(self, spins: int, present: NDArray[np.intp], ending: str) -> Template:
        key = spins, ending, present.tobytes()
        if key not in self._templates:
            if self.noise is None:
                built = template(spins, self.angles, ending, present=present, chain=self.chain)
            elif ending == "measure":
                built = self.noise.compiled(template(spins, self.angles, "measure", present=present))
            else:
                # of what is measured, gate for gate: a second compilation might place spins elsewhere
                built = with_probabilities(self._template(spins, present, "measure"))
            while len(self._templates) >= _TEMPLATES:
                del self._templates[next(iter(self._templates))]
            self._templates[key] = built
        return self._templates[key]


def _present(couplings: NDArray[np.float64]) -> NDArray[np.intp]:
    """Indices of pairs that are coupled."""
    return couplings.nonzero()[0]
