"""Pixels without data in the rasters of GDAL: GeoTIFF names the value that stands for them.

Floats and small signed integers, such as elevations, become floats with NaN there: the value, often
-9999, is far from all others. Other integers, such as photographs with a black border, stay what
they are, and the value is remembered beside them (:attr:`Intensity.no_data`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_cas.store.arraylike import ArrayLike

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".lsm", ".svs", ".ndpi", ".stk")
"""What files are called that tifffile reads."""

_TAG = 42113
"""GDAL_NODATA, the value as text."""

_AT_ONCE = 16 << 20
"""Arrays of more bytes are looked at only while they are copied: a window may be waiting."""


def without_no_data(data: ArrayLike, path: str | Path) -> tuple[ArrayLike, int | None]:
    """Return a raster with NaN where GDAL's tag says that there are no data, or the value.

    Parameters
    ----------
    data : array-like
        The pixels of a TIFF: NumPy, Zarr or Dask.
    path : str or Path
        The file, of which only the header is read. If it is none of GDAL's, or cannot be read, the
        data are returned as they are.

    Returns
    -------
    data : array-like
        NumPy or Dask, of floats, where floats or signed integers up to 16 bits were given.
    no_data : int or None
        The value, of other integers.
    """
    if Path(path).suffix.lower() not in TIFF_SUFFIXES:
        return data, None
    import tifffile  # not for the sake of other files: a window may be waiting

    try:
        if not Path(path).is_file():  # raises, too, as where one may not look
            return data, None
        with tifffile.TiffFile(path) as file:
            return known_pixels(data, file)
    except Exception:  # tifffile raises whatever the damage leads to; the pixels are here already
        return data, None


def known_pixels(data: Any, file: Any) -> tuple[Any, int | None]:  # noqa: ANN401 - NumPy, Zarr or Dask, and tifffile
    """Return what :func:`without_no_data` does, of the pixels of an open TIFF."""
    value, dtype = _value(file), np.dtype(data.dtype)
    if value is None:
        return data, None
    if dtype.kind == "f" or dtype in (np.int8, np.int16):
        return _with_nan(data, value), None
    return data, marker(dtype, file)


def marker(dtype: np.dtype[Any], file: Any) -> int | None:  # noqa: ANN401 - tifffile's
    """Return the value that stands for no data, where whole numbers of a type can be it."""
    value, dtype = _value(file), np.dtype(dtype)
    if value is None or dtype.kind not in "iu" or not value.is_integer():
        return None
    return int(value) if np.iinfo(dtype).min <= value <= np.iinfo(dtype).max else None


def _value(file: Any) -> float | None:  # noqa: ANN401 - tifffile's
    """Return what GDAL's tag says; None without a number there."""
    tag = file.pages[0].tags.get(_TAG)
    try:
        value = np.nan if tag is None else float(str(tag.value).strip("\0 "))
    except ValueError:
        return None
    return None if np.isnan(value) else value


def _with_nan(data: Any, value: float) -> Any:  # noqa: ANN401 - NumPy, Zarr or Dask
    """Return the pixels with NaN in the place of a value, lazily where there are many."""
    kind = np.result_type(data.dtype, np.float32)
    if data.dtype.kind == "f":  # as it is among the pixels, rounded
        with np.errstate(over="ignore"):
            value = data.dtype.type(value)

    def known(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.where(block == value, kind.type(np.nan), block.astype(kind))

    if isinstance(data, np.ndarray) and data.nbytes <= _AT_ONCE:
        return known(data)
    import dask.array as da

    make: Callable[..., Any] = da.from_array if isinstance(data, np.ndarray) else da.from_zarr
    lazy = data if isinstance(data, da.Array) else make(data)
    return lazy.map_blocks(known, dtype=kind)
