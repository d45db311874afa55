"""Where things are: what a stroke touched, what is shown, what is under the cursor."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.protocol import Box, Plane

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari.components import Camera, ViewerModel
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_cas.ui.frame import Frame


_CLOSE = 300
"""At most so many pixels along the canvas's shorter side where something is pointed out."""


def changed(
    atom: Sequence[Any], origin: tuple[int, int] = (0, 0)
) -> tuple[tuple[NDArray[np.intp], ...], NDArray[Any]]:
    """Return the pixels that an atom of napari's history changed, and their old values.

    Parameters
    ----------
    atom : sequence
        As in `touched`.
    origin : (int, int)
        Row and column of the layer's first pixel.
    """
    key, old = atom[0], np.ravel(atom[2] if _is_masked(atom) else atom[1])
    if not _is_masked(atom):
        points = [np.ravel(index) for index in np.broadcast_arrays(*key)]
    else:
        shape = tuple(index.stop - index.start for index in key)
        mask = np.ones(shape, bool) if atom[1] is None else atom[1]
        points = [at + index.start for at, index in zip(np.nonzero(mask), key, strict=True)]
    shift = (*(0 for _ in points[:-2]), *origin)
    found = tuple(np.asarray(at + by, np.intp) for at, by in zip(points, shift, strict=True))
    return found, np.broadcast_to(old, found[0].shape)


def _is_masked(atom: Sequence[Any]) -> bool:
    return all(isinstance(index, slice) for index in atom[0])


def touched(atoms: Sequence[Any], origin: tuple[int, int] = (0, 0)) -> list[tuple[Plane, Box]]:
    """Return the planes and boxes that one undoable step of painting changed.

    Parameters
    ----------
    atoms : sequence
        Value of napari's ``paint`` event: either (indices, old, new), with one index array for each
        dimension, or napari's masked atoms, whose first item is a tuple of slices: (slices, mask or
        None, old, new).
    origin : (int, int)
        Row and column of the layer's first pixel.
    """
    boxes: dict[Plane, Box] = {}
    for atom in atoms:
        for plane, box in _parts(atom[0]):
            old = boxes.get(plane, box)
            boxes[plane] = Box(
                min(old.y0, box.y0), min(old.x0, box.x0), max(old.y1, box.y1), max(old.x1, box.x1)
            )
    y, x = origin
    return [(plane, Box(b.y0 + y, b.x0 + x, b.y1 + y, b.x1 + x)) for plane, b in boxes.items()]


def in_stroke(layer: Labels | None) -> bool:
    """Return whether the mouse button is held down on a layer that is being painted.

    Parameters
    ----------
    layer : Labels or None
        None is never painted.
    """
    return layer is not None and layer._block_history  # noqa: SLF001 - no public way


def _parts(key: tuple[Any, ...]) -> Iterator[tuple[Plane, Box]]:
    ranges = [
        (index.start, index.stop)
        if isinstance(index, slice)
        else (int(np.min(index)), int(np.max(index)) + 1)
        for index in key
        if isinstance(index, slice) or np.size(index)
    ]
    if len(ranges) < len(key):
        return
    (y0, y1), (x0, x1) = ranges[-2:]
    for plane in itertools.product(*(range(start, stop) for start, stop in ranges[:-2])):
        yield plane, Box(y0, x0, y1, x1)


def plane_of(layer: Labels, point: Sequence[float]) -> Plane:
    """Return the indices along a layer's leading axes at a point of the world.

    Parameters
    ----------
    layer : Labels
        Its last two axes are y and x.
    point : sequence of float
        World coordinates, at least as many as the layer has dimensions.
    """
    inside = layer.world_to_data(point[-layer.ndim :])[:-2]
    return tuple(
        int(np.clip(round(at), 0, size - 1))
        for at, size in zip(inside, layer.data.shape[:-2], strict=True)
    )


def is_flat(dims: Any) -> bool:
    """Whether y and x are displayed and nothing else.

    Parameters
    ----------
    dims : Dims
        The viewer's.
    """
    return dims.ndisplay == 2 and tuple(dims.order[-2:]) == (dims.ndim - 2, dims.ndim - 1)


