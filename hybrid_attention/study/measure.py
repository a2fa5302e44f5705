"""The rows of one cell: every instance, number of shots and seed under one setting."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from classical import ExactSampler, IsingModel, Sampler
from classical.distance import kl_divergence, total_variation
from classical.sampler import KnownLaw
from hybrid_attention.estimators import ESTIMATORS, FromSamples
from hybrid_attention.qpu import Access
from hybrid_attention.qpu_settings import QPUS
from hybrid_attention.study import figures_of_merit as figures
from hybrid_attention.study.columns import COLUMNS
from hybrid_attention.study.grid import Cell
from hybrid_attention.study.instances import instances
from hybrid_attention.study.settings import StudyConfig
from quantum import AnnealSchedule, calibrate, response
from quantum.trotter import trotter_circuit

Row = dict[str, Any]


def measure(cell: Cell, study: StudyConfig, access: Access | None = None) -> list[Row]:
    """Work through a cell of models.

    Args:
        cell: one combination of settings.
        study: the study's settings.
        access: journal and budget, for quantum processors.

    Returns:
        A row for every instance, number of shots and seed, with every column of `COLUMNS`.
    """
    given = instances(study, cell.source)
    model, upstream = given.model, given.upstream
    sampler = cell.build(study, access)
    rule = ESTIMATORS[study.estimator]
    assert isinstance(rule, FromSamples)
    setting = {**setting_columns(cell, study), **circuit_columns(cell)}
    law = _law(sampler, model) if study.exact else None
    common = [dict(setting) for _ in range(model.groups)]
    anneal = cell.setting.anneal()
    if anneal is not None and anneal.design is not None:
        _put(common, "outside_design", (~anneal.design.inside(model)).long().flatten())
    exact = figures.exact_law(model) if study.exact else None
    reference = None if exact is None else figures.gradient(rule, figures.as_samples(exact), model, upstream)
    if law is not None and exact is not None and reference is not None:
        _judge_law(common, cell, study, model, law, exact)
        biased = figures.gradient(rule, figures.as_samples(law), model, upstream)
        _put(common, "gradient_relative_bias", _relative(biased, reference))
    if any(study.shot_list) and cell.setting.sampler not in QPUS:
        sampler.sample(model, shots=2, seed=0)  # compiles what is timed below
    rows = []
    for shots, seed in _draws(study):
        if shots == 0 and law is None and cell.setting.sampler in QPUS:
            continue  # a processor's law is not known
        own = [{**row, "shots": shots, "seed": seed, "instance": i} for i, row in enumerate(common)]
        start = time.perf_counter()
        samples = figures.as_samples(law) if shots == 0 and law is not None else None
        if samples is None:
            samples = sampler.sample(model, shots=shots, seed=seed)
            _put(own, "seconds", [(time.perf_counter() - start) / model.groups] * model.groups)
        _judge_samples(own, setting, samples, model, law, exact)
        if reference is not None:
            found = figures.gradient(rule, samples, model, upstream)
            _put(own, "gradient_cosine", _cosine(found, reference))
            _put(own, "gradient_relative_error", _relative(found, reference))
            chained = "chains" in samples.diagnostics  # shots that depend on each other, so that theory has no number
            if law is not None and study.estimator == "covariance" and not chained:
                spread = figures.variance_of_one_shot(law, upstream) / reference.square().sum(-1)
                _put(own, "gradient_variance", spread / shots if shots else torch.zeros_like(spread))
        rows += own
    return [{name: _plain(row.get(name)) for name in COLUMNS} for row in rows]


def setting_columns(cell: Cell, study: StudyConfig) -> Row:
    """Columns that say what was asked."""
    source, strength = cell.source, cell.source.strength
    random = source.step is None and cell.kind == "model"
    return {
        "kind": cell.kind,
        "models": study.models,
        "step": source.step,
        "layer": source.layer,
        "head": source.head,
        "spins": source.spins,
        "strength": strength if random else None,
        "field_scale": study.field_scale * strength if random else None,
        "coupling_scale": study.coupling_scale * strength if random else None,
        "schedule": cell.setting.schedule or None,
        "duration": cell.setting.duration,
        "trotter_steps": cell.setting.trotter_steps,
        "calibration": cell.setting.calibration or None,
        "sampler": cell.setting.sampler,
        "polish": cell.setting.polish,
        "noise": study.noise or None if cell.setting.sampler == "aer" else None,
        "estimator": study.estimator,
    }


def circuit_columns(cell: Cell) -> Row:
    """Columns that belong to the circuit: its response, its calibration and its size."""
    schedule = cell.setting.anneal()
    if schedule is None:
        return {"field_factor": 1.0, "coupling_factor": 1.0}
    beta = response(schedule, cell.setting.trotter_steps)
    factors = calibrate(schedule, cell.setting.trotter_steps, cell.setting.calibration)
    depth, gates = _size(schedule, cell.source.spins, cell.setting.trotter_steps)
    return {
        "beta_field": beta.beta_h,
        "beta_coupling": beta.beta_J,
        "field_factor": factors.field_factor,
        "coupling_factor": factors.coupling_factor,
        "depth": depth,
        "two_qubit_gates": gates,
    }


@lru_cache(maxsize=256)
def _size(schedule: AnnealSchedule, spins: int, steps: int | None) -> tuple[int, int]:
    """Depth and two-qubit gates of a circuit in which every pair is coupled."""
    ones = torch.ones(spins, spins, dtype=torch.float64)
    circuit = trotter_circuit(ones[0].numpy(), ones.triu(1).numpy(), schedule, steps)
    return circuit.depth(), circuit.num_nonlocal_gates()


def _law(sampler: Sampler, model: IsingModel) -> Tensor | None:
    """The sampler's law, (models, 2**spins), or None where it does not know it."""
    if isinstance(sampler, ExactSampler):
        return figures.exact_law(model)
    return sampler.probabilities(model).squeeze(1).double() if isinstance(sampler, KnownLaw) else None


