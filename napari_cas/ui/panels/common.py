"""Small pieces that all panels share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QIcon, QPainter, QPixmap
from qtpy.QtSvg import QSvgRenderer
from qtpy.QtWidgets import QApplication, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qtpy.QtGui import QResizeEvent


def heading(text: str) -> QLabel:
    """Return a bold label that opens a group of widgets."""
    label = QLabel(text)
    label.setObjectName("casHeading")
    return label


def note(text: str = "") -> QLabel:
    """Return a small label that wraps."""
    label = QLabel(text)
    label.setObjectName("casNote")
    label.setWordWrap(True)
    return label


class SteadyLabel(QWidget):
    """Text that wraps in a place that stays as high as it is, so that other text moves nothing.

    A label in a layout tells all layouts around it of each change, and a change on each level has
    the whole window composed anew, canvas and all. It grows when a text does not fit.

    Parameters
    ----------
    name : str
        Name of the label in style sheets.
    lines : int
        Lines that there is room for from the start.
    """

    def __init__(self, name: str, lines: int = 2, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lines = lines
        self._label = QLabel(self)
        self._label.setObjectName(name)
        self._label.setWordWrap(True)

    def text(self) -> str:
        """Return the text shown."""
        return self._label.text()

    def setText(self, text: str) -> None:  # noqa: N802 - as Qt's labels have it
        """Show a text, plain or rich."""
        if text != self._label.text():
            self._label.setText(text)
            self._fit()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Follow a font or a style that changes."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Wrap at the new width."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        label, width = self._label, self.width()
        label.ensurePolished()
        least = self._lines * label.fontMetrics().lineSpacing()
        height = max(label.heightForWidth(width), least)
        label.setGeometry(0, 0, width, height)
        self.setFixedHeight(height)


class NamesLabel(QLabel):
    """Names that wrap, each cut in its middle where it is wider than the label.

    A label that wraps is otherwise as wide as its longest word, and a file's name is one word.
    """

    _MOST = 80
    """Characters of all names together."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("casNote")
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        policy = self.sizePolicy()
        policy.setHorizontalPolicy(QSizePolicy.Policy.Ignored)
        self.setSizePolicy(policy)
        self._names: tuple[str, ...] = ()
        self._otherwise = ""

    def show_names(self, names: Sequence[str], otherwise: str) -> None:
        """Show names, all of them in full as a tooltip.

        Parameters
        ----------
        names : sequence of str
            In this order.
        otherwise : str
            What to say where there are none.
        """
        self._names, self._otherwise = tuple(names), otherwise
        self.setToolTip("\n".join(names))
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Cut at the new width."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        cut = self.fontMetrics().elidedText
        room = self.contentsRect().width() - self.fontMetrics().horizontalAdvance(", ")
        names = [cut(name, Qt.TextElideMode.ElideMiddle, room) for name in self._names]
        text = ", ".join(names)
        short = text if len(text) <= self._MOST else f"{text[: self._MOST - 3]}…"
        if (short or self._otherwise) != self.text():
            self.setText(short or self._otherwise)


def icon(name: str, colour: str) -> QIcon:
    """Return one of napari's own signs.

    Parameters
    ----------
    name, colour : str
        Such as ``"visibility"``, and ``#rrggbb``.
    """
    from napari.resources import get_colorized_svg, get_icon_path

    pixmap = QPixmap(64, 64)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    QSvgRenderer(get_colorized_svg(get_icon_path(name), colour).encode()).render(painter)
    painter.end()
    return QIcon(pixmap)


def button(text: str, tip: str, clicked: Callable[[], None]) -> QPushButton:
    """Return a push button that may shrink with the panel.

    Parameters
    ----------
    text, tip : str
        What it says, and says more of when hovered.
    clicked : callable
        Called without arguments.
    """
    push = QPushButton(text)
    push.setToolTip(tip)
    push.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    push.clicked.connect(lambda *_: clicked())
    return push


def row(*widgets: QWidget, stretch: tuple[int, ...] = ()) -> QHBoxLayout:
    """Return widgets side by side, 6 pixels apart.

    Parameters
    ----------
    *widgets : QWidget
        From left to right.
    stretch : tuple of int, optional
        Stretch factor of each.
    """
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(6)
    for index, widget in enumerate(widgets):
        layout.addWidget(widget, stretch[index] if stretch else 0)
    return layout


def settle() -> None:
    """Let all layouts follow what has changed, now.

    Left to itself, Qt tells one level of layouts after the other, and has the window composed
    between them.
    """
    QApplication.sendPostedEvents(None, QEvent.Type.LayoutRequest.value)


def set_flag(widget: QWidget, name: str, value: object) -> None:
    """Set a dynamic property and have the style sheet look at it again."""
    if widget.property(name) == value:
        return
    widget.setProperty(name, value)
    widget.style().unpolish(widget)
    widget.style().polish(widget)
