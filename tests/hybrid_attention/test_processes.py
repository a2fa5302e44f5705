"""One process and several: the same numbers, from wherever a run goes on; and what stops one stops all."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from injected_samplers import PerfectSampler
from process_cases import CASES, SAMPLED, run
from safetensors.torch import load_file
from small_runs import SMALL, refused, small_config

from classical import ExactSampler, GibbsSampler
from classical.ising import NotFiniteError
from hybrid_attention import build
from hybrid_attention.build import build_model, build_task, numbering_rows_from
from hybrid_attention.errors import InputError, RunStopped
from hybrid_attention.evaluate import evaluate
from hybrid_attention.flags import flag
from hybrid_attention.processes import Processes, choose_device
from hybrid_attention.run import RunFolder
from hybrid_attention.tasks.base import Batch
from hybrid_attention.train import train

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ARGUMENTS = [part for key, value in SMALL.items() for part in (flag(key), str(value))]
TOLERANCE = {"float64": 1e-10, "float32": 1e-5, "bfloat16": 2e-2}
"""Of losses near 1: sums in another order, a hundred updates long; bfloat16 has 8 bits and few updates."""


def started(*arguments, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*TORCHRUN, *map(str, arguments)], text=True, env=environment, **options)


def run_in_two(*arguments):
    process = started(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=900)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """A folder in which two processes have worked through every case; one process began what they went on with."""
    folder = tmp_path_factory.mktemp("together")
    run(folder / "cut-in-one", stop_at=3, **SAMPLED)
    assert [row["step"] for row in RunFolder(folder / "cut-in-one").rows()] == [0, 2]
    code, _, err = run_in_two(Path(__file__).with_name("two_processes.py"), folder)
    assert code == 0, err
    return folder


def require_equal(found, expected, tolerance, tensors_too=True):
    """The same evaluations, losses of training and tensors of the newest checkpoint, within a tolerance."""
    found, expected = RunFolder(found), RunFolder(expected)
    assert len(found.rows()) == len(expected.rows()) > 1
    for one, other in zip(found.rows(), expected.rows(), strict=True):
        assert one.keys() == other.keys()
        for key in one.keys() - {"models_per_second"}:
            assert one[key] == pytest.approx(other[key], abs=tolerance), (one["step"], key)
    assert found.latest().name == expected.latest().name
    for name in ("model", "optimizer") if tensors_too else ():
        tensors = (load_file(run.latest() / f"{name}.safetensors") for run in (found, expected))
        torch.testing.assert_close(*tensors, rtol=0, atol=10 * tolerance)


@pytest.mark.parametrize("case", CASES)
def test_two_processes_give_the_numbers_of_one(together, tmp_path, case):
    run(tmp_path / "alone", **CASES[case])
    dtype = CASES[case].get("dtype", "float32")
    # a gradient that is nothing but rounding errors moves a parameter as far as any, by Adam's division: losses count
    require_equal(together / case, tmp_path / "alone", TOLERANCE[dtype], tensors_too=dtype == "float64")
    left = [sorted(str(p.relative_to(at)) for p in at.rglob("*")) for at in (together / case, tmp_path / "alone")]
    assert left[0] == left[1]


def test_a_run_cut_off_in_two_processes_goes_on_in_one_and_the_other_way_round(together, tmp_path):
    run(tmp_path / "whole", **SAMPLED)
    assert RunFolder(together / "cut-in-two").rows()[-1]["step"] == 4
    run(together / "cut-in-two", resume=True, **SAMPLED)
    for path in ("cut-in-two", "cut-in-one"):
        require_equal(together / path, tmp_path / "whole", 1e-10)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("evaluation", ("RunStopped", "the loss is not defined (fields contains nan)", "step 0", "no checkpoint")),
        ("training", ("RunStopped", "at step 0", "step-00000000", "--lr")),
        ("with_other_seed", ("InputError", "process 1 has no checkpoint and settings", "give all the same")),
        ("wrong_in_one", ("InputError", "--text missing.txt does not exist")),
        ("emulated", ("InputError", "--sampler is dwave-emulator", "2 processes", "leave torchrun out")),
    ],
)
def test_what_stops_one_process_stops_both(together, name, words):
    said = [(together / f"{name}-{rank}.txt").read_text() for rank in (0, 1)]
    for word in words:
        assert all(word in one for one in said), said
    assert not (together / {"with_other_seed": "differing", "wrong_in_one": "wrong"}.get(name, name)).exists()


def test_wrong_input_under_torchrun_is_one_line_and_writes_nothing(tmp_path):
    code, out, err = run_in_two("-m", "hybrid_attention", "train", "--batch", "1", "--out", tmp_path / "run")
    assert code == 1  # torchrun's own; it lists the processes and their exit codes
    assert [line for line in err.splitlines() if line.startswith("hybrid-attention: ")] == [
        "hybrid-attention: --batch is 1, but 2 processes share it; give at least 2"
    ]
    assert "exitcode  : 2" in err
    assert out == ""
    assert not list(tmp_path.iterdir())


def lines(path):
    return path.read_text().splitlines() if path.is_file() else []


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_takes_the_other_along_and_the_run_goes_on_in_one(tmp_path, rank):
    settings = [*ARGUMENTS, "--steps", "400", "--eval-every", "10", "--dtype", "float64"]
    assert (
        subprocess.run(
            [sys.executable, "-m", "hybrid_attention", "train", *settings, "--out", tmp_path / "whole"],
            check=False,
            stdout=subprocess.DEVNULL,
        ).returncode
        == 0
    )
    path = tmp_path / "run"
    with (tmp_path / "err").open("w") as err:
        process = started("-m", "hybrid_attention", "train", *settings, "--out", path, stderr=err)
        while len(lines(path / "metrics.jsonl")) < 5:
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(worker(process.pid, rank), signal.SIGKILL)
        assert process.wait(timeout=120) == 1
    latest = RunFolder(path).latest().name
    assert latest < "step-00000400"
    resume = [sys.executable, "-m", "hybrid_attention", "train", "--resume", "--out", str(path)]
    assert subprocess.run(resume, check=False, stdout=subprocess.DEVNULL).returncode == 0
    require_equal(path, tmp_path / "whole", 1e-10)


def worker(parent, rank):
    """The process id of one of torchrun's children."""
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        if f"RANK={rank}".encode() in environment:
            return int(child)
    raise AssertionError("no such process")


