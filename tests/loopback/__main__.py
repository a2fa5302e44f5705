"""Serve until interrupted, for trying commands by hand: python -m tests.loopback [SIZE]."""

from __future__ import annotations

import sys
import threading

from tests.loopback import Boltzmann, LoopbackServer, chip


def main() -> None:
    """Print what the environment needs, and serve."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    with LoopbackServer([chip("pegasus", size), chip("zephyr", 2)], Boltzmann(9.0, 8.0)) as server:
        print(f"export DWAVE_API_ENDPOINT={server.endpoint} DWAVE_API_TOKEN={server.token}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
