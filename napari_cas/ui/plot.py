"""Live plot of the loss terms and of the channels in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyqtgraph as pg
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_cas.ui.panels.common import SteadyLabel
from napari_cas.ui.theme import DARK, Colours, shade

if TYPE_CHECKING:
    from napari_cas.protocol import LossPoint, RoundReport

TERMS = {"total": "#e8e8e8", "uniformer": "#56b4e9", "discriminator": "#e69f00"}
"""Line colours; blue and orange of Okabe and Ito are told apart by everybody."""
FIRST_STEPS = 20
"""At most so many steps at the beginning may leave the scale, one in twenty of all."""
ROOM_ABOVE = 1.3
"""The channels' axis goes on so far above the line that its topmost number is not cut."""
LEAST_HEIGHT = 1e-3
"""Loss that the plot is at least high: what falls below has no meaning any more."""


class LossPlot(QWidget):
    """Total, uniformer and discriminator over the optimiser's steps, channels in use below."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.caption = SteadyLabel("casNote")
        self._losses = pg.PlotWidget()
        self._channels = pg.PlotWidget()
        self._curves = {name: self._losses.plot([], [], name=name) for name in TERMS}
        self._steps = self._channels.plot([], [])
        self._points: list[LossPoint] = []
        self._used: list[tuple[int, int]] = []
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for plot, height in ((self._losses, 104), (self._channels, 58)):
            plot.setFixedHeight(height)
            plot.setMenuEnabled(False)
            plot.setMouseEnabled(x=False, y=False)
            plot.hideButtons()
            # Left to itself, pyqtgraph paints four times after a change, and each time the whole
            # window is composed anew around the OpenGL canvas: 70 ms with a software renderer.
            plot.setViewportUpdateMode(pg.GraphicsView.ViewportUpdateMode.NoViewportUpdate)
            plot.disableAutoRange()
            plot.getAxis("left").setWidth(54)
            layout.addWidget(plot)
        layout.insertWidget(0, self.caption)
        self._losses.getAxis("bottom").setStyle(showValues=False)
        self.set_colours(DARK)
        self.clear()

    def set_colours(self, c: Colours) -> None:
        """Follow napari's theme.

        Parameters
        ----------
        c : Colours
            The theme's colours.
        """
        for plot in (self._losses, self._channels):
            plot.setBackground(c.background)
            for side in ("left", "bottom"):
                plot.getAxis(side).setPen(c.foreground)
                plot.getAxis(side).setTextPen(shade(c.text, 0.3, c.background))
        colour = {**TERMS, "total": c.text}
        for name, curve in self._curves.items():
            curve.setPen(colour[name], width=2 if name == "total" else 1.5)
        self._steps.setPen(shade(c.text, 0.2, c.background), width=1.5)
        self._legend = "   ".join(
            f"<span style='color:{colour[name]}'>━</span> {name}" for name in TERMS
        )
        self._describe()

    def clear(self) -> None:
        """Forget all points."""
        self._points, self._used = [], []
        self.draw()

    def add(self, report: RoundReport) -> None:
        """Add one round, shown when :meth:`draw` is called next.

        Parameters
        ----------
        report : RoundReport
            Its `losses` and `channels_used` are drawn. A step smaller than the last begins anew.
        """
        if not report.losses:
            return
        if self._points and report.losses[0].step <= self._points[-1].step:
            self._points, self._used = [], []
        self._points.extend(report.losses)
        self._used.append((report.losses[-1].step, report.channels_used))

    def curve(self, term: str) -> tuple[list[int], list[float]]:
        """Return the steps and values of one term, as drawn.

        Parameters
        ----------
        term : {"total", "uniformer", "discriminator"}
            Which.
        """
        steps, values = self._curves[term].getData()
        return list(map(int, steps)), list(map(float, values))

    def draw(self) -> None:
        """Show all rounds added."""
        steps = [point.step for point in self._points]
        for name, curve in self._curves.items():
            curve.setData(steps, [getattr(point, name) for point in self._points])
        if steps:
            # The first steps fall from so high that all later ones would look flat. What new paint
            # does later on is what one looks for.
            later = self._points[min(len(steps) // 20, FIRST_STEPS) :]
            low = min(getattr(point, name) for point in self._points for name in TERMS)
            high = max(getattr(point, name) for point in later for name in TERMS)
            self._label(min(low, 0.0), max(high * 1.1, LEAST_HEIGHT))
        used = [number for _, number in self._used]
        edges = [steps[0] if steps else 0, *(step for step, _ in self._used)]
        self._steps.setData(edges, [*used[:1], *used] if used else [0], stepMode=None)
        top = max([*used, 3])
        self._channels.setYRange(0, top * ROOM_ABOVE, padding=0)
        apart = 4 * -(-top // 8)  # two or three numbers: there is no room for more
        self._channels.getAxis("left").setTickSpacing(apart, apart / 4)
        for plot in (self._losses, self._channels):
            plot.setXRange(0, max([*steps[-1:], 1]), padding=0.02)
            plot.viewport().update()
        self._describe()
        self.setVisible(bool(steps))

    def _label(self, low: float, high: float) -> None:
        """Set the losses' range, with numbers at its ends: pyqtgraph's own may leave all out."""
        self._losses.setYRange(low, high, padding=0.22)
        # An end so near to 0 that the numbers would overlap gets none.
        marks = {0.0, *(end for end in (low, high) if abs(end) > 0.2 * (high - low))}
        ticks = [(mark, _short(mark)) for mark in marks]
        self._losses.getAxis("left").setTicks([ticks])

    def _describe(self) -> None:
        used = f"Channels in use: {self._used[-1][1]}" if self._used else "Channels in use: –"
        # A training that starts from a solution draws flat lines: the number still says something.
        loss = f" · total loss: {_short(self._points[-1].total)}" if self._points else ""
        self.caption.setText(f"{self._legend}<br>{used}{loss}")


def _short(value: float) -> str:
    """Return a number in two digits, with a minus that is as wide as a plus."""
    return f"{value + 0.0:.2g}".replace("-", "−")
