"""Carry calls from the worker's callback threads to Qt's own thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Qt, Signal, Slot

if TYPE_CHECKING:
    from collections.abc import Callable


class QtDispatcher(QObject):
    """A callable that runs what it is given in the thread it was made in, later.

    A queued signal is the one way from any thread into Qt's that needs no timer there and keeps the
    order of calls. After :meth:`close` calls are dropped: a worker may outlive the window a moment.
    """

    _called = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._open = True
        self._called.connect(self._run, Qt.ConnectionType.QueuedConnection)

    def __call__(self, function: Callable[[], None]) -> None:
        """Run `function` in the owner thread as soon as its event loop is free."""
        if not self._open:
            return
        try:
            self._called.emit(function)
        except RuntimeError:  # the C++ half is gone: the application is going down
            self._open = False

    @Slot(object)
    def _run(self, function: Callable[[], None]) -> None:
        if self._open:
            function()

    def close(self) -> None:
        """Drop every later call."""
        self._open = False
