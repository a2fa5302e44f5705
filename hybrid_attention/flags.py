"""Flags by the names of the settings behind them."""

from __future__ import annotations

from hybrid_attention.errors import InputError


def flag(name: str) -> str:
    """The flag of a field."""
    return "--" + name.replace("_", "-")


def require(good: object, name: str, value: object, fix: str) -> None:
    """Refuse a setting.

    Args:
        good: whether it makes sense.
        name: of its field.
        value: that it has.
        fix: what to do instead.

    Raises:
        InputError: names the flag, the value and the fix.
    """
    if not good:
        raise InputError(f"{flag(name)} is {'not given' if value is None else value}; {fix}")
