"""The tables of the results page are those of the raw data beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = (DOCS / "couplings.md").read_text(encoding="utf-8")

KINDS = {
    "softmax": "softmax",
    "sigmoid": "sigmoid",
    "fixed random couplings": "fixed",
    "couplings by position": "position",
    "couplings by distance": "relative",
    "couplings by content": "content",
    "Hopfield, 3 updates": "hopfield",
    "linear": "linear",
    "gated linear": "gated-linear",
}
ANNEALS = {
    "perfect samples": "exact-samples",
    "`preset:16`, designed, 16 steps": "statevector/schedule=preset:16",
    "`preset:16-wide`": "statevector/schedule=preset:16-wide",
    "`preset:8`, designed, 8 steps": "statevector/schedule=preset:8",
    "linear, $T = 10$, 20 steps, two-beta": "statevector/duration=10/trotter-steps=20",
    "`preset:16` and one heat-bath sweep": "statevector/schedule=preset:16/polish=1",
    "`preset:8` and one heat-bath sweep": "statevector/schedule=preset:8/polish=1",
    "$T = 10$ and one heat-bath sweep": "statevector/duration=10/trotter-steps=20/polish=1",
    "*control:* independent spins and one sweep": "gibbs/burn-in=1/chains=256",
    "perfect samples, `callen`": "exact-samples/estimator=callen",
    "`preset:16`, `callen`": "statevector/schedule=preset:16/estimator=callen",
    "`preset:8`, `callen`": "statevector/schedule=preset:8/estimator=callen",
    "$T = 10$, `callen`": "statevector/duration=10/trotter-steps=20/estimator=callen",
    "*control:* coin tosses, `callen`": "statevector/duration=0.01/trotter-steps=1/calibration=none/estimator=callen",
}


def runs(name: str) -> pd.DataFrame:
    table = pd.read_parquet(DOCS / "data" / f"ablation-{name}.parquet")
    return table[table.stage == "compare"]


def rows(section: str) -> list[list[str]]:
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def arm(label: str, always: str) -> str:
    kind = max((one for one in KINDS if label.startswith(one)), key=len, default="")
    additions = label.removeprefix(kind).replace(", free energy", "+free-energy").replace(", bias", "+bias")
    return KINDS.get(kind, "") + additions + always


@pytest.mark.parametrize(
    ("section", "name", "always", "lengths", "least"),
    [
        ("Text", "text", "", (8, 11, 14), 49),
        ("Bracket matching", "brackets", "+bias", (8, 12, 16), 14),
        ("A seasonal series", "seasons", "+bias", (8, 12, 16), 14),
    ],
)
def test_losses_are_those_of_the_data(section, name, always, lengths, least):
    """Means over five seeds at the rate in the row, to the digits that are printed."""
    table, compared = runs(name), 0
    for label, rate, *cells in rows(section):
        if not re.fullmatch(r"0\.\d+", rate):
            continue
        for length, cell in zip(lengths, cells, strict=True):
            own = table[
                (table.arm == arm(label, always)) & (table.length == length) & ((table.rate - float(rate)).abs() < 1e-9)
            ]
            if not cell:
                assert own.empty
                continue
            printed = cell.split(" ± ")[0]
            assert set(own.seed) == set(range(5)), (label, length)
            digits = len(printed.split(".")[1])
            assert float(printed) == pytest.approx(own.loss.mean(), abs=0.51 * 10**-digits), (label, length)
            compared += 1
    assert compared == least


def test_losses_of_anneals_are_those_of_the_data():
    table = runs("anneal").query("rate < 0.01").set_index(["sampler", "seed"]).loss
    found = [row for row in rows("Training on anneals") if row[0] in ANNEALS]
    assert [row[0] for row in found] == list(ANNEALS)
    for label, *cells in found:
        for seed, printed in enumerate(cells[:5]):
            assert float(printed) == pytest.approx(table[ANNEALS[label], seed], abs=0.51e-4), (label, seed)
