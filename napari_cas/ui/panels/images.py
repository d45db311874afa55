"""Which image of the project is shown, and predicting them all."""

from __future__ import annotations

from os.path import commonprefix
from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPainter, QPen, QPixmap
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
    from collections.abc import Callable, Sequence

    from qtpy.QtGui import QPaintEvent

    from napari_cas.store.progress import Stage

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
_MARKED = 500
"""Images that are looked up for the open list: longer ones must open at once, too."""
_GREY = "#8f96a3"
"""Seen on light themes and on dark ones."""


class NamesBox(QComboBox):
    """A list of names, long and much the same maybe: what tells them apart stays in sight.

    Attributes
    ----------
    stage : callable, optional
        From a name to how far the image is, which the open list shows.
    """

    stage: Callable[[str], Stage] | None = None

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
        option.currentIcon = QIcon()
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def shortened(self, width: int) -> str:
        """Return the name shown as it fits into so many pixels: left out is what says least.

        Parameters
        ----------
        width : int
            Pixels.
        """
        names = [self.itemText(index) for index in range(min(self.count(), _COMPARED))]
        cut = self.fontMetrics().elidedText
        same = len(commonprefix(names))  # noqa: RUF071 - of characters, not of folders

        def shown(name: str, mode: Qt.TextElideMode | None) -> str:
            if mode is None:  # names that differ between a long begin and a long end
                return str(cut(f"…{name[same:]}", _ELISIONS[0], width))
            return str(cut(name, mode, width))

        told_apart = {mode: len({shown(x, mode) for x in names}) for mode in (*_ELISIONS, None)}
        return shown(self.currentText(), max(told_apart, key=lambda mode: told_apart[mode]))

    def showPopup(self) -> None:  # noqa: N802 - Qt's name
        """Open a list wide enough for the names."""
        for index in range(min(self.count(), _MARKED)):
            if self.stage is None:
                break
            stage = self.stage(self.itemText(index))
            self.setItemIcon(index, _mark(stage))
            self.setItemData(index, _words(stage), Qt.ItemDataRole.ToolTipRole)
        view = self.view()
        view.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setIconSize(QSize(24, 12))
        wanted = view.sizeHintForColumn(0) + 2 * _MARGIN
        view.setMinimumWidth(max(self.width(), min(wanted, _WIDEST)))
        super().showPopup()


def _mark(stage: Stage) -> QIcon:
    """Return a dot for what is painted and, right of it, a ring for what is predicted."""
    picture = QPixmap(24, 12)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(QColor(_GREY), 1.6))
    if stage.predicted:
        painter.drawEllipse(QPointF(18, 6), 3.6, 3.6)
    if stage.painted:
        painter.setBrush(QColor(_GREY))
        painter.drawEllipse(QPointF(6, 6), 3.6, 3.6)
    painter.end()
    return QIcon(picture)


def _words(stage: Stage) -> str:
    painted = "painted" if stage.painted else "not painted"
    return f"{painted}, {'predicted' if stage.predicted else 'not predicted'}"


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
            f"{current or 'No image'}\nImage shown; what was learnt is kept when you change it.\n"
            "In the list: ● painted, ○ predicted"
        )
        index = self.names.currentIndex()
        self.previous.setEnabled(index > 0)
        self.next.setEnabled(0 <= index < self.names.count() - 1)
