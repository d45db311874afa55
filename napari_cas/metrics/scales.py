"""Scores over a range of thresholds: one for the whole set, or the best for each image.

ODS, the optimal data set scale, fixes one threshold for all images; OIS, the optimal image scale,
takes each image's best. Definitions of Arbelaez et al., TPAMI 33 (2011), without the interpolation
between thresholds that their boundary code adds (worth less than 0.001 with 50 or more of them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_cas.errors import InputError
from napari_cas.metrics.boundaries import BoundaryCounts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

__all__ = ["Scales", "boundary_scales", "covering_scales", "mean_scales"]


class Scales(NamedTuple):
    """A score at the best threshold for the set, which one that is, and at each image's best."""

    ods: float
    threshold: int
    ois: float


def mean_scales(scores: ArrayLike, *, lower_is_better: bool = False) -> Scales:
    """Summarise scores that are averaged over images, such as Rand index or VI.

    Parameters
    ----------
    scores : array_like
        (N, T): images by thresholds.
    lower_is_better : bool
        True for the variation of information.

    Raises
    ------
    InputError
        If `scores` is not two-dimensional or empty.
    """
    values = np.asarray(scores, np.float64)
    if values.ndim != 2 or not values.size:
        raise InputError("No scores", expected="(images, thresholds)", got=str(values.shape))
    sign = -1.0 if lower_is_better else 1.0
    means = (sign * values).mean(0)
    best = int(means.argmax())
    return Scales(sign * float(means[best]), best, sign * float((sign * values).max(1).mean()))


def covering_scales(covered: ArrayLike, pixels: ArrayLike) -> Scales:
    """Summarise covering, which pools pixels over all images.

    Parameters
    ----------
    covered : array_like
        (N, T) covered pixels, from `covering_counts`.
    pixels : array_like
        (N,) all pixels.
    """
    counts, total = np.asarray(covered, np.float64), float(np.sum(pixels))
    pooled = mean_scales(counts)
    images = len(counts)
    return Scales(pooled.ods * images / total, pooled.threshold, pooled.ois * images / total)


def boundary_scales(counts: Sequence[Sequence[BoundaryCounts]]) -> Scales:
    """Summarise boundary F-measures, which pool matched pixels over all images.

    Parameters
    ----------
    counts : sequence of sequence of BoundaryCounts
        For each image, one per threshold.

    Raises
    ------
    InputError
        If there are none, or images differ in their number of thresholds.
    """
    lengths = {len(row) for row in counts}
    if len(lengths) != 1 or 0 in lengths:
        raise InputError("No scores", expected="equally many thresholds each", got=str(lengths))
    pooled = [sum(column, BoundaryCounts()).f for column in zip(*counts, strict=True)]
    best = int(np.argmax(pooled))
    chosen = (max(row, key=lambda c: c.f) for row in counts)
    return Scales(pooled[best], best, sum(chosen, BoundaryCounts()).f)
