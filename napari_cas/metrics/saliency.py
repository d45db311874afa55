"""How well a saliency map finds the salient object: F-measure and mean absolute error.

A saliency map is (H, W) floating point from 0 to 1, the ground truth (H, W) booleans. Scores of a
set are means over its images; the maximal F-measure of a set is the maximum of the mean curve, not
the mean of the maxima.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cas.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

BETA_SQUARED = 0.3
"""Weight of recall against precision, as everywhere since Achanta et al., CVPR 2009."""

LEVELS = 256
"""Thresholds 0/255 to 255/255 of the F-measure curve."""


def adaptive_threshold(saliency: NDArray[np.floating], cap: float = 1.0) -> float:
    """Return twice the mean of a map (Achanta et al., CVPR 2009), at most `cap`.

    Without a cap the threshold passes 1 where the object fills over half the image, and nothing is
    found at all.

    Parameters
    ----------
    saliency : ndarray
        (H, W), 0 to 1.
    cap : float, default 1
        1 only rules out the impossible; 1/2 also keeps what a softmax of two channels is sure of.
    """
    return float(min(2.0 * float(np.mean(saliency)), cap))


def f_measure(
    found: NDArray[np.bool_], truth: NDArray[np.bool_], beta_squared: float = BETA_SQUARED
) -> float:
    """Return ``(1 + β²) P R / (β² P + R)`` of a binary map, from 0 to 1; 0 where nothing is right.

    Parameters
    ----------
    found, truth : ndarray
        (H, W) booleans.
    beta_squared : float, default 0.3
        Below 1 precision weighs more than recall.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    _check(found, truth)
    right = int(np.count_nonzero(found & truth))
    n_found, n_true = int(np.count_nonzero(found)), int(np.count_nonzero(truth))
    return float(_f(np.array(right), np.array(n_found), np.array(n_true), beta_squared))


def f_curve(
    saliency: NDArray[np.floating], truth: NDArray[np.bool_], beta_squared: float = BETA_SQUARED
) -> NDArray[np.float64]:
    """Return the F-measure of ``saliency >= k / 255`` for k = 0..255.

    Parameters
    ----------
    saliency : ndarray
        (H, W), 0 to 1.
    truth : ndarray
        (H, W) booleans.
    beta_squared : float, default 0.3
        As in :func:`f_measure`.

    Returns
    -------
    ndarray
        (256,) float64.

    Raises
    ------
    InputError
        If the shapes differ or the map leaves [0, 1].
    """
    _check(saliency, truth)
    low, high = float(np.min(saliency)), float(np.max(saliency))
    if not (low >= 0.0 and high <= 1.0):
        raise InputError(
            "The saliency map is out of range", expected="0 to 1", got=f"{low:g} to {high:g}"
        )
    # s >= k / 255 just when floor(255 s) >= k; the small addend absorbs the rounding of 255 s.
    level = np.floor(saliency * (LEVELS - 1) + 1e-6).astype(np.intp).ravel()
    inside = np.bincount(level[truth.ravel()], minlength=LEVELS)
    everywhere = np.bincount(level, minlength=LEVELS)
    right, found = (np.cumsum(h[::-1])[::-1] for h in (inside, everywhere))
    return _f(right, found, np.array(int(np.count_nonzero(truth))), beta_squared)


def mean_absolute_error(
    saliency: NDArray[np.floating] | NDArray[np.bool_], truth: NDArray[np.bool_]
) -> float:
    """Return the mean of ``|S - G|`` over pixels, from 0 to 1; of a map or of a binary one.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    _check(saliency, truth)
    return float(np.mean(np.abs(saliency.astype(np.float64) - truth)))


def _f(
    right: NDArray[np.integer],
    found: NDArray[np.integer],
    true: NDArray[np.integer],
    beta_squared: float,
) -> NDArray[np.float64]:
    """Return F from counts; F = (1 + β²) TP / (found + β² true), which needs no special cases."""
    return (1 + beta_squared) * right / np.maximum(found + beta_squared * true, 1e-12)


def _check(first: NDArray[np.generic], truth: NDArray[np.bool_]) -> None:
    if first.shape != truth.shape or truth.dtype != np.bool_:
        raise InputError(
            "Map and ground truth do not fit",
            expected=f"booleans of shape {first.shape}",
            got=f"{truth.dtype} of shape {truth.shape}",
        )
