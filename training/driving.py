"""Drive the real napari window with mouse and key events, as a person does.

Used by the viewer tests, by the viewer benchmark and by the script that makes the documentation's
pictures. Events go to the canvas widget through Qt, so that everything between the mouse and the
project on disk takes part.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Driver:
    """A person at the window: moves the mouse over image pixels and presses keys.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        A viewer whose window is shown.
    """

    def __init__(self, viewer: Any) -> None:  # noqa: ANN401 - napari has no types to name
        self.viewer = viewer

    @property
    def canvas(self) -> Any:  # noqa: ANN401
        """The Qt widget that draws the layers and takes the mouse."""
        return self.viewer.window._qt_viewer.canvas.native  # noqa: SLF001 - no public way

    def process(self, seconds: float = 0.0) -> None:
        """Let Qt work for some time, at least through its queue."""
        from qtpy.QtTest import QTest

        QTest.qWait(max(1, round(seconds * 1000)))

    def wait(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Let Qt work until `condition` holds.

        Raises
        ------
        TimeoutError
            It did not within `seconds`.
        """
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"waited {seconds} s for {condition}")
            self.process(0.01)

    def to_canvas(self, y: float, x: float) -> tuple[int, int]:
        """Return the canvas position (x, y) of an image pixel with unit scale."""
        camera = self.viewer.scene.camera
        centre = np.asarray(camera.center[-2:])
        offset = (np.asarray((y, x)) - centre) * camera.zoom
        size = self.canvas.size()
        return round(size.width() / 2 + offset[1]), round(size.height() / 2 + offset[0])

    def stroke(self, points: Sequence[tuple[float, float]], *, pause: float = 0.0) -> None:
        """Drag the left mouse button along image points.

        Parameters
        ----------
        points : sequence of (y, x)
            At least one.
        pause : float
            Seconds between mouse moves.
        """
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        places = [self.point(*point) for point in points]
        button = Qt.MouseButton.LeftButton
        self.move(places[0], pressed=False)
        QTest.mousePress(self.canvas, button, Qt.KeyboardModifier.NoModifier, places[0])
        for place in places[1:]:
            self.move(place, pressed=True)
            self.process(pause)
        QTest.mouseRelease(self.canvas, button, Qt.KeyboardModifier.NoModifier, places[-1])
        self.process()

    def line(self, start: tuple[float, float], end: tuple[float, float], steps: int = 12) -> None:
        """Drag along a straight line of image points (y, x)."""
        points = np.linspace(start, end, steps)
        self.stroke([(float(y), float(x)) for y, x in points])

    def hover(self, y: float, x: float) -> None:
        """Move the mouse over an image pixel."""
        self.move(self.point(y, x), pressed=False)
        self.process(0.05)

    def key(self, name: str, *modifiers: str) -> None:
        """Press a key over the canvas, such as ``"N"`` or ``"Return", "Control"``."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        held = Qt.KeyboardModifier.NoModifier
        for modifier in modifiers:
            held |= getattr(Qt.KeyboardModifier, f"{modifier}Modifier")
        QTest.keyClick(self.canvas, getattr(Qt.Key, f"Key_{name}"), held)
        self.process()

    def click(self, button: Any) -> None:  # noqa: ANN401
        """Click a push button with the left mouse button."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        QTest.mouseClick(button, Qt.MouseButton.LeftButton)
        self.process()

    def screenshot(self, path: str) -> None:
        """Save a picture of the whole window."""
        self.process(0.2)
        self.viewer.screenshot(path=path, canvas_only=False, flash=False)

    def point(self, y: float, x: float) -> Any:  # noqa: ANN401
        """Return the canvas position of an image pixel as a QPoint."""
        from qtpy.QtCore import QPoint

        return QPoint(*self.to_canvas(y, x))

    def move(self, place: Any, *, pressed: bool) -> None:  # noqa: ANN401
        """Move the mouse; QTest's own moves carry no buttons, and vispy wants to know them."""
        from qtpy.QtCore import QEvent, QPointF, Qt
        from qtpy.QtGui import QMouseEvent
        from qtpy.QtWidgets import QApplication

        local = QPointF(place)
        button = Qt.MouseButton.LeftButton if pressed else Qt.MouseButton.NoButton
        event = QMouseEvent(
            QEvent.Type.MouseMove,
            local,
            QPointF(self.canvas.mapToGlobal(place)),
            Qt.MouseButton.NoButton,
            button,
            Qt.KeyboardModifier.NoModifier,
        )
        QApplication.sendEvent(self.canvas, event)
