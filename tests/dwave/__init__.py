"""Tests of `quantum.dwave` against the loopback server."""
