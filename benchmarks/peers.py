"""The same work by other libraries, in the same run and on the same core.

    pip install 'hybrid-attention[bench]'
    python -m benchmarks.peers

* probabilities of annealing circuits: PennyLane's `default.qubit` with parameter broadcasting, and Aer
* Gibbs chains: thrml, one chain a model with 20 warm-up sweeps and 256 samples
* forward and backward through sampled spins: the `Ising` layer of dwave-pytorch-plugin with simulated annealing
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.aer_batch import Setting, best_times, textbook
from benchmarks.ways import random_models
from classical import ExactSampler, GibbsSampler, IsingModel, Sampler
from hybrid_attention import boltzmann_mean
from quantum import AnnealSchedule, StatevectorSampler

SPINS, STEPS, SHOTS = 8, 16, 256
MODELS, SLOW_MODELS = 512, 64
PENNYLANE_MODELS = 2048
"""Its rate grows with the batch up to about so many."""
WARM_UP = 20


def pennylane_law(model: IsingModel, sampler: StatevectorSampler) -> Callable[[], Tensor]:
    """Probabilities of the same circuits, all models broadcast through one; torch is its fastest interface here."""
    import pennylane as qml

    n, angles = model.spins, sampler.angles
    h = model.fields.double().flatten(0, 1) * sampler.factors.field_factor
    J = model.couplings.double().repeat_interleave(model.models, 0) * sampler.factors.coupling_factor

    @qml.qnode(qml.device("default.qubit", wires=n), diff_method=None, interface="torch")  # type: ignore[untyped-decorator]
    def circuit() -> Any:
        for i in range(n):
            qml.Hadamard(i)
        for a, b, theta in zip(*(x.tolist() for x in (angles.field, angles.coupling, angles.mixer)), strict=True):
            for i in range(n):
                qml.RZ(-2 * a * h[:, i], i)
            for i in range(n):
                for j in range(i + 1, n):
                    qml.IsingZZ(-2 * b * J[:, i, j], [i, j])
            for i in range(n):
                qml.RX(-2 * theta, i)
        return qml.probs(wires=range(n - 1, -1, -1))

    return circuit  # type: ignore[no-any-return]


def thrml_chains(model: IsingModel) -> Callable[[], np.ndarray]:
    """One chain for every model, compiled and mapped over all of them; (models, shots, spins) of ±1."""
    import jax
    import jax.numpy as jnp
    from thrml import Block, SamplingSchedule, SpinNode, sample_states
    from thrml.models.ising import IsingEBM, IsingSamplingProgram, hinton_init

    n = model.spins
    nodes = [SpinNode() for _ in range(n)]
    rows, columns = np.triu_indices(n, 1)
    edges = [(nodes[i], nodes[j]) for i, j in zip(rows, columns, strict=True)]
    blocks = [Block([node]) for node in nodes]
    schedule = SamplingSchedule(n_warmup=WARM_UP, n_samples=SHOTS, steps_per_sample=1)

    def chain(key: Any, biases: Any, weights: Any) -> Any:
        ebm = IsingEBM(nodes, edges, biases, weights, jnp.array(1.0))
        program = IsingSamplingProgram(ebm, blocks, clamped_blocks=[])
        start, run = jax.random.split(key)
        state = hinton_init(start, ebm, blocks, ())
        return sample_states(run, program, schedule, state, [], [Block(nodes)])[0]

    compiled = jax.jit(jax.vmap(chain))
    h = jnp.asarray(model.fields.flatten(0, 1).numpy())
    J = jnp.asarray(model.couplings[:, rows, columns].repeat_interleave(model.models, 0).numpy())
    keys = jax.random.split(jax.random.key(0), len(h))
    return lambda: np.where(np.asarray(compiled(keys, h, J).block_until_ready()), 1, -1)


def plugin_step(model: IsingModel, sweeps: int) -> Callable[[], Tensor]:
    """Mean spins and their gradient by the plugin's layer, one submission a model; returns the means."""
    from dwave.plugins.torch.nn.modules.ising import Ising
    from dwave.samplers import SimulatedAnnealingSampler

    rows, columns = np.triu_indices(model.spins, 1)
    layer = Ising(
        range(model.spins),
        list(zip(rows.tolist(), columns.tolist(), strict=True)),
        SimulatedAnnealingSampler(),
        {"num_reads": SHOTS, "num_sweeps": sweeps, "beta_range": [0.1, 1.0]},
        beta=1.0,
    )
    h, J = -model.fields.flatten(0, 1), -model.couplings[:, rows, columns].repeat_interleave(model.models, 0)

    def step() -> Tensor:
        fields, couplings = h.clone().requires_grad_(), J.clone().requires_grad_()
        mean = layer(fields, couplings)
        mean.square().sum().backward()
        return mean.detach()  # type: ignore[no-any-return]

    return step


