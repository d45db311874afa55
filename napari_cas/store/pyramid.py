"""Coarser resolution levels, made block by block.

Level k + 1 is half as high and wide as level k, rounded up. Images are averaged over 2 × 2 pixels;
labels take the most frequent of the four, so that no label appears that was not there.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import zarr
    from numpy.typing import NDArray

COARSEST = 512
"""Levels are added until height and width are below this, in pixels."""

_BLOCK = 2048


def level_shapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the shape of every level, full resolution first.

    Examples
    --------
    >>> level_shapes((3, 1025, 700))
    [(3, 1025, 700), (3, 513, 350), (3, 257, 175)]
    """
    shapes = [tuple(shape)]
    while max(shapes[-1][-2:]) >= COARSEST:
        height, width = shapes[-1][-2:]
        shapes.append((*shape[:-2], -(-height // 2), -(-width // 2)))
    return shapes


def halve_mean(block: NDArray[Any]) -> NDArray[Any]:
    """Average 2 × 2 pixels; integers are rounded to the nearest, odd edges repeated.

    Pixels without data (NaN) do not count; where all four have none, neither has the mean.

    Parameters
    ----------
    block : ndarray, shape (..., h, w)
        Pixels of any number type.

    Returns
    -------
    ndarray, shape (..., ceil(h / 2), ceil(w / 2))
        In the same type.
    """
    four = _quarters(block)
    if block.dtype.kind == "f" and np.isnan(block).any():
        known = [~np.isnan(part) for part in four]
        count = np.sum(known, axis=0, dtype=block.dtype)
        total = sum(np.where(k, part, 0) for k, part in zip(known, four, strict=True))
        return np.asarray(np.divide(total, count, out=np.full_like(count, np.nan), where=count > 0))
    if block.dtype.kind == "f":
        mean = (four[0] * 0.25 + four[1] * 0.25) + (four[2] * 0.25 + four[3] * 0.25)
        return mean.astype(block.dtype, copy=False)
    if block.dtype.itemsize < 4:
        total = sum(part.astype(np.int32) for part in four)
        return np.asarray((total + 2) >> 2).astype(block.dtype)
    # Wide integers could overflow in the sum: add the quarters and the remainders apart.
    whole = sum(part >> 2 for part in four)
    rest = sum((part & 3).astype(np.int16) for part in four)
    return np.asarray(whole + ((np.asarray(rest) + 2) >> 2).astype(block.dtype))


def halve_mode(block: NDArray[Any]) -> NDArray[Any]:
    """Return the most frequent label of 2 × 2 pixels; ties go to a painted one.

    Parameters
    ----------
    block : ndarray, shape (..., h, w)
        Integer labels, 0 for none.

    Returns
    -------
    ndarray, shape (..., ceil(h / 2), ceil(w / 2))
        Only labels that occur among the four.
    """
    a, b, c, d = _quarters(block)
    best, count = a.copy(), (a == b).astype(np.uint8) + (a == c) + (a == d)
    for one, others in ((b, (a, c, d)), (c, (a, b, d)), (d, (a, b, c))):
        number = sum((one == other).astype(np.uint8) for other in others)
        better = (number > count) | ((number == count) & (best == 0) & (one != 0))
        best = np.where(better, one, best)
        count = np.where(better, number, count)
    return best.astype(block.dtype, copy=False)


def _quarters(block: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    pad = [(0, 0)] * (block.ndim - 2) + [(0, block.shape[-2] % 2), (0, block.shape[-1] % 2)]
    padded = np.pad(block, pad, mode="edge") if any(p[1] for p in pad) else block
    return tuple(padded[..., y::2, x::2] for y in (0, 1) for x in (0, 1))


def blocks(shape: tuple[int, ...], size: int = _BLOCK) -> Iterator[tuple[slice, ...]]:
    """Yield slices that cover an array: single planes, in squares of `size` pixels."""
    steps = [*(1 for _ in shape[:-2]), size, size]
    starts = (range(0, n, step) for n, step in zip(shape, steps, strict=True))
    for corner in itertools.product(*starts):
        yield tuple(
            slice(s, min(s + step, n)) for s, step, n in zip(corner, steps, shape, strict=True)
        )


def build(
    levels: list[zarr.Array[Any]],
    halve: Callable[[NDArray[Any]], NDArray[Any]],
    done: Callable[[], None] = lambda: None,
) -> None:
    """Fill levels 1, 2, ... from level 0, a block at a time.

    Parameters
    ----------
    levels : list of zarr.Array
        Of the shapes of :func:`level_shapes`; the first is filled.
    halve : callable
        :func:`halve_mean` or :func:`halve_mode`.
    done : callable
        Called after each block; it may raise to stop.
    """
    for fine, coarse in itertools.pairwise(levels):
        for where in blocks(fine.shape):
            block = np.asarray(fine[where])
            if block.any():
                target = (*where[:-2], *(slice(s.start // 2, -(-s.stop // 2)) for s in where[-2:]))
                coarse[target] = halve(block)
            done()
