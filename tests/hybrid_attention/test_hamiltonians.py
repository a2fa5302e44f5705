"""Recorded Ising models are those that the model asks its sampler for, and what is kept is what was recorded."""

import shutil
from pathlib import Path

import pytest
import torch
from enumeration import law
from injected_samplers import PerfectSampler
from safetensors.torch import load_file, save_file
from small_runs import numbers, small_config, snapshot
from torch.nn import functional as F

from hybrid_attention import BoltzmannAttention, checkpoint, hamiltonians, samplers
from hybrid_attention.build import build_model, build_task
from hybrid_attention.errors import InputError
from hybrid_attention.hamiltonians import Hamiltonians
from hybrid_attention.run import RunFolder
from hybrid_attention.tasks.base import IGNORED
from hybrid_attention.train import train

KINDS = ["position", "relative", "content", "fixed", "none"]


class Killed(BaseException):
    """What no handler catches."""


def random_model(**settings):
    """A model away from its start, where content and position couplings are zero, and a batch of held-out sequences."""
    config = small_config(**{"layers": 2, "length": 6, "position_bias": True, **settings})
    task = build_task(config)
    model = build_model(config, task, samplers.build_sampler(config)).double()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return model, task.validation(3)


def mean_loss(model, batch):
    logits = model(batch.tokens).logits
    return F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED)


@pytest.mark.parametrize("kind", KINDS)
def test_their_law_is_the_attention_that_the_model_computes(kind):
    model, batch = random_model(couplings=kind, readout="sum")
    recorded = hamiltonians.record(model, batch, 4)
    assert recorded.step == 4
    assert torch.equal(recorded.tokens, batch.tokens)
    shape = (3, 2, 6, 6) if kind == "content" else (2, 6, 6)
    assert [tuple(J.shape) for J in recorded.couplings] == [shape] * 2
    weights = model(batch.tokens, need_weights=True).weights
    for layer, head, query, sequence in torch.cartesian_prod(*map(torch.arange, (2, 2, 6, 3))).tolist():
        one = recorded.model(layer, head, query, sequence)
        assert one.fields.shape == (1, 1, query + 1)
        assert one.fields.dtype == one.couplings.dtype == torch.float64
        s, p = law(one.fields[0, 0], one.couplings[0])
        seen = weights[layer][sequence, head, query].detach().numpy()
        assert p @ (s > 0) == pytest.approx(seen[: query + 1], abs=1e-12)
        assert not seen[query + 1 :].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_in_the_mean_readout_the_law_is_shared_out(dtype):
    model, batch = random_model()
    model = model.to(dtype)
    recorded = hamiltonians.record(model, batch, 0)
    assert recorded.fields[0].dtype == recorded.upstream[0].dtype == dtype
    weights = model(batch.tokens, need_weights=True).weights[1][2, 1, 5].detach()
    s, p = law(*(value[0] for value in (recorded.model(1, 1, 5, 2).fields[0], recorded.model(1, 1, 5, 2).couplings)))
    up = p @ (s > 0)
    assert weights.numpy() == pytest.approx(up / up.sum(), abs=1e-6 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("kind", ["position", "content"])
def test_upstream_is_the_slope_of_the_loss(kind, monkeypatch):
    model, batch = random_model(couplings=kind)
    recorded = hamiltonians.record(model, batch, 0)
    for layer, head, query, sequence in ((0, 1, 5, 0), (0, 0, 2, 1), (1, 0, 5, 2), (1, 1, 3, 0)):
        attention = model.blocks[layer].attention
        one = recorded.model(layer, head, query, sequence)
        s, p = law(one.fields[0, 0], one.couplings[0])
        upstream = recorded.upstream[layer][sequence, head, query, : query + 1].numpy()
        f = s @ upstream
        for key in range(query + 1):
            slope = ((f - p @ f) * s[:, key]) @ p  # ∂L/∂h_j = Cov(f, s_j) with f = Σ_i g_i s_i

            def loss(step, where=(sequence, head, query, key), attention=attention):
                def shifted(fields, *others):
                    fields = fields.clone()
                    fields[where] += step
                    return BoltzmannAttention.weigh(attention, fields, *others)

                with monkeypatch.context() as patch, torch.no_grad():
                    patch.setattr(attention, "weigh", shifted)
                    return mean_loss(model, batch).item()

            assert (loss(1e-5) - loss(-1e-5)) / 2e-5 == pytest.approx(slope, abs=1e-9)


def test_hidden_keys_have_neither_field_nor_gradient():
    model, batch = random_model(couplings="content")
    recorded = hamiltonians.record(model, batch, 0)
    for values in (*recorded.fields, *recorded.upstream):
        assert not values.triu(1).any()
        assert bool((values != 0).any())
    for J in recorded.couplings:
        assert not J.tril().any()


def test_recording_leaves_the_model_as_it_was():
    model, batch = random_model(couplings="content", sampler="gibbs")
    attention = model.blocks[0].attention
    mean_loss(model, batch).backward()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = {name: value.grad.clone() for name, value in model.named_parameters()}
    state, sampler = torch.get_rng_state(), attention.sampler
    with torch.no_grad():  # whatever the caller has switched off
        recorded = hamiltonians.record(model, batch, 0)
    assert bool(recorded.upstream[0].any())
    assert not any(value.requires_grad for value in (*recorded.fields, *recorded.couplings, *recorded.upstream))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(torch.equal(gradients[name], value.grad) for name, value in model.named_parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert attention.sampler is sampler
    assert attention.observer is None


def test_a_failure_leaves_the_model_as_it_was():
    model, batch = random_model()
    with torch.no_grad():
        model.tokens.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match="fields contains nan"):
        hamiltonians.record(model, batch, 0)
    assert model.blocks[0].attention.observer is None


def test_a_sampler_of_ones_own_and_its_seed():
    model, batch = random_model(length=4)
    exact = hamiltonians.record(model, batch, 0)
    one, two, again = (hamiltonians.record(model, batch, 0, PerfectSampler(), seed) for seed in (1, 2, 1))
    assert torch.equal(one.fields[0], exact.fields[0])  # those of the first layer no sample has touched
    assert not torch.equal(one.fields[1], exact.fields[1])
    assert not torch.equal(one.fields[1], two.fields[1])
    assert torch.equal(one.fields[1], again.fields[1])
    assert torch.equal(one.upstream[0], again.upstream[0])


@pytest.mark.parametrize("settings", [{"attention": "softmax"}, {"attention": "sigmoid"}])
def test_other_attention_has_nothing_to_record(settings):
    config = small_config(**settings)
    task = build_task(config)
    model = build_model(config, task, samplers.build_sampler(config))
    with pytest.raises(ValueError, match="model has a layer that is no BoltzmannAttention"):
        hamiltonians.record(model, task.validation(2), 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, 0, 0), "layer is 2; give 0 to 1"),
        ((-1, 0, 0), "layer is -1"),
        ((0, 2, 0), "head is 2; give 0 to 1"),
        ((0, 0, 6), "query is 6; give 0 to 5"),
        ((0, 0, 0, 3), "sequence is 3; give 0 to 2"),
    ],
)
def test_indices_out_of_range(arguments, message):
    recorded = hamiltonians.record(*random_model(), 0)
    with pytest.raises(ValueError, match=message):
        recorded.model(*arguments)


