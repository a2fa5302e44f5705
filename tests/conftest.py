"""What every test shares: reference data beside the checkout, one thread, hypothesis without deadlines."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

SHARED = Path(__file__).resolve().parents[2] / "shared"

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

torch.set_num_threads(1)  # tests run side by side, one process for each core


def _shared_file(name: str) -> Path:
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"{path} is missing; put the shared data beside the checkout to run this test")
    return path


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    """Reference values from dense matrices, enumeration and finite differences."""
    return json.loads((Path(__file__).parent / "reference" / "golden.json").read_text())


@pytest.fixture(scope="session")
def tinyshakespeare() -> Path:
    """Path of the tiny Shakespeare text."""
    return _shared_file("data/tinyshakespeare.txt")
