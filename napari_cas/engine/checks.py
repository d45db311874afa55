"""Arrays that people pass in: checked once, with sentences that say what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cas.errors import ImageError, RegionError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_MOST_CHANNELS = 64


def as_image(image: ArrayLike, name: str) -> NDArray[np.generic]:
    """Return an image as (C, Y, X).

    Raises
    ------
    ImageError
        If it has the wrong number of dimensions, no pixels, a dtype that is not real, values that
        are not finite, or only one value.
    """
    array = np.asarray(image)
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ImageError(
            f"{name} has the wrong shape", expected="(Y, X) or (Y, X, C)", got=str(array.shape)
        )
    if array.ndim == 3 and array.shape[2] > _MOST_CHANNELS:
        raise ImageError(
            f"{name} has too many channels",
            expected=f"channels last, at most {_MOST_CHANNELS}",
            got=str(array.shape),
            todo="Move the channel axis to the end, or pass planes of a stack one by one.",
        )
    if array.dtype.kind not in "buif":
        raise ImageError(
            f"{name} has the wrong dtype", expected="a real dtype", got=str(array.dtype)
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise ImageError(
            f"{name} is not finite",
            expected="finite pixels",
            got=f"{bad} that are NaN or infinite",
            todo="Replace them, for example with numpy.nan_to_num.",
        )
    if array.min() == array.max():
        raise ImageError(
            f"{name} is constant", expected="pixels that differ", got=f"{array.flat[0]} everywhere"
        )
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    return array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)


def as_regions(regions: ArrayLike, size: tuple[int, ...], name: str) -> NDArray[np.integer]:
    """Return region ids (Y, X) that fit an image of `size`.

    Raises
    ------
    RegionError
        If shape or dtype are wrong or an id is negative.
    """
    array = np.asarray(regions)
    if array.shape != size:
        raise RegionError(
            f"{name} does not fit its image", expected=f"shape {size}", got=f"{array.shape}"
        )
    if array.dtype.kind not in "bui":
        raise RegionError(
            f"{name} has the wrong dtype",
            expected="integers",
            got=str(array.dtype),
            todo="Round and convert it, for example with .astype(int).",
        )
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if array.size and int(array.min()) < 0:
        raise RegionError(
            f"{name} has negative ids",
            expected="0 for unpainted, then 1, 2, …",
            got=str(int(array.min())),
        )
    if array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise RegionError(
            f"{name} has ids that are too large", expected="below 2⁶³", got=str(int(array.max()))
        )
    return array
