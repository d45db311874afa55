"""The controls of everyday work: new region, fine-tune and predict, cancel, live, device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QProgressBar, QVBoxLayout, QWidget
from superqt import QToggleSwitch

from napari_cas.ui.guide import RUN_KEY
from napari_cas.ui.panels.common import SteadyLabel, button, row

if TYPE_CHECKING:
    from collections.abc import Sequence


class TrainView(QWidget):
    """The one primary button and what belongs to it.

    Signals
    -------
    new_region_requested()
    run_requested()
    cancel_requested()
    live_toggled(on: bool)
    device_chosen(name: str)
    """

    new_region_requested = Signal()
    run_requested = Signal()
    cancel_requested = Signal()
    live_toggled = Signal(bool)
    device_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.new_region = button(
            "New region (N)",
            "The next stroke gets an id of its own. Regions need no names: two regions are simply "
            "things that look different.",
            self.new_region_requested.emit,
        )
        self.run = button(
            "Fine-tune and predict",
            f"Learn from all strokes, then segment what you are looking at ({RUN_KEY})",
            self.run_requested.emit,
        )
        self.run.setObjectName("casPrimary")
        self.cancel = button(
            "Cancel", "Stop after the present round (Shift+Esc)", self.cancel_requested.emit
        )
        self.live = QToggleSwitch("Live")
        self.live.setToolTip("Retrain after every stroke (Shift+L)")
        self.live.toggled.connect(self.live_toggled.emit)
        self.device = QComboBox()
        self.device.setToolTip("Where the network runs")
        self.device.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.device.activated.connect(
            lambda i: self.device_chosen.emit(str(self.device.itemData(i)))
        )
        self.status = SteadyLabel("casStatus")
        self.progress = QProgressBar()
        self.progress.setObjectName("casProgress")
        self.progress.setTextVisible(False)
        self._lay_out()
        self.show_busy(False)
        self.show_progress(1, 1)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.new_region)
        layout.addLayout(row(self.run, self.cancel, stretch=(3, 1)))
        switches = QHBoxLayout()
        switches.setSpacing(6)
        switches.addWidget(self.live)
        switches.addStretch(1)
        switches.addWidget(QLabel("Device"))
        switches.addWidget(self.device)
        layout.addLayout(switches)
        layout.addWidget(self.status)
        layout.addWidget(self.progress)

    def show_region(self, colour: tuple[float, float, float, float] | None) -> None:
        """Show the colour of the region that the brush paints now.

        Parameters
        ----------
        colour : tuple of float or None
            Red, green, blue, alpha in 0–1.
        """
        pixmap = QPixmap(20, 14)  # napari's style leaves no gap between icon and text
        pixmap.fill(Qt.GlobalColor.transparent)
        if colour:
            painter = QPainter(pixmap)
            painter.fillRect(0, 0, 14, 14, QColor.fromRgbF(*colour[:3]))
            painter.end()
        self.new_region.setIcon(QIcon(pixmap))
        self.new_region.setIconSize(pixmap.size())

    def show_busy(self, busy: bool, *, can_run: bool = True, learns: bool | None = None) -> None:
        """Enable what can be done now.

        Parameters
        ----------
        busy : bool
            Whether work is under way that Cancel would stop.
        can_run : bool
            Whether there is a project to train in.
        learns : bool, optional
            Whether that work is training; by default yes. Predicting gives way to training.
        """
        self.cancel.setEnabled(busy)
        self.run.setEnabled(can_run and not (busy if learns is None else learns))
        self.new_region.setEnabled(can_run)
        self.live.setEnabled(can_run)

    def call_to_run(self, on: bool) -> None:
        """Make the primary button stand out, or not."""
        # A style sheet's own property would have to be polished anew, which lays out the window.
        self.run.setDefault(on)

    def show_live(self, on: bool) -> None:
        """Show whether live mode is on, emitting nothing."""
        with QSignalBlocker(self.live):
            self.live.setChecked(on)

    def show_devices(self, names: Sequence[str], chosen: str, resolved: str | None) -> None:
        """Show which devices there are.

        Parameters
        ----------
        names : sequence of str
            ``"auto"`` and all devices that would work.
        chosen : str
            The one in the settings.
        resolved : str or None
            What ``"auto"`` means here; None when not known yet.
        """
        with QSignalBlocker(self.device):
            self.device.clear()
            for name in names:
                text = f"auto ({resolved})" if name == "auto" and resolved else name
                self.device.addItem(text, name)
            self.device.setCurrentIndex(max(list(names).index(chosen) if chosen in names else 0, 0))

    def show_status(self, text: str) -> None:
        """Show one line under the buttons."""
        self.status.setText(text)

    def show_progress(self, done: int, total: int) -> None:
        """Show how far the present work is, with a bar that begins a little filled.

        No bar moves by itself: each frame would have the whole window composed anew, canvas and
        all, which without a graphics card is half of the time there is.

        Parameters
        ----------
        done, total : int
            Steps; ``done == total`` shows an empty bar.
        """
        finished = done >= total
        # Qt's bar repaints at once when its value is set; enabling updates again only asks for it,
        # so that bar, status line, plot and canvas are drawn together.
        self.progress.setUpdatesEnabled(False)
        self.progress.setRange(0, 100)
        self.progress.setValue(0 if finished else 4 + round(96 * done / total))
        self.progress.setUpdatesEnabled(True)
