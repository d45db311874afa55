"""Which chunks a selection touches, and where in them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from napari_cas.store.chunks import CHUNK, Key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from napari_cas.store.indexing import Points, Ranges


def grid_keys(ranges: Ranges) -> Iterable[Key]:
    """Return the chunks that `ranges` touch."""
    if any(not r for r in ranges):
        return ()
    rows, columns = (
        chunks_of(r) if r.step <= CHUNK else sorted({i // CHUNK for i in r}) for r in ranges[-2:]
    )
    return itertools.product(*ranges[:-2], rows, columns)


def keys_within(keys: set[Key], ranges: Ranges) -> Iterable[Key]:
    """Return those of `keys` that `ranges` may touch, without visiting the whole grid."""
    if any(not r for r in ranges):
        return ()
    axes = (*ranges[:-2], *map(chunks_of, ranges[-2:]))
    if np.prod([float(len(r)) for r in axes]) <= len(keys):
        return (key for key in grid_keys(ranges) if key in keys)
    return [key for key in keys if all(i in r for i, r in zip(key, axes, strict=True))]


def chunks_of(r: range) -> range:
    """Return the chunk rows or columns that a range of pixels touches."""
    return range(r[0] // CHUNK, r[-1] // CHUNK + 1) if r else range(0)


def overlap(key: Key, ranges: Ranges) -> tuple[tuple[slice, slice], tuple[int | slice, ...]]:
    """Return where `ranges` lie inside a chunk, and where that is in an array of their shape."""
    inside: list[slice] = []
    outside: list[int | slice] = [
        (index - r.start) // r.step for index, r in zip(key[:-2], ranges[:-2], strict=True)
    ]
    for index, r in zip(key[-2:], ranges[-2:], strict=True):
        start = index * CHUNK
        first = max(0, -(-(start - r.start) // r.step))
        last = min(len(r), -(-(start + CHUNK - r.start) // r.step))
        low = r.start + first * r.step - start
        inside.append(slice(low, low + (last - first - 1) * r.step + 1, r.step))
        outside.append(slice(first, last))
    return (inside[0], inside[1]), tuple(outside)


def by_chunk(
    points: Points,
) -> Iterator[tuple[Key, NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]]:
    """Yield chunk, positions in `points`, rows and columns in the chunk; order is kept."""
    if not points[0].size:
        return
    keys = np.stack([*points[:-2], points[-2] // CHUNK, points[-1] // CHUNK])
    order = np.lexsort(keys[::-1])
    ordered = keys[:, order]
    cuts = np.flatnonzero((ordered[:, 1:] != ordered[:, :-1]).any(0)) + 1
    for where in np.split(order, cuts):
        key = tuple(int(i) for i in keys[:, where[0]])
        yield key, where, points[-2][where] % CHUNK, points[-1][where] % CHUNK