@pytest.mark.slow
def test_a_run_killed_in_one_process_goes_on_in_two_from_the_command_line(tmp_path):
    settings = [*ARGUMENTS, "--steps", "200", "--eval-every", "10", "--dtype", "float64", "--sampler", "gibbs"]
    train = [sys.executable, "-m", "hybrid_attention", "train"]
    assert subprocess.run([*train, *settings, "--out", str(tmp_path / "whole")], check=False).returncode == 0
    path = tmp_path / "run"
    process = subprocess.Popen([*train, *settings, "--out", str(path)])
    while len(lines(path / "metrics.jsonl")) < 5:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    code, out, err = run_in_two("-m", "hybrid_attention", "train", "--resume", "--out", path)
    assert code == 0, err
    assert out.count("report: ") == 1
    require_equal(path, tmp_path / "whole", 1e-10)


def test_rows_are_a_partition_into_neighbours_of_nearly_one_size():
    processes = Processes()
    assert (processes.count, processes.rank, processes.first) == (1, 0, True)
    assert processes.device == torch.device("cpu")
    for count in (1, 2, 3, 7):
        for total in (7, 8, 64):
            shares = []
            for processes.rank in range(count):
                processes.count = count
                shares.append(processes.rows(total))
            assert [row for share in shares for row in share] == list(range(total))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


def sampled_model(**changes):
    config = small_config(sampler="gibbs", shots=8, length=6, layers=2, couplings="content", dtype="float64", **changes)
    task = build_task(config)
    return build_model(config, task, GibbsSampler()), task


def test_a_part_of_a_batch_draws_the_samples_of_the_whole():
    model, task = sampled_model()
    tokens = task.training_batch(7, 0, 0).tokens
    whole = model(tokens, seed=5).logits
    with numbering_rows_from(model, 3):
        part = model(tokens[3:], seed=5).logits
    torch.testing.assert_close(part, whole[3:], rtol=0, atol=1e-12)
    assert (model(tokens[3:], seed=5).logits - whole[3:]).abs().max() > 1e-3
    assert all(attention.first_row == 0 for attention in model.attentions())


