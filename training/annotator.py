"""A simulated annotator who looks at a segmentation and paints over what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from training.scribbles import Scribbles, paint_stroke

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

SMALLEST = 30
"""Pixels; whoever corrects does not see smaller mistakes."""


def read_as_regions(
    labels: NDArray[np.integer], truth: NDArray[np.integer], painted: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Read a segmentation as who painted it does: a label is the region whose strokes it is on.

    Parameters
    ----------
    labels : ndarray
        (Y, X) integers from 0.
    truth : ndarray
        (Y, X) integers: 0 is not known.
    painted : ndarray
        (Y, X) integers: not 0 where there are strokes.

    Returns
    -------
    ndarray
        (Y, X) int64, regions of the truth. Of a label on several regions' strokes, that with the
        largest share of its strokes there; of one on no strokes, that which has most of it, and 0
        where that is nothing known.
    """
    found, number = np.unique(labels, return_inverse=True)
    shape = len(found), int(truth.max()) + 1
    pairs = (number.reshape(labels.shape), np.asarray(truth, np.int64))
    everywhere, strokes = np.zeros(shape), np.zeros(shape)
    np.add.at(everywhere, pairs, truth > 0)
    np.add.at(strokes, pairs, (truth > 0) & (painted > 0))
    share = strokes / np.maximum(strokes.sum(0), 1)
    region = np.where(strokes.any(1), share.argmax(1), everywhere.argmax(1))
    return np.asarray(region[pairs[0]], np.int64)


def correct(
    read: NDArray[np.integer],
    truth: NDArray[np.integer],
    painted: NDArray[np.int32],
    rng: np.random.Generator,
    strokes: int = 2,
) -> Mask:
    """Paint a stroke into each of the largest wrong places.

    Parameters
    ----------
    read : ndarray
        (Y, X) integers, a segmentation as read by :func:`read_as_regions`.
    truth : ndarray
        (Y, X) integers: 0 is not known.
    painted : ndarray
        (Y, X) int32, changed in place: every region of the truth has an id there already.
    rng : Generator
        Where strokes go.
    strokes : int
        How many, at most; none where nothing large enough is wrong.

    Returns
    -------
    ndarray
        (Y, X) bool: what was painted.
    """
    wrong = (read != truth) & (truth > 0)
    fresh = np.zeros(truth.shape, bool)
    for region, place in largest(wrong, truth)[:strokes]:
        stroke = paint_stroke(place, Scribbles(), rng)
        ids = painted[(truth == region) & (painted > 0)]
        painted[stroke] = np.bincount(ids).argmax()
        fresh |= stroke
    return fresh


def largest(wrong: Mask, truth: NDArray[np.integer]) -> list[tuple[int, Mask]]:
    """Return regions and connected places in them that are wrong, the largest first.

    Parameters
    ----------
    wrong : ndarray
        (Y, X) bool.
    truth : ndarray
        (Y, X) integers: 0 is not known.

    Returns
    -------
    list of (int, ndarray)
        The region and the (Y, X) mask of each, of `SMALLEST` pixels or more.
    """
    from scipy.ndimage import label

    places = []
    for region in np.unique(truth[wrong]):
        parts, _ = label(wrong & (truth == region))
        sizes = np.bincount(parts.ravel())
        large = [k for k in range(1, len(sizes)) if sizes[k] >= SMALLEST]
        places += [(int(sizes[k]), int(region), parts == k) for k in large]
    places.sort(key=lambda place: -place[0])
    return [place[1:] for place in places]
