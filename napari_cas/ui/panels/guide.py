"""The line at the top of the panel that says what to do next."""

from __future__ import annotations

from qtpy.QtWidgets import QFrame, QVBoxLayout, QWidget

from napari_cas.ui.panels.common import SteadyLabel, set_flag


class GuideView(QFrame):
    """One sentence in a frame, with a coloured edge for its level."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("casGuide")
        self.label = SteadyLabel("casGuideText")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(9, 5, 6, 5)
        layout.addWidget(self.label)

    def show_text(self, text: str, level: str = "info") -> None:
        """Show one sentence.

        Parameters
        ----------
        text : str
            What to do next.
        level : {"info", "warning", "error"}
            Colour of the edge.
        """
        self.label.setText(text)
        set_flag(self, "level", level)
