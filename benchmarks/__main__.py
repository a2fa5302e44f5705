"""Every benchmark that needs no data, one after the other: `python -m benchmarks`."""

from __future__ import annotations

from importlib import import_module

NAMES = (
    "exact",
    "training_step",
    "processes",
    "gradient_error",
    "estimators",
    "aer_batch",
    "statevector",
    "samplers",
    "polish",
    "mean_field",
    "banded",
    "durations",
    "qpu_packing",
    "hopfield_retrieval",
)


def main() -> None:
    """Run them."""
    for name in NAMES:
        print(f"\n== benchmarks.{name}", flush=True)
        import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
