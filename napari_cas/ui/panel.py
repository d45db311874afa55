"""The docked panel: all views in one column."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_cas.ui.panels.guide import GuideView
from napari_cas.ui.panels.images import ImagesView
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
        self.results = ResultsView()
        self.form = ConfigForm(config)
        self.settings = QCollapsible("Settings", expandedIcon="▾", collapsedIcon="▸")
        self.settings.setDuration(0)
        self.settings.addWidget(self.form)
        self.settings.layout().setContentsMargins(0, 0, 0, 0)
        self._annotate = QWidget()
        self._lay_out()
        self.show_project(False)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a width that shows everything, and the height of the usual views."""
        return QSize(WIDTH, 640)

    def _lay_out(self) -> None:
        column = QVBoxLayout(self._annotate)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        for view in (self.project, self.images, self.train, self.plot, self.results, self.settings):
            column.addWidget(view)
        inner = QWidget()
        body = QVBoxLayout(inner)
        body.setContentsMargins(0, 0, 6, 0)
        body.setSpacing(8)
        body.addWidget(self.start)
        body.addWidget(self._annotate)
        body.addStretch(1)
        self.scroll = QScrollArea()
        self.scroll.setWidget(inner)
        self.scroll.setWidgetResizable(True)
        self.scroll.setFrameShape(QFrame.Shape.NoFrame)
        self.scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
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
