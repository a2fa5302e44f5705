"""What a job's options may be, as the dictionary that IBM's sampler takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MODES = ("job", "batch", "session")
"""How jobs are run: each by itself; several together; or with the processor reserved for them."""

SEQUENCES = ("XX", "XpXm", "XY4")
"""Pulses of dynamical decoupling."""

RANDOMIZATIONS, LEAST_SHOTS = 32, 64
"""How IBM's client divides shots among twirls: at most so many twirls, of at least so many shots."""


@dataclass(frozen=True)
class Options:
    """Options of every job of a sampler.

    Args:
        mode: a name in `MODES`.
        content: of `qiskit_ibm_runtime.options_models.SamplerOptions`, without tags and seeds.
    """

    mode: str
    content: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        mode: str,
        twirling: bool | dict[str, Any],
        dynamical_decoupling: bool | str,
        max_execution_time: int | None,
    ) -> Options:
        """Checked options.

        Args:
            mode: a name in `MODES`.
            twirling: True twirls gates and measurements; a dictionary holds fields of IBM's `TwirlingOptions`.
            dynamical_decoupling: True for "XX", or a name in `SEQUENCES`.
            max_execution_time: seconds of QPU time after which the service stops a job; None for its own limit.

        Raises:
            ValueError: an option that is none of these.
        """
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}; choose one of {', '.join(MODES)}")
        content: dict[str, Any] = {}
        if isinstance(twirling, dict):
            content["twirling"] = dict(twirling)
        elif not isinstance(twirling, bool):
            raise ValueError(f"twirling is {twirling!r}; give True, False, or a dictionary of IBM's TwirlingOptions")
        elif twirling:
            content["twirling"] = {"enable_gates": True, "enable_measure": True}
        sequence = "XX" if dynamical_decoupling is True else dynamical_decoupling
        if sequence is not False:
            if sequence not in SEQUENCES:
                raise ValueError(
                    f"dynamical_decoupling is {dynamical_decoupling!r}; give True, False, or one of "
                    f"{', '.join(SEQUENCES)}"
                )
            content["dynamical_decoupling"] = {"enable": True, "sequence_type": sequence}
        if max_execution_time is not None:
            if isinstance(max_execution_time, bool) or not isinstance(max_execution_time, int):
                raise ValueError(f"max_execution_time is {max_execution_time!r}; give whole seconds")
            if max_execution_time < 1:
                raise ValueError(f"max_execution_time is {max_execution_time}; give at least 1 second")
            content["max_execution_time"] = max_execution_time
        options = cls(mode, content)
        if isinstance(twirling, dict):
            options.require_accepted()
        return options

    def require_accepted(self) -> None:
        """Refuse what IBM's client does not take.

        Raises:
            ValueError: names the field.
        """
        from pydantic import ValidationError
        from qiskit_ibm_runtime.options_models import SamplerOptions

        failed = None
        try:
            SamplerOptions(**self.content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            failed = ValueError(f"{where} is {first['input']!r}; {first['msg']} (IBM's TwirlingOptions)")
        if failed is not None:
            raise failed

    def executed(self, shots: int) -> int:
        """Shots that are run for each model: with twirling, a whole number for each twirl.

        Args:
            shots: that are asked for.
        """
        twirling = self.content.get("twirling", {})
        if not (twirling.get("enable_gates") or twirling.get("enable_measure")):
            return shots
        twirls, each = twirling.get("num_randomizations", "auto"), twirling.get("shots_per_randomization", "auto")
        if each == "auto":
            each = max(LEAST_SHOTS, -(-shots // RANDOMIZATIONS)) if twirls == "auto" else -(-shots // int(twirls))
        return (-(-shots // int(each)) if twirls == "auto" else int(twirls)) * int(each)
