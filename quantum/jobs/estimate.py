"""A cost before it arises."""

from __future__ import annotations

from dataclasses import dataclass


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
