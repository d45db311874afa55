"""Keeping ``torch.compile`` out of what it cannot make faster."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


def uncompiled(function: Callable[P, R]) -> Callable[P, R]:
    """Return ``function`` so that what calls it may be compiled, and it runs as it is.

    The walk over pixels depends on their values and its kernels are written by hand, so that the
    compiler would cut it into a dozen graphs, for seconds, and gain nothing. The decorator of
    ``torch.compiler`` is only used once something is compiled, for it imports the compiler.
    """
    held: list[Callable[P, R]] = []

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        if not torch.compiler.is_compiling():
            return function(*args, **kwargs)
        if not held:
            held.append(torch.compiler.disable(function))  # type: ignore[no-untyped-call]
        return held[0](*args, **kwargs)

    return called
