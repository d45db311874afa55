"""Where things are: what a stroke touched, what is shown, what is under the cursor."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.protocol import Box, Plane

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari.layers import Labels


def touched(atoms: Sequence[Any]) -> list[tuple[Plane, Box]]:
    """Return the planes and boxes that one undoable step of painting changed.

    Parameters
    ----------
    atoms : sequence
        Value of napari's ``paint`` event: either (indices, old, new), with one index array for each
        dimension, or napari's masked atoms, whose first item is a tuple of slices.
    """
    boxes: dict[Plane, Box] = {}
    for atom in atoms:
        for plane, box in _parts(atom[0]):
            old = boxes.get(plane, box)
            boxes[plane] = Box(
                min(old.y0, box.y0), min(old.x0, box.x0), max(old.y1, box.y1), max(old.x1, box.x1)
            )
    return list(boxes.items())


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


def view_of(layer: Labels, dims: Any) -> tuple[Plane, Box] | None:
    """Return the plane and the box of pixels on the screen; None unless y and x are displayed.

    Parameters
    ----------
    layer : Labels
        Its last two axes are y and x.
    dims : Dims
        The viewer's.
    """
    if dims.ndisplay != 2 or tuple(dims.order[-2:]) != (dims.ndim - 2, dims.ndim - 1):
        return None
    (y0, x0), (y1, x1) = layer.corner_pixels[:, -2:]
    height, width = layer.data.shape[-2:]
    box = Box(int(y0), int(x0), int(y1) + 1, int(x1) + 1).clip(height, width)
    return plane_of(layer, dims.point), box


def label_at(layer: Labels, position: Sequence[float]) -> tuple[int, tuple[int, int]] | None:
    """Return the label at a point of the world and its (row, column), or None where there is none.

    Parameters
    ----------
    layer : Labels
        Its last two axes are y and x.
    position : sequence of float
        World coordinates.
    """
    value = layer.get_value(position, world=True)
    if not value:
        return None
    row, column = layer.world_to_data(position)[-2:]
    return int(value), (round(row), round(column))
