"""Which image of the project is shown, and predicting them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, QSize, Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_cas.ui.panels.common import row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QPaintEvent

_MARGIN = 8
"""Pixels around a name that style sheets may take."""
_COMPARED = 50
"""Names that are looked at to see where they differ: it is done whenever the box is drawn."""
_ELISIONS = (
    Qt.TextElideMode.ElideRight,
    Qt.TextElideMode.ElideLeft,
    Qt.TextElideMode.ElideMiddle,
)
_WIDEST = 600
"""Pixels that the open list may have."""


class NamesBox(QComboBox):
    """A list of names, long and much the same maybe: what tells them apart stays in sight."""

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draw as much of the name as there is room for."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        field = self.style().subControlRect(
            QStyle.ComplexControl.CC_ComboBox,
            option,
            QStyle.SubControl.SC_ComboBoxEditField,
            self,
        )
        option.currentText = self.shortened(field.width() - _MARGIN)
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def shortened(self, width: int) -> str:
        """Return the name shown as it fits into so many pixels: its end, begin or middle left out.

        Parameters
        ----------
        width : int
            Pixels.
        """
        names = [self.itemText(index) for index in range(min(self.count(), _COMPARED))]
        cut = self.fontMetrics().elidedText
        best = max(_ELISIONS, key=lambda mode: len({cut(name, mode, width) for name in names}))
        return str(cut(self.currentText(), best, width))

    def showPopup(self) -> None:  # noqa: N802 - Qt's name
        """Open a list wide enough for the names."""
        view = self.view()
        view.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        wanted = view.sizeHintForColumn(0) + 2 * _MARGIN
        view.setMinimumWidth(max(self.width(), min(wanted, _WIDEST)))
        super().showPopup()


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
        self.names = NamesBox()
        self.names.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
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
        self.names.setToolTip(
            f"{current or 'No image'}\nImage shown; what was learnt is kept when you change it"
        )
        index = self.names.currentIndex()
        self.previous.setEnabled(index > 0)
        self.next.setEnabled(0 <= index < self.names.count() - 1)
