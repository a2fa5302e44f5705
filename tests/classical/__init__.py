"""Tests of the classical package."""
