"""File → Save Selected Layers: an image and its labels as an OME-Zarr 0.5 data set."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.errors import InputError
from napari_cas.ui.sources import axes_for

if TYPE_CHECKING:
    from napari_cas.store import ImageEntry
    from napari_cas.store.export import Part

LayerData = tuple[Any, dict[str, Any], str]
_LARGEST_PREDICTION = 254


def write_ome_zarr(path: str, layers: list[LayerData]) -> list[str]:
    """Write one image layer and up to two Labels layers, with pyramids and colours.

    A Labels layer called "prediction" becomes the image's ``prediction``, another its ``regions``.

    Parameters
    ----------
    path : str
        Directory to write; must not exist.
    layers : list of (data, attributes, type)
        As napari gives them.

    Returns
    -------
    list of str
        What was written: `path`.

    Raises
    ------
    InputError
        Labels of another shape than the image, or two of one kind.
    ProjectError
        `path` exists, or cannot be written.
    """
    from napari_cas.store import Project
    from napari_cas.store.export import export

    images = [layer for layer in layers if layer[2] == "image"]
    labels = [layer for layer in layers if layer[2] == "labels"]
    data, options, _ = (images or labels)[0]
    rgb = bool(options.get("rgb"))
    pixels = data[0] if options.get("multiscale") else data
    include: list[Part] = ["images"] if images else []
    with tempfile.TemporaryDirectory(prefix="napari-cas-") as folder:
        project = Project.create(Path(folder) / "layers.zarr")
        try:
            axes = axes_for(pixels.ndim, rgb=rgb)
            scale = (*options.get("scale", (1.0,) * pixels.ndim), 1.0)[: pixels.ndim]
            place = (*options.get("translate", (0.0,) * pixels.ndim), 0.0)[: pixels.ndim]
            name = str(options.get("name") or "image")
            entry = project.add_image(name, pixels, axes, scale=scale, translation=place)
            include.extend([_add(entry, layer) for layer in labels])
            entry.flush()
            if len(set(include)) < len(include):
                raise InputError("Two Labels layers of one kind", todo="Save them one by one.")
            export(project, path, include=include)
        finally:
            project.close()
    return [path]


def write_labels(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write one Labels layer on its own.

    Parameters
    ----------
    path : str
        Directory to write; must not exist.
    data : array-like of int
        The labels.
    attributes : dict
        The layer's, as napari gives them.
    """
    return write_ome_zarr(path, [(data, attributes, "labels")])


def _add(entry: ImageEntry, layer: LayerData) -> Part:
    """Copy a Labels layer plane by plane; return which part of the data set it became."""
    data, options, _ = layer
    if tuple(data.shape) != entry.label_shape:
        raise InputError(
            f"Labels layer {options.get('name')!r}",
            expected=f"the image's shape {entry.label_shape}",
            got=str(tuple(data.shape)),
        )
    predicted = options.get("name") == "prediction"
    target = entry.prediction_view if predicted else entry.regions
    for plane in entry.planes():
        part = np.asarray(data[(*plane, slice(None), slice(None))])
        if predicted and part.max(initial=0) > _LARGEST_PREDICTION:
            raise InputError("A prediction", expected="labels up to 254", got=str(part.max()))
        target[(*plane, slice(None), slice(None))] = part
    return "prediction" if predicted else "regions"
