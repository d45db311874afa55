"""Keys and the mouse wheel mean the canvas, whatever in the panel was clicked last.

Qt gives the keyboard to what is clicked, and the wheel to any number or list under the mouse. Then
the key for the next image would scroll the panel, the key for a new region would pick the image
that begins with an N, and scrolling past a setting would change it.

So a button that is pressed does not take the keyboard from what is being typed, and has to end it.
"""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QWidget,
)


class WheelGuard(QObject):
    """Lets the wheel scroll the panel unless the number under the mouse was clicked before."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Keep the wheel from a widget that has not the keyboard; the panel gets it instead."""
        if event.type() == QEvent.Type.Wheel and not (
            isinstance(watched, QWidget) and watched.hasFocus()
        ):
            event.ignore()
            return True
        return bool(super().eventFilter(watched, event))


def leave_to_canvas(inside: QWidget) -> None:
    """Have the widgets of a panel take the keyboard by Tab only, and the wheel only with it.

    Numbers and text may still be clicked to be typed into.

    Parameters
    ----------
    inside : QWidget
        What holds them; the guard against the wheel lives as long.
    """
    for pressed in (*inside.findChildren(QAbstractButton), *inside.findChildren(QComboBox)):
        pressed.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    for button in inside.findChildren(QAbstractButton):
        button.pressed.connect(_end_typing)
    guard = WheelGuard(inside)
    for number in inside.findChildren(QAbstractSpinBox):
        number.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        number.installEventFilter(guard)
    for choice in inside.findChildren(QComboBox):
        choice.installEventFilter(guard)


def _end_typing() -> None:
    """Take what is being typed into a number or a line as finished."""
    typing = QApplication.focusWidget()
    if isinstance(typing, QAbstractSpinBox | QLineEdit):
        typing.clearFocus()
