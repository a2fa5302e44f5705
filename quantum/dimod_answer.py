"""What dimod samplers answer, as spins in our order and how often each configuration occurred."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Answer(NamedTuple):
    """Configurations of one problem.

    Args:
        spins: (rows, spins) int8, values −1 and +1.
        occurrences: (rows,) float64, whole numbers that are not negative; their sum is not zero.
    """

    spins: NDArray[np.int8]
    occurrences: NDArray[np.float64]


def read_answer(answer: Any, labels: list[Hashable], child: str, reads: int | None) -> Answer:
    """Read a SampleSet, whatever the order of its variables and whether it is in spins or in bits.

    s_j = 2 x_j − 1 for the bits x_j of a BINARY answer

    Args:
        answer: what the child returned.
        labels: the variables of its problem, spin by spin.
        child: what messages call it.
        reads: how many configurations it was asked for, or None where it cannot be asked.

    Raises:
        ValueError: no SampleSet, variables that are missing or were not asked for, values that are neither spins nor
            bits, occurrences that are no counts, or more or fewer reads than asked for.
    """
    import dimod

    if not isinstance(answer, dimod.SampleSet):
        raise ValueError(f"{child} answered {answer!r}; a dimod sampler returns a dimod.SampleSet")
    if answer.vartype not in (dimod.SPIN, dimod.BINARY):
        raise ValueError(f"{child} answered in variables of type {answer.vartype}; use one that answers SPIN or BINARY")
    values = _columns(answer, labels, child)
    up = values == 1
    known = up | (values == (-1 if answer.vartype is dimod.SPIN else 0))
    if not bool(known.all()):
        raise ValueError(
            f"{child} answered a variable with {values[~known][0]}, which no {answer.vartype.name} variable can be; "
            "check the child, or what it is composed of"
        )
    return Answer(np.where(up, np.int8(1), np.int8(-1)), _occurrences(answer, child, reads))


def _columns(answer: Any, labels: list[Hashable], child: str) -> NDArray[Any]:
    """The sampled values, one column for each spin."""
    found = list(answer.variables)
    values = answer.record.sample
    if found == labels:
        return values
    place = {label: column for column, label in enumerate(found)}
    for label in labels:
        if label not in place:
            raise ValueError(
                f"{child} answered without variable {label!r}; it leaves out variables it is given, so use another, or "
                "compose it with one that puts them back"
            )
    if len(found) > len(labels):
        extra = next(label for label in found if label not in set(labels))
        raise ValueError(
            f"{child} answered with variable {extra!r}, which its problem does not have; use another child"
        )
    return values[:, [place[label] for label in labels]]


def _occurrences(answer: Any, child: str, reads: int | None) -> NDArray[np.float64]:
    occurrences = np.asarray(answer.record.num_occurrences, dtype=np.float64)
    if bool((occurrences < 0).any()) or bool((occurrences != np.round(occurrences)).any()):
        wrong = occurrences[(occurrences < 0) | (occurrences != np.round(occurrences))][0]
        raise ValueError(f"{child} answered with num_occurrences {wrong:g}; they must be counts, 0 or more")
    total = int(occurrences.sum())
    if reads is not None and total != reads:
        raise ValueError(
            f"{child} answered {total} reads where num_reads was {reads}; choose parameters with which it returns as "
            "many as it is asked for (no time limit, no filter of its own)"
        )
    if total == 0:
        raise ValueError(f"{child} answered no read at all; use a child that returns at least one")
    return occurrences
