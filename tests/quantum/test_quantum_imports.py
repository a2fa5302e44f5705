"""Importing the package loads no quantum library."""

from __future__ import annotations

import subprocess
import sys


def test_no_quantum_library_is_loaded() -> None:
    code = (
        "import sys, quantum\n"
        "sampler = quantum.AerSampler(quantum.AnnealSchedule.linear(), 12)\n"
        "heavy = {'qiskit', 'qiskit_aer', 'qiskit_optimization', 'dimod', 'dwave', 'scipy'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_exported_names_exist() -> None:
    import quantum

    assert all(hasattr(quantum, name) for name in quantum.__all__)
