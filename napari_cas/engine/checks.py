"""Arrays that people pass in: checked once, with sentences that say what is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_cas.engine.painting import ACCEPTED
from napari_cas.engine.preprocess import numbers
from napari_cas.errors import ImageError, InputError, RegionError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_MOST_CHANNELS = 64
_READ_FIRST = "Read the file first, for example by imageio.v3.imread."


def as_list(given: Any, name: str) -> list[ArrayLike]:  # noqa: ANN401
    """Return a list of arrays that has one for each image.

    Raises
    ------
    InputError
        If it is one array, a path, a dictionary, or nothing that has items.
    """
    shape = getattr(given, "shape", ())
    got, todo = type(given).__name__, ""
    if len(shape) == 2:  # its rows would be taken for images
        got, todo = f"one array of shape {tuple(shape)}", "Write fine_tune([image], [regions])."
    elif isinstance(given, str | os.PathLike):
        got, todo = repr(os.fspath(given)), _READ_FIRST
    elif isinstance(given, Mapping):
        todo = f"Write list({name}.values())."
    elif _has_items(given):
        return list(given)
    raise InputError(
        f"{name} cannot be used",
        expected="a list of arrays, one for each image",
        got=got,
        todo=todo,
    )


def _has_items(given: Any) -> bool:  # noqa: ANN401
    """Return whether this can be gone through; arrays of some libraries are no `Iterable`."""
    try:
        iter(given)
    except TypeError:
        return False
    return True


def as_array(given: ArrayLike, name: str, hidden: float = np.nan) -> NDArray[np.generic]:
    """Return an array, with `hidden` where a masked one is masked.

    Raises
    ------
    InputError
        If it is a path, or nothing that NumPy can make an array of.
    """
    if isinstance(given, str | os.PathLike):
        got = repr(os.fspath(given))
        raise InputError(f"{name} is not an array", expected="pixels", got=got, todo=_READ_FIRST)
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        kind = np.result_type(given.dtype, np.float32 if np.isnan(hidden) else given.dtype)
        return np.where(np.ma.getmaskarray(given), kind.type(hidden), given.data.astype(kind))
    try:
        return np.asarray(given.detach().cpu() if isinstance(given, torch.Tensor) else given)
    except Exception as error:  # whatever the library raises whose array it is
        ragged = isinstance(error, ValueError) and isinstance(given, list | tuple)
        raise InputError(
            f"{name} is not an array",
            expected="rows of one length" if ragged else "what numpy.asarray takes",
            got=None if ragged else f"{type(given).__name__} ({error})",
        ) from error


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
        If each channel has only one value beside those that are not a number.
    """
    known = [values for values in map(numbers, image) if values.size]
    if all(values.min() == values.max() for values in known):
        got = ", ".join(dict.fromkeys(str(values.flat[0]) for values in known))
        raise ImageError(
            f"{name} is constant", expected="pixels that differ", got=f"{got} everywhere"
        )


def as_regions(
    regions: ArrayLike, size: tuple[int, ...], name: str, channels: int = 1
) -> NDArray[np.integer]:
    """Return region ids (Y, X) that fit an image of `size`, which has so many channels.

    Raises
    ------
    RegionError
        If shape or dtype are wrong or an id is negative.
    """
    array = np.asarray(regions)
    if array.shape != size:
        first = array.shape == (*size[1:], channels)  # the image's, if its first axis is channels
        raise RegionError(
            f"{name} does not fit its image",
            expected=f"shape {size}",
            got=f"{array.shape}",
            todo="Channels come last: numpy.moveaxis(image, 0, -1)." if first else "",
        )
    if array.dtype.kind not in "bui":
        gaps = array.dtype.kind == "f" and bool(np.isnan(array).any())
        raise RegionError(
            f"{name} has the wrong dtype",
            expected="integers",
            got=f"{array.dtype}{' with NaN' if gaps else ''}",
            todo="Convert it, for example with numpy.nan_to_num(…).astype(int)."
            if gaps
            else "Round and convert it, for example with .astype(int).",
        )
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if array.size and int(array.min()) < 0:
        raise RegionError(
            f"{name} has negative ids",
            expected="0 for unpainted, then 1, 2, …",
            got=str(int(array.min())),
        )
    if array.size and int(array.max()) >= ACCEPTED:
        raise RegionError(
            f"{name} has ids that are too large", expected="below 2⁴⁰", got=str(int(array.max()))
        )
    return array
