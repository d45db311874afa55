"""From segments to objects: connected components of the prediction, block by block.

A stack may be larger than memory. Each block is labelled by itself; pieces that touch across the
faces between blocks are then taken together, which needs to know the pieces, not the pixels.
"""

from __future__ import annotations

import tempfile
from itertools import product
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from scipy import ndimage, sparse

from napari_cas.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from napari_cas.store import ImageEntry

BLOCK_PIXELS = 1 << 24
"""Pixels of one block: what is held in memory at a time is a small multiple of it."""
HELD_BYTES = 1 << 28
"""Results up to this size are held in memory, larger ones in a temporary file."""
_SIDE = 2048

Place = tuple[slice, ...]


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
        0 = none, else the object's number. Of images larger than `HELD_BYTES` it is mapped from a
        temporary file, which goes when the array does.

    Raises
    ------
    InputError
        `min_size` is negative.
    """
    if min_size < 0:
        raise InputError("Size of the smallest object", expected="0 or more", got=str(min_size))
    predicted = entry.prediction_view
    result = _zeros(predicted.shape)
    # Axes before depth (time) are gone through one by one.
    apart = [n for axis, n in zip(entry.label_axes, predicted.shape, strict=True) if axis == "t"]
    count = 0
    for index in product(*map(range, apart)):

        def read(where: Place, index: tuple[int, ...] = index) -> NDArray[Any]:
            return np.asarray(predicted[(*index, *where)])

        count = _split(read, result[index or ...], min_size, label, first=count)
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
    result = _zeros(labels.shape)
    _split(lambda where: labels[where], result, min_size, label, first=0)
    return result


def _zeros(shape: tuple[int, ...]) -> NDArray[np.int32]:
    if 4 * int(np.prod(shape, dtype=np.int64)) <= HELD_BYTES:
        return np.zeros(shape, np.int32)
    # Pages that were written can leave memory; where nothing is written, the file takes no room.
    with tempfile.TemporaryFile(prefix="napari-cas-") as file:
        return cast("NDArray[np.int32]", np.memmap(file, np.int32, "w+", shape=shape))


def _blocks(shape: tuple[int, ...]) -> Iterator[Place]:
    """Yield the blocks of an array, each after those before it along every axis."""
    steps, room = [], BLOCK_PIXELS
    for length in reversed(shape):
        steps.append(max(1, min(length, _SIDE, room)))
        room //= steps[-1]
    starts = (range(0, n, step) for n, step in zip(shape, reversed(steps), strict=True))
    for corner in product(*starts):
        yield tuple(
            slice(s, min(s + step, n))
            for s, step, n in zip(corner, reversed(steps), shape, strict=True)
        )


def _split(
    read: Callable[[Place], NDArray[Any]],
    result: NDArray[np.int32],
    min_size: int,
    label: int | None,
    *,
    first: int,
) -> int:
    """Fill `result` with objects numbered after `first`, and return the last number.

    Parameters
    ----------
    read : callable
        Returns the labels of a block.
    result : ndarray
        Zeros; holds the numbers of pieces until it is known which belong together.
    """
    value, size, joined = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)], []
    count = 0
    for where in _blocks(result.shape):
        pieces, values = _pieces(read(where), label)
        if len(values):
            result[where] = np.where(pieces > 0, pieces + count, 0)
            value.append(values)
            size.append(np.bincount(pieces.ravel(), minlength=len(values) + 1)[1:])
            count += len(values)
        joined += list(_across(result, where))
    if not count:
        return first
    values = np.concatenate(value)
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *joined])
    pairs = pairs[values[pairs[:, 0]] == values[pairs[:, 1]]]
    numbers = _numbers(values, np.concatenate(size), pairs, max(min_size, 1), first)
    for where in _blocks(result.shape):
        result[where] = numbers[result[where]]
    return max(first, int(numbers.max()))


def _pieces(labels: NDArray[Any], label: int | None) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the connected pieces of a block, numbered from 1, and the label of each."""
    wanted = [int(v) for v in np.unique(labels) if v > 0 and label in (None, int(v))]
    touching = ndimage.generate_binary_structure(labels.ndim, 1)
    result, values = np.zeros(labels.shape, np.int32), [np.zeros(0, np.int64)]
    count = 0
    for value in wanted:
        pieces, number = ndimage.label(labels == value, structure=touching)
        np.add(result, pieces + count, out=result, where=pieces > 0)
        values.append(np.full(number, value))
        count += number
    return result, np.concatenate(values)


def _across(result: NDArray[np.int32], where: Place) -> Iterator[NDArray[np.int64]]:
    """Yield pairs (n, 2) of pieces that touch across the faces before a block."""
    for axis, part in enumerate(where):
        if part.start:
            before = list(where)
            before[axis], after = slice(part.start - 1, part.start), list(where)
            after[axis] = slice(part.start, part.start + 1)
            pairs = np.stack([result[tuple(before)].ravel(), result[tuple(after)].ravel()], axis=1)
            pairs = pairs[(pairs > 0).all(1)].astype(np.int64)
            yield np.unique(pairs, axis=0)


def _numbers(
    values: NDArray[np.int64],
    sizes: NDArray[np.int64],
    pairs: NDArray[np.int64],
    least: int,
    first: int,
) -> NDArray[np.int32]:
    """Return the object's number for each piece; 0 for those of objects smaller than `least`."""
    total = len(values)
    edges = sparse.coo_array((np.ones(len(pairs), bool), tuple(pairs.T)), (total, total))
    _, whole = sparse.csgraph.connected_components(edges, directed=False)
    kept = np.bincount(whole, weights=sizes) >= least
    kept[whole[0]] = False  # piece 0 is no piece
    # In order of label, then of the first piece.
    firsts = np.unique(whole, return_index=True)[1]
    order = np.lexsort((firsts, values[firsts]))
    order = order[kept[order]]
    numbers = np.zeros(len(kept), np.int32)
    numbers[order] = np.arange(first + 1, first + 1 + len(order))
    return numbers[whole]