class Third(Processes):
    """One of three processes, which adds up what the others said before it."""

    def __init__(self, rank, before):
        super().__init__()
        self.rank, self.count, self.before = rank, 3, before

    def total(self, share):
        self.before.append(share)
        return torch.stack(self.before).sum(0)

    def gather(self, text):
        return [text] * self.count


class Reporting(Processes):
    """Remembers what it was told to add up."""

    def __init__(self):
        super().__init__()
        self.told = []

    def total(self, share):
        self.told.append(share)
        return share


class UndefinedLater(PerfectSampler):
    """Samples that do not exist after the first training update."""

    def __init__(self):
        super().__init__()
        self._calls = 0

    def sample(self, model, *, shots, seed):
        if model.models == 4:  # the sequences of a batch; evaluation has the 2 that there are
            self._calls += 1
            if self._calls > 4:  # one for every query
                raise NotFiniteError("fields contains nan; that is what this sampler is for")
        return super().sample(model, shots=shots, seed=seed)


@pytest.mark.parametrize("energy_loss", [0.0, 0.5])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_a_process_without_a_loss_reports_what_the_others_report(tmp_path, dtype, energy_loss):
    """Of the same shape and dtype: a group can add up nothing else."""
    config = small_config(dtype=dtype, energy_loss=energy_loss, sampler="gibbs", shots=4, eval_every=6)
    processes = Reporting()
    with pytest.raises(RunStopped, match="fields contains nan"):
        train(config, RunFolder(tmp_path / "run"), progress=False, sampler=UndefinedLater(), processes=processes)
    *_, defined, undefined = processes.told
    assert defined.isfinite().all()
    assert undefined.isnan().all()
    assert (undefined.shape, undefined.dtype, undefined.device) == (defined.shape, defined.dtype, defined.device)


def test_an_evaluation_does_not_depend_on_how_it_is_divided():
    model, task = sampled_model(types=10)
    batch = task.validation(300)  # more than is computed at once
    assert len(batch.tokens) == 300
    whole = evaluate(model, batch, GibbsSampler(), seed=0)
    said = []
    shared = [evaluate(model, batch, GibbsSampler(), seed=0, processes=Third(rank, said)) for rank in range(3)][-1]
    assert shared.loss == pytest.approx(whole.loss, abs=1e-12)
    assert shared.loss_error == pytest.approx(whole.loss_error, abs=1e-12)
    assert shared.accuracy == whole.accuracy
    few = evaluate(model, Batch(batch.tokens[:2], batch.targets[:2]), GibbsSampler(), seed=0)
    said = []
    two = [Third(rank, said) for rank in range(3)]  # the first has no sequence at all
    found = [evaluate(model, Batch(*(part[:2] for part in batch)), GibbsSampler(), 0, processes=one) for one in two]
    assert found[-1].loss == pytest.approx(few.loss, abs=1e-12)


@pytest.mark.parametrize("attention", list(build.ATTENTION))
@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_arithmetic(attention, dtype):
    readout = "free-energy" if attention == "linear" else "mean"
    config = small_config(attention=attention, dtype=dtype, readout=readout, length=6)
    task = build_task(config)
    model = build_model(config, task, ExactSampler())
    parameters = torch.float64 if dtype == "float64" else torch.float32
    assert {p.dtype for p in model.parameters()} == {parameters}
    batch = task.training_batch(4, 0, 0)
    predicted = model(batch.tokens, need_weights=True)
    assert predicted.logits.dtype == parameters
    reference = build_model(small_config(attention=attention, readout=readout, length=6), task, ExactSampler())
    difference = (predicted.logits - reference(batch.tokens).logits).abs().max()
    low, high = (1e-10, 1e-5) if dtype == "float64" else (1e-4, 0.1)  # of logits near 1, rounded to 24 or 8 bits
    assert low < difference < high
    predicted.logits.square().sum().backward()
    for name, parameter in model.named_parameters():  # several processes wait for every one of them
        assert parameter.grad is not None, name
        assert parameter.grad.dtype == parameters


