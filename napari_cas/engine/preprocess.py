"""From stored pixels to the 0–255 scale that every network here takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cas.errors import ImageError
from napari_cas.store.ranges import range_without_spikes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, DTypeLike, NDArray

LOW, HIGH = 0.1, 99.9
"""Percentiles that become 0 and 255; what lies outside goes on linearly, by at most one range."""

RANGE = -255.0, 510.0
"""Nothing on the 0–255 scale lies beyond."""

NEUTRAL = 127.0
"""What pixels without data (NaN) become: zero to the quick network, as its own padding."""

_SAMPLE = 1_000_000


@dataclass(frozen=True)
class Scaling:
    """An affine map per channel: `low` becomes 0, `high` becomes 255.

    Attributes
    ----------
    low, high : ndarray
        Shape (C,), float64. Equal for a constant channel, which becomes 0.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of_range(cls, low: ArrayLike, high: ArrayLike, dtype: DTypeLike) -> Scaling:
        """Return the scaling for robust ranges per channel.

        Three channels of 8 bits are a colour image: they share one range, so that hues stay.
        """
        lows = np.atleast_1d(np.asarray(low, np.float64))
        highs = np.atleast_1d(np.asarray(high, np.float64))
        if len(lows) == 3 and np.dtype(dtype) == np.uint8:
            lows = np.full_like(lows, lows.min())
            highs = np.full_like(highs, highs.max())
        return cls(lows, highs)

    @classmethod
    def of_image(cls, image: NDArray[np.generic]) -> Scaling:
        """Return the scaling of an image (C, Y, X) from its own percentiles."""
        ends = [range_without_spikes([channel], _percentiles) for channel in image]
        low, high = np.transpose(ends)
        return cls.of_range(low, high, image.dtype)

    def apply(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """Map (C, h, w) to float32 on the 0–255 scale; NaN becomes :data:`NEUTRAL`."""
        # A small range on a large base, such as float64 micrographs in volts, needs the bits.
        work = np.result_type(image.dtype, np.float32)
        span = self.high - self.low
        gain = np.where(span > 0, 255.0 / np.where(span > 0, span, 1), 0).astype(work)
        # In place: a copy for each step takes as long as reading the tile from disk.
        scaled = image.astype(work)
        scaled -= self.low.astype(work)[:, None, None]
        scaled *= gain[:, None, None]
        np.clip(scaled, *RANGE, out=scaled)
        if image.dtype.kind == "f":
            np.copyto(scaled, work.type(NEUTRAL), where=np.isnan(scaled))
        return scaled.astype(np.float32, copy=False)


def _percentiles(values: NDArray[np.generic]) -> tuple[float, float]:
    """Return the percentiles of a channel's numbers; 0 and 0 if there are none."""
    known = numbers(values)
    if not len(known):
        return 0.0, 0.0
    some = known[:: max(1, len(known) // _SAMPLE)]
    low, high = np.percentile(some.astype(np.float64), (LOW, HIGH))
    return float(low), float(high)


def numbers(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the values that are numbers, flat where some are not (NaN: no data)."""
    return values[~np.isnan(values)] if values.dtype.kind == "f" else values


def no_data(image: NDArray[np.generic], value: int | None = None) -> NDArray[np.bool_] | None:
    """Return where (h, w) an image (C, h, w) has no data; None if nowhere.

    Parameters
    ----------
    image : ndarray
        Floats have no data where no channel is a number.
    value : int, optional
        Integers have none where all channels are this.
    """
    if image.dtype.kind != "f" and value is None:
        return None
    missing = np.isnan(image) if image.dtype.kind == "f" else image == value
    found: NDArray[np.bool_] = missing.all(axis=0)
    return found if found.any() else None


def principal_mixing(
    samples: Sequence[NDArray[np.float32]],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return how C > 3 channels become three: their first principal components.

    Parameters
    ----------
    samples : sequence of ndarray
        Each (C, P), pixels on the 0–255 scale.

    Returns
    -------
    mixing : ndarray
        Shape (3, C): components with a fixed sign, scaled so that two deviations fill the range.
    offset : ndarray
        Shape (3,), brings the mean to 127.
    """
    pixels = np.concatenate(samples, axis=1).astype(np.float64)
    mean = pixels.mean(1, keepdims=True)
    values, vectors = np.linalg.eigh(np.cov(pixels))
    components = vectors[:, ::-1][:, :3].T
    # The sign of an eigenvector is arbitrary; brighter stays brighter.
    components *= np.where(components.sum(1, keepdims=True) < 0, -1, 1)
    deviations = np.sqrt(np.clip(values[::-1][:3], 1e-6, None))[:, None]
    mixing = components * np.minimum(64.0 / deviations, 8.0)
    return mixing.astype(np.float32), (127.0 - mixing @ mean)[:, 0].astype(np.float32)


def check_channels(wanted: int, got: int, name: str) -> None:
    """Raise ImageError unless an image has the channels its network was made for."""
    if wanted != got:
        raise ImageError.of_channels(name, "the painted ones", wanted=wanted, got=got)
