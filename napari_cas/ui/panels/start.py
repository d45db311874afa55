"""Before there is a project: which layers, where to, start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_cas.ui.panels.common import NamesLabel, button, row

if TYPE_CHECKING:
    from collections.abc import Sequence


class StartView(QWidget):
    """Shows what would be annotated and emits the wish to start.

    Signals
    -------
    start_requested(path: str, as_channels: bool, axes: str)
    open_requested(path: str)
    sample_requested(name: str)
    """

    start_requested = Signal(str, bool, str)
    open_requested = Signal(str)
    sample_requested = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.summary = NamesLabel()
        self.choice = QComboBox()
        self.choice.addItems(["several images", "channels of one image"])
        self.choice.setToolTip("Whether the selected layers are images of their own or channels")
        self.axes = QComboBox()
        self.axes.setToolTip("What the dimensions of the image mean")
        self.path = QLineEdit()
        self.path.setToolTip("Folder that will hold the images, strokes, models and predictions")
        self._browse = QToolButton()
        self._browse.setText("…")
        self._browse.setToolTip("Choose another folder")
        self._browse.clicked.connect(self._choose_path)
        self.start = button(
            "Start annotating", "Make a project of the selected image layers", self._start
        )
        self.start.setObjectName("casPrimary")
        self.open = button(
            "Open project…", "Go on with a project that was begun before", self._choose_project
        )
        self.sample = QToolButton()
        self.sample.setText("Try a sample")
        self.sample.setToolTip("Open a small image that comes with napari-cas")
        self.sample.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.sample.setMenu(QMenu(self.sample))
        self._suggested = ""
        self._names: list[str] = []
        self._lay_out()

    def _lay_out(self) -> None:
        self._form = QFormLayout()
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setSpacing(4)
        self._choice_label, self._axes_label = QLabel("Layers are"), QLabel("Axes")
        self._form.addRow("Annotate", self.summary)
        self._form.addRow(self._choice_label, self.choice)
        self._form.addRow(self._axes_label, self.axes)
        self._form.addRow("Project", row(self.path, self._browse, stretch=(1, 0)))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addLayout(self._form)
        layout.addWidget(self.start)
        layout.addLayout(row(self.open, self.sample, stretch=(1, 1)))

    def show_layers(
        self, names: Sequence[str], *, may_be_channels: bool, are_channels: bool
    ) -> None:
        """Show which image layers are selected.

        Parameters
        ----------
        names : sequence of str
            Names of the selected image layers.
        may_be_channels, are_channels : bool
            Whether they could be channels of one image, and whether they look like it.
        """
        self.summary.show_names(names, otherwise="no image layer selected")
        self.start.setEnabled(bool(names))
        visible = len(names) > 1 and may_be_channels
        if list(names) != self._names:  # what was chosen for other layers says nothing about these
            self.choice.setCurrentIndex(int(are_channels))
            self._names = list(names)
        self.choice.setVisible(visible)
        self._choice_label.setVisible(visible)

    def show_axes(self, options: Sequence[str]) -> None:
        """Offer readings of the dimensions; one or none hides the choice.

        Parameters
        ----------
        options : sequence of str
            Such as ``("zyx", "tyx", "cyx")``, the likeliest first.
        """
        names = {"t": "time", "z": "depth", "c": "channel"}
        if [self.axes.itemData(i) for i in range(self.axes.count())] != list(options):
            self.axes.clear()
            for axes in options:
                leading = [names[letter] for letter in axes if letter in names]
                self.axes.addItem(", ".join([*leading, "y, x"]), axes)
        self.axes.setVisible(len(options) > 1)
        self._axes_label.setVisible(len(options) > 1)

    def show_samples(self, samples: Sequence[tuple[str, str]]) -> None:
        """Fill the menu of samples.

        Parameters
        ----------
        samples : sequence of (name, title)
            What comes with the package.
        """
        menu = self.sample.menu()
        menu.clear()
        for name, title in samples:
            action = menu.addAction(title)
            action.triggered.connect(lambda *_, name=name: self.sample_requested.emit(name))
        self.sample.setVisible(bool(samples))

    def suggest_path(self, path: str) -> None:
        """Fill in where the project would go, unless the annotator has typed a place."""
        if self.path.text() in ("", self._suggested):
            self.path.setText(path)
            self.path.setCursorPosition(len(path))
        self._suggested = path

    @property
    def as_channels(self) -> bool:
        """Whether several layers are to become channels of one image."""
        return self.choice.isVisibleTo(self) and self.choice.currentIndex() == 1

    def _start(self) -> None:
        axes = self.axes.currentData() or ""
        self.start_requested.emit(self.path.text().strip(), self.as_channels, axes)

    def _choose_path(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "New project", self.path.text(), "Project (*.zarr)"
        )
        if path:
            self.path.setText(path)

    def _choose_project(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Open project", self.path.text())
        if path:
            self.open_requested.emit(path)