def view_of(layer: Labels, viewer: ViewerModel, frame: Frame) -> tuple[Plane, Box] | None:
    """Return the plane and the box of pixels on the screen; None unless y and x are displayed.

    Parameters
    ----------
    layer : Labels
        Its last two axes are y and x.
    viewer : ViewerModel
        Shows it.
    frame : Frame
        Which part of the planes the layer holds.
    """
    if not is_flat(viewer.dims):
        return None
    if not frame.whole:
        return plane_of(layer, viewer.dims.point), seen(viewer, frame).clip(*frame.size)
    (y0, x0), (y1, x1) = layer.corner_pixels[:, -2:]
    height, width = layer.data.shape[-2:]
    box = Box(int(y0), int(x0), int(y1) + 1, int(x1) + 1).clip(height, width)
    return plane_of(layer, viewer.dims.point), box


def camera(viewer: ViewerModel) -> Camera:
    """Return the viewer's camera, which napari 0.9 has moved into its scene."""
    found: Camera = getattr(viewer, "scene", viewer).camera
    return found


def canvas_size(viewer: ViewerModel) -> NDArray[np.float64]:
    """Return height and width of the canvas in screen pixels."""
    canvas = getattr(viewer, "canvas", None)
    size = viewer._canvas_size if canvas is None else canvas.size  # noqa: SLF001
    return np.asarray(size[-2:], dtype=np.float64)


def seen(viewer: ViewerModel, frame: Frame) -> Box:
    """Return the box of pixels that the camera sees, also beyond the plane.

    Parameters
    ----------
    viewer : ViewerModel
        Shows y and x.
    frame : Frame
        Knows the size of a pixel and the place of the first one.
    """
    eye = camera(viewer)
    centre, half = np.asarray(eye.center[-2:]), canvas_size(viewer) / eye.zoom / 2
    scale, start = np.asarray(frame.scale[-2:]), np.asarray(frame.start[-2:])
    low = np.floor((centre - half - start) / scale).astype(int)
    high = np.ceil((centre + half - start) / scale).astype(int) + 1
    return Box(int(low[0]), int(low[1]), int(high[0]), int(high[1]))


def go_to(viewer: ViewerModel, frame: Frame, plane: Plane, at: tuple[int, int]) -> None:
    """Show a pixel in the middle of the canvas, and close enough to be painted.

    Parameters
    ----------
    viewer : ViewerModel
        Shows y and x.
    frame : Frame
        Knows the size of a pixel and the place of the first one.
    plane : tuple of int
        Indices along the leading axes.
    at : (int, int)
        Row and column of the pixel on the plane.
    """
    parts = zip(frame.start, frame.scale, (*plane, *at), strict=True)
    point = [start + scale * index for start, scale, index in parts]
    first = viewer.dims.ndim - len(point)  # layers of others may have more axes
    if plane:
        axes = range(first, first + len(plane))
        viewer.dims.set_point(tuple(axes), tuple(point[: len(plane)]))
    eye = camera(viewer)
    box = seen(viewer, frame)
    wide = min(box.shape) / _CLOSE
    if wide > 1:
        eye.zoom *= wide
    eye.center = (*eye.center[:-2], *point[-2:])


def label_at(
    layer: Labels, plane: Plane, position: Sequence[float], origin: tuple[int, int] = (0, 0)
) -> tuple[int, tuple[int, int]] | None:
    """Return the label at a point of the world and its (row, column), or None where there is none.

    napari itself says nothing of a layer that is hidden.

    Parameters
    ----------
    layer : Labels
        Its last two axes are y and x.
    plane : tuple of int
        Indices along the leading axes: the mouse may have been still since another was shown.
    position : sequence of float
        World coordinates; the last two count.
    origin : (int, int)
        Row and column of the layer's first pixel.
    """
    row, column = (round(index) for index in layer.world_to_data(position)[-2:])
    height, width = layer.data.shape[-2:]
    if not (0 <= row < height and 0 <= column < width):
        return None
    value = int(np.asarray(layer.data[(*plane, row, column)]))
    return (value, (row + origin[0], column + origin[1])) if value else None
