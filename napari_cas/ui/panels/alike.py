"""What is said of regions that look alike, with the one click that makes them one."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_cas.ui.panels.common import SteadyLabel, button


class AlikeView(QWidget):
    """Shown only while there is something to say.

    Signals
    -------
    merge_requested()
    """

    merge_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.text = SteadyLabel("casNote")
        self.merge = button(
            "Merge alike regions",
            "Give regions that look alike one number. They are learnt as one either way: a region "
            "means one appearance, and objects are found afterwards by splitting.",
            self.merge_requested.emit,
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.text)
        layout.addWidget(self.merge)
        self.hide()

    def show_text(self, text: str, *, can_merge: bool = True) -> None:
        """Say something, or with an empty text go away.

        Parameters
        ----------
        text : str
            Which regions look alike.
        can_merge : bool
            Whether the project may be written.
        """
        self.text.setText(text)
        self.merge.setEnabled(can_merge)
        self.setVisible(bool(text))
