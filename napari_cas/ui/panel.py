"""The docked panel: all views in one column."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtGui import QColor, QIcon, QKeyEvent, QPainter, QPixmap
from qtpy.QtWidgets import QFrame, QScrollArea, QStyle, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_cas.ui.panels.alike import AlikeView
from napari_cas.ui.panels.guide import GuideView
from napari_cas.ui.panels.hands import leave_to_canvas
from napari_cas.ui.panels.images import ImagesView
from napari_cas.ui.panels.kinds import KindsView
from napari_cas.ui.panels.machine import MachineView
from napari_cas.ui.panels.project import ProjectView
from napari_cas.ui.panels.results import ResultsView
from napari_cas.ui.panels.settings import ConfigForm
from napari_cas.ui.panels.start import StartView
from napari_cas.ui.panels.train import TrainView
from napari_cas.ui.plot import LossPlot
from napari_cas.ui.theme import colours, panel_style

if TYPE_CHECKING:
    from napari_cas.config import Config

WIDTH = 320
"""Preferred width in pixels; the panel scrolls rather than clips when there is less height."""

LEAST_HEIGHT = 150
"""Pixels that other plugins' panels leave to ours: down to the button that fine-tunes."""


class TallScroll(QScrollArea):
    """Scrolls up and down only, and lets no dock become narrower than what it holds."""

    def __init__(self, inner: QWidget) -> None:
        super().__init__()
        self._told = 0
        self.setWidget(inner)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # or a click beside a button takes the arrows
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return the width of everything inside and its bar, and room for the usual buttons."""
        bar = self.style().pixelMetric(QStyle.PixelMetric.PM_ScrollBarExtent)
        inner = self.widget().minimumSizeHint().width()
        return QSize(inner + bar, LEAST_HEIGHT)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Hear of other widths inside: Qt's own scroll area keeps them to itself."""
        if watched is self.widget() and event.type() == QEvent.Type.LayoutRequest:
            width = self.minimumSizeHint().width()
            if width != self._told:  # or each new text would lay the whole window out anew
                self._told = width
                self.updateGeometry()
        return bool(super().eventFilter(watched, event))

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Leave the keys of the previous and the next image to napari; scroll by the others."""
        if event.key() in (Qt.Key.Key_PageUp, Qt.Key.Key_PageDown):
            event.ignore()
        else:
            super().keyPressEvent(event)


class Panel(QWidget):
    """Composes the views; knows neither the session nor the layers.

    Parameters
    ----------
    config : Config
        Settings that the form shows first.
    """

    def __init__(self, config: Config, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.guide = GuideView()
        self.start = StartView()
        self.project = ProjectView()
        self.images = ImagesView()
        self.train = TrainView()
        self.plot = LossPlot()
        self.alike = AlikeView()
        self.kinds = KindsView()
        self.results = ResultsView()
        self.form = ConfigForm(config)
        self.settings = QCollapsible("Settings", expandedIcon="▾", collapsedIcon="▸")
        self.settings.setDuration(0)
        self.machine = MachineView()
        inside = QWidget()
        parts = QVBoxLayout(inside)
        parts.setContentsMargins(0, 0, 0, 0)
        parts.addWidget(self.form)
        parts.addWidget(self.machine)
        self.settings.addWidget(inside)
        self.settings.layout().setContentsMargins(0, 0, 0, 0)
        self._annotate = QWidget()
        self._lay_out()
        leave_to_canvas(self)
        self.show_project(False)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a width that shows everything, and the height of the usual views."""
        return QSize(WIDTH, 640)

    def _lay_out(self) -> None:
        column = QVBoxLayout(self._annotate)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        above = (self.project, self.images, self.train, self.plot, self.alike)
        for view in (*above, self.kinds, self.results):
            column.addWidget(view)
        column.addWidget(self.settings)
        inner = QWidget()
        body = QVBoxLayout(inner)
        body.setContentsMargins(0, 0, 6, 0)
        body.setSpacing(8)
        body.addWidget(self.start)
        body.addWidget(self._annotate)
        body.addStretch(1)
        self.scroll = TallScroll(inner)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 2, 4)
        layout.setSpacing(8)
        layout.addWidget(self.guide)
        layout.addWidget(self.scroll, 1)

    def show_project(self, on: bool) -> None:
        """Show what can be done with a project, or what leads to one."""
        self.start.setVisible(not on)
        self._annotate.setVisible(on)

    def set_theme(self, name: str) -> None:
        """Follow napari's theme.

        Parameters
        ----------
        name : str
            Such as ``"dark"``.
        """
        c = colours(name)
        self.setStyleSheet(panel_style(c))
        self.plot.set_colours(c)
        self.kinds.set_colour(c.text)
        # The collapsible's own arrows are drawn in black, whatever the theme.
        self.settings.setExpandedIcon(arrow("▾", c.text))
        self.settings.setCollapsedIcon(arrow("▸", c.text))


def arrow(sign: str, colour: str) -> QIcon:
    """Return a sign as an icon.

    Parameters
    ----------
    sign, colour : str
        One character, and ``#rrggbb``.
    """
    pixmap = QPixmap(16, 16)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setPen(QColor(colour))
    painter.drawText(pixmap.rect(), Qt.AlignmentFlag.AlignCenter, sign)
    painter.end()
    return QIcon(pixmap)