def _judge_law(rows: list[Row], cell: Cell, study: StudyConfig, model: IsingModel, law: Tensor, exact: Tensor) -> None:
    """Columns that the law decides."""
    _put(rows, "kl", kl_divergence(model, law.unsqueeze(1)).squeeze(1))
    _put(rows, "total_variation", total_variation(law, exact))
    schedule, steps = cell.setting.anneal(), cell.setting.trotter_steps
    if schedule is not None and schedule.own_steps is None and steps is not None:
        # the same models go into both circuits, so that nothing but the steps differs
        fed = model.scaled(*calibrate(schedule, steps, cell.setting.calibration))
        laws = [_raw_law(cell, study, fed, number) for number in (steps, 2 * steps)]
        _put(rows, "trotter_error", total_variation(*laws))


def _raw_law(cell: Cell, study: StudyConfig, fed: IsingModel, steps: int) -> Tensor:
    """What the cell's circuit, with so many steps and without noise, samples of what it is fed, before any polish."""
    plain = replace(cell.setting, calibration="none", polish=0, trotter_steps=steps)
    law = _law(replace(cell, setting=plain).build(replace(study, noise="")), fed)
    assert law is not None
    return law


def _judge_samples(
    rows: list[Row], setting: Row, samples: Any, model: IsingModel, law: Tensor | None, exact: Tensor | None
) -> None:
    """Columns that the shots decide, or the law in their place."""
    found = figures.moments(samples)
    if exact is not None:
        true = figures.moments(figures.as_samples(exact))
        _put(rows, "mean_error", figures.rms(found.mean - true.mean))
        _put(rows, "correlation_error", figures.rms(found.pairs - true.pairs))
    if law is not None and exact is not None:
        own = figures.moments(figures.as_samples(law))
        _put(rows, "sampling_error", figures.rms(found.mean - own.mean))
    fits = figures.temperatures(samples, model)
    for name, part, factor in (("field", 0, "field_factor"), ("coupling", 1, "coupling_factor")):
        _put(rows, f"beta_{name}_fit", [fit[part] / setting[factor] for fit in fits])
        if "chains" not in samples.diagnostics:
            _put(rows, f"beta_{name}_fit_error", [fit[part + 2] / abs(setting[factor]) for fit in fits])
    if law is not None:
        _put(rows, "kl_fit", figures.kl_at(fits, model, law))


def _draws(study: StudyConfig) -> Iterator[tuple[int, int]]:
    """Shots and seed of every draw; the law itself is drawn once."""
    for shots in study.shot_list:
        for seed in range(study.seeds if shots else 1):
            yield shots, seed


def _cosine(found: Tensor, reference: Tensor) -> Tensor:
    """Cosine of the angle between gradients; nan where either vanishes, as where no loss depends on a query."""
    return (found * reference).sum(-1) / (found.norm(dim=-1) * reference.norm(dim=-1))


def _relative(found: Tensor, reference: Tensor) -> Tensor:
    return (found - reference).norm(dim=-1) / reference.norm(dim=-1)


def _put(rows: list[Row], name: str, values: Any) -> None:
    for row, value in zip(rows, values.tolist() if isinstance(values, Tensor) else values, strict=True):
        row[name] = value


def _plain(value: Any) -> Any:
    """nan as null: there is no such number."""
    return None if isinstance(value, float) and math.isnan(value) else value