@pytest.mark.parametrize("kind", ["position", "content"])
def test_kept_and_loaded(tmp_path, kind):
    folder = RunFolder(tmp_path)
    model, batch = random_model(couplings=kind)
    recorded = hamiltonians.record(model, batch, 70, labels=[["⊢", "(", ")", "\\"]] * 3)
    assert hamiltonians.kept_steps(folder) == []
    path = hamiltonians.save(folder, recorded)
    assert path == tmp_path / "hamiltonians" / "step-00000070.safetensors"
    hamiltonians.save(folder, Hamiltonians(8, *(getattr(recorded, n) for n in ("tokens", "fields", "couplings")), []))
    (tmp_path / "hamiltonians" / "step-notes.txt").write_text("mine")
    assert hamiltonians.kept_steps(folder) == [8, 70]
    back = hamiltonians.load(folder, 70)
    assert (back.step, back.labels) == (70, recorded.labels)
    assert torch.equal(back.tokens, recorded.tokens)
    for name in ("fields", "couplings", "upstream"):
        for one, other in zip(getattr(back, name), getattr(recorded, name), strict=True):
            assert torch.equal(one, other)
    before = path.read_bytes()
    hamiltonians.save(folder, recorded)
    assert path.read_bytes() == before


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) * 3 // 4] ^= 1
    path.write_bytes(bytes(data))


def relabelled(path):
    path.write_bytes(path.read_bytes().replace(b"labels", b"labelz"))


def foreign(path):
    save_file({"w": torch.ones(2)}, path)


def changed(path):
    tensors = load_file(path)
    save_file({**tensors, "fields.0": tensors["fields.0"] + 1}, path)


def of_another_step(path):
    shutil.copy(path.with_name("step-00000002.safetensors"), path)


def pickled(path):
    torch.save({"w": torch.ones(2)}, path)


@pytest.mark.parametrize(
    "damage", [cut, flip, relabelled, foreign, changed, of_another_step, pickled, lambda path: path.write_bytes(b"")]
)
def test_damaged_files_are_refused(tmp_path, damage):
    folder = RunFolder(tmp_path)
    model, batch = random_model()
    for step in (2, 3):
        path = hamiltonians.save(folder, hamiltonians.record(model, batch, step))
    damage(path)
    with pytest.raises(InputError, match=f"hamiltonians {path} is missing, truncated or changed") as refusal:
        hamiltonians.load(folder, 3)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_step_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"step-00000005\.safetensors is missing"):
        hamiltonians.load(RunFolder(tmp_path), 5)


