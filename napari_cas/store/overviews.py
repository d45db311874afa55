"""Lower resolutions of a TIFF's image that stand in it as images of their own.

TIFF has a flag for them, and OME-TIFF a place. Older programs, and many that were written for one
purpose, use neither. So the pixels decide: an image that is smaller by one factor both ways and
shows the same is an overview, and no second image that would be missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SIDE = 512
"""Pixels of the overview that are compared, in the middle of it, along each axis."""

_ALIKE = 0.5
"""Correlation of an overview with what it shows; pixels left out rather than averaged cost some."""


def is_overview(other: Any, first: Any) -> bool:  # noqa: ANN401 - tifffile's
    """Return whether a series of a TIFF shows another one at a lower resolution.

    Parameters
    ----------
    other, first : tifffile.TiffPageSeries
        Of an open file; of each at most one plane and channel is read, and of that a part.
    """
    factor = _factor(other, first)
    if factor is None:
        return False
    where = [_middle(length) for length in _size(other)]
    small = _cut(other, where)
    large = _reduced(first, where, factor)
    if small.std() == 0 or large.std() == 0:
        return bool(np.isclose(small.mean(), large.mean()))
    return bool(np.corrcoef(small.ravel(), large.ravel())[0, 1] > _ALIKE)


def _factor(other: Any, first: Any) -> tuple[float, float] | None:  # noqa: ANN401
    """Return how many times smaller a series is, along y and x; None unless in the same way."""
    if other.axes != first.axes or not {"Y", "X"} <= set(first.axes) or other.dtype != first.dtype:
        return None
    lengths = zip(first.axes, other.shape, first.shape, strict=True)
    if any(small != large for axis, small, large in lengths if axis not in "YX"):
        return None
    (height, width), (rows, columns) = _size(other), _size(first)
    # A length may have been rounded up or down.
    least = max(rows / (height + 1), columns / (width + 1))
    most = min(rows / max(height - 1, 0.5), columns / max(width - 1, 0.5))
    same = least < most and height < rows and width < columns
    return (rows / height, columns / width) if same else None


def _size(series: Any) -> tuple[int, int]:  # noqa: ANN401
    return series.shape[series.axes.index("Y")], series.shape[series.axes.index("X")]


def _middle(length: int) -> slice:
    start = max(0, (length - _SIDE) // 2)
    return slice(start, min(start + _SIDE, length))


def _cut(series: Any, where: Sequence[slice]) -> NDArray[np.float64]:  # noqa: ANN401
    """Return a part of one plane and channel, (y, x), without reading the rest."""
    parts = dict(zip("YX", where, strict=True))
    pixels: Any = zarr.open(series.aszarr(level=0), mode="r")
    found: NDArray[np.float64] = np.nan_to_num(
        np.asarray(pixels[tuple(parts.get(a, 0) for a in series.axes)], float)
    )
    return found if series.axes.index("Y") < series.axes.index("X") else found.T


def _reduced(
    series: Any,  # noqa: ANN401
    where: Sequence[slice],
    factor: tuple[float, float],
) -> NDArray[np.float64]:
    """Return means over what each pixel of a part of the overview covers."""
    rows, columns = (
        np.round(np.arange(part.start, part.stop + 1) * by).astype(int)
        for part, by in zip(where, factor, strict=True)
    )
    block = _cut(series, [slice(int(edges[0]), int(edges[-1])) for edges in (rows, columns)])
    total = np.add.reduceat(block, rows[:-1] - rows[0], axis=0)
    total = np.add.reduceat(total, columns[:-1] - columns[0], axis=1)
    return np.asarray(total / np.outer(np.diff(rows), np.diff(columns)))
