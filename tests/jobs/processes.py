"""Other processes for tests, forked from one that has imported what they need."""

from __future__ import annotations

import multiprocessing

PRELOADED = [
    "quantum.dwave",
    "quantum.dwave.packing",
    "dwave.cloud",
    "tests.contract.case",
    "tests.loopback",
    "tests.jobs",
]
"""What they need, and what the campaign in tests.dwave needs, with which they share one server that forks."""

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(PRELOADED)
