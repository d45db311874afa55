"""What can be done with a prediction."""

from __future__ import annotations

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_cas.ui.panels.common import button, row


class ResultsView(QWidget):
    """Where to paint next, accept, split, predict all, and the optional layers.

    Signals
    -------
    next_requested()
    accept_requested()
    split_requested()
    predict_all_requested()
    probabilities_toggled(on: bool)
    uncertainty_toggled(on: bool)
    """

    next_requested = Signal()
    accept_requested = Signal()
    split_requested = Signal()
    predict_all_requested = Signal()
    probabilities_toggled = Signal(bool)
    uncertainty_toggled = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.next = button(
            "Where next? (G)",
            "Go where the network hesitates most, on any image that is predicted: a stroke there "
            "teaches most. Press again for the next place.",
            self.next_requested.emit,
        )
        self.accept = button(
            "Accept as region (A)",
            "Copy the predicted segment into the regions, so that it teaches. "
            "With the key A: the segment under the cursor; with the button: the selected label.",
            self.accept_requested.emit,
        )
        self.split = button(
            "Split into objects",
            "New Labels layer: every connected piece of a segment gets a number of its own. "
            "With the prediction layer selected: pieces of the label that is picked there.",
            self.split_requested.emit,
        )
        self.predict_all = button(
            "Predict all",
            "Segment every plane of every image of the project with the present model",
            self.predict_all_requested.emit,
        )
        self.probabilities = QCheckBox("Probabilities")
        self.probabilities.setToolTip("Layer with the probability of each channel")
        self.probabilities.toggled.connect(self.probabilities_toggled.emit)
        self.uncertainty = QCheckBox("Uncertainty")
        self.uncertainty.setToolTip("Layer that is bright where the network hesitates: paint there")
        self.uncertainty.toggled.connect(self.uncertainty_toggled.emit)
        self._lay_out()

    def _lay_out(self) -> None:
        boxes = QHBoxLayout()
        boxes.setSpacing(8)
        boxes.addWidget(QLabel("Show"))
        boxes.addWidget(self.probabilities)
        boxes.addWidget(self.uncertainty)
        boxes.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addLayout(boxes)
        layout.addLayout(row(self.next, self.accept, stretch=(1, 1)))
        layout.addLayout(row(self.split, self.predict_all, stretch=(1, 1)))

    def show_available(self, *, trained: bool, busy: bool, writable: bool = True) -> None:
        """Enable what a model makes possible.

        Parameters
        ----------
        trained : bool
            Whether there is a model and so a prediction.
        busy : bool
            Whether work is under way that must end before everything can be predicted.
        writable : bool
            Whether the project may be written.
        """
        self.next.setEnabled(trained)
        self.accept.setEnabled(trained and writable)
        self.split.setEnabled(trained)
        self.predict_all.setEnabled(trained and writable and not busy)
        self.probabilities.setEnabled(trained)
        self.uncertainty.setEnabled(trained)

    def show_layer(self, kind: str, *, on: bool) -> None:
        """Show whether an optional layer is there, emitting nothing.

        Parameters
        ----------
        kind : {"probabilities", "uncertainty"}
            Which.
        on : bool
            Whether it is.
        """
        box = self.probabilities if kind == "probabilities" else self.uncertainty
        with QSignalBlocker(box):
            box.setChecked(on)
