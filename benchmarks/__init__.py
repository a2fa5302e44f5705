"""Timings of this project's fast paths against the plain ways, each a module to run with `python -m`."""
