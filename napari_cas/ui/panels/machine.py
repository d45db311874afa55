"""Which machine trains and predicts: this one, or the workers of a Dask cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_cas.config import ClusterSettings
from napari_cas.ui.panels.common import button, heading, note
from napari_cas.ui.panels.settings import field_widget

if TYPE_CHECKING:
    from magicgui.widgets.bases import ValueWidget


class MachineView(QWidget):
    """A line for each field of `ClusterSettings`, and a button that has it used.

    Signals
    -------
    chosen(cluster: ClusterSettings)
        The annotator wants these workers; without a scheduler, one of this machine.
    """

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.lines: dict[str, ValueWidget[Any]] = {}
        form = QFormLayout()
        form.setSpacing(4)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow(heading("Another machine"))
        for name, field in ClusterSettings.model_fields.items():
            line = self.lines[name] = field_widget(name, field, "")
            line.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            label = QLabel(field.title)
            label.setToolTip(field.description or "")
            form.addRow(label, line.native)
        self.use = button(
            "Connect",
            "Train and predict there from now on, also when napari is started again; "
            "without a scheduler, on this machine",
            lambda: self.chosen.emit(self.cluster()),
        )
        self.state = note("Trains and predicts on this machine.")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(form)
        layout.addWidget(self.use)
        layout.addWidget(self.state)

    def cluster(self) -> ClusterSettings:
        """Return what is written in the lines."""
        return ClusterSettings(**{name: line.value.strip() for name, line in self.lines.items()})

    def show_cluster(self, cluster: ClusterSettings) -> None:
        """Write a cluster's settings into the lines, emitting nothing."""
        for name, line in self.lines.items():
            line.value = getattr(cluster, name)

    def show_state(self, text: str, *, busy: bool = False) -> None:
        """Say where work is done; while `busy`, nothing else can be chosen."""
        self.state.setText(text)
        self.use.setEnabled(not busy)
