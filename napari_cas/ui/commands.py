"""npe2 commands: each finds the panel of its viewer, opening it if need be, and asks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

# napari injects the viewer into commands by this annotation, so it must exist at run time.
from napari.viewer import Viewer  # noqa: TC002

if TYPE_CHECKING:
    from napari_cas.ui.widget import AnnotationWidget

PLUGIN, WIDGET = "napari-cas", "Annotate regions"


def panel_of(viewer: Viewer) -> AnnotationWidget:
    """Return the panel docked in a viewer, docking one first if there is none.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        The viewer.
    """
    from napari_cas.ui.widget import open_panels

    model = getattr(viewer, "__wrapped__", viewer)
    for panel in open_panels():
        if panel.viewer is model:
            return panel
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET, tabify=False)
    found: AnnotationWidget = widget
    return found


def start(viewer: Viewer) -> None:
    """Make a project of the selected image layers."""
    panel = panel_of(viewer)
    view = panel.panel.start
    panel.intents.start(view.path.text(), view.as_channels, view.axes.currentData() or "")


def new_region(viewer: Viewer) -> None:
    """Give the brush the next unused region id."""
    panel_of(viewer).intents.new_region()


def fine_tune(viewer: Viewer) -> None:
    """Learn from all strokes and predict what is looked at."""
    panel_of(viewer).intents.fine_tune()


def cancel(viewer: Viewer) -> None:
    """Stop training or predicting."""
    panel_of(viewer).intents.cancel()


def toggle_live(viewer: Viewer) -> None:
    """Switch live mode on or off."""
    panel_of(viewer).intents.toggle_live()


def accept(viewer: Viewer) -> None:
    """Copy the predicted segment under the cursor into the regions."""
    panel_of(viewer).intents.accept_under_cursor()


def take_kind(viewer: Viewer) -> None:
    """Take the predicted kind under the cursor for the brush."""
    panel_of(viewer).intents.take_kind()


def go_next(viewer: Viewer) -> None:
    """Go to where the network hesitates most."""
    panel_of(viewer).intents.go_next()


def split(viewer: Viewer) -> None:
    """Show the connected pieces of the prediction as a new Labels layer."""
    panel_of(viewer).intents.splitting.split()


def predict_all(viewer: Viewer) -> None:
    """Predict every plane of every image."""
    panel_of(viewer).intents.predict_all()


def next_image(viewer: Viewer) -> None:
    """Go to the next image of the project."""
    panel_of(viewer).intents.next_image()


def previous_image(viewer: Viewer) -> None:
    """Go to the previous image of the project."""
    panel_of(viewer).intents.previous_image()


def open_project(viewer: Viewer) -> None:
    """Ask for a project and open it."""
    panel_of(viewer).panel.project.ask_open()


def export(viewer: Viewer) -> None:
    """Ask where to export to, and export."""
    panel_of(viewer).panel.project.ask_export()


def save_model(viewer: Viewer) -> None:
    """Ask where to save the model, and save it."""
    panel_of(viewer).panel.project.ask_save_model()


def load_model(viewer: Viewer) -> None:
    """Ask for a model and load it."""
    panel_of(viewer).panel.project.ask_load_model()
