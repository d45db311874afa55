"""Open napari with a sample image, a project and the panel: ready to paint."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import napari.viewer

    from napari_cas.ui.widget import AnnotationWidget


def open_viewer(
    sample: str | None = None, *, start: bool = True, show: bool = True
) -> tuple[napari.viewer.Viewer, AnnotationWidget]:
    """Open napari with the panel docked and a sample shown.

    Parameters
    ----------
    sample : str, optional
        Name of a sample; by default the first.
    start : bool
        Whether a project is made at once, so that the brush is ready.
    show : bool
        Whether the window is shown.

    Returns
    -------
    viewer, widget
        The viewer and the panel in it.
    """
    import napari

    from napari_cas.samples import list_samples
    from napari_cas.ui.commands import panel_of

    viewer = napari.Viewer(title="napari-cas", show=show)
    widget = panel_of(viewer)
    widget.intents.open_sample(sample or list_samples()[0].name)
    if start:
        widget.intents.start()
    return viewer, widget


def open_demo(sample: str | None = None) -> None:
    """Open napari with a sample, ready to paint, and return when it is closed.

    Parameters
    ----------
    sample : str, optional
        Name of a sample; by default the first.
    """
    import napari

    _viewer, _widget = open_viewer(sample)
    napari.run()
