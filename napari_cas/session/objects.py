"""From segments to objects: connected components of the prediction."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_cas.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cas.store import ImageEntry


def split(entry: ImageEntry, min_size: int = 20, label: int | None = None) -> NDArray[np.int32]:
    """Split the (corrected) prediction of an image into connected objects.

    Depth is part of an object's neighbourhood, time is not: each time point is split by itself.

    Parameters
    ----------
    entry : ImageEntry
        The image.
    min_size : int
        Objects of fewer pixels are dropped.
    label : int, optional
        Split this label only; by default all labels.

    Returns
    -------
    ndarray of int32, in the shape of the prediction
        0 = none, else the object's number.

    Raises
    ------
    InputError
        `min_size` is negative.
    """
    if min_size < 0:
        raise InputError("Size of the smallest object", expected="0 or more", got=str(min_size))
    predicted = entry.prediction_view
    result = np.zeros(predicted.shape, dtype=np.int32)
    # Axes before depth (time) are gone through one by one.
    apart = [n for axis, n in zip(entry.label_axes, predicted.shape, strict=True) if axis == "t"]
    count = 0
    for index in product(*map(range, apart)):
        objects = components(np.asarray(predicted[index or ...]), min_size, label)
        objects[objects > 0] += count
        count = max(count, int(objects.max(initial=0)))
        result[index or ...] = objects
    return result


def components(
    labels: NDArray[np.integer], min_size: int = 20, label: int | None = None
) -> NDArray[np.int32]:
    """Return connected components, over all labels, numbered from 1 in order of label and place.

    Parameters
    ----------
    labels : ndarray of int, any number of dimensions
        Segments; 0 is none.
    min_size : int
        Components of fewer pixels are dropped.
    label : int, optional
        Only this label.
    """
    result = np.zeros(labels.shape, dtype=np.int32)
    count = 0
    wanted = [label] if label is not None else [int(v) for v in np.unique(labels) if v > 0]
    touching = ndimage.generate_binary_structure(labels.ndim, 1)
    for value in wanted:
        pieces, number = ndimage.label(labels == value, structure=touching)
        sizes = np.bincount(pieces.ravel(), minlength=number + 1)
        keep = sizes >= max(min_size, 1)
        keep[0] = False
        renumbered = np.zeros(number + 1, dtype=np.int32)
        renumbered[keep] = np.arange(count + 1, count + 1 + int(keep.sum()), dtype=np.int32)
        result += renumbered[pieces]
        count += int(keep.sum())
    return result
