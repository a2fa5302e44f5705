"""A try of a processor: temperatures, samples of small random models against exact sums, and the charge."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from scipy.stats import chi2

from classical import ExactSampler, IsingModel, Samples
from hybrid_attention.config import TrainConfig
from hybrid_attention.errors import InputError
from hybrid_attention.qpu import Access
from hybrid_attention.samplers import build_sampler
from hybrid_attention.study.figures_of_merit import exact_law
from quantum.dwave.calibration import probe_models
from quantum.jobs.records import MICROSECONDS

MODELS = 8
_BATCH = 7
_LEAST_EXPECTED = 5.0
_NO_ERROR = 1e-9


def check(config: TrainConfig, access: Access) -> Iterator[str]:
    """Calibrate, sample and compare.

    Args:
        config: settings of the processor; its length, or window, is the models' number of spins.
        access: journal and budget.

    Yields:
        What was found, a line at a time.

    Raises:
        InputError: settings that do not work.
        QPUError: the service failed.
    """
    sampler = build_sampler(config, access)
    try:
        access.journal.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        folder = access.journal.parent
        raise InputError(f"--out {folder} cannot be made ({error.strerror}); choose another folder") from None
    journal = access.open()
    before = journal.totals().charged_us
    model = probe_models(config.spins, MODELS, True, _BATCH)
    samples = sampler.sample(model, shots=config.shots, seed=config.seed)
    found = samples.diagnostics
    yield f"solver: {found.get('solver') or found.get('backend')}"
    temperatures = found.get("temperatures")
    if temperatures is not None:
        errors = temperatures.fit and (temperatures.fit.field_error, temperatures.fit.coupling_error)
        yield f"temperatures: {_named('beta_h', temperatures.field, errors and errors[0])}, " + (
            f"{_named('beta_J', temperatures.coupling, errors and errors[1])} ({temperatures.source})"
        )
    values = found.get("programmed")
    if values is not None:
        yield (
            f"programmed: fields {values.field_rms:.3g}, couplings {values.coupling_rms:.3g} (root mean square)"
            + (f"; control error taken as {values.control_error:g}" if values.control_error > _NO_ERROR else "")
        )
        yield f"broken chains: {100 * float(found['broken_chains'].mean()):.3g} %"
    if found.get("ancilla") is not None:
        yield f"mean of the ancilla: {float(found['ancilla'].mean()):.4f} (1 is polarised)"
    exact = ExactSampler()
    distance = (samples.mean() - exact.mean(model)).square().mean().sqrt()
    noise = config.shots**-0.5
    yield f"error of the means: {float(distance):.4f} ({noise:.4f} would be the noise of free spins)"
    yield _judged(samples, model)
    yield f"charged: {(journal.totals().charged_us - before) / MICROSECONDS:.6g} s of QPU time"
    yield f"journal: {access.journal}"


def _named(name: str, value: float, error: float | None) -> str:
    known = error is not None and math.isfinite(error)
    return f"{name} = {value:.4g}" + (f" ± {error:.2g}" if known else "")


def chi_squared(samples: Samples, model: IsingModel) -> list[tuple[float, int]]:
    """χ² of the configurations of every model against the exact law, and its degrees of freedom.

    Configurations that are expected less than five times are counted together.

    Args:
        samples: of independent shots.
        model: (groups, models, spins).
    """
    assert samples.shots is not None
    law = exact_law(model)
    seen = samples.frequencies().double().flatten(0, 1) * samples.shots
    found = []
    for p, counts in zip(law, seen, strict=True):
        expected = p * samples.shots
        often = expected >= _LEAST_EXPECTED
        e = torch.cat([expected[often], expected[~often].sum()[None]])
        n = torch.cat([counts[often], counts[~often].sum()[None]])
        kept = e > 0
        value = float(((n - e).square() / e.clamp_min(1e-300))[kept].sum())
        found.append((value, max(1, int(kept.sum()) - 1)))
    return found


def _judged(samples: Samples, model: IsingModel) -> str:
    values = chi_squared(samples, model)
    total, freedom = sum(value for value, _ in values), sum(freedom for _, freedom in values)
    p = float(chi2.sf(total, freedom))
    verdict = "Boltzmann's law within the noise" if p > 1e-3 else "not Boltzmann's law: a bias beyond the noise"
    return f"chi-squared: {total:.1f} for {freedom} degrees of freedom, p = {p:.2g} ({verdict})"