def run(path, resume=False, **settings):
    return train(small_config(**settings), RunFolder(Path(path)), resume, progress=False)


def kept(path):
    return {p.name: p.read_bytes() for p in (Path(path) / "hamiltonians").iterdir()}


def test_training_keeps_the_start_every_nth_step_and_the_last_and_is_not_changed_by_it(tmp_path):
    plain, recorded = run(tmp_path / "plain"), run(tmp_path / "run", export_every=4)
    assert hamiltonians.kept_steps(plain.folder) == []
    assert hamiltonians.kept_steps(recorded.folder) == [0, 4, 6]
    assert numbers(tmp_path / "plain") == numbers(tmp_path / "run")
    last = hamiltonians.load(recorded.folder, 6)
    batch = recorded.task.validation(hamiltonians.SEQUENCES)
    assert torch.equal(last.tokens, batch.tokens)
    assert last.labels == [recorded.task.labels(tokens) for tokens in batch.tokens]
    again = hamiltonians.record(recorded.model, batch, 6)
    assert torch.equal(last.fields[0], again.fields[0])
    assert torch.equal(last.upstream[0], again.upstream[0])
    assert not torch.equal(last.couplings[0], hamiltonians.load(recorded.folder, 0).couplings[0])


def test_sampled_training_records_exactly(tmp_path, monkeypatch):
    monkeypatch.setitem(samplers.SAMPLERS, "aer", lambda _: PerfectSampler())
    finished = run(tmp_path / "run", export_every=6, sampler="aer", shots=4, layers=2)
    batch = finished.task.validation(hamiltonians.SEQUENCES)
    exact = hamiltonians.record(finished.model, batch, 6)
    assert torch.equal(hamiltonians.load(finished.folder, 6).fields[1], exact.fields[1])


def test_beyond_exact_sums_the_runs_own_sampler_records(tmp_path, monkeypatch):
    monkeypatch.setitem(samplers.SAMPLERS, "aer", lambda _: PerfectSampler())
    monkeypatch.setattr("hybrid_attention.loop.exact_fits", lambda _: False)
    finished = run(tmp_path / "run", export_every=6, sampler="aer", shots=4, layers=2)
    batch = finished.task.validation(hamiltonians.SEQUENCES)
    found = hamiltonians.load(finished.folder, 6)
    assert not torch.equal(found.fields[1], hamiltonians.record(finished.model, batch, 6).fields[1])
    own = hamiltonians.record(finished.model, batch, 6, PerfectSampler(), finished.config.seed)
    assert torch.equal(found.fields[1], own.fields[1])


@pytest.mark.parametrize("where", ["recording", "checkpoint"])
@pytest.mark.parametrize("call", range(4))
def test_killed_anywhere_and_resumed_the_same_files(tmp_path, monkeypatch, where, call):
    settings = {"export_every": 3, "eval_every": 2, "layers": 2, "couplings": "content"}
    run(tmp_path / "whole", **settings)
    module, calls = (hamiltonians, []) if where == "recording" else (checkpoint, [])

    def dying(*arguments, save=module.save):
        calls.append(arguments)
        if len(calls) == call + 1:
            raise Killed
        return save(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "save", dying)
        try:
            run(tmp_path / "run", **settings)
        except Killed:
            pass
        else:
            assert where == "recording"
            assert call == 3  # three recordings in all
    run(tmp_path / "run", resume=True, **settings)
    assert numbers(tmp_path / "run") == numbers(tmp_path / "whole")
    assert kept(tmp_path / "run") == kept(tmp_path / "whole")
    assert sorted(kept(tmp_path / "run")) == [f"step-{step:08d}.safetensors" for step in (0, 3, 6)]


def test_going_on_forgets_what_came_after_the_checkpoint(tmp_path):
    folder = run(tmp_path / "run", export_every=1).folder
    before = kept(folder.path)
    shutil.rmtree(folder.latest())  # the one of step 6
    (folder.hamiltonians / ".step-00000005.safetensors.123").write_text("half")
    hamiltonians.forget_after(folder, 4)
    assert hamiltonians.kept_steps(folder) == [0, 1, 2, 3, 4]
    assert all(not name.startswith(".") for name in kept(folder.path))
    run(tmp_path / "run", resume=True, export_every=1)
    assert kept(folder.path) == before


def test_resuming_a_finished_run_changes_no_file(tmp_path):
    folder = run(tmp_path / "run", export_every=4).folder
    before = snapshot(folder.hamiltonians)
    run(tmp_path / "run", resume=True, export_every=4)
    assert snapshot(folder.hamiltonians) == before
