"""How well a grey map of saliency agrees with a binary ground truth.

Conventions are those of the authors' own evaluation code, so that figures can stand beside
published ones: thresholds 0 to 255 of the 8-bit map, "salient" meaning at or above the threshold.

References
----------
.. [1] Achanta et al., CVPR 2009: F-measure with β² = 0.3, adaptive threshold of twice the mean.
.. [2] Margolin, Zelnik-Manor, Tal, CVPR 2014: weighted F-measure.
.. [3] Fan et al., ICCV 2017: structure measure.
.. [4] Fan et al., IJCAI 2018: enhanced-alignment measure.
.. [5] Perazzi et al., CVPR 2012: mean absolute error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cas.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Map = NDArray[np.float64]
    Mask = NDArray[np.bool_]

__all__ = [
    "BETA2",
    "THRESHOLDS",
    "adaptive_threshold",
    "e_curve",
    "e_measure",
    "f_curve",
    "f_measure",
    "f_of",
    "mean_absolute_error",
    "precision_recall",
    "s_measure",
    "stretch",
    "weighted_f_measure",
]

BETA2 = 0.3
"""β² of the F-measure: precision counts more than recall [1]_."""

THRESHOLDS = 256

_EPS = np.finfo(np.float64).eps


def adaptive_threshold(saliency: ArrayLike, cap: float = 1.0) -> float:
    """Return T = min(2·mean(S), cap), the threshold of [1]_.

    Parameters
    ----------
    saliency : array_like
        Any shape, 0 to 1 (or 8-bit).
    cap : float
        Upper limit; twice the mean of a bright map is above 1, where nothing would be salient.
    """
    return min(2.0 * float(as_map(saliency).mean()), cap)


def mean_absolute_error(saliency: ArrayLike, truth: ArrayLike) -> float:
    """Return the mean of |S − G|, 0 to 1, lower is better [5]_.

    Parameters
    ----------
    saliency : array_like
        (Y, X), 0 to 1 (or 8-bit, or a mask).
    truth : array_like
        (Y, X) bool, or integers above 0 where salient.
    """
    found, mask = _pair(saliency, truth)
    return float(np.abs(found - mask).mean())


def f_of(precision: ArrayLike, recall: ArrayLike, beta2: float = BETA2) -> Map:
    """Return (1 + β²)·P·R / (β²·P + R), 0 where both are 0."""
    p, r = np.asarray(precision, np.float64), np.asarray(recall, np.float64)
    below = beta2 * p + r
    return np.where(below > 0, (1 + beta2) * p * r / np.where(below > 0, below, 1), 0.0)


def f_measure(found: ArrayLike, truth: ArrayLike, beta2: float = BETA2) -> float:
    """Return the F-measure of a binary mask, 0 to 1.

    Parameters
    ----------
    found, truth : array_like
        (Y, X) bool, or integers above 0 where salient.
    beta2 : float
        β², how much recall counts.
    """
    a, b = _mask(found), _mask(truth)
    _same_shape(a, b)
    both = int(np.count_nonzero(a & b))
    precision, recall = both / max(int(a.sum()), 1), both / max(int(b.sum()), 1)
    return float(f_of(precision, recall, beta2))


def precision_recall(saliency: ArrayLike, truth: ArrayLike) -> tuple[Map, Map]:
    """Return precision and recall at each of 256 thresholds.

    Parameters
    ----------
    saliency : array_like
        (Y, X), 0 to 1 (or 8-bit).
    truth : array_like
        (Y, X) bool, or integers above 0 where salient.

    Returns
    -------
    precision, recall : ndarray
        (256,) float64 each, of the mask ⌊255·S⌋ ≥ t for t = 0..255. Where nothing is found,
        precision is 1.
    """
    hits, found, salient = _counts(saliency, truth)
    precision = np.where(found > 0, hits / np.maximum(found, 1), 1.0)
    return precision, hits / max(salient, 1)


def f_curve(saliency: ArrayLike, truth: ArrayLike, beta2: float = BETA2) -> Map:
    """Return the F-measure at each of 256 thresholds, (256,) float64; arguments as above."""
    return f_of(*precision_recall(saliency, truth), beta2)


def weighted_f_measure(saliency: ArrayLike, truth: ArrayLike, beta2: float = 1.0) -> float:
    """Return the weighted F-measure of [2]_, 0 to 1; 0 if nothing is salient.

    Errors within the object are shared with their neighbours (a Gaussian of σ = 5 on 7 × 7 pixels),
    errors in the background weigh more the further they are from the object.

    Parameters
    ----------
    saliency : array_like
        (Y, X), 0 to 1 (or 8-bit).
    truth : array_like
        (Y, X) bool, or integers above 0 where salient.
    beta2 : float
        β²; the authors use 1.
    """
    from scipy.ndimage import convolve, distance_transform_edt

    found, mask = _pair(saliency, truth)
    if not mask.any():
        return 0.0
    distance, nearest = distance_transform_edt(~mask, return_indices=True)
    error = np.abs(found - mask)
    # Outside the object, the filter below shall see the error at the object's nearest pixel.
    spread = np.where(mask, error, error[tuple(nearest)])
    smooth = convolve(spread, _gaussian(7, 5.0), mode="constant")
    kept = np.where(mask & (smooth < error), smooth, error)
    weighted = kept * np.where(mask, 1.0, 2.0 - np.exp(np.log(0.5) / 5.0 * distance))
    hits = mask.sum() - weighted[mask].sum()
    precision = hits / (hits + weighted[~mask].sum() + _EPS)
    recall = 1.0 - weighted[mask].mean()
    return float((1 + beta2) * precision * recall / (recall + beta2 * precision + _EPS))


def s_measure(saliency: ArrayLike, truth: ArrayLike, alpha: float = 0.5) -> float:
    """Return the structure measure α·S_object + (1 − α)·S_region of [3]_, 0 to 1.

    Parameters
    ----------
    saliency : array_like
        (Y, X), 0 to 1 (or 8-bit).
    truth : array_like
        (Y, X) bool, or integers above 0 where salient.
    alpha : float
        Weight of the object-aware part; the authors use 0.5.
    """
    found, mask = _pair(saliency, truth)
    share = float(mask.mean())
    if share in (0.0, 1.0):
        return float(found.mean() if share else 1.0 - found.mean())
    of_object = share * _alike(found[mask]) + (1 - share) * _alike(1.0 - found[~mask])
    return max(0.0, alpha * of_object + (1 - alpha) * _by_quarters(found, mask))


def e_measure(found: ArrayLike, truth: ArrayLike) -> float:
    """Return the enhanced-alignment measure of a binary mask [4]_, 0 to N / (N − 1), N the pixels.

    Published code divides by N − 1, so that a perfect mask scores a little more than 1. A single
    pixel is divided by 1.

    Parameters
    ----------
    found, truth : array_like
        (Y, X) bool, or integers above 0 where salient.
    """
    a, b = _mask(found), _mask(truth)
    _same_shape(a, b)
    hits, total = np.count_nonzero(a & b), np.count_nonzero(a)
    scores = _alignment(np.array([hits]), np.array([total]), int(b.sum()), b.size)
    return float(scores[0])


def e_curve(saliency: ArrayLike, truth: ArrayLike) -> Map:
    """Return the enhanced-alignment measure at each of 256 thresholds, (256,) float64."""
    hits, found, salient = _counts(saliency, truth)
    return _alignment(hits, found, salient, np.asarray(truth).size)


def stretch(saliency: ArrayLike) -> Map:
    """Return a map stretched to 0..1 as published evaluation code does; a flat one is unchanged."""
    found = as_map(saliency)
    low, high = float(found.min()), float(found.max())
    return found if low == high else (found - low) / (high - low)


def as_map(saliency: ArrayLike) -> Map:
    """Return a map as float64 in 0..1; unsigned integers are divided by their type's maximum.

    Raises
    ------
    InputError
        If it is empty, not finite or outside 0..1.
    """
    array = np.asarray(saliency)
    if not array.size:
        raise InputError("Not a map of saliency", expected="pixels", got=str(array.shape))
    if np.issubdtype(array.dtype, np.unsignedinteger):
        return np.asarray(array / np.iinfo(array.dtype).max, np.float64)
    found = array.astype(np.float64)
    low, high = found.min(), found.max()
    if not (low >= 0 and high <= 1):  # also catches NaN
        raise InputError(
            "Not a map of saliency", expected="values 0 to 1, or 8-bit", got=f"{low} to {high}"
        )
    return found


def _pair(saliency: ArrayLike, truth: ArrayLike) -> tuple[Map, Mask]:
    found, mask = as_map(saliency), _mask(truth)
    _same_shape(found, mask)
    return found, mask


def _mask(values: ArrayLike) -> Mask:
    array = np.asarray(values)
    if array.dtype != bool and not np.issubdtype(array.dtype, np.integer):
        raise InputError("Not a mask", expected="booleans or integers", got=str(array.dtype))
    return np.asarray(array > 0, dtype=np.bool_)


def _same_shape(a: NDArray[np.generic], b: NDArray[np.generic]) -> None:
    if a.shape != b.shape or a.ndim != 2:
        raise InputError(
            "Map and truth do not fit", expected=f"(Y, X), {b.shape}", got=str(a.shape)
        )


def _counts(
    saliency: ArrayLike, truth: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return, per threshold, salient pixels found and all pixels found; and the salient ones."""
    found, mask = _pair(saliency, truth)
    # ⌊255·S⌋, but 8-bit values come back as they were: 255·(v / 255) may fall short of v.
    level = np.floor(found * 255 + 1e-9).astype(np.int64)
    inside = np.bincount(level[mask], minlength=THRESHOLDS)
    everywhere = np.bincount(level.ravel(), minlength=THRESHOLDS)
    hits, total = (np.cumsum(h[::-1])[::-1].astype(np.int64) for h in (inside, everywhere))
    return hits, total, int(mask.sum())


