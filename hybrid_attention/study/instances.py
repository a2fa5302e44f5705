"""The models of a study: random ones, or those of a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from classical import IsingModel
from hybrid_attention import hamiltonians
from hybrid_attention.errors import InputError
from hybrid_attention.run import RunFolder
from hybrid_attention.study.grid import Source
from hybrid_attention.study.settings import StudyConfig


@dataclass(frozen=True, eq=False)
class Instances:
    """Models, each a group of its own, and the upstream gradient on each one's mean spins.

    Args:
        model: (instances, 1, spins), float64.
        upstream: ∂L/∂⟨s⟩, (instances, 1, spins).
    """

    model: IsingModel
    upstream: Tensor


def sources(study: StudyConfig) -> list[Source]:
    """Where a study's models come from.

    Args:
        study: its settings.

    Raises:
        InputError: a run that kept no Hamiltonians, or a step, layer, head or query that it does not have.
    """
    if study.models == "random":
        return [Source(n, strength) for n in study.spin_list for strength in study.strength_list]
    folder = RunFolder(Path(study.models))
    folder.require_run("--models")
    kept = hamiltonians.kept_steps(folder)
    if not kept:
        raise InputError(f"--models {study.models} kept no Hamiltonians; train it with --export-every")
    steps = _chosen(study, "at_steps", kept)
    first = hamiltonians.load(folder, kept[-1])
    layers = _chosen(study, "layers", list(range(len(first.fields))))
    heads = _chosen(study, "heads", list(range(first.fields[0].shape[1])))
    most = first.fields[0].shape[3]
    for n in study.spin_list:
        if n > most:
            raise InputError(f"--spins is {n}, but the queries of --models {study.models} see at most {most} keys")
    return [Source(n, 1.0, s, la, h) for n in study.spin_list for s in steps for la in layers for h in heads]


def instances(study: StudyConfig, source: Source) -> Instances:
    """The models of one source; random ones are the same numbers at every strength.

    Args:
        study: its settings.
        source: which.
    """
    if source.step is not None:
        return _of_a_run(study, source)
    n, count = source.spins, study.instances
    # a generator each, so that more instances begin with the same ones
    generators = [torch.Generator().manual_seed(n * 10**9 + i) for i in range(count)]
    numbers = torch.stack([torch.randn(n * n + 2 * n, generator=g, dtype=torch.float64) for g in generators])
    h, w, J = numbers[:, :n], numbers[:, n : 2 * n], numbers[:, 2 * n :].reshape(count, n, n)
    fields = h * study.field_scale * source.strength
    couplings = J.triu(1) * study.coupling_scale * source.strength / math.sqrt(n)
    return Instances(IsingModel(fields.unsqueeze(1), couplings), w.unsqueeze(1))


def _of_a_run(study: StudyConfig, source: Source) -> Instances:
    """One head's models of the query that sees so many keys, sequence by sequence."""
    kept = hamiltonians.load(RunFolder(Path(study.models)), source.step or 0)
    layer, head, query = source.layer or 0, source.head or 0, source.spins - 1
    count = min(study.instances, len(kept.tokens))
    models = [kept.model(layer, head, query, sequence) for sequence in range(count)]
    upstream = kept.upstream[layer][:count, head, query, : source.spins].double().unsqueeze(1)
    model = IsingModel(torch.cat([m.fields for m in models]), torch.cat([m.couplings for m in models]))
    return Instances(model, upstream)


def _chosen(study: StudyConfig, name: str, there: list[int]) -> list[int]:
    wanted = study.chosen(name)
    for value in wanted or []:
        if value not in there:
            flag = "--" + name.replace("_", "-")
            raise InputError(f"{flag} names {value}; --models {study.models} has {', '.join(map(str, there))}")
    return wanted or there
