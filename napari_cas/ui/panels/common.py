"""Small pieces that all panels share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable


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


def set_flag(widget: QWidget, name: str, value: object) -> None:
    """Set a dynamic property and have the style sheet look at it again."""
    if widget.property(name) == value:
        return
    widget.setProperty(name, value)
    widget.style().unpolish(widget)
    widget.style().polish(widget)