def test_spin_statistics_stay_in_float32_beside_bfloat16():
    seen = []

    class Recording(GibbsSampler):
        def sample(self, model, *, shots, seed):
            seen.append(model.fields.dtype)
            return super().sample(model, shots=shots, seed=seed)

    config = small_config(dtype="bfloat16", sampler="gibbs")
    task = build_task(config)
    logits = build_model(config, task, Recording())(task.training_batch(4, 0, 0).tokens).logits
    assert set(seen) == {torch.float32}
    assert logits.isfinite().all()


def test_runs_from_before_there_were_dtype_and_device_go_on(tmp_path):
    run(tmp_path / "whole")
    path = tmp_path / "run"
    run(path, stop_at=3)
    folder = RunFolder(path)
    kept = [line for line in folder.config.read_text().splitlines() if not line.startswith(("dtype", "device"))]
    assert len(kept) == len(folder.config.read_text().splitlines()) - 2
    folder.config.write_text("\n".join(kept) + "\n")
    for saved in folder.checkpoints.iterdir():
        forget(saved / "state.json", "dtype", "device")
    run(path, resume=True)
    require_equal(path, tmp_path / "whole", 0)


def forget(path, *names):
    """Remove settings from a checkpoint, as if it had been written without them."""
    from hybrid_attention.checkpoint import _state_digest

    state = json.loads(path.read_text())
    del state["state_sha256"]
    for name in names:
        del state["settings"][name]
    path.write_text(json.dumps({**state, "state_sha256": _state_digest(state)}))


def test_another_dtype_is_another_run_and_another_device_is_not(brackets_run, capsys):
    refused(capsys, ["train", "--out", "run", "--resume", "--dtype", "float64"], "dtype (float32 → float64)")
    from hybrid_attention.cli import main

    assert main(["train", "--out", "run", "--resume", "--device", "auto"]) == 0
    assert main(["evaluate", "run", "--device", "auto"]) == 0


def test_a_run_trained_on_a_gpu_is_read_without_one(brackets_run, capsys):
    from hybrid_attention.cli import main

    toml = (brackets_run / "config.toml").read_text()
    (brackets_run / "config.toml").write_text(toml.replace('device = "cpu"', 'device = "cuda"'))
    assert main(["evaluate", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 6


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("command", ["train", "evaluate run"])
def test_cuda_that_is_not_there_is_one_line(brackets_run, capsys, command):
    before = sorted(brackets_run.rglob("*"))
    out = ["--out", "new"] if command == "train" else []
    refused(capsys, [*command.split(), "--device", "cuda", *out], "--device is cuda", "finds no GPU", "use cpu")
    assert sorted(brackets_run.rglob("*")) == before
    assert not Path("new").exists()
    assert choose_device("auto") == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("case", ["exact", "gibbs"])
def test_a_gpu_gives_the_numbers_of_the_cpu(tmp_path, case):
    run(tmp_path / "cpu", **CASES[case])
    run(tmp_path / "cuda", device="cuda", **CASES[case])
    require_equal(tmp_path / "cuda", tmp_path / "cpu", 1e-9)
    with pytest.raises(InputError, match="--device is cuda, but 1000 processes"):
        choose_device("cuda", 1000)


def test_commands_of_one_process_refuse_several(brackets_run, capsys, monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    refused(capsys, ["evaluate", "run"], "--nproc-per-node", "2 processes", "without torchrun")


def test_machines_with_different_numbers_of_processes_are_refused(monkeypatch):
    environment = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "2"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="--nproc-per-node is 2 here, but there are 3 processes on 2 machines"):
        Processes()


def test_a_task_of_ones_own_takes_the_place_of_the_one_in_the_settings(tmp_path):
    config = small_config()
    task = build_task(small_config(types=2))
    finished = train(config, RunFolder(tmp_path / "run"), progress=False, task=task)
    assert finished.task is task
    assert finished.model.head.out_features == 2


def test_the_number_of_parameters_is_said_at_the_start(tmp_path, capsys):
    finished = train(small_config(steps=1), RunFolder(tmp_path / "run"))
    count = finished.model.parameter_count()
    assert capsys.readouterr().out.startswith(f"parameters: {count:,}\nstep ")
