"""Temperatures by hand, from a table and measured."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from classical import IsingModel, Samples, fit_temperatures
from quantum import AnnealSchedule, response
from quantum.dwave import ControlErrorWarning, DWaveSampler
from quantum.dwave.calibration import probe_models
from quantum.dwave.emulator import emulated_sampler
from tests.contract.case import batch
from tests.contract.laws import boltzmann
from tests.dwave.service import BETA, loopback_sampler, service, solver
from tests.loopback import Annealed, Boltzmann, LoopbackServer, chip
from tests.statistics import chi_squared_p


@pytest.mark.parametrize(
    ("options", "field", "coupling"),
    [
        ({"anneal": "standard"}, *BETA),
        ({"anneal": "fast", "field": "ancilla"}, 8.0, 8.0),
        ({"anneal": "fast", "field": "ghost"}, 8.0, 8.0),
        ({"anneal": "fast"}, 8.0, 8.0),
    ],
    ids=["native", "ancilla", "ghost", "without fields"],
)
def test_temperatures_are_measured(options: dict[str, Any], field: float, coupling: float) -> None:
    sampler = DWaveSampler(solver(), calibration_shots=1_000, **options)
    found = sampler.temperatures(4)
    assert found.source == "fit"
    assert found.fit is not None
    assert abs(found.coupling - coupling) < 5 * found.fit.coupling_error
    if options.get("field") == "ancilla" or options["anneal"] == "standard":
        assert abs(found.field - field) < 5 * found.fit.field_error
    else:
        assert found.field == found.coupling
    jobs = len(service().account.jobs)
    assert sampler.temperatures(4) is found
    assert len(service().account.jobs) == jobs


@pytest.mark.parametrize("beta", [0.7, 2.0, 30.0, 100.0])
def test_temperatures_are_found_wherever_they_are(beta: float) -> None:
    with LoopbackServer([chip("pegasus", 2)], Boltzmann(1.2 * beta, beta)) as server, server.client() as client:
        sampler = DWaveSampler(client=client, anneal="standard", calibration_shots=1_000)
        found = sampler.temperatures(4)
        assert found.fit is not None
        assert abs(found.coupling - beta) < 5 * found.fit.coupling_error
        assert abs(found.field - 1.2 * beta) < 5 * found.fit.field_error
        assert found.fit.coupling_error < 0.1 * beta


def test_a_start_spares_the_search() -> None:
    before = len(service().account.jobs)
    loopback_sampler(calibration="fit", beta=(10.0, 10.0), copies=1).temperatures(3)
    assert len(service().account.jobs) - before == 4
    loopback_sampler(calibration="fit", beta=None, copies=1).temperatures(3)
    assert len(service().account.jobs) - before == 12
    loopback_sampler(calibration="fit", beta=None).temperatures(3)  # the models of a batch stand side by side
    assert len(service().account.jobs) - before == 14


def test_fields_and_couplings_arrive_as_they_are_after_a_fit() -> None:
    sampler = DWaveSampler(solver(), anneal="standard", calibration_shots=4_000, control_error=1e-3)
    model = batch(spins=4, seed=1)
    fit = fit_temperatures(sampler.sample(model, shots=4_000, seed=1), model)
    assert fit.beta_field == pytest.approx(1.0, abs=0.1)
    assert fit.beta_coupling == pytest.approx(1.0, abs=0.1)


TABLE = {"fraction": [0.0, 0.3, 0.6, 1.0], "a_ghz": [0.5, 0.25, 0.05, 0.0], "b_ghz": [0.0, 0.1, 0.25, 0.4]}


def test_a_table_predicts_the_temperatures_of_the_anneal_that_it_describes() -> None:
    schedule = AnnealSchedule.tabulated(**TABLE, duration_ns=5.0)
    processor = Annealed(lambda ns: AnnealSchedule.tabulated(**TABLE, duration_ns=ns), 200)
    # no standard anneal is that short; this chip has one, since fields are to be tested without an ancilla
    quick = chip("pegasus", 2, annealing_time_range=[0.001, 2000.0])
    with LoopbackServer([quick], processor) as server, server.client() as client:
        by_table = {"duration": 5, "calibration": "table", "schedule": schedule, "control_error": 1e-3}
        sampler = DWaveSampler(client=client, anneal="standard", **by_table)
        found = sampler.temperatures(2)
        assert found.field == pytest.approx(response(schedule, 400).beta_h, rel=1e-3)
        assert found.coupling == pytest.approx(response(schedule, 400).beta_J, rel=1e-3)
        model = batch(spins=2, groups=1, models=2, field=0.15, coupling=0.15)
        samples = sampler.sample(model, shots=10_000, seed=1)
        fit = fit_temperatures(samples, model)
        assert abs(fit.beta_field - 1) < 5 * fit.field_error + 0.02  # the response is linear for weak fields
        assert abs(fit.beta_coupling - 1) < 5 * fit.coupling_error + 0.02
        jobs = len(server.account.jobs)
        with pytest.raises(ValueError, match=r"'table', which holds for single qubits, but .* chains of up to 2"):
            sampler.sample(batch(spins=5), shots=10)
        assert len(server.account.jobs) == jobs

        # flux grows with B, so that a pinned ancilla is not polarised while A is large: it shows
        pinned = DWaveSampler(client=client, field="ancilla", **by_table).sample(model, shots=2_000, seed=1)
        assert bool((pinned.diagnostics["ancilla"] < 0.95).all())
        assert server.failures == []


def test_values_that_drown_in_the_control_error_are_called_out() -> None:
    model = batch(spins=3, groups=1, models=1, field=0.1, coupling=0.1)
    with pytest.warns(ControlErrorWarning) as seen:
        samples = loopback_sampler(control_error=0.02).sample(model, shots=10)
    said = [str(one.message) for one in seen if one.category is ControlErrorWarning]
    assert [message.split(" are programmed")[0] for message in said] == ["fields", "couplings"]
    assert "below the control error of 0.02 that Loopback_pegasus2 is taken to have" in said[0]
    values = samples.diagnostics["programmed"]
    h, J = model.fields / BETA[0], model.couplings[0][torch.triu_indices(3, 3, 1).unbind()] / BETA[1]
    assert values.field_rms == pytest.approx(float((h**2).mean().sqrt()))
    assert values.field_largest == pytest.approx(float(h.abs().max()))
    assert values.coupling_rms == pytest.approx(float((J**2).mean().sqrt()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loopback_sampler(control_error=1e-3).sample(model, shots=10)
        blank = batch(spins=3, field=0.0, coupling=0.0)
        assert loopback_sampler(control_error=0.02).sample(blank, shots=10).shots == 10


def test_the_law_is_the_models_by_hand_only_at_the_right_temperatures() -> None:
    model = batch(spins=4, seed=2)
    wrong = loopback_sampler(beta=(8.0, 8.0)).sample(model, shots=5_000, seed=1)
    assert chi_squared_p(wrong, boltzmann(model)) < 1e-5


def test_temperatures_are_those_of_the_chains_that_models_stand_on() -> None:
    """Chains are slower than qubits: one temperature for all copies would be wrong for those with other chains."""
    options = {"duration": 3.0, "field": "ghost", "calibration_shots": 2_000, "control_error": 1e-9}
    with emulated_sampler(size=3, **options) as sampler:
        kinds = sampler.placement.kinds(4)
        betas = [one.coupling for one in sampler.temperatures_by_kind(4)]
        assert len(betas) == len(set(kinds)) == max(kinds) + 1 > 1
        assert max(betas) > 1.2 * min(betas)
        probes = probe_models(4, 4, True, 9)
        model = IsingModel(probes.fields.repeat(1, len(kinds), 1), probes.couplings)
        # every model once on every copy: those of a group stand side by side
        drawn = [
            sampler.sample(IsingModel(model.fields[g : g + 1], model.couplings[g : g + 1]), shots=500, seed=g)
            for g in range(4)
        ]
    fits = []
    for kind in set(kinds):
        members = [copy for copy, one in enumerate(kinds) if one == kind]
        spins = torch.cat([one.spins[:, members] for one in drawn])
        weights = torch.cat([one.weights[:, members] for one in drawn])
        own = IsingModel(probes.fields.repeat(1, len(members), 1), probes.couplings)
        fit = fit_temperatures(Samples(spins, weights, 500), own)
        fits.append((fit.beta_coupling, fit.beta_field))
    # the same models on all kinds: what a coherent anneal's law differs from Boltzmann's in, it does everywhere
    for found in fits:
        assert found == pytest.approx(fits[0], rel=0.12), (fits, betas)
        assert found == pytest.approx((1.0, 1.0), abs=0.3), (fits, betas)
