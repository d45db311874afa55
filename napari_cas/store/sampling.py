"""The range of an image's values, estimated from a bounded number of pixels."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.errors import ImageError, ProjectFormatError
from napari_cas.store.ranges import range_without_spikes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_cas.store.arraylike import ArrayLike

_SIDE = 256
_PLACES = 4
_PLANES = 3


@dataclass(frozen=True)
class Intensity:
    """Robust range of an image's values, the same for all its planes.

    Attributes
    ----------
    low, high : tuple of float
        0.1 and 99.9 percentile per channel, in the image's unit; high is above low. Single pixels
        that would make most of it do not count (:mod:`napari_cas.store.ranges`).
    missing : float
        Share of the values that are not a number, or `no_data`, 0 to 1: pixels without data.
    no_data : int or None
        Of integers: pixels that are this in all channels hold no data.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    missing: float = 0.0
    no_data: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the value as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None, channels: int, where: str) -> Intensity:
        """Read the value back.

        Raises
        ------
        ProjectFormatError
            If it is damaged.
        """
        try:
            value = value or {}
            low = tuple(float(v) for v in value["low"])
            high = tuple(float(v) for v in value["high"])
            missing = float(value.get("missing", 0.0))
            marker = value.get("no_data")
            no_data = None if marker is None else int(marker)
            valid = len(low) == len(high) == channels and 0 <= missing <= 1
            if valid and all(
                np.isfinite(a) and a < b < np.inf for a, b in zip(low, high, strict=True)
            ):
                return cls(low, high, missing, no_data)
        except (KeyError, TypeError, ValueError, OverflowError):
            pass
        raise ProjectFormatError(
            f"{where} has no usable intensity range",
            expected=f"low < high for {channels} channels",
            got=repr(value)[:200],
        )


def sample_intensity(
    array: ArrayLike,
    axes: str,
    whole: tuple[float, float] | None = None,
    no_data: int | None = None,
) -> Intensity:
    """Estimate the range of values from at most 48 squares of 256 pixels per channel.

    Parameters
    ----------
    array : array-like
        Full resolution, axes in the order of `axes`.
    axes : str
        Letters of t, c, z, y, x.
    whole : tuple of float, optional
        Lowest and highest value, where known, for channels without data in those squares.
    no_data : int, optional
        Of integers: pixels that are this in all channels hold no data.

    Raises
    ------
    ImageError
        If pixels cannot be read or are infinite, or no channel has data and `whole` is not given.
    """
    shape = tuple(array.shape)
    channel = axes.find("c")
    samples: list[list[NDArray[Any]]] = [[] for _ in range(shape[channel] if channel >= 0 else 1)]
    total = 0
    for where in _places(shape, axes):
        block = read_pixels(array, where)
        total += block.size
        for values, part in zip(samples, with_data(block, channel, no_data), strict=True):
            values.append(part)
    found = [sum(map(_count, parts)) for parts in samples]
    if whole is None and not any(found):
        raise no_data_error(total, no_data)
    pairs = [
        _range(parts) if count else whole or (0.0, 1.0)
        for parts, count in zip(samples, found, strict=True)
    ]
    missing = 1 - sum(found) / total
    return Intensity(
        tuple(low for low, _ in pairs), tuple(high for _, high in pairs), missing, no_data
    )


def no_data_error(looked_at: int, no_data: int | None = None) -> ImageError:
    """Return the error of an image without data."""
    return ImageError(
        "The image has no data",
        expected="finite numbers",
        got=f"{'NaN' if no_data is None else no_data} in all of {looked_at} pixels looked at",
    )


def with_data(block: NDArray[Any], channel: int, no_data: int | None) -> NDArray[Any]:
    """Return a block's pixels that are not `no_data` in all channels, (C, N).

    Without such a value, all pixels are returned, (C, ...).

    Parameters
    ----------
    block : ndarray
        Any part of an image.
    channel : int
        The axis of the channels; negative without one.
    no_data : int or None
        The value.
    """
    parts = block[None] if channel < 0 else np.moveaxis(block, channel, 0)
    return parts if no_data is None else parts[:, (parts != no_data).any(axis=0)]


def read_pixels(array: ArrayLike, where: tuple[slice, ...]) -> NDArray[Any]:
    """Return a part of anybody's array.

    Raises
    ------
    ImageError
        If the library behind the array cannot read it.
    """
    try:
        return np.asarray(array[where])
    except Exception as error:
        # Codecs, stores and networks raise whatever they like.
        raise ImageError(
            "The image could not be read",
            expected="pixels",
            got=f"{type(error).__name__}: {error}",
        ) from error


def _places(shape: tuple[int, ...], axes: str) -> list[tuple[slice, ...]]:
    """Return squares spread evenly over height, width and a few planes."""
    choices = []
    for axis, length in zip(axes, shape, strict=True):
        if axis == "c":
            choices.append([slice(None)])
        elif axis in "yx":
            side = min(_SIDE, length)
            count = min(_PLACES, -(-length // side))
            starts = np.unique(np.linspace(0, length - side, count).round().astype(int))
            choices.append([slice(int(s), int(s) + side) for s in starts])
        else:
            planes = np.unique(np.linspace(0, length - 1, min(_PLANES, length)).round().astype(int))
            choices.append([slice(int(p), int(p) + 1) for p in planes])
    places = list(itertools.product(*choices))
    step = max(1, len(places) // (_PLACES * _PLACES * _PLANES))
    return places[::step]


def _count(values: NDArray[Any]) -> int:
    """Return how many values are numbers."""
    if values.dtype.kind != "f":
        return values.size
    bad = int(np.count_nonzero(np.isinf(values)))
    if bad:
        raise ImageError(
            "The image has infinite pixels",
            expected="finite numbers, or NaN where there are no data",
            got=f"{bad} of {values.size} sampled pixels",
        )
    return values.size - int(np.count_nonzero(np.isnan(values)))


def _range(parts: Sequence[NDArray[Any]]) -> tuple[float, float]:
    """Return the range of one channel's samples; high is above low."""
    low, high = range_without_spikes(parts, _ends)
    if low == high:  # mostly background: take everything that was seen
        seen = _numbers(np.concatenate([np.ravel(part) for part in parts]))
        low, high = float(seen.min()), float(seen.max())
    return (low, high) if low < high else (low, max(low + 1.0, float(np.nextafter(low, np.inf))))


def _ends(values: NDArray[Any]) -> tuple[float, float]:
    """Return the robust ends of values (N,), where any is a number."""
    values = _numbers(values)
    # method "nearest" sorts out two values instead of interpolating in float64.
    found = np.percentile(values, [0.1, 99.9], method="nearest") if len(values) else (0.0, 0.0)
    return float(found[0]), float(found[1])


def _numbers(values: NDArray[Any]) -> NDArray[Any]:
    return values[~np.isnan(values)] if values.dtype.kind == "f" else values
