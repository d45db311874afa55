"""How often the panel is drawn anew while work is under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer
from superqt.utils import QSignalThrottler

from napari_cas.ui.panels.common import settle

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL = 2000
"""Milliseconds between two drawings that nobody waits for.

Whatever changes in a window with an OpenGL canvas has the whole window composed anew, which takes a
software renderer several ticks of the timer in ``python -m training bench viewer``.
"""


class Pace(QObject):
    """Draws what is new together: at once after a pause, then at most once per `interval`.

    Parameters
    ----------
    interval : int
        Milliseconds.
    parent : QObject, optional
        Its owner in Qt.
    """

    def __init__(self, interval: int = INTERVAL, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._waiting: dict[str, Callable[[], None]] = {}
        self._throttler = QSignalThrottler(parent=self)
        self._throttler.setTimeout(interval)
        self._throttler.triggered.connect(self._draw)
        self._turn = QTimer(self)
        self._turn.setSingleShot(True)

    def show(self, what: str, draw: Callable[[], None]) -> None:
        """Draw something when it is time.

        Parameters
        ----------
        what : str
            What is drawn; of several drawings of the same, only the last is made.
        draw : callable
            Draws it.
        """
        self._waiting[what] = draw
        self._throttler.throttle()
        if self._turn.isActive():
            self.flush()

    def hurry(self) -> None:
        """Draw what waits, and at once what else comes in this turn of the event loop."""
        self._turn.start(0)
        self.flush()

    def flush(self) -> None:
        """Draw now what waits."""
        self._throttler.flush()

    def forget(self, *names: str) -> None:
        """Leave waiting drawings of these names, or all without a name, undrawn."""
        for name in names or tuple(self._waiting):
            self._waiting.pop(name, None)

    def _draw(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for draw in waiting.values():
            draw()
        settle()
