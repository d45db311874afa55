"""Which image of the project is shown, and predicting them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, QSize, Signal
from qtpy.QtWidgets import QComboBox, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from napari_cas.ui.panels.common import row

if TYPE_CHECKING:
    from collections.abc import Sequence


class ImagesView(QWidget):
    """A drop-down list of images with arrows on both sides.

    Signals
    -------
    selected(name: str)
    stepped(by: int)
    add_requested()
    """

    selected = Signal(str)
    stepped = Signal(int)
    add_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.names = QComboBox()
        self.names.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.names.setToolTip("Image shown; what was learnt is kept when you change it")
        self.names.activated.connect(lambda i: self.selected.emit(self.names.itemText(i)))
        self.previous = self._arrow("◀", "Previous image (Page Up)", -1)
        self.next = self._arrow("▶", "Next image (Page Down)", 1)
        self.add = QToolButton()
        self.add.setText("Add")
        self.add.setToolTip("Add the selected image layers to this project")
        self.add.clicked.connect(lambda *_: self.add_requested.emit())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row(self.previous, self.names, self.next, self.add, stretch=(0, 1, 0, 0)))

    def _arrow(self, text: str, tip: str, by: int) -> QToolButton:
        arrow = QToolButton()
        arrow.setText(text)
        arrow.setToolTip(tip)
        arrow.setMinimumSize(QSize(26, 22))
        arrow.clicked.connect(lambda *_: self.stepped.emit(by))
        return arrow

    def show_images(self, names: Sequence[str], current: str | None) -> None:
        """Show the project's images.

        Parameters
        ----------
        names : sequence of str
            All of them, in order.
        current : str or None
            The one shown.
        """
        with QSignalBlocker(self.names):
            if [self.names.itemText(i) for i in range(self.names.count())] != list(names):
                self.names.clear()
                self.names.addItems(list(names))
            if current in names:
                self.names.setCurrentIndex(list(names).index(str(current)))
        index = self.names.currentIndex()
        self.previous.setEnabled(index > 0)
        self.next.setEnabled(0 <= index < self.names.count() - 1)
