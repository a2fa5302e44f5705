"""Small runs, what they leave on disk, and what a refused command looks like."""

from safetensors.torch import load_file

from hybrid_attention.cli import main
from hybrid_attention.config import TrainConfig
from hybrid_attention.run import RunFolder

SMALL = {"steps": 6, "eval_every": 2, "length": 4, "dim": 8, "heads": 2, "batch": 4, "eval_sequences": 16}


def small_config(**changes):
    """Settings of a run that takes a moment."""
    return TrainConfig(**{**SMALL, **changes}).validate()


def snapshot(folder):
    """Every path below a folder with its contents."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def numbers(path):
    """What a run ended with: every evaluation without its speed, and every tensor of the newest checkpoint."""
    folder = RunFolder(path)
    rows = [{k: v for k, v in row.items() if k != "models_per_second"} for row in folder.rows()]
    latest = folder.latest()
    tensors = {
        f"{name}:{key}": value.numpy().tobytes()
        for name in ("model", "optimizer")
        for key, value in load_file(latest / f"{name}.safetensors").items()
    }
    return latest.name, rows, tensors


def refused(capsys, arguments, *words):
    """Run a command that must end with one line on stderr holding all the words, and exit code 2."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert code == 2
    assert err.endswith("\n")
    assert len(err.splitlines()) == 1, err
    assert err.startswith("hybrid-attention: ")
    assert "Traceback" not in err
    for word in words:
        assert word in err
    assert out == ""
    return err
