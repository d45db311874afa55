"""Progress in napari's activity dock."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from napari.utils import progress
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QLabel

if TYPE_CHECKING:
    from napari_cas.session import Progress

PATIENCE = 3000
"""Milliseconds that work lasts before it gets a bar.

Adding one takes napari 100 ms on a busy machine with a software renderer, and the panel has a bar
of its own: what is over after a round or two is not worth a second one.
"""

CALM = 1
"""Per cent of its speed that napari's spinner turns at while our work is shown.

Whatever moves in a window with an OpenGL canvas has the whole window composed anew. With a
software renderer the spinner alone raised the median of a 10 ms timer to 20 ms and its 99th
percentile from 14 to 50 ms (2 cores, Mesa), while the bars say more.
"""


class Activity:
    """One bar in the activity dock for each kind of work, gone when the work is over.

    napari works through Qt's queue whenever a bar is added, so bars are changed from a timer of
    their own and never in the middle of what called :meth:`show`; and work that is over soon
    gets none.
    """

    def __init__(self) -> None:
        self._bars: dict[str, progress] = {}
        self._latest: dict[str, Progress] = {}
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._catch_up)

    def show(self, step: Progress) -> None:
        """Follow the work, soon.

        Parameters
        ----------
        step : Progress
            How far it is; bars are told apart by its `text`.
        """
        if step.finished and step.text not in self._bars:
            self._latest.pop(step.text, None)
            if not self._latest:
                self._timer.stop()  # or the next work would get its bar too soon
            return
        self._latest[step.text] = step
        if not self._timer.isActive():
            self._timer.start(0 if step.text in self._bars else PATIENCE)

    def clear(self) -> None:
        """Take all bars away."""
        self._timer.stop()
        self._latest.clear()
        for text in tuple(self._bars):
            self._end(text)

    def _catch_up(self) -> None:
        while self._latest:
            text = next(iter(self._latest))
            self._follow(self._latest.pop(text))

    def _follow(self, step: Progress) -> None:
        if step.finished:
            self._end(step.text)
            return
        bar = self._bars.get(step.text)
        if bar is not None and (bar.total != step.total or step.done < bar.n):
            self._end(step.text)
            bar = None
        if bar is None:
            set_spinner_speed(CALM)
            # napari's bars also print to the terminal, which nobody is looking at.
            bar = progress(total=step.total, desc=step.text, file=io.StringIO())
            self._bars[step.text] = bar
        if step.done > bar.n:
            bar.update(step.done - bar.n)

    def _end(self, text: str) -> None:
        bar = self._bars.pop(text, None)
        if bar is not None:
            bar.close()
        if not self._bars:
            set_spinner_speed(100)


def set_spinner_speed(percent: int) -> None:
    """Set the speed of the moving pictures in napari's windows.

    Parameters
    ----------
    percent : int
        Of their own speed.
    """
    for window in QApplication.topLevelWidgets():
        for label in window.findChildren(QLabel):
            movie = label.movie()
            if movie is not None:
                movie.setSpeed(percent)
