"""How freely the C library may keep what was freed."""

from __future__ import annotations

import ctypes
import sys
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""
_OWN = 1 << 20
_USUAL = 32 << 20
"""glibc's own threshold once blocks of that size have been freed, the most that it takes."""


def spare_memory(spare: bool) -> None:
    """Let freed blocks go back to the system at once, or keep them for the next ones to come.

    Keeping them is glibc's way, and faster: the system clears each page that it hands out. But the
    maps of a whole network are of many sizes, and of what is kept, little fits what comes next.
    Does nothing on other systems and with other C libraries.

    Parameters
    ----------
    spare : bool
        Whether blocks of 1 MiB or more go back at once, in all of this process.
    """
    option = _mallopt()
    if option is not None:
        least = _OWN if spare else _USUAL
        option(_MMAP_THRESHOLD, least)
        option(_TRIM_THRESHOLD, 2 * least)


@lru_cache(maxsize=1)
def _mallopt() -> Callable[[int, int], int] | None:
    """Return glibc's `mallopt`; None where there is none."""
    if sys.platform != "linux":
        return None
    try:
        found = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl
        return None
    found.argtypes, found.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    return found