def own_step(model: IsingModel, sampler: Sampler) -> Callable[[], Tensor]:
    """The same by `boltzmann_mean`."""

    def step() -> Tensor:
        fields, couplings = model.fields.clone().requires_grad_(), model.couplings.clone().requires_grad_()
        mean = boltzmann_mean(fields, couplings, sampler=sampler, shots=SHOTS, seed=0)
        mean.square().sum().backward()
        return mean.detach()

    return step


def _report(title: str, times: dict[str, float], models: dict[str, int], reference: str) -> None:
    print(f"\n{title}, load {os.getloadavg()[0]:.1f}")
    rates = {name: models[name] / seconds for name, seconds in times.items()}
    for name, rate in rates.items():
        print(f"  {name:44}{rate:>12,.0f} models/s{rate / rates[reference]:>10,.1f}×", flush=True)


def main() -> None:
    """Check that all do the same work, and print the tables."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds; the best counts")
    rounds = parser.parse_args().rounds
    if hasattr(os, "sched_setaffinity"):  # libraries that count processors get the same one
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    model, few = random_models(SPINS, 4, MODELS // 4), random_models(SPINS, 1, SLOW_MODELS)
    schedule = AnnealSchedule.linear(6.0)
    sampler = StatevectorSampler(schedule, STEPS, threads=1)
    exact = ExactSampler().mean(model).flatten(0, 1)

    many = random_models(SPINS, 4, PENNYLANE_MODELS // 4)
    law = pennylane_law(many, sampler)
    difference = (law() - sampler.probabilities(many).flatten(0, 1)).abs().max()
    print(f"largest difference of the laws {difference:.1e}")
    aer = textbook(Setting(SPINS, STEPS, SLOW_MODELS, SHOTS), schedule)
    calls: dict[str, Callable[[], Any]] = {
        "PennyLane default.qubit, broadcast": law,
        "Aer, defaults, 256 shots": partial(aer, few, {}),
        "Aer, one thread a circuit, 256 shots": partial(aer, few, {"max_parallel_threads": 1}),
        "StatevectorSampler, probabilities": partial(sampler.probabilities, model),
        "StatevectorSampler, 256 shots": partial(sampler.sample, model, shots=SHOTS, seed=0),
    }
    sizes = {name: SLOW_MODELS if name.startswith("Aer") else MODELS for name in calls}
    sizes["PennyLane default.qubit, broadcast"] = PENNYLANE_MODELS
    times = best_times(calls, rounds)
    _report(f"annealing circuits, {SPINS} spins, K = {STEPS}", times, sizes, "PennyLane default.qubit, broadcast")

    chains = thrml_chains(model)
    gibbs = GibbsSampler(burn_in=WARM_UP, chains=1)
    print(f"\nerror of ⟨s⟩: thrml {_error(torch.from_numpy(chains()).double().mean(1), exact):.4f}, ", end="")
    print(f"GibbsSampler {_error(gibbs.sample(model, shots=SHOTS).mean().flatten(0, 1), exact):.4f}")
    calls = {
        "thrml, one chain a model": chains,
        "GibbsSampler, one chain a model": partial(gibbs.sample, model, shots=SHOTS, seed=0),
        "GibbsSampler, 16 chains a model": partial(GibbsSampler().sample, model, shots=SHOTS, seed=0),
    }
    _report(
        f"Gibbs, {SPINS} spins, {SHOTS} samples after {WARM_UP} sweeps",
        best_times(calls, rounds),
        dict.fromkeys(calls, MODELS),
        "thrml, one chain a model",
    )

    own = {"through StatevectorSampler": sampler, "through GibbsSampler": GibbsSampler()}
    calls = {f"dwave-pytorch-plugin, {sweeps} sweeps": plugin_step(few, sweeps) for sweeps in (100, 10)}
    sizes = {**dict.fromkeys(calls, SLOW_MODELS), **dict.fromkeys([f"boltzmann_mean {name}" for name in own], MODELS)}
    few_exact = ExactSampler().mean(few).flatten(0, 1)
    calls |= {f"boltzmann_mean {name}": own_step(model, way) for name, way in own.items()}
    print()
    for name, step in calls.items():
        reference = few_exact if sizes[name] == SLOW_MODELS else exact
        print(f"error of ⟨s⟩: {name} {_error(step().reshape(reference.shape), reference):.4f}")
    title = f"forward and backward, {SPINS} spins, {SHOTS} samples"
    _report(title, best_times(calls, rounds), sizes, "dwave-pytorch-plugin, 100 sweeps")


def _error(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).square().mean().sqrt())


if __name__ == "__main__":
    main()
