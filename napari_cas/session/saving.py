"""Strokes go to disk; when the disk refuses, they stay in memory until it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cas.errors import StorageError
from napari_cas.session.events import Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_cas.session.timers import Timers
    from napari_cas.store import Project

RETRY_SECONDS = 3.0
"""Pause before strokes that the disk refused are written again."""


class Saver:
    """Writes strokes and corrections, and keeps trying.

    Parameters
    ----------
    project : callable
        Returns the project open for writing, or None.
    timers : Timers
        For the next try.
    tell : callable
        Takes a message.
    """

    def __init__(
        self, project: Callable[[], Project | None], timers: Timers, tell: Callable[[Message], None]
    ) -> None:
        self._project, self._timers, self._tell = project, timers, tell
        self._failing = False

    def flush(self) -> bool:
        """Write everything painted; return whether it is on disk. A message tells if not."""
        error = self._write()
        if error is None:
            return True
        self._tell(Message.of(error))
        return False

    def forget(self) -> None:
        """Begin anew: the project was closed, and nothing of it is left to write."""
        self._failing = False
        self._timers.cancel("flush")

    def _write(self) -> StorageError | None:
        project = self._project()
        try:
            if project is not None:
                project.flush()
        except StorageError as error:
            self._failing = True
            self._timers.start("flush", RETRY_SECONDS, self._again)
            return error
        self._timers.cancel("flush")
        if self._failing:
            self._failing = False
            self._tell(Message("info", "All strokes are saved again."))
        return None

    def _again(self) -> None:
        self._write()  # said once is enough; the next message is that all is well
