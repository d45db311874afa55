"""Peak memory of a process over some time, by looking often."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

import psutil

if TYPE_CHECKING:
    from types import TracebackType

_EVERY = 0.02
_MIB = 2**20


class PeakMemory:
    """Resident memory of a process, watched by a thread.

    The system's own record of the peak cannot be reset, so it would include what was before.

    Parameters
    ----------
    pid : int, optional
        The process; by default this one.

    Attributes
    ----------
    before, peak : float
        MiB at the beginning and at most.
    """

    def __init__(self, pid: int | None = None) -> None:
        self._process = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.before = self.peak = 0.0

    @property
    def gained(self) -> float:
        """MiB by which the peak is above the beginning."""
        return self.peak - self.before

    def __enter__(self) -> Self:
        self.before = self.peak = self._look()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> float:
        return float(self._process.memory_info().rss) / _MIB

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY):
            self.peak = max(self.peak, self._look())
