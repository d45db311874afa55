"""From segments to objects: connected components of the prediction, block by block.

A stack may be larger than memory. Each block is labelled by itself; pieces that touch across the
faces between blocks are then taken together, which needs to know the pieces, not the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy import sparse
from skimage import measure

from napari_cas.errors import InputError
from napari_cas.session.extent import WHOLE_LIMIT
from napari_cas.store.scratch import scratch_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_cas.store import ImageEntry, LabelArray

    Labels: TypeAlias = NDArray[np.int32] | LabelArray

BLOCK_PIXELS = 1 << 22
"""Pixels of one block: what is held in memory at a time is a small multiple of it."""
HELD_BYTES = 1 << 28
"""Results up to this size are held in memory, larger ones in temporary files."""
_SIDE = 512
"""Longest side of a block: flat ones would have more faces, and so more pieces to join."""
_LITTLE = 16 << 20
"""Bytes kept in memory of each coarser level while it is written."""
_COARSEST = 2048
"""Levels of a huge plane go down to this side, which is soon read and drawn."""

Place: TypeAlias = tuple[int | slice, ...]
Pieces: TypeAlias = "tuple[NDArray[Any], NDArray[Any], NDArray[np.int32]]"


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of an image.

    Attributes
    ----------
    labels : ndarray or LabelArray of int32, in the shape of the prediction
        0 = none, else the object's number. In temporary files where it would take more than
        `HELD_BYTES`; they go when the array does.
    count : int
        Number of objects.
    coarser : tuple of array
        Of planes too large to be shown whole: every second pixel of the level before.
    """

    labels: Labels
    count: int
    coarser: tuple[Labels, ...] = ()


