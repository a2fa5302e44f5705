"""Arms of an ablation: kinds of attention by names made of a base and what is added to it."""

from __future__ import annotations

from typing import Any

from hybrid_attention.errors import InputError

BASES: dict[str, dict[str, Any]] = {
    "softmax": {"attention": "softmax"},
    "sigmoid": {"attention": "sigmoid"},
    "fixed": {"couplings": "fixed"},
    "position": {"couplings": "position"},
    "relative": {"couplings": "relative"},
    "content": {"couplings": "content"},
    "hopfield": {"attention": "hopfield"},
    "linear": {"attention": "linear"},
    "gated-linear": {"attention": "gated-linear"},
}
"""Settings by what an arm's name begins with; sigmoid has no couplings (J = 0), and fixed random ones."""

ADDITIONS: dict[str, dict[str, Any]] = {
    "bias": {"position_bias": True},
    "free-energy": {"readout": "free-energy"},
    "sum": {"readout": "sum"},
    "energy": {},
}
"""Settings by what may follow; energy adds the loss of --energy-loss, which other arms go without."""

FOUR_WAY = ("softmax", "sigmoid", "fixed", "position")
"""Softmax, spins without couplings, with fixed random ones, with learned ones."""

COUPLED = ("position", "relative", "content")
"""Bases whose couplings are learned."""


def arm_settings(arm: str) -> dict[str, Any]:
    """Settings of a run by the arm's name.

    Args:
        arm: a base and additions, joined by +: softmax, position+bias, linear+free-energy.

    Raises:
        InputError: a name that is not known, with those that are.
    """
    base, *additions = arm.split("+")
    if base not in BASES:
        raise InputError(f"--arms has {arm!r}; an arm begins with one of {', '.join(BASES)}")
    settings = dict(BASES[base])
    for addition in additions:
        if addition not in ADDITIONS:
            raise InputError(f"--arms has {arm!r}; what follows is any of +{', +'.join(ADDITIONS)}")
        if additions.count(addition) > 1:
            raise InputError(f"--arms has {arm!r}; name every addition once")
        settings |= ADDITIONS[addition]
    if {"free-energy", "sum"} <= set(additions):
        raise InputError(f"--arms has {arm!r}; an arm has one read-out, +free-energy or +sum")
    return settings


def is_coupled(arm: str) -> bool:
    """Whether an arm learns couplings between its decisions."""
    return arm.split("+")[0] in COUPLED


def has_spins(arm: str) -> bool:
    """Whether an arm's decisions are spins that a sampler can draw."""
    return "attention" not in BASES[arm.split("+")[0]]
