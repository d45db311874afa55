"""From the prediction back into the painted regions: accepted segments and corrections teach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_cas.errors import RegionError
from napari_cas.protocol import Box

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cas.protocol import Plane, Tile
    from napari_cas.store import ImageEntry, Project

WINDOW = 4096
"""Segments are looked for within a square of this side: no plane is read whole at any size."""


def accept(entry: ImageEntry, view: Tile, label: int, at: tuple[int, int] | None = None) -> int:
    """Copy a predicted segment into the regions and return the region's id.

    Pixels painted as another region keep it: a stroke is the annotator's word.

    Parameters
    ----------
    entry : ImageEntry
        The image.
    view : Tile
        What is looked at; its plane is used, and its centre when the plane exceeds `WINDOW`.
    label : int
        Label of the segment, 1..M; of kinds of one name, any.
    at : (int, int), optional
        Row and column of a pixel: only the connected piece there is copied.

    Raises
    ------
    RegionError
        The label is not predicted there.
    """
    plane, box = view.plane, reach(entry, view, at)
    predicted, label = _read(entry.prediction_view, plane, box), entry.naming.one(label)
    segment = _piece(predicted == label, box, at)
    if label < 1 or not segment.any():
        raise RegionError(
            f"There is no segment with label {label} here",
            got=f"plane {plane}, pixel {at}" if at is not None else f"plane {plane}",
            todo="Pick a coloured place of the prediction.",
        )
    painted = _read(entry.regions, plane, box)
    region = _region_of(painted, predicted, label) or int(entry.regions.new_id(plane))
    _paint(entry, plane, box, painted, segment & (painted == 0), region)
    return region


def reach(entry: ImageEntry, view: Tile, at: tuple[int, int] | None = None) -> Box:
    """Return the box of the plane that `accept` may change, given the same."""
    return _window(entry.plane_size, at or _centre(view.box))


def corrections_to_regions(
    entry: ImageEntry, plane: Plane, box: Box, fresh: NDArray[np.bool_] | None = None
) -> bool:
    """Copy corrected pixels of a box into the regions, over strokes; return whether any were.

    A correction is newer than the strokes beneath it, so it wins; an earlier one in the same box
    need not be. A label erased to 0 says what a pixel is not, which is nothing to learn from.

    Parameters
    ----------
    entry, plane, box : ImageEntry, Plane, Box
        Where.
    fresh : ndarray of bool, optional
        (h, w) of the box: the pixels that were corrected just now; by default all.
    """
    raw = _read(entry.corrections, plane, box)
    corrected = np.where(raw > 0, entry.naming.shown(raw - np.uint8(1)), 0)
    if fresh is not None:
        corrected[~fresh] = 0
    labels = [int(v) for v in np.unique(corrected) if v > 0]
    for label in labels:
        around = _window(entry.plane_size, _centre(box), at_least=box)
        ids = _read(entry.regions, plane, around)
        region = _region_of(ids, _read(entry.prediction_view, plane, around), label)
        painted = _read(entry.regions, plane, box)
        region = region or int(entry.regions.new_id(plane))
        _paint(entry, plane, box, painted, corrected == label, region)
    return bool(labels)


def clear_corrections(project: Project) -> None:
    """Remove all corrections: labels of one model mean nothing to the next."""
    for name in project.images:
        corrections = project.image(name).corrections
        for plane, box in list(corrections.painted_chunks()):
            corrections[(*plane, *box.slices)] = 0


def _read(array: object, plane: Plane, box: Box) -> NDArray[np.integer]:
    return np.asarray(array[(*plane, *box.slices)])  # type: ignore[index]


def _paint(
    entry: ImageEntry,
    plane: Plane,
    box: Box,
    painted: NDArray[np.integer],
    where: NDArray[np.bool_],
    region: int,
) -> None:
    """Write one id into the regions, touching only the bounding box of the change."""
    found = ndimage.find_objects(where.astype(np.uint8))
    if not found:
        return
    rows, columns = found[0]
    part = painted[rows, columns].copy()
    part[where[rows, columns]] = region
    target = (
        slice(box.y0 + rows.start, box.y0 + rows.stop),
        slice(box.x0 + columns.start, box.x0 + columns.stop),
    )
    entry.regions[(*plane, *target)] = part


def _piece(segment: NDArray[np.bool_], box: Box, at: tuple[int, int] | None) -> NDArray[np.bool_]:
    """Return the connected piece at a pixel, or everything when no pixel is given."""
    if at is None:
        return segment
    y, x = at[0] - box.y0, at[1] - box.x0
    inside = 0 <= y < segment.shape[0] and 0 <= x < segment.shape[1]
    if not inside or not segment[y, x]:
        return np.zeros_like(segment)
    pieces, _ = ndimage.label(segment, structure=np.ones((3, 3)))
    return np.asarray(pieces == pieces[y, x])


def _region_of(
    painted: NDArray[np.integer], predicted: NDArray[np.integer], label: int
) -> int | None:
    """Return the painted region more than half of whose predicted pixels carry this label."""
    known = (painted > 0) & (predicted > 0)
    ids, inverse = np.unique(painted[known], return_inverse=True)
    if ids.size == 0:
        return None
    total = np.bincount(inverse, minlength=ids.size)
    carrying = np.bincount(inverse, weights=predicted[known] == label, minlength=ids.size)
    carrying[carrying * 2 <= total] = 0
    best = int(np.argmax(carrying))
    return int(ids[best]) if carrying[best] > 0 else None


def _centre(box: Box) -> tuple[int, int]:
    return (box.y0 + box.y1) // 2, (box.x0 + box.x1) // 2


def _window(size: tuple[int, int], at: tuple[int, int], at_least: Box | None = None) -> Box:
    """Return the square of side `WINDOW` around a pixel, moved into the plane."""
    y0, x0 = (
        min(max(p - WINDOW // 2, 0), max(n - WINDOW, 0)) for p, n in zip(at, size, strict=True)
    )
    box = Box(y0, x0, min(y0 + WINDOW, size[0]), min(x0 + WINDOW, size[1]))
    if at_least is None:
        return box
    return Box(
        min(box.y0, at_least.y0),
        min(box.x0, at_least.x0),
        max(box.y1, at_least.y1),
        max(box.x1, at_least.x1),
    )
