"""The command `hybrid-attention design`: an annealing circuit's angles, optimized and written to a file."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hybrid_attention.config import LARGEST_SEED
from hybrid_attention.errors import InputError
from hybrid_attention.files import require_new_file
from hybrid_attention.flags import flag

if TYPE_CHECKING:
    from quantum.distribution import ModelDistribution
    from quantum.minimize import Progress
    from quantum.schedule import AnnealSchedule


@dataclass(frozen=True)
class DesignCommand:
    """Design a shallow annealing circuit for random Ising models; --schedule FILE then uses it."""

    steps: int
    """Trotter steps K of the circuit."""
    out: Path
    """JSON file to write; it must not exist yet."""
    field_scale: tuple[float, float] | None = None
    """Lowest and highest standard deviation of the models' fields; the preset's by default, like the following."""
    coupling_scale: tuple[float, float] | None = None
    """Lowest and highest standard deviation of the models' couplings times the square root of their spins."""
    spins: tuple[int, ...] | None = None
    """Numbers of spins of the models."""
    models: int = 384
    """Random models to optimize on."""
    iterations: int = 400
    """Most BFGS iterations; it stops by itself when they gain nothing."""
    gate_error: float = 0.0
    """Probability of an error after each two-qubit gate."""
    seed: int = 0
    """Fixes the models."""
    wide: bool = False
    """Start from the wide presets' range of models instead of the narrow ones'."""

    def run(self) -> None:
        """Design, write and say how good it is and for which models."""
        from tqdm import tqdm

        from quantum.design import design_schedule

        require_new_file(self.out)
        if not 0 <= self.seed < LARGEST_SEED // 2:
            raise InputError(f"--seed is {self.seed}; give a number from 0 to below {LARGEST_SEED // 2}")
        # the delay keeps refused arguments to one line; there is no total, as it stops when nothing is gained
        with tqdm(unit=" iterations", desc=f"design K={self.steps}", delay=0.5) as bar:

            def progress(done: int, kl: float) -> None:
                bar.set_postfix_str(f"KL {kl:.5f}", refresh=False)
                bar.update(done - bar.n)

            schedule = self._design(design_schedule, progress)
        require_new_file(self.out)
        try:
            schedule.save(self.out)
        except OSError as error:
            raise InputError(f"--out {self.out} cannot be written ({error.strerror}); give another file") from None
        design = schedule.design
        assert design is not None
        print(f"schedule: {self.out}")
        print(f"held-out KL: {design.kl:.5f} ± {design.kl_error:.5f} nats, without gate errors")
        print(f"range: {design}")

    def distribution(self) -> ModelDistribution:
        """The random models that the flags describe."""
        from quantum.distribution import NARROW, WIDE

        given = {name: getattr(self, name) for name in ("field_scale", "coupling_scale", "spins")}
        changes = {name: value for name, value in given.items() if value is not None}
        return replace(WIDE if self.wide else NARROW, **changes)

    def _design(self, design: Callable[..., AnnealSchedule], progress: Progress) -> AnnealSchedule:
        try:
            return design(
                self.steps,
                distribution=self.distribution(),
                models=self.models,
                iterations=self.iterations,
                gate_error=self.gate_error,
                seed=self.seed,
                progress=progress,
            )
        except ValueError as error:  # its first word is the argument's name
            message = re.sub(r"^\w+|(?<=and )coupling_scale", lambda m: flag(m.group()), str(error))
            raise InputError(message) from None
