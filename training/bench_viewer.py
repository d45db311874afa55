"""Measure whether napari stays smooth while the worker trains.

A 10 ms Qt timer in the real viewer, idle and while rounds run, in turns, so that both see the same
machine; and how long napari's thread takes to handle a mouse move of a stroke. Needs a display
(``xvfb-run -a -s "-screen 0 1400x900x24" python -m training bench viewer --json``).
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from training.driving import Driver
from training.options import count

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

TICK = 10
"""Milliseconds between ticks of the timer whose gaps are measured."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options to a parser."""
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each turn")
    parser.add_argument("--turns", type=count, default=3, help="idle and training turns, each")
    parser.add_argument("--size", type=count, default=512, help="side of the image in pixels")
    parser.add_argument(
        "--no-strokes", dest="strokes", action="store_false", help="leave the mouse alone"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure and return milliseconds by percentile, idle and training, and their ratio.

    Parameters
    ----------
    args : argparse.Namespace
        What `add_arguments` defines.

    Returns
    -------
    dict
        ``idle`` and ``training`` (timer gaps: p50, p99, max, count), ``ratio_p99``, ``stroke_idle``
        and ``stroke_training`` (one mouse move: p50, p99, max), ``start`` (making the project and
        starting the worker), ``rounds`` (that finished while measuring).
    """
    import napari

    from napari_cas.ui.widget import AnnotationWidget

    with tempfile.TemporaryDirectory() as folder:
        viewer = napari.Viewer(show=True)
        viewer.window.resize(1280, 800)
        widget = AnnotationWidget(viewer)
        viewer.window.add_dock_widget(widget, area="right", name="napari-cas")
        try:
            return Bench(viewer, widget, args).measure(Path(folder) / "bench.zarr")
        finally:
            viewer.close()
            Driver(viewer).process(0.2)


class Gaps:
    """Records the milliseconds between ticks of a timer in Qt's thread."""

    def __init__(self) -> None:
        from qtpy.QtCore import Qt, QTimer

        self.values: list[float] = []
        self._last = 0.0
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(TICK)
        self._timer.timeout.connect(self._tick)

    def __enter__(self) -> Self:
        self._last = time.perf_counter()
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.stop()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.values.append((now - self._last) * 1000)
        self._last = now


class Bench:
    """One viewer, one image, three strokes, then turns of idling and training."""

    def __init__(self, viewer: Any, widget: Any, args: argparse.Namespace) -> None:  # noqa: ANN401
        self.viewer, self.widget, self.args = viewer, widget, args
        self.driver = Driver(viewer)
        self.gaps: dict[str, list[float]] = {"start": [], "idle": [], "training": []}
        self.moves: dict[str, list[float]] = {"idle": [], "training": []}

    def measure(self, project: Path) -> dict[str, Any]:
        """Do everything and return the figures."""
        session = self.widget.session
        size = self.args.size
        self.viewer.add_image(picture(size), name="picture", rgb=True)
        with Gaps() as gaps:
            self.widget.intents.start(str(project))
            self.driver.wait(lambda: session.worker is not None and session.project is not None)
        self.gaps["start"] = gaps.values
        for at in (0.2, 0.5, 0.8):
            self.driver.key("N")
            self.driver.line((at * size, 0.2 * size), (at * size, 0.35 * size))
        session.fine_tune()
        self.driver.wait(lambda: session.reports and not session.state.busy, 120)
        before = len(session.reports)
        for _ in range(self.args.turns):
            self._turn("idle")
            self._turn("training")
        return self._figures(len(session.reports) - before)

    def _turn(self, what: str) -> None:
        session = self.widget.session
        end = time.monotonic() + self.args.seconds
        with Gaps() as gaps:
            while time.monotonic() < end:
                if what == "training":  # without a pause, as strokes in live mode have it
                    session.fine_tune()
                self.driver.process(0.2)
        self.gaps[what] += gaps.values
        if self.args.strokes:
            self._stroke(what)
        session.cancel()
        self.driver.wait(lambda: not session.state.busy and session.idle, 60)

    def _stroke(self, what: str) -> None:
        """Time each mouse move of a stroke, from the event to the repainted canvas."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        driver, size = self.driver, self.args.size
        points = np.linspace((0.6 * size, 0.2 * size), (0.65 * size, 0.6 * size), 60)
        places = [driver.point(*map(float, point)) for point in points]
        button, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        driver.move(places[0], pressed=False)
        QTest.mousePress(driver.canvas, button, none, places[0])
        for place in places[1:]:
            begin = time.perf_counter()
            driver.move(place, pressed=True)
            driver.canvas.repaint()
            self.moves[what].append((time.perf_counter() - begin) * 1000)
            driver.process(0.01)
        QTest.mouseRelease(driver.canvas, button, none, places[-1])

    def _figures(self, rounds: int) -> dict[str, Any]:
        figures: dict[str, Any] = {name: summary(values) for name, values in self.gaps.items()}
        figures["ratio_p99"] = round(figures["training"]["p99"] / figures["idle"]["p99"], 3)
        for what, values in self.moves.items():
            if values:
                figures[f"stroke_{what}"] = summary(values)
        return {**figures, "rounds": rounds, "size": self.args.size, "tick_ms": TICK}


def summary(values: Sequence[float]) -> dict[str, float]:
    """Return median, 99th percentile, maximum and number of values."""
    p50, p99 = np.percentile(values, [50, 99])
    return {
        "p50": round(float(p50), 2),
        "p99": round(float(p99), 2),
        "max": round(float(max(values)), 2),
        "count": len(values),
    }


def picture(size: int) -> np.ndarray:
    """Return three noisy bands of colour, (size, size, 3) uint8."""
    rng = np.random.default_rng(0)
    bands = np.repeat(np.array([[190, 70, 60], [60, 170, 80], [70, 90, 200]]), size // 3 + 1, 0)
    picture = bands[:size, None] + rng.normal(0, 20, (size, size, 3))
    return np.clip(picture, 0, 255).astype(np.uint8)
