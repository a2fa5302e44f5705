"""What a dimod child calls our spins, and which pairs of them it can couple."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch

from classical.ising import IsingModel
from classical.sampler import require_spins


class Variables:
    """Labels of spins, spin j being the j-th of them, within the nodes and edges that a structured child has.

    Args:
        child: a dimod sampler; one with `nodelist` and `edgelist` (dimod.Structured) takes only problems on its graph.
        labels: of the spins in their order, or None for 0, 1, 2, …
        max_spins: most spins, or None for as many as there are labels and nodes.

    Raises:
        ValueError: labels that are no sequence, not hashable, given twice or no nodes of the child, or max_spins below
            1 or above the number of labels or nodes.
    """

    def __init__(self, child: Any, labels: Sequence[Hashable] | None, max_spins: int | None) -> None:
        self._child = type(child).__name__
        self._nodes = self._edges = None
        if hasattr(child, "nodelist") and hasattr(child, "edgelist"):
            self._nodes = set(child.nodelist)
            self._edges = {frozenset(edge) for edge in child.edgelist}
        self._labels = None if labels is None else self._checked(labels)
        limits = [len(x) for x in (self._labels, self._nodes) if x is not None]
        self.max_spins: int | None = min(limits, default=None)
        if max_spins is not None:
            largest = max_spins if self.max_spins is None else self.max_spins
            if isinstance(max_spins, bool) or not isinstance(max_spins, int) or not 1 <= max_spins <= largest:
                most = "" if self.max_spins is None else f" and at most {largest}, as many as there are variables"
                raise ValueError(f"max_spins is {max_spins!r}; give an integer of at least 1{most}")
            self.max_spins = max_spins

    def of(self, model: IsingModel) -> list[Hashable]:
        """Labels of a model's spins, once the child is known to hold them and their couplings.

        Args:
            model: the models.

        Raises:
            ValueError: more spins than there are variables, a spin that is no node of the child, or a coupling that is
                none of its edges.
        """
        if self.max_spins is not None:
            fewer = "use fewer spins, or a child (and variables) with more"
            require_spins(model, self.max_spins, f"DimodSampler({self._child})", fewer)
        labels = [*range(model.spins)] if self._labels is None else self._labels[: model.spins]
        if self._nodes is None or self._edges is None:
            return labels
        for spin, label in enumerate(labels):
            if label not in self._nodes:
                raise ValueError(
                    f"spin {spin} is variable {label!r}, which is no node of {self._child}; name the nodes to use, as "
                    "DimodSampler(child, variables=[...]), or put the child into an EmbeddingComposite"
                )
        for j, k in torch.nonzero((model.couplings != 0).any(0)).tolist():
            if frozenset((labels[j], labels[k])) not in self._edges:
                raise ValueError(
                    f"couplings has a coupling of spins {j} and {k}, but {self._child} has no edge between "
                    f"{labels[j]!r} and {labels[k]!r}; put it into a dwave.system.EmbeddingComposite, which represents "
                    "a spin by several nodes, or choose variables that it can couple"
                )
        return labels

    def _checked(self, labels: Sequence[Hashable]) -> list[Hashable]:
        if isinstance(labels, str) or not isinstance(labels, Sequence) or not labels:
            raise ValueError(f"variables is {labels!r}; give a list of labels, one for each spin")
        seen: set[Hashable] = set()
        for label in labels:
            if not isinstance(label, Hashable):
                raise ValueError(f"variables contains {label!r}, which is not hashable; give names, numbers or tuples")
            if label in seen:
                raise ValueError(f"variables contains {label!r} twice; give every spin a label of its own")
            if self._nodes is not None and label not in self._nodes:
                raise ValueError(f"variables contains {label!r}, which is no node of {self._child}; see its nodelist")
            seen.add(label)
        return list(labels)
