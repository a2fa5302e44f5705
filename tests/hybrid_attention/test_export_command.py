"""The command `export`: what it writes in each format, and what it refuses with one line."""

import json
import re
import shutil
from typing import get_args

import numpy as np
import pytest
import torch
from small_runs import refused, small_config, snapshot

from hybrid_attention import hamiltonians, samplers
from hybrid_attention.cli import main
from hybrid_attention.config import read_toml
from hybrid_attention.evaluate import load_run
from hybrid_attention.export_command import FormatName
from hybrid_attention.run import RunFolder
from hybrid_attention.train import train
from quantum import AnnealSchedule, calibrate
from quantum.export_circuit import Anneal, to_qasm3
from quantum.export_files import FORMATS, READERS, read_model

SETTINGS = {"layers": 2, "couplings": "content", "position_bias": True, "export_every": 4, "lr": 3e-2}


@pytest.fixture(scope="session")
def _kept_run(tmp_path_factory):
    path = tmp_path_factory.mktemp("kept") / "run"
    train(small_config(**SETTINGS), RunFolder(path), progress=False)
    return path


@pytest.fixture
def kept_run(_kept_run, workplace):
    """A copy of a finished run that kept Hamiltonians at steps 0, 4 and 6."""
    return shutil.copytree(_kept_run, workplace / "run")


def export(*arguments):
    assert main(["export", "run", *map(str, arguments)]) == 0


def program(text):
    """A QASM program without its comments."""
    return "".join(line for line in text.splitlines(True) if not line.startswith("//"))


def test_the_formats_are_those_there_are():
    assert get_args(FormatName) == tuple(FORMATS)


@pytest.mark.parametrize("form", READERS)
def test_the_newest_step_and_the_last_query_by_default(kept_run, capsys, form):
    export("--format", form, "--out", "model")
    one = hamiltonians.load(RunFolder(kept_run), 6).model(0, 0, 3)
    read = read_model("model", form)
    np.testing.assert_allclose(read.fields, one.fields[0, 0].numpy(), rtol=0, atol=1e-14)
    np.testing.assert_allclose(read.couplings, one.couplings[0].numpy(), rtol=0, atol=1e-14)
    assert capsys.readouterr().out == "export: model\nmodel: 4 spins, step 6, layer 0, head 0, query 3, sequence 0\n"


def test_every_index_is_minded(kept_run, workplace, capsys):
    chosen = ["--step", 4, "--layer", 1, "--head", 1, "--query", 2, "--sequence", 1]
    export(*chosen, "--format", "json", "--out", "model.json")
    recorded = hamiltonians.load(RunFolder(kept_run), 4)
    one = recorded.model(1, 1, 2, 1)
    read = json.loads((workplace / "model.json").read_text())
    assert read["fields"] == one.fields[0, 0].tolist()
    assert read["couplings"] == one.couplings[0].tolist()
    assert read["tokens"] == recorded.tokens[1, :3].tolist()
    metadata = read["metadata"]
    assert metadata.pop("labels") == recorded.labels[1][:3]
    assert metadata.pop("convention").startswith("log-weight(s) = ")
    assert metadata.pop("software").startswith("hybrid-attention ")
    assert metadata == {
        "step": 4,
        "layer": 1,
        "head": 1,
        "query": 2,
        "sequence": 1,
        "sampler": "exact",
        "schedule": {"kind": "linear", "duration": 6.0},
        "trotter_steps": 12,
        "calibration": "two-beta",
    }
    assert "3 spins, step 4, layer 1, head 1, query 2, sequence 1" in capsys.readouterr().out


def test_one_spin(kept_run, capsys):
    for form in FORMATS:
        export("--query", 0, "--format", form, "--out", form)
    assert "model: 1 spin, step 6" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "anneal"),
    [
        ("", Anneal(AnnealSchedule.linear(6.0), 12, "two-beta")),
        ("--duration 3 --trotter-steps 5", Anneal(AnnealSchedule.linear(3.0), 5, "two-beta")),
        ("--calibration none", Anneal(AnnealSchedule.linear(6.0), 12, "none")),
        ("--schedule preset:4", Anneal(AnnealSchedule.preset(4))),
        ("--schedule own.json", Anneal(AnnealSchedule.from_angles(field=[0.5], coupling=[0.4], mixer=[0.7]))),
    ],
)
def test_the_circuit_of_an_exact_run(kept_run, workplace, flags, anneal):
    AnnealSchedule.from_angles(field=[0.5], coupling=[0.4], mixer=[0.7]).save("own.json")
    export("--format", "qasm3", "--out", "circuit.qasm", *flags.split())
    one = hamiltonians.load(RunFolder(kept_run), 6).model(0, 0, 3)
    text = (workplace / "circuit.qasm").read_text(encoding="ascii")
    assert program(text) == to_qasm3(one.fields[0, 0], one.couplings[0], anneal)
    assert f"// field_factor: {calibrate(*anneal).field_factor!r}\n" in text