def _gaussian(size: int, sigma: float) -> Map:
    """Return a normalised Gaussian kernel, (size, size)."""
    line = np.exp(-((np.arange(size) - (size - 1) / 2) ** 2) / (2 * sigma**2))
    kernel = np.outer(line, line)
    return np.asarray(kernel / kernel.sum())


def _alike(values: Map) -> float:
    """Return how near to 1 and how uniform values are, 0 to 1 ([3]_, Eq. 5 with λ = 1/2)."""
    mean = float(values.mean())
    deviation = float(values.std(ddof=1)) if values.size > 1 else 0.0
    return 2 * mean / (mean**2 + 1 + deviation + _EPS)


def _by_quarters(found: Map, mask: Mask) -> float:
    """Return the structural similarity of four blocks around the object's centroid, by area."""
    row, column = (round(float(c.mean())) + 1 for c in np.nonzero(mask))
    total = 0.0
    for rows in (slice(None, row), slice(row, None)):
        for columns in (slice(None, column), slice(column, None)):
            block, target = found[rows, columns], mask[rows, columns]
            if target.size:
                total += target.size / mask.size * _similarity(block, target.astype(np.float64))
    return total


def _similarity(x: Map, y: Map) -> float:
    """Return the structural similarity of two blocks ([3]_, Eq. 3)."""
    mean_x, mean_y = float(x.mean()), float(y.mean())
    freedom = x.size - 1 + _EPS
    var_x, var_y = float(((x - mean_x) ** 2).sum()), float(((y - mean_y) ** 2).sum())
    shared = float(((x - mean_x) * (y - mean_y)).sum()) / freedom
    above = 4 * mean_x * mean_y * shared
    below = (mean_x**2 + mean_y**2) * (var_x + var_y) / freedom
    if above != 0:
        return above / (below + _EPS)
    return 1.0 if below == 0 else 0.0


def _alignment(hits: NDArray[np.int64], found: NDArray[np.int64], salient: int, size: int) -> Map:
    """Return the enhanced alignment of masks given by their pixel counts.

    Both masks take two values each, so that the alignment matrix of [4]_ takes four; each is
    weighted by the number of its pixels.
    """
    others = max(size - 1, 1)
    if salient in (0, size):
        right = found if salient else size - found
        return np.asarray(right / others, np.float64)
    mean_found, mean_truth = found / size, salient / size
    misses = salient - hits
    total = np.zeros(len(hits))
    for count, x, y in (
        (hits, 1 - mean_found, 1 - mean_truth),
        (found - hits, 1 - mean_found, -mean_truth),
        (misses, -mean_found, 1 - mean_truth),
        (size - found - misses, -mean_found, -mean_truth),
    ):
        aligned = 2 * x * y / (x**2 + y**2 + _EPS)
        total += count * (aligned + 1) ** 2 / 4
    return total / others
