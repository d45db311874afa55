"""From the worker's threads to the owner's: functions queue up and run where they belong."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from typing import TypeAlias

Dispatch: TypeAlias = Callable[[Callable[[], None]], None]
"""Runs a function in the owner's thread, soon and in order; callable from any thread."""

_POLL_SECONDS = 0.5


class DispatchQueue:
    """A dispatch for scripts: functions wait until the owner runs them."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def __call__(self, function: Callable[[], None]) -> None:
        """Leave a function to the owner; callable from any thread."""
        self._waiting.put(function)

    def run_until(self, done: Callable[[], bool], timeout: float | None = None) -> bool:
        """Run what arrives, in this thread, until nothing waits and `done()`.

        Parameters
        ----------
        done : callable
            Asked after each function.
        timeout : float, optional
            Seconds to wait at most.

        Returns
        -------
        bool
            False when the time was over first.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while not (done() and self._waiting.empty()):
            left = _POLL_SECONDS if end is None else min(end - time.monotonic(), _POLL_SECONDS)
            if left <= 0:
                return False
            try:
                function = self._waiting.get(timeout=left)
            except queue.Empty:
                continue
            function()
        return True
