"""The kinds that were found, one a row: a palette, their names, how much of the plane each is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qtpy.QtCore import QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QLabel, QLineEdit, QToolButton, QVBoxLayout, QWidget

from napari_cas.store.naming import LONGEST
from napari_cas.ui.panels.common import heading, icon

if TYPE_CHECKING:
    from collections.abc import Sequence

_SIDE = 14
_TIP = (
    "What the network tells apart here. Name what you like, when you like: names go into exports "
    "and saved models. Kinds of one name are one, here, as objects and in exports."
)


class Kind(NamedTuple):
    """A row.

    Attributes
    ----------
    label : int
        Of the prediction.
    name : str
        As given, or empty.
    colour : tuple of int
        Red, green, blue, opacity, 0 to 255.
    share : float
        Of the predicted pixels of the plane shown, 0 to 1.
    one_with : int
        The label that it is shown as: its own, or the lowest of its name.
    """

    label: int
    name: str
    colour: tuple[int, int, int, int]
    share: float
    one_with: int


class KindsView(QWidget):
    """Shown as soon as anything was found.

    Signals
    -------
    named(label: int, name: str)
    taken(label: int)
        For the brush.
    singled_out(label: int)
        0: all are to be seen again.
    """

    named = Signal(int, str)
    taken = Signal(int)
    singled_out = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        title = heading("Kinds found: name them as you like")
        title.setToolTip(_TIP)
        self.rows: dict[int, _Row] = {}
        self._eye = QIcon()
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(3)
        self._column.addWidget(title)
        self.hide()

    def show_kinds(self, kinds: Sequence[Kind], *, writable: bool = True) -> None:
        """Show these rows, in this order, and no others.

        Parameters
        ----------
        kinds : sequence of Kind
            By label; a name that is being typed is left alone.
        writable : bool
            Whether the project may be written.
        """
        wanted = [kind.label for kind in kinds]
        typed = [label for label, row in self.rows.items() if row.is_typed and kinds]
        for label in [label for label in self.rows if label not in (*wanted, *typed)]:
            gone = self.rows.pop(label)
            if gone.eye.isChecked():
                self.singled_out.emit(0)
            gone.name.blockSignals(True)  # what was being typed named this kind
            self._column.removeWidget(gone)
            gone.deleteLater()
        for kind in kinds:
            if kind.label not in self.rows:
                place = 1 + sum(label < kind.label for label in self.rows)
                self.rows[kind.label] = self._new_row(kind.label)
                self._column.insertWidget(place, self.rows[kind.label])
            self.rows[kind.label].show_kind(kind, writable=writable)
        self.setVisible(bool(kinds))

    @property
    def alone(self) -> int:
        """The label of the kind that is singled out, 0 for none."""
        return next((label for label, row in self.rows.items() if row.eye.isChecked()), 0)

    def set_colour(self, colour: str) -> None:
        """Draw the eyes in a colour, ``#rrggbb``."""
        self._eye = icon("visibility", colour)
        for row in self.rows.values():
            row.eye.setIcon(self._eye)

    def _new_row(self, label: int) -> _Row:
        row = _Row(label)
        row.eye.setIcon(self._eye)
        row.name.editingFinished.connect(lambda: self._edited(row))
        row.swatch.clicked.connect(lambda: self.taken.emit(row.label))
        row.eye.toggled.connect(lambda on: self._toggled(row, on=on))
        return row

    def end_typing(self) -> None:
        """Take a name that is being typed as it is, as Enter does."""
        for row in self.rows.values():
            if row.is_typed:
                row.name.clearFocus()

    def _edited(self, row: _Row) -> None:
        # Enter means: done here, and the keys are the canvas's again.
        if row.name.text() != row.shown:
            row.shown = row.name.text()
            row.name.setModified(False)  # typed no more: what it is taken for is shown
            self.named.emit(row.label, row.name.text())
        row.name.clearFocus()

    def _toggled(self, row: _Row, *, on: bool) -> None:
        for other in self.rows.values():
            if on and other is not row:
                with QSignalBlocker(other.eye):
                    other.eye.setChecked(False)
        self.singled_out.emit(row.label if on else 0)

    def show_all(self) -> None:
        """Let go of a kind that was singled out, emitting nothing."""
        for row in self.rows.values():
            with QSignalBlocker(row.eye):
                row.eye.setChecked(False)


class _Row(QWidget):
    """One kind."""

    def __init__(self, label: int) -> None:
        super().__init__()
        self.label, self.shown = label, ""
        self.swatch = _tool("casSwatch", "Take this kind for the brush: paint over what is wrong")
        self.eye = _tool("casEye", "Show this kind alone; press again to show all")
        self.eye.setCheckable(True)
        self.name = QLineEdit()
        self.name.setMaxLength(LONGEST)
        self.name.setPlaceholderText(f"kind {label}")
        self.name.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.share = _Share()
        self._colour: tuple[int, ...] = ()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.swatch)
        layout.addWidget(self.name, 1)
        layout.addWidget(self.share)
        layout.addWidget(self.eye)

    @property
    def is_typed(self) -> bool:
        """Whether a name is being typed, which is left alone."""
        return bool(self.name.hasFocus() and self.name.isModified())

    def show_kind(self, kind: Kind, *, writable: bool) -> None:
        """Show what is known of the kind."""
        if kind.colour != self._colour:  # an icon, even the same, lays out all that is around it
            self._colour = kind.colour
            pixmap = QPixmap(_SIDE, _SIDE)
            pixmap.fill(QColor(*kind.colour))
            self.swatch.setIcon(QIcon(pixmap))
        if not self.is_typed:
            self.shown = kind.name
            if self.name.text() != kind.name:
                self.name.setText(kind.name)
        self.name.setReadOnly(not writable)
        self.swatch.setEnabled(writable)
        if kind.one_with == kind.label:
            self.share.setText(_percent(kind.share))
            self.name.setToolTip(_TIP)
        else:
            self.share.setText("")
            self.name.setToolTip(f"Shown as one with kind {kind.one_with}: they have one name.")


def _tool(name: str, tip: str) -> QToolButton:
    """Return a small button without text; the keys stay the canvas's."""
    tool = QToolButton()
    tool.setObjectName(name)
    tool.setIconSize(QSize(_SIDE, _SIDE))
    tool.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    tool.setToolTip(tip)
    return tool


class _Share(QWidget):
    """A number as wide as it may become, which moves nothing when it changes.

    A label in a layout tells all layouts around it of each change.
    """

    def __init__(self) -> None:
        super().__init__()
        self._label = QLabel(self)
        self._label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        metrics = self._label.fontMetrics()
        self.setFixedSize(metrics.horizontalAdvance("< 0.1 %") + 6, metrics.lineSpacing() + 6)
        self._label.setGeometry(self.rect())

    def text(self) -> str:
        """Return the text shown."""
        return self._label.text()

    def setText(self, text: str) -> None:  # noqa: N802 - as Qt's labels have it
        """Show a text."""
        if text != self._label.text():
            self._label.setText(text)


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"
