"""Where an image layer lies in the world, and whether labels of the project can lie on it.

The project stores the size of a pixel and the place of the first one, and its axes in one order.
napari lays layers over each other axis by axis from the right, and may turn, shear or mirror them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_cas.store import ImageEntry

_OFF = 0.05
"""By how many pixels labels may lie beside the image before another pixel is painted than meant."""

TURNED = "as it is stored, without rotation, shear or other transform"
ORDER = "by layers of the project's own, so that one slider moves image and regions"


def pixel_size(layer: Image) -> tuple[float, ...]:
    """Return how long a step of one pixel is along each of the layer's dimensions.

    Parameters
    ----------
    layer : Image
        Any image layer.
    """
    steps = _steps(layer)
    nothing = 1e-6 * np.abs(layer.scale).min()
    if np.allclose(steps, np.diag(layer.scale), rtol=1e-6, atol=nothing):
        return tuple(abs(float(size)) for size in layer.scale)  # as given, not as computed
    return tuple(float(size) for size in np.linalg.norm(steps, axis=0))


def first_pixel(layer: Image) -> tuple[float, ...]:
    """Return where the layer's first pixel lies in the world.

    Parameters
    ----------
    layer : Image
        Any image layer.
    """
    return tuple(float(at) for at in layer.data_to_world((0,) * layer.ndim))


def _steps(layer: Image) -> NDArray[np.floating]:
    """Return one column per dimension: what a step along it is in the world."""
    start = np.asarray(first_pixel(layer))
    # From one end to the other: next to a stage's position, a single step would drown in rounding.
    far = np.diag([max(float(size), 1.0) for size in layer.extent.data[1]])
    ends = np.asarray([layer.data_to_world(tuple(point)) for point in far])
    return ((ends - start) / far.sum(axis=0)[:, np.newaxis]).T


def misfit(layer: Image, axes: str, entry: ImageEntry) -> str:
    """Return how an image is to be shown instead if labels of it would not lie on a layer, or "".

    Parameters
    ----------
    layer : Image
        Shows pixels of the image.
    axes : str
        What the dimensions of these pixels mean, as they were taken into the project; "" means what
        those of the project mean.
    entry : ImageEntry
        The image.
    """
    if axes and _own_axes(layer, axes).removeprefix("c") != entry.label_axes:
        return ORDER
    size, origin = np.asarray(entry.label_scale), np.asarray(entry.label_translation)
    leading = layer.ndim - len(size)
    for corner in (np.zeros(len(size)), *np.diag(entry.label_shape)):
        there = np.asarray(layer.data_to_world((*np.zeros(leading), *corner))[leading:])
        if np.any(np.abs(there - (origin + size * corner)) > _OFF * size):
            return TURNED
    return ""


def plane_shown(
    layer: Image, axes: str, entry: ImageEntry, point: Sequence[float]
) -> tuple[float, ...]:
    """Return where the plane that is looked at lies in the world of the project's own layers.

    Parameters
    ----------
    layer, axes, entry
        As in `misfit`.
    point : sequence of float
        What the viewer looks at, in the world of the annotator's layers.

    Returns
    -------
    tuple of float
        One number for each axis along which the image's planes are counted.
    """
    letters = _own_axes(layer, axes) or entry.label_axes.rjust(layer.ndim, "c")
    at = np.round(layer.world_to_data(point[-layer.ndim :]))
    found = dict(zip(letters, at, strict=True))
    plane = [found.get(axis, 0) for axis in entry.plane_axes]
    inside = np.clip(plane, 0, np.asarray(entry.planes_shape) - 1)
    places = zip(entry.label_translation, entry.label_scale, inside, strict=False)
    return tuple(float(start + size * index) for start, size, index in places)


def _own_axes(layer: Image, axes: str) -> str:
    """Return the letters of a layer's own dimensions: colour is none, nor is a stack of layers."""
    return axes.removesuffix("c")[-layer.ndim :]
