"""How far the copy of a large image into a project is."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari_cas.session.events import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INTERVAL = 0.3
"""Seconds between two reports; a copy that is done by then is not spoken of at all."""


@contextmanager
def copying(name: str, tell: Callable[[Progress], None]) -> Iterator[Callable[[int, int], None]]:
    """Pass on how far a copy is, now and then, and that it ended, however it did.

    Parameters
    ----------
    name : str
        Of the image.
    tell : callable
        Hears of it, in the thread that copies.

    Yields
    ------
    callable
        To be called with blocks done and blocks in total.
    """
    text = f"Copying {name}"
    start = told = time.monotonic()

    def step(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told >= INTERVAL:
            told = time.monotonic()
            # The last block is not the end: statistics and metadata follow.
            tell(Progress(min(done, total - 1), total, text))

    try:
        yield step
    finally:
        if told > start:
            tell(Progress(1, 1, text))
