"""The built wheel, used from outside the checkout."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("classical", "quantum", "hybrid_attention")


def execute(*command, cwd, **environment):
    """Run a command that must succeed and give its output."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env={**kept, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    execute(sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT), cwd=folder)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with nothing but the wheel's contents."""
    folder = tmp_path_factory.mktemp("installed")
    execute(sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(folder), str(wheel), cwd=folder)
    return folder


def test_contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(n for n in names if n.endswith(".dist-info/METADATA"))).decode()
        entry_points = archive.read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == set(PACKAGES)
    for package in PACKAGES:
        assert f"{package}/py.typed" in names
        sources = {str(path.relative_to(ROOT)) for path in (ROOT / package).rglob("*.py")}
        assert sources <= set(names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    templates = [name for name in names if name.startswith("hybrid_attention/") and "report" in name]
    assert any(not name.endswith(".py") for name in templates), "the report's template is missing"
    assert "Name: hybrid-attention" in metadata
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.11" in metadata
    for dependency in ("torch", "qiskit-aer", "tyro", "safetensors", "dimod", "dwave-ocean-sdk"):
        assert f"Requires-Dist: {dependency}" in metadata
    assert "hybrid-attention = hybrid_attention.cli:main" in entry_points


def test_modules_come_from_the_wheel(installed, tmp_path):
    code = (
        "import json, classical, quantum, hybrid_attention as h\n"
        "print(json.dumps([classical.__file__, quantum.__file__, h.__file__, h.__version__]))"
    )
    *files, version = json.loads(execute(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(installed)))
    for file in files:
        assert Path(file).is_relative_to(installed)
    assert (installed / f"hybrid_attention-{version}.dist-info").is_dir()


def test_training_from_the_wheel(installed, tmp_path):
    small = "--steps 4 --batch 4 --dim 8 --heads 2 --length 4 --eval-sequences 8 --shots 16 --trotter-steps 4"
    python = [sys.executable, "-m", "hybrid_attention"]
    for sampler in ("exact", "aer"):
        command = [*python, "train", *small.split(), "--sampler", sampler, "--out", sampler]
        execute(*command, cwd=tmp_path, PYTHONPATH=str(installed))
        found = execute(*python, "evaluate", sampler, "--json", cwd=tmp_path, PYTHONPATH=str(installed))
        assert json.loads(found)["steps"] == 4
        report = (tmp_path / sampler / "report.html").read_text(encoding="utf-8")
        assert str(ROOT) not in report