@pytest.mark.parametrize("flags", ["", "--calibration one-beta", "--schedule linear"])
def test_the_circuit_of_an_annealed_run(workplace, flags):
    settings = {"schedule": "linear", "duration": 2.5, "trotter_steps": 4, "calibration": "none", "export_every": 6}
    train(small_config(sampler="statevector", shots=8, **settings), RunFolder(workplace / "run"), progress=False)
    anneal = Anneal(AnnealSchedule.linear(2.5), 4, "none")
    if "one-beta" in flags:
        anneal = anneal._replace(calibration="one-beta")
    elif flags:  # another schedule does not take over what belonged to the run's own
        anneal = Anneal(AnnealSchedule.linear(6.0), 12, "two-beta")
    export("--format", "qasm3", "--out", "circuit.qasm", *flags.split())
    one = hamiltonians.load(RunFolder(workplace / "run"), 6).model(0, 0, 3)
    text = (workplace / "circuit.qasm").read_text()
    assert program(text) == to_qasm3(one.fields[0, 0], one.couplings[0], anneal)
    export("--format", "json", "--out", "model.json")
    metadata = json.loads((workplace / "model.json").read_text())["metadata"]
    assert (metadata["sampler"], metadata["calibration"], metadata["trotter_steps"]) == ("statevector", "none", 4)


def test_a_designed_runs_own_schedule(workplace):
    settings = {"schedule": "preset:4", "export_every": 6}
    train(small_config(sampler="statevector", shots=8, **settings), RunFolder(workplace / "run"), progress=False)
    export("--format", "qasm3", "--out", "circuit.qasm")
    one = hamiltonians.load(RunFolder(workplace / "run"), 6).model(0, 0, 3)
    anneal = Anneal(AnnealSchedule.preset(4))
    assert program((workplace / "circuit.qasm").read_text()) == to_qasm3(one.fields[0, 0], one.couplings[0], anneal)


@pytest.mark.parametrize("step", [[], ["--step", 6]])
def test_a_run_that_kept_none_is_recorded_at_its_newest_checkpoint(brackets_run, workplace, step):
    before = snapshot(brackets_run)
    export("--head", 1, *step, "--format", "json", "--out", "model.json")
    run = load_run(brackets_run)
    one = hamiltonians.record(run.model, run.task.validation(hamiltonians.SEQUENCES), 6).model(0, 1, 3)
    read = json.loads((workplace / "model.json").read_text())
    assert read["fields"] == one.fields[0, 0].tolist()
    assert read["metadata"]["step"] == 6
    assert snapshot(brackets_run) == before


def test_kept_and_recorded_afterwards_are_the_same(kept_run, workplace):
    export("--layer", 1, "--format", "json", "--out", "kept.json")
    shutil.rmtree(kept_run / "hamiltonians")
    export("--layer", 1, "--format", "json", "--out", "afterwards.json")
    assert (workplace / "kept.json").read_bytes() == (workplace / "afterwards.json").read_bytes()


def test_text_without_its_file(workplace):
    (workplace / "text.txt").write_text("the quick brown fox jumps over the lazy dog; " * 20)
    config = small_config(task="text", text=str(workplace / "text.txt"), export_every=6)
    train(config, RunFolder(workplace / "run"), progress=False)
    (workplace / "text.txt").unlink()
    export("--format", "json", "--out", "model.json")
    labels = json.loads((workplace / "model.json").read_text())["metadata"]["labels"]
    assert len(labels) == 4
    assert set(labels) <= set("the␣quick brown fox jumps over the lazy dog;")


