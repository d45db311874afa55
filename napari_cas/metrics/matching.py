"""Channels read as classes: one map for a whole set of images, found without looking at names.

A class-agnostic network says which pixels are alike, not what they are. Fixing one map from
channels to classes over all images of a set, instead of one per image, shows whether a channel
means the same thing in every image.

References
----------
Kuhn, Naval Research Logistics Quarterly 2 (1955): the Hungarian method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cas.errors import InputError
from napari_cas.metrics.regions import as_labels

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Matching", "class_confusion", "match_channels"]


@dataclass(frozen=True)
class Matching:
    """Channels read as classes, with one map for a whole set of images.

    Attributes
    ----------
    classes : dict of int to int
        Class that each channel stands for; channels without a class are left out.
    iou : dict of int to float
        Intersection over union per class, over all pixels of the set; 0 where no channel was left
        for it.
    mean_iou : float
        Mean over the classes that occur.
    accuracy : float
        Fraction of pixels whose channel stands for their class.
    """

    classes: dict[int, int]
    iou: dict[int, float]
    mean_iou: float
    accuracy: float


def class_confusion(
    truth: ArrayLike,
    prediction: ArrayLike,
    *,
    classes: int,
    channels: int,
    ignore: int | None = 0,
) -> NDArray[np.int64]:
    """Count pixels by (class, channel), to be summed over a set for :func:`match_channels`.

    Parameters
    ----------
    truth, prediction : array_like
        Labels of equal shape; truth in 0..classes − 1 (besides `ignore`), prediction in
        0..channels − 1.
    classes, channels : int
        Shape of the table.
    ignore : int or None
        Pixels of this truth are not scored.

    Returns
    -------
    ndarray
        (classes, channels) int64; the row of `ignore` is zero.
    """
    a, b = as_labels(truth, "truth"), as_labels(prediction, "prediction")
    if a.shape != b.shape:
        raise InputError("Truth and prediction do not fit", expected=str(a.shape), got=str(b.shape))
    scored = np.ones(a.shape, bool) if ignore is None else a != ignore
    a, b = a[scored].astype(np.int64), b[scored].astype(np.int64)
    for values, end, what in ((a, classes, "truth"), (b, channels, "prediction")):
        if values.size and not 0 <= values.min() <= values.max() < end:
            raise InputError(
                f"Labels of the {what} out of range",
                expected=f"0 to {end - 1}",
                got=f"{values.min()} to {values.max()}",
            )
    counts = np.bincount(a * channels + b, minlength=classes * channels)
    return counts.reshape(classes, channels).astype(np.int64)


def match_channels(confusion: ArrayLike, *, many_to_one: bool = False) -> Matching:
    """Find the map from channels to classes that explains most pixels of a set, and score it.

    Parameters
    ----------
    confusion : array_like
        (classes, channels) pixel counts, summed over all images.
    many_to_one : bool
        False: each class gets one channel at most and each channel one class at most, by the
        Hungarian method; pixels of other channels are wrong. True: each channel stands for its most
        frequent class.

    Returns
    -------
    Matching
        The map and its scores; classes without pixels are not scored.

    Raises
    ------
    InputError
        If `confusion` is not two-dimensional or holds no pixels.
    """
    from scipy.optimize import linear_sum_assignment

    table = np.asarray(confusion)
    if table.ndim != 2 or table.sum() <= 0:
        raise InputError("Nothing to match", expected="(classes, channels) counts", got=str(table))
    if many_to_one:
        used = np.flatnonzero(table.sum(0))
        classes = {int(c): int(table[:, c].argmax()) for c in used}
    else:
        rows, columns = linear_sum_assignment(table, maximize=True)
        pairs = zip(rows, columns, strict=True)
        classes = {int(c): int(k) for k, c in pairs if table[k, c]}
    iou = {int(k): _class_iou(table, classes, int(k)) for k in np.flatnonzero(table.sum(1))}
    right = sum(int(table[k, c]) for c, k in classes.items())
    return Matching(classes, iou, float(np.mean(list(iou.values()))), right / int(table.sum()))


def _class_iou(table: NDArray[Any], classes: dict[int, int], which: int) -> float:
    """Return the intersection over union of one class with all channels that stand for it."""
    channels = [c for c, k in classes.items() if k == which]
    shared = table[which, channels].sum()
    union = table[which].sum() + table[:, channels].sum() - shared
    return float(shared / union)
