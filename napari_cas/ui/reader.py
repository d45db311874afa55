"""File → Open: a project in the panel, if it is open, else as layers for looking at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cas.errors import CASError

if TYPE_CHECKING:
    from collections.abc import Callable

LayerData = tuple[Any, dict[str, Any], str]
_NO_LAYERS: list[Any] = [(None,)]
"""What a reader returns that has read, and has no layers to give."""


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """Return a reader if `path` is one of our projects, else None.

    Parameters
    ----------
    path : str or list of str
        What was dropped on the window.
    """
    from napari_cas.store.root import check_format

    if not isinstance(path, str) or not (Path(path) / "zarr.json").is_file():
        return None
    try:
        check_format(Path(path))
    except CASError:
        return None
    return read_project


def read_project(path: str | list[str]) -> list[LayerData]:
    """Open a project in the viewer's panel, or return the layers of its current image, read-only.

    Parameters
    ----------
    path : str
        Directory of a project.
    """
    folder = path if isinstance(path, str) else path[0]
    return _NO_LAYERS if _opened_in_panel(folder) else _layers(folder)


def _opened_in_panel(folder: str) -> bool:
    """Have the panel open a project that is dropped on its viewer; return whether there is one.

    Layers to look at, of the same names, would seem to be the ones that can be painted on.
    """
    import napari

    viewer = napari.current_viewer()
    if viewer is None:
        return False
    from napari_cas.ui.widget import open_panels  # needs Qt, as the viewer does

    model = getattr(viewer, "__wrapped__", viewer)
    panels = [panel for panel in open_panels() if panel.viewer is model]
    for panel in panels[:1]:
        panel.intents.open_project(folder)
    return bool(panels)


def _layers(folder: str) -> list[LayerData]:
    from napari_cas.store import Project
    from napari_cas.ui import display
    from napari_cas.ui.looks import prediction_colours

    project = Project.open(folder, mode="r")
    name = project.get_state().get("image")
    if name not in project.images:
        name = project.images[0]
    entry = project.image(str(name))
    found: list[LayerData] = [layer.as_layer_data_tuple() for layer in display.image_layers(entry)]
    shared = {"scale": entry.label_scale, "translate": entry.label_translation}
    found.append((entry.prediction_view, _prediction(shared, prediction_colours()), "labels"))
    found.append((entry.regions, {"name": "regions", **shared}, "labels"))
    return found


def _prediction(shared: dict[str, Any], colormap: Any) -> dict[str, Any]:
    return {"name": "prediction", "opacity": 0.45, "colormap": colormap, **shared}