def test_beyond_exact_sums_the_runs_own_sampler_records(workplace, monkeypatch):
    train(small_config(sampler="gibbs", shots=8, layers=2), RunFolder(workplace / "run"), progress=False)
    export("--layer", 1, "--format", "json", "--out", "exact.json")
    monkeypatch.setattr(samplers, "LONGEST_EXACT", 3)
    for name in ("one.json", "two.json"):
        export("--layer", 1, "--format", "json", "--out", name)
    fields = [json.loads((workplace / f"{name}.json").read_text())["fields"] for name in ("exact", "one", "two")]
    assert fields[0] != fields[1] == fields[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--step 5 --format json", ("--step is 5", "not kept", "use one of 0, 4, 6")),
        ("--step -1 --format json", ("--step is -1", "use one of 0, 4, 6")),
        ("--layer 2 --format json", ("--layer is 2", "give 0 to 1")),
        ("--layer -1 --format json", ("--layer is -1", "give 0 to 1")),
        ("--head 2 --format json", ("--head is 2", "give 0 to 1")),
        ("--query 4 --format json", ("--query is 4", "give 0 to 3")),
        ("--query -1 --format json", ("--query is -1", "give 0 to 3")),
        ("--sequence 8 --format json", ("--sequence is 8", "give 0 to")),
        ("--format mps", ("--format", "'mps'", *FORMATS)),
        ("", ("--format",)),
        ("--step two --format json", ("--step", "'two'")),
        ("--duration 3 --format json", ("--duration is 3.0", "only --format qasm3", "leave it out")),
        ("--schedule preset:4 --format bqm", ("--schedule is preset:4", "only --format qasm3")),
        ("--duration -3 --format qasm3", ("--duration is -3.0", "give a positive number")),
        ("--duration 0.001 --format qasm3", ("--calibration is 'two-beta'", "beta_h", "change the duration")),
        ("--trotter-steps 0 --format qasm3", ("--trotter-steps is 0", "give at least 1")),
        ("--schedule preset:5 --format qasm3", ("--schedule", "preset", "give linear")),
        ("--schedule none.json --format qasm3", ("--schedule none.json", "cannot be read", "give linear")),
        ("--schedule preset:4 --duration 3 --format qasm3", ("--duration is 3", "leave it out")),
        ("--schedule preset:4 --trotter-steps 3 --format qasm3", ("--trotter-steps is 3", "leave it out")),
        ("--schedule preset:4 --calibration tuned --format qasm3", ("--calibration is 'tuned'", "leave")),
        ("--out there.json --format json", ("--out there.json exists already", "give a new file")),
        ("--out run --format json", ("--out run exists already",)),
        ("--out nowhere/new.json --format json", ("the folder nowhere does not exist", "create it")),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(kept_run, workplace, capsys, arguments, words):
    (workplace / "there.json").write_text("mine")
    before = snapshot(workplace)
    arguments = arguments.split()
    out = [] if "--out" in arguments else ["--out", "new.json"]
    refused(capsys, ["export", "run", *out, *arguments], *words)
    assert snapshot(workplace) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("export", ("PATH",)),
        ("export run --format json", ("--out",)),
        ("export missing --format json --out new", ("RUN missing", "has no run")),
        ("export run --step 4 --format json --out new", ("--step is 4", "kept no step", "--export-every", "use 6")),
        ("train --export-every 0 --out new", ("--export-every is 0", "give at least 1")),
        ("train --export-every -5 --out new", ("--export-every is -5", "give at least 1")),
        ("train --export-every 5 --attention softmax --out new", ("--export-every is 5", "--attention boltzmann")),
        ("train --export-every often --out new", ("--export-every", "'often'")),
        ("train --resume --export-every 5 --out run", ("export_every (None → 5)", "leave")),
    ],
)
def test_a_run_that_kept_none(brackets_run, workplace, capsys, arguments, words):
    before = snapshot(workplace)
    refused(capsys, arguments.split(), *words)
    assert snapshot(workplace) == before


def test_a_run_without_a_checkpoint(brackets_run, capsys):
    shutil.rmtree(brackets_run / "checkpoints")
    refused(capsys, ["export", "run", "--format", "json", "--out", "new"], "has no checkpoint yet", "--resume")


@pytest.mark.parametrize("attention", ["softmax", "sigmoid"])
def test_attention_without_ising_models(workplace, capsys, attention):
    train(small_config(attention=attention), RunFolder(workplace / "run"), progress=False)
    words = ("RUN run", f"--attention {attention}", "no Ising models", "give a run of --attention boltzmann")
    refused(capsys, ["export", "run", "--format", "json", "--out", "new"], *words)


def test_a_damaged_file_is_refused(kept_run, workplace, capsys):
    path = kept_run / "hamiltonians" / "step-00000006.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    before = snapshot(workplace)
    words = ("hamiltonians run/hamiltonians/step-00000006.safetensors", "truncated", "choose another step")
    refused(capsys, ["export", "run", "--format", "json", "--out", "new"], *words)
    assert snapshot(workplace) == before
    export("--step", 4, "--format", "json", "--out", "new")


def test_a_place_that_cannot_be_written(kept_run, workplace, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    before = snapshot(workplace)
    refused(
        capsys, ["export", "run", "--format", "json", "--out", "new"], "--out new cannot be written", "No space", "give"
    )
    assert snapshot(workplace) == before


def test_the_setting_is_recorded(kept_run):
    assert read_toml(RunFolder(kept_run).config)["export_every"] == 4


def test_upstream_gradients_are_kept_with_them(kept_run):
    upstream = hamiltonians.load(RunFolder(kept_run), 6).upstream
    assert len(upstream) == 2
    assert all(bool(torch.isfinite(values).all()) and bool(values.any()) for values in upstream)


def test_help_lists_the_formats(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["export", "--help"])
    assert stop.value.code == 0
    out = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert all(form in out for form in FORMATS)
