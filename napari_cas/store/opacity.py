"""Pixels that a raster's opacity says hold no data, such as around a drone's orthophoto.

A project says no data by NaN, or of integers by one value in all channels
(:attr:`Intensity.no_data`). So pixels of opacity 0 get a value that no other pixel has in all its
channels. Nothing is lost: what colour a pixel has that nobody can see means nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.store.intake import Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST = 1 << 16
"""Values that are tried, from 0; more than enough in anything but noise of 8 bits."""


def without_opacity(
    data: Any,  # noqa: ANN401 - NumPy, Zarr or Dask
    axes: str,
    index: int,
    no_data: int | None = None,
) -> tuple[Any, int | None]:
    """Return an image without its opacity, and what now stands for pixels without data.

    Parameters
    ----------
    data : array-like
        NumPy, Zarr or Dask; all of it is read once where the opacity may be 0.
    axes : str
        One letter for each dimension of `data`, c among them.
    index : int
        The channel that is the opacity.
    no_data : int, optional
        Of integers: the value that the file itself names.

    Returns
    -------
    data : array-like
        One channel less, of the same type, NumPy or Dask. Floats are NaN where the opacity is 0.
    no_data : int or None
        Of integers: where all channels are this, there are no data. None where the opacity is 0
        nowhere or everywhere, or no value is free; pixels are then as they were.
    """
    axis = axes.index("c")
    empty, used = _census(data, axes, index)
    if np.dtype(data.dtype).kind == "f":
        return (_filled(data, axis, index, np.nan) if empty else cut(data, axis, index)), None
    if empty and no_data is None:
        top = min(int(np.iinfo(data.dtype).max) + 1, _MOST)
        free = np.flatnonzero(~used[:top])
        no_data = int(free[0]) if len(free) else None
    if empty and no_data is not None:
        return _filled(data, axis, index, no_data), no_data
    return cut(data, axis, index), no_data


def _census(
    data: Any,  # noqa: ANN401 - NumPy, Zarr or Dask
    axes: str,
    index: int,
) -> tuple[bool, NDArray[np.bool_]]:
    """Return whether some pixels, but not all, are of opacity 0, and the greys of the others.

    A grey is the value of a pixel whose channels are all equal; True for each that there is.
    """
    source = Source(data, axes)
    channel = source.canonical.index("c")
    empty = seen = False
    used = np.zeros(_MOST, bool)
    for _, block in source.blocks():
        parts = np.moveaxis(block, channel, 0)
        visible = parts[index] != 0
        empty, seen = empty or not visible.all(), seen or bool(visible.any())
        first, *others = (part for i, part in enumerate(parts) if i != index)
        for other in others:
            visible &= other == first
        greys = first[visible]
        if source.dtype.kind in "iu":
            used[greys[(greys >= 0) & (greys < _MOST)]] = True
    return empty and seen, used


def _filled(data: Any, axis: int, index: int, value: float) -> Any:  # noqa: ANN401
    """Return the colours with a value where the opacity is 0, lazily where they are."""

    def known(block: NDArray[Any]) -> NDArray[Any]:
        hidden = np.take(block, [index], axis) == 0
        return np.where(hidden, block.dtype.type(value), np.delete(block, index, axis))

    if isinstance(data, np.ndarray):
        return known(data)
    whole = lazily(data).rechunk({axis: -1})
    chunks = list(whole.chunks)
    chunks[axis] = (data.shape[axis] - 1,)
    return whole.map_blocks(known, dtype=whole.dtype, chunks=tuple(chunks))


def cut(data: Any, axis: int, index: int) -> Any:  # noqa: ANN401
    """Return an array without what is at `index` along an axis, whatever its opacity says."""
    others = [i for i in range(data.shape[axis]) if i != index]
    # What is not last is seldom; a slice needs no copy.
    keep = slice(index) if index == len(others) else others
    return lazily(data)[(*[slice(None)] * axis, keep)]


def lazily(data: Any) -> Any:  # noqa: ANN401 - NumPy, Zarr or Dask
    """Return what can be cut without reading it: Dask in the place of Zarr."""
    if isinstance(data, np.ndarray):
        return data
    import dask.array as da

    return data if isinstance(data, da.Array) else da.from_zarr(data)
