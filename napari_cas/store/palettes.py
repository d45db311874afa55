"""Colours of TIFFs whose pixels are places in a table of colours, such as scanned maps.

Microscopes' programs write such a table, too, and mean how the values are to be shown: there the
pixels are what was measured, and stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.store.opacity import lazily, without_opacity

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PALETTE = 3
"""Of the PhotometricInterpretation tag."""

_MEASURED = ("imagej", "ome", "lsm", "micromanager", "stk", "fluoview", "scanimage", "nih")
"""Kinds of files in which a table of colours only says how values are shown."""


def palette(file: Any, series: Any) -> NDArray[np.uint8] | None:  # noqa: ANN401 - tifffile's
    """Return the table of colours of an open TIFF's image.

    Returns
    -------
    ndarray of uint8, or None
        (N, 3) red, green and blue, or (N, 1) where all are grey; None where pixels are values.
    """
    page = series.keyframe
    if page.photometric != _PALETTE or page.samplesperpixel != 1 or page.colormap is None:
        return None
    if any(getattr(file, f"is_{kind}") for kind in _MEASURED):
        return None
    table = np.asarray(page.colormap).T
    if table.max(initial=0) > 255:  # of 16 bits, as it should be; some programs write 8
        table = table >> 8
    grey = bool((table == table[:, :1]).all())
    return table[:, : 1 if grey else 3].astype(np.uint8)


def in_colours(
    data: Any,  # noqa: ANN401 - NumPy, Zarr or Dask
    axes: str,
    table: NDArray[np.uint8],
    no_data: int | None = None,
) -> tuple[Any, str, int | None]:
    """Return an image in the colours of its table.

    Parameters
    ----------
    data : array-like
        Places in the table: uint8 or uint16, without channels.
    axes : str
        One letter for each dimension of `data`.
    table : ndarray
        (N, C) colours.
    no_data : int, optional
        Place that stands for no data.

    Returns
    -------
    data : array-like
        uint8, NumPy or Dask; channels, if there are several, come last.
    axes : str
        With those.
    no_data : int or None
        Where all channels are this, there are no data.
    """
    known = no_data is not None and 0 <= no_data < len(table)
    if known:  # as if it were transparent
        seen = np.where(np.arange(len(table)) == no_data, 0, 255).astype(np.uint8)
        table = np.column_stack([table, seen])
    colours, no_data = _look_up(lazily(data), table), None
    if known:
        colours, no_data = without_opacity(colours, f"{axes}c", table.shape[1] - 1)
    return (
        (colours[..., 0], axes, no_data)
        if colours.shape[-1] == 1
        else (colours, f"{axes}c", no_data)
    )


def _look_up(data: Any, table: NDArray[np.uint8]) -> Any:  # noqa: ANN401 - NumPy or Dask
    def look_up(block: NDArray[Any]) -> NDArray[np.uint8]:
        return table.take(block, axis=0, mode="clip")  # a damaged file may point beyond

    if isinstance(data, np.ndarray):
        return look_up(data)
    chunks = (*data.chunks, (table.shape[1],))
    return data.map_blocks(look_up, chunks=chunks, new_axis=data.ndim, dtype=np.uint8)
