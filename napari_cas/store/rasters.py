"""Pixels without data in the rasters of GDAL: GeoTIFF names the value that stands for them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari_cas.store.arraylike import ArrayLike

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".lsm", ".svs", ".ndpi", ".stk")
"""What files are called that tifffile reads."""

_TAG = 42113
"""GDAL_NODATA, the value as text."""

_AT_ONCE = 16 << 20
"""Arrays of more bytes are looked at only while they are copied: a window may be waiting."""


def without_no_data(data: ArrayLike, path: str | Path) -> ArrayLike:
    """Return a raster with NaN where GDAL's tag says that there are no data.

    Parameters
    ----------
    data : array-like
        The pixels of a TIFF: NumPy, Zarr or Dask.
    path : str or Path
        The file, of which only the header is read. If it is none of GDAL's, or cannot be read, the
        data are returned as they are.

    Returns
    -------
    array-like
        NumPy or Dask, of floats, where floats or signed integers up to 16 bits were given, such as
        elevations: there the value, often -9999, is far from all others and would rule the range of
        the image.
    """
    if Path(path).suffix.lower() not in TIFF_SUFFIXES or not Path(path).is_file():
        return data
    import tifffile  # not for the sake of other files: a window may be waiting

    try:
        with tifffile.TiffFile(path) as file:
            found: ArrayLike = known_pixels(data, file)
            return found
    except Exception:  # tifffile raises whatever the damage leads to; the pixels are here already
        return data


def known_pixels(data: Any, file: Any) -> Any:  # noqa: ANN401 - NumPy, Zarr or Dask, and tifffile
    """Return the pixels of an open TIFF as :func:`without_no_data` does."""
    tag = file.pages[0].tags.get(_TAG)
    small = data.dtype.kind == "f" or data.dtype in (np.int8, np.int16)
    try:
        value = float(str(tag.value).strip("\0 ")) if tag is not None and small else np.nan
    except ValueError:
        return data
    if np.isnan(value):
        return data
    kind = np.result_type(data.dtype, np.float32)
    if data.dtype.kind == "f":  # as it is among the pixels, rounded
        with np.errstate(over="ignore"):
            value = data.dtype.type(value)

    def known(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.where(block == value, kind.type(np.nan), block.astype(kind))

    if isinstance(data, np.ndarray) and data.nbytes <= _AT_ONCE:
        return known(data)
    import dask.array as da

    make = da.from_array if isinstance(data, np.ndarray) else da.from_zarr
    lazy = data if isinstance(data, da.Array) else make(data)
    return lazy.map_blocks(known, dtype=kind)
