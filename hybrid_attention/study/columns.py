"""The columns of a study's table, with their units.

A row is one model at one setting with one seed (kind "model"), or one training run at one setting with one seed (kind
"training"). What does not apply, or is not known, is null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybrid_attention.tables import Column, arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS: dict[str, Column] = {
    "kind": Column("text", "1", "model or training"),
    "models": Column("text", "1", "random, or the run whose Hamiltonians these are"),
    "step": Column("integer", "training steps", "when a run's Hamiltonian was exported"),
    "layer": Column("integer", "1", "of a run's Hamiltonian"),
    "head": Column("integer", "1", "of a run's Hamiltonian"),
    "spins": Column("integer", "spins", "number of spins n; length of the sequences in training"),
    "strength": Column("number", "1", "what the distribution's scales are multiplied by"),
    "field_scale": Column("number", "1", "standard deviation of random fields, strength included"),
    "coupling_scale": Column("number", "1", "√n times the standard deviation of random couplings, strength included"),
    "schedule": Column("text", "1", "linear, preset:K or a file"),
    "duration": Column("number", "ħ / largest transverse field", "T; null for schedules given by angles"),
    "trotter_steps": Column("integer", "steps", "K"),
    "calibration": Column("text", "1", "none, one-beta, two-beta or tuned"),
    "sampler": Column("text", "1", "as on the command line"),
    "polish": Column("integer", "sweeps", "heat-bath sweeps after sampling"),
    "noise": Column("text", "1", "errors of the device that Aer simulates"),
    "estimator": Column("text", "1", "of the gradient"),
    "shots": Column("integer", "shots", "for each model; 0 is the law itself, infinitely many"),
    "instance": Column("integer", "1", "which model of the distribution"),
    "seed": Column("integer", "1", "of the shots, or of the training run"),
    "outside_design": Column(
        "integer", "1", "1 where the model is outside the range that the schedule was designed for"
    ),
    "kl": Column("number", "nats", "KL(exact ‖ law)"),
    "total_variation": Column("number", "1", "between exact and law"),
    "mean_error": Column("number", "1", "root mean square over spins of ⟨s⟩ − exact"),
    "correlation_error": Column("number", "1", "root mean square over pairs of ⟨s s⟩ − exact"),
    "sampling_error": Column("number", "1", "root mean square over spins of ⟨s⟩ of the shots − of the law"),
    "beta_field": Column("number", "1", "β_h of the uncalibrated anneal, predicted by linear response"),
    "beta_coupling": Column("number", "1", "β_J, likewise"),
    "field_factor": Column("number", "1", "what the calibration multiplies fields by"),
    "coupling_factor": Column("number", "1", "what the calibration multiplies couplings by"),
    "beta_field_fit": Column("number", "1", "β_h fitted to the samples, over field_factor: comparable with beta_field"),
    "beta_field_fit_error": Column("number", "1", "its standard error; null for the law and for shots of chains"),
    "beta_coupling_fit": Column("number", "1", "β_J fitted, over coupling_factor"),
    "beta_coupling_fit_error": Column("number", "1", "its standard error; null for the law and for shots of chains"),
    "kl_fit": Column("number", "nats", "KL(Boltzmann at the fitted temperatures ‖ law): left unexplained"),
    "gradient_cosine": Column("number", "1", "between estimated and exact gradient, fields and couplings together"),
    "gradient_relative_error": Column("number", "1", "length of their difference over that of the exact gradient"),
    "gradient_relative_bias": Column("number", "1", "the same with infinitely many shots of the law"),
    "gradient_variance": Column(
        "number", "1", "variance at these shots over the exact gradient's squared length; null for chains"
    ),
    "trotter_error": Column(
        "number", "1", "total variation between the laws at K and 2K steps, without polish and noise"
    ),
    "seconds": Column("number", "s", "wall time of sampling one model, or of a training run"),
    "depth": Column("integer", "gates", "depth of the circuit, every pair coupled"),
    "two_qubit_gates": Column("integer", "gates", "RZZ gates of the circuit, every pair coupled"),
    "task": Column("text", "1", "what was trained"),
    "training_steps": Column("integer", "steps", "of the training run"),
    "loss": Column("number", "nats", "held out, by exact sums"),
    "loss_error": Column("number", "nats", "its standard error over sequences"),
    "accuracy": Column("number", "1", "held out, by exact sums"),
}
"""Every column by name, in the order of the table."""


def schema() -> pa.Schema:
    """The table's columns for Arrow, with unit and meaning in each field's metadata."""
    return arrow_schema(COLUMNS)
