"""Progress in napari's activity dock."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from napari.utils import progress

if TYPE_CHECKING:
    from napari_cas.session import Progress


class Activity:
    """One bar in the activity dock for each kind of work, gone when the work is over."""

    def __init__(self) -> None:
        self._bars: dict[str, progress] = {}

    def show(self, step: Progress) -> None:
        """Follow the work.

        Parameters
        ----------
        step : Progress
            How far it is; bars are told apart by its `text`.
        """
        if step.finished:
            self._end(step.text)
            return
        bar = self._bars.get(step.text)
        if bar is not None and (bar.total != step.total or step.done < bar.n):
            self._end(step.text)
            bar = None
        if bar is None:
            # napari's bars also print to the terminal, which nobody is looking at.
            bar = progress(total=step.total, desc=step.text, file=io.StringIO())
            self._bars[step.text] = bar
        if step.done > bar.n:
            bar.update(step.done - bar.n)

    def clear(self) -> None:
        """Take all bars away."""
        for text in tuple(self._bars):
            self._end(text)

    def _end(self, text: str) -> None:
        bar = self._bars.pop(text, None)
        if bar is not None:
            bar.close()
