"""The project's row: its name, and a menu of what is done now and then."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QMenu,
    QMessageBox,
    QToolButton,
    QWidget,
)
from superqt import QElidingLabel

from napari_cas.ui.paths import free


class ProjectView(QWidget):
    """Shows where the project is and emits what to do with it.

    Signals
    -------
    open_requested(path: str)
    close_requested()
    save_model_requested(path: str)
    load_model_requested(path: str)
    reset_model_requested()
    remove_image_requested()
    export_requested(path: str)
    """

    open_requested = Signal(str)
    close_requested = Signal()
    save_model_requested = Signal(str)
    load_model_requested = Signal(str)
    reset_model_requested = Signal()
    remove_image_requested = Signal()
    export_requested = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.name = QElidingLabel()
        self.menu_button = QToolButton()
        self.menu_button.setText("Project")
        self.menu_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu_button.setMenu(self._make_menu())
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.name, 1)
        layout.addWidget(self.menu_button)
        self._folder = ""

    def _make_menu(self) -> QMenu:
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        for text, ask in (
            ("Export…", self.ask_export),
            ("Remove this image…", self.remove_image_requested.emit),
            (None, None),
            ("Save model…", self.ask_save_model),
            ("Load model…", self.ask_load_model),
            ("Forget what was learnt…", self.reset_model_requested.emit),
            (None, None),
            ("Open project…", self.ask_open),
            ("Close project", self.close_requested.emit),
        ):
            if text is None or ask is None:
                menu.addSeparator()
            else:
                menu.addAction(text).triggered.connect(lambda *_, ask=ask: ask())
        return menu

    def show_project(self, path: str, *, writable: bool) -> None:
        """Show where the project is.

        Parameters
        ----------
        path : str
            Its directory.
        writable : bool
            Whether strokes can be saved in it.
        """
        name = path.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1]
        self._folder = path[: len(path.rstrip("/\\")) - len(name)]
        self.name.setText(name if writable else f"{name} (read only)")
        self.name.setToolTip(path)

    def ask_export(self) -> None:
        """Ask for a new OME-Zarr directory to export to."""
        start = str(free(Path(self._folder), "export", ".ome.zarr"))
        path, _ = QFileDialog.getSaveFileName(self, "Export", start, "OME-Zarr (*.zarr)")
        if path:
            self.export_requested.emit(path)

    def ask_save_model(self) -> None:
        """Ask for a new folder to save the model to: weights and record are two files."""
        start = str(free(Path(self._folder), "model"))
        path, _ = QFileDialog.getSaveFileName(self, "Save model in a new folder", start)
        if path:
            self.save_model_requested.emit(path)

    def ask_load_model(self) -> None:
        """Ask for the folder of a saved model."""
        title = "Load model: choose its folder"
        path = QFileDialog.getExistingDirectory(self, title, self._folder)
        if path:
            self.load_model_requested.emit(path)

    def confirm_removal(self, name: str) -> bool:
        """Ask whether an image is to go, with all that was painted on it.

        Parameters
        ----------
        name : str
            Of the image.
        """
        text = f"Remove {name} from the project, with its strokes and its prediction?"
        return self._confirm("Remove image", text)

    def confirm_forgetting(self) -> bool:
        """Ask whether all that was learnt is to go: nothing brings it back but learning again."""
        text = (
            "Forget what was learnt, with its predictions and the names of kinds? Strokes are "
            "kept. To keep the model, save it first."
        )
        return self._confirm("Forget what was learnt", text)

    def _confirm(self, title: str, text: str) -> bool:
        choices = QMessageBox.StandardButton
        answer = QMessageBox.question(
            self, title, text, choices.Yes | choices.Cancel, choices.Cancel
        )
        return bool(answer == choices.Yes)

    def ask_open(self) -> None:
        """Ask for a project's directory."""
        path = QFileDialog.getExistingDirectory(self, "Open project", self._folder)
        if path:
            self.open_requested.emit(path)
