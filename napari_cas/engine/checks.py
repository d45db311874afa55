"""Arrays that people pass in: checked once, with sentences that say what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cas.engine.preprocess import numbers
from napari_cas.errors import ImageError, RegionError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_MOST_CHANNELS = 64


def as_image(image: ArrayLike, name: str) -> NDArray[np.generic]:
    """Return an image as (C, Y, X).

    Raises
    ------
    ImageError
        If it has the wrong number of dimensions, no pixels, a dtype that is not real, infinite
        values, or none but those that are not a number (NaN: no data).
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
    known = numbers(array)
    if array.dtype.kind == "f" and np.isinf(known).any():
        raise ImageError(
            f"{name} is not finite",
            expected="finite pixels, or NaN where there are no data",
            got=f"{np.count_nonzero(np.isinf(known))} that are infinite",
            todo="Replace them, for example with numpy.nan_to_num.",
        )
    if not known.size:
        raise ImageError(f"{name} has no data", expected="finite pixels", got="NaN everywhere")
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    return array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)


def refuse_constant(image: NDArray[np.generic], name: str) -> None:
    """Refuse to learn from an image in which nothing can be told apart.

    Raises
    ------
    ImageError
        If it has only one value beside those that are not a number.
    """
    known = numbers(image)
    if known.min() == known.max():
        raise ImageError(
            f"{name} is constant", expected="pixels that differ", got=f"{known.flat[0]} everywhere"
        )


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
