"""What `torch.compile` leaves as it is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

_P = ParamSpec("_P")
_T = TypeVar("_T")


def outside_graphs(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Run a function, and all that it calls, in Python where its caller is compiled by `torch.compile`.

    The compiler ends its graph before the call and begins another after it. `torch.compiler.disable` does this too, but
    loads the compiler when it decorates; here it is loaded where something is compiled, and never otherwise.

    Args:
        function: with control flow that depends on values, which no graph holds.
    """
    disabled: Callable[_P, _T] | None = None

    @functools.wraps(function)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        nonlocal disabled
        if not torch.compiler.is_compiling():
            return function(*args, **kwargs)
        if disabled is None:  # kept: a new one for each call would be compiled for each call
            disabled = torch.compiler.disable(function)
        return disabled(*args, **kwargs)

    return run