def split(
    entry: ImageEntry,
    min_size: int = 20,
    label: int | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Objects:
    """Split the (corrected) prediction of an image into connected objects.

    Depth is part of an object's neighbourhood, time is not: each time point is split by itself.

    Parameters
    ----------
    entry : ImageEntry
        The image.
    min_size : int
        Objects of fewer pixels are dropped.
    label : int, optional
        Split this label only, or any of its name; by default all labels.
    progress : callable, optional
        Called with blocks done and blocks in total.

    Returns
    -------
    Objects
        Numbered from 1, time after time, there in order of label, then of place.

    Raises
    ------
    InputError
        `min_size` is negative.
    StorageError
        There is no room for temporary files.
    """
    if min_size < 0:
        raise InputError("Size of the smallest object", expected="0 or more", got=str(min_size))
    # Names may be given meanwhile: a kind must not be another one in the next block.
    predicted, axes = entry.prediction_view.as_named_now(), str(entry.label_axes)
    label = None if label is None else predicted.naming.one(label)
    levels = _levels(predicted.shape, axes)
    # Axes before depth (time) are gone through one by one.
    apart = [n for axis, n in zip(axes, predicted.shape, strict=True) if axis == "t"]
    blocks = sum(1 for _ in _blocks(predicted.shape[len(apart) :]))
    step = _Steps(progress, 2 * blocks * int(np.prod(apart)))
    count = 0
    for index in product(*map(range, apart)):
        numbers = _find(predicted, levels[0], index, (max(min_size, 1), label, count), step)
        count = max(count, int(numbers.max(initial=0)))
        for where in _blocks(predicted.shape[len(index) :], index):
            _write(levels, where, numbers[levels[0][where]])
            step()
    for level in levels:
        _settle(level)
    return Objects(levels[0], count, tuple(levels[1:]))


class _Steps:
    """Counts blocks, and tells."""

    def __init__(self, tell: Callable[[int, int], None] | None, total: int) -> None:
        self._tell, self._total, self._done = tell, total, 0

    def __call__(self) -> None:
        self._done += 1
        if self._tell is not None:
            self._tell(self._done, self._total)


def _levels(shape: tuple[int, ...], axes: str) -> list[Labels]:
    """Return arrays of zeros: of this shape and, for a huge plane, of ever coarser ones."""
    shapes = [shape]
    while max(shape[-2:]) > WHOLE_LIMIT and max(shapes[-1][-2:]) > _COARSEST:
        height, width = shapes[-1][-2:]
        shapes.append((*shape[:-2], -(-height // 2), -(-width // 2)))
    held = 4 * int(np.prod(shape, dtype=np.int64)) <= HELD_BYTES
    if held:
        return [np.zeros(s, np.int32) for s in shapes]
    finest, *coarser = shapes
    small = [scratch_labels(s, axes, cache_bytes=_LITTLE) for s in coarser]
    return [scratch_labels(finest, axes), *small]


def _settle(level: Labels) -> None:
    """Write what is waiting to temporary files: a full disk must be heard of, not fill memory."""
    if not isinstance(level, np.ndarray):
        level.flush()


def _write(levels: Sequence[Labels], where: Place, block: NDArray[np.int32]) -> None:
    """Write a block into all levels."""
    levels[0][where] = block
    _settle(levels[0])
    for power, level in enumerate(levels[1:], 1):
        every = 2**power
        parts: list[int | slice] = list(where)
        kept: list[slice] = [slice(None)] * block.ndim
        for axis in (-2, -1):
            part = where[axis]
            assert isinstance(part, slice)  # noqa: S101 - rows and columns always are
            kept[axis] = slice(-part.start % every, None, every)
            parts[axis] = slice(-(-part.start // every), -(-part.stop // every))
        level[tuple(parts)] = block[tuple(kept)]


def _blocks(shape: tuple[int, ...], before: tuple[int, ...] = ()) -> Iterator[Place]:
    """Yield the blocks of an array, each after those before it along every axis.

    Parameters
    ----------
    shape : tuple of int
        Of the array, or of its part at the indices `before`.
    before : tuple of int
        Where that part is.
    """
    steps, room = [], BLOCK_PIXELS
    for length in reversed(shape):
        steps.append(max(1, min(length, _SIDE, room)))
        room //= steps[-1]
    starts = (range(0, n, step) for n, step in zip(shape, reversed(steps), strict=True))
    for corner in product(*starts):
        yield (
            *before,
            *(
                slice(s, min(s + step, n))
                for s, step, n in zip(corner, reversed(steps), shape, strict=True)
            ),
        )


def _find(
    predicted: Any,  # noqa: ANN401 - an array of any kind
    result: Labels,
    index: tuple[int, ...],
    choice: tuple[int, int | None, int],
    step: Callable[[], None],
) -> NDArray[np.int32]:
    """Return the object of each piece of one part of the prediction, having numbered the pieces.

    Parameters
    ----------
    predicted : array
        Labels.
    result : array
        Zeros; holds the numbers of pieces afterwards.
    index : tuple of int
        Which part.
    choice : (int, int or None, int)
        The least size, the only label or None, and the number before the first object's.
    step : callable
        Called after each block.

    Returns
    -------
    ndarray of int32, (pieces + 1,)
        The object's number for each piece, 0 for none.
    """
    least, label, first = choice
    values, sizes, joined = [np.zeros(1, np.uint8)], [np.zeros(1, np.int32)], []
    count = 0
    for where in _blocks(predicted.shape[len(index) :], index):
        pieces, value, size = _pieces(_read(predicted, where), label)
        if len(value):
            result[where] = np.where(pieces > 0, pieces + count, 0).astype(np.int32)
            _settle(result)
            values.append(value)
            sizes.append(size)
            count += len(value)
        joined += list(_across(result, where))
        step()
    if not count:
        return np.zeros(1, np.int32)
    pairs = np.concatenate([np.zeros((0, 2), np.int32), *joined])
    return _numbers(np.concatenate(values), np.concatenate(sizes), pairs, least, first)


def _read(predicted: Any, where: Place) -> NDArray[Any]:  # noqa: ANN401 - an array of any kind
    """Return a block, read plane by plane: the viewer shows the same array and must not wait."""
    *before, rows, columns = where
    if before and isinstance(before[-1], slice):
        depths = range(before[-1].start, before[-1].stop)
        return np.stack([predicted[(*before[:-1], z, rows, columns)] for z in depths])
    return np.asarray(predicted[where])


def _pieces(labels: NDArray[Any], label: int | None) -> Pieces:
    """Return the connected pieces of a block, numbered from 1, with the label and size of each."""
    if label is not None:
        labels = np.where(labels == label, labels, 0)
    pieces = measure.label(labels, background=0, connectivity=1)
    sizes = np.bincount(pieces.ravel()).astype(np.int32)
    values = np.zeros(len(sizes), labels.dtype)
    values[pieces] = labels
    return pieces, values[1:], sizes[1:]


def _across(result: Labels, where: Place) -> Iterator[NDArray[np.int32]]:
    """Yield pairs (n, 2) of pieces that touch across the faces before a block."""
    for axis, part in enumerate(where):
        if isinstance(part, slice) and part.start:
            before, after = list(where), list(where)
            before[axis] = slice(part.start - 1, part.start)
            after[axis] = slice(part.start, part.start + 1)
            sides = [np.asarray(result[tuple(s)]).ravel().astype(np.int64) for s in (before, after)]
            both = (sides[0] > 0) & (sides[1] > 0)
            # As one number each: sorting rows of two takes much longer.
            pairs = np.unique(sides[0][both] << 32 | sides[1][both])
            yield np.stack([pairs >> 32, pairs & 0xFFFFFFFF], axis=1).astype(np.int32)


def _numbers(
    values: NDArray[Any],
    sizes: NDArray[np.int32],
    pairs: NDArray[np.int32],
    least: int,
    first: int,
) -> NDArray[np.int32]:
    """Return the object's number for each piece; 0 for those of objects smaller than `least`.

    A fine texture has tens of millions of pieces, most of which touch no face between blocks: only
    those that do are looked at as a graph. An object goes by the first of its pieces.
    """
    pairs = pairs[values[pairs[:, 0]] == values[pairs[:, 1]]]
    members, ends = np.unique(pairs, return_inverse=True)
    ends = ends.reshape(pairs.shape)
    edges = sparse.coo_array((np.ones(len(ends), bool), tuple(ends.T)), (len(members),) * 2)
    objects, whole = sparse.csgraph.connected_components(edges, directed=False)
    firsts = np.full(objects, len(values))
    np.minimum.at(firsts, whole, members)
    totals = np.bincount(whole, weights=sizes[members], minlength=objects)
    kept = sizes >= least
    kept[members] = False
    kept[firsts] = totals >= least
    kept[0] = False  # piece 0 is no piece
    order = np.flatnonzero(kept)
    order = order[np.argsort(values[order], kind="stable")]
    numbers = np.zeros(len(values), np.int32)
    numbers[order] = np.arange(first + 1, first + 1 + len(order))
    numbers[members] = numbers[firsts[whole]]
    return numbers
