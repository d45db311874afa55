"""Things to do a little later, in the owner's thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_cas.session.dispatch import Dispatch


class Timers:
    """Named pauses; starting one anew replaces it.

    Parameters
    ----------
    dispatch : Dispatch
        Brings what is due into the owner's thread.
    """

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._running: dict[str, threading.Timer] = {}

    def __bool__(self) -> bool:
        """Whether anything is still to come."""
        return bool(self._running)

    def start(self, name: str, seconds: float, function: Callable[[], None]) -> None:
        """Run a function after a pause, unless cancelled or started anew before."""
        self.cancel(name)
        timer = threading.Timer(seconds, lambda: self._dispatch(due))

        def due() -> None:
            # The timer may have fired just before it was cancelled: then it is no longer listed.
            if self._running.get(name) is timer:
                del self._running[name]
                function()

        timer.daemon = True
        self._running[name] = timer
        timer.start()

    def cancel(self, *names: str) -> None:
        """Forget some; nothing happens where there is none."""
        for name in names:
            timer = self._running.pop(name, None)
            if timer is not None:
                timer.cancel()
