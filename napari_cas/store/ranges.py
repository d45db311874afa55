"""The range of an image's values, whatever single pixels show.

Hot and dead pixels, cosmic rays and broken transmission leave values that lie far outside what the
image shows. Percentiles stand a share of them that is below the percentile. More would take most of
the scale for themselves and leave little of it for the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

_SPIKED = 0.5
"""Single pixels are left out if the others then lie within this share of the range."""


def range_without_spikes(
    parts: Sequence[NDArray[Any]], measure: Callable[[NDArray[Any]], tuple[float, float]]
) -> tuple[float, float]:
    """Return the range of one channel, without single pixels where they make most of it.

    Parameters
    ----------
    parts : sequence of ndarray
        Each (..., Y, X), or (N,) along a row.
    measure : callable
        From values (N,) to the lower and upper end of what they show, both 0 where they are none.

    Returns
    -------
    low, high : float
        What `measure` says of all values, or of the medians of three neighbours where these leave
        less than half of it. Lines a single pixel wide count: neighbours above each other are
        looked at as well as those beside each other.
    """
    low, high = measure(_flat(parts))
    calm = [measure(_flat(_medians(part, axis) for part in parts)) for axis in _axes(parts)]
    if not calm:
        return low, high
    least, most = min(ends[0] for ends in calm), max(ends[1] for ends in calm)
    return (least, most) if 0 < most - least < _SPIKED * (high - low) else (low, high)


def _axes(parts: Sequence[NDArray[Any]]) -> list[int]:
    """Return the axes along which all parts have three neighbours."""
    return [axis for axis in (-1, -2) if all(p.ndim >= -axis and p.shape[axis] > 2 for p in parts)]


def _flat(parts: Iterable[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate([np.ravel(part) for part in parts])


def _medians(values: NDArray[Any], axis: int) -> NDArray[Any]:
    """Return the median of each value and its two neighbours, not at the ends."""
    along = np.moveaxis(values, axis, -1)
    before, at, after = along[..., :-2], along[..., 1:-1], along[..., 2:]
    found: NDArray[Any] = np.maximum(
        np.minimum(before, at), np.minimum(np.maximum(before, at), after)
    )
    return found
