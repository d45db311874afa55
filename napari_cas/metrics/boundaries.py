"""How well contours agree, with the matching tolerance of the Berkeley benchmark.

References
----------
.. [1] Martin, Fowlkes, Malik, TPAMI 26 (2004): boundary F-measure by bipartite matching.
.. [2] Arbelaez et al., TPAMI 33 (2011): BSDS500 and its protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cas.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Mask = NDArray[np.bool_]

__all__ = ["TOLERANCE", "BoundaryCounts", "boundary_counts", "boundary_of", "match", "thinned"]

TOLERANCE = 0.0075
"""Largest distance of a match as a fraction of the image's diagonal, for BSDS500 [2]_."""


@dataclass(frozen=True)
class BoundaryCounts:
    """Contour pixels matched and in all; add them up over images before taking the F-measure.

    Attributes
    ----------
    found_matched, found : int
        Pixels of the found contour that some annotator confirms, and all of them.
    truth_matched, truth : int
        Pixels of the annotators' contours that were found, and all, summed over annotators.
    """

    found_matched: int = 0
    found: int = 0
    truth_matched: int = 0
    truth: int = 0

    def __add__(self, other: BoundaryCounts) -> BoundaryCounts:
        return BoundaryCounts(
            self.found_matched + other.found_matched,
            self.found + other.found,
            self.truth_matched + other.truth_matched,
            self.truth + other.truth,
        )

    @property
    def precision(self) -> float:
        """Fraction of the found contour that is right; 0 if nothing was found, as in [2]_."""
        return self.found_matched / max(self.found, 1)

    @property
    def recall(self) -> float:
        """Fraction of the annotators' contours that was found."""
        return self.truth_matched / max(self.truth, 1)

    @property
    def f(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def boundary_of(labels: ArrayLike) -> Mask:
    """Return the contours of a partition at its own size, as BSDS500 marks them.

    Parameters
    ----------
    labels : array_like
        (Y, X) integers.

    Returns
    -------
    ndarray
        (Y, X) bool: pixels whose block with the next row and column holds two labels side by side.
    """
    regions = np.asarray(labels)
    if regions.ndim != 2:
        raise InputError("Not a partition", expected="(Y, X) integers", got=str(regions.shape))
    marked = np.zeros(regions.shape, np.bool_)
    below = regions[:-1] != regions[1:]
    right = regions[:, :-1] != regions[:, 1:]
    marked[:-1] |= below
    marked[:-1, :-1] |= below[:, 1:]
    marked[:, :-1] |= right
    marked[:-1, :-1] |= right[1:]
    return marked


def thinned(contour: ArrayLike) -> Mask:
    """Return a contour thinned to one pixel, as the benchmark does before matching."""
    from skimage.morphology import thin

    return np.asarray(thin(np.asarray(contour, bool)), np.bool_)


def match(found: ArrayLike, truth: ArrayLike, tolerance: float = TOLERANCE) -> tuple[Mask, Mask]:
    """Match as many contour pixels as possible one to one, none further apart than the tolerance.

    The benchmark's own code minimises the distances of a matching that is as large as can be, but
    for its approximation. With one annotator the counts depend on the size alone. With several it
    matters for precision which pixels are matched, too, and any largest matching is taken here: in
    windows of 160×160 of 12 images precision came to 0.661, with the least distances to 0.658.

    Parameters
    ----------
    found, truth : array_like
        (Y, X) bool, thin contours.
    tolerance : float
        Largest distance, as a fraction of the image's diagonal.

    Returns
    -------
    found_matched, truth_matched : ndarray
        (Y, X) bool each, with equally many pixels set.
    """
    a, b = np.asarray(found, bool), np.asarray(truth, bool)
    if a.shape != b.shape or a.ndim != 2:
        raise InputError("Contours do not fit", expected=f"(Y, X), {b.shape}", got=str(a.shape))
    matched = np.zeros(a.shape, np.bool_), np.zeros(b.shape, np.bool_)
    lefts, rights = np.flatnonzero(a), np.flatnonzero(b)
    if not len(lefts) or not len(rights):
        return matched
    counts, right = _candidates(a, b, tolerance * float(np.hypot(*a.shape)))
    rows, columns = _largest_matching(counts, right, len(rights))
    matched[0].ravel()[lefts[rows]] = True
    matched[1].ravel()[rights[columns]] = True
    return matched


def _candidates(a: Mask, b: Mask, reach: float) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Return how many pixels of b (Y, X) lie within reach of each of a's, and their numbers.

    Pixels are numbered in the order of rows; numbers are those of a's first pixel, then the next.
    Looking every place within reach up takes a fifth of the time of a k-d tree.
    """
    r = int(reach)
    down, across = np.mgrid[-r : r + 1, -r : r + 1]
    near = np.hypot(down, across) <= reach
    numbers = np.full(b.shape, -1, np.int32)
    numbers[b] = np.arange(np.count_nonzero(b))
    numbers = np.pad(numbers, r, constant_values=-1)
    width = b.shape[1] + 2 * r
    y, x = np.nonzero(a)
    places = ((y + r) * width + x + r)[:, None] + (down[near] * width + across[near])
    found = numbers.ravel()[places]
    there = found >= 0
    return there.sum(1), found[there]


def _largest_matching(
    counts: NDArray[np.intp], right: NDArray[np.int32], rights: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pairs of a largest one-to-one matching among what :func:`_candidates` found.

    As a maximum flow through edges of capacity one: scipy's own bipartite matching is as large, but
    needs up to half a minute for two contours of 4,000 pixels, this 10 ms.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_flow

    lefts = len(counts)
    sink = lefts + rights + 1
    # Rows of the network: the source, the pixels of either contour, and the sink, which has none.
    edges = np.concatenate([[0, lefts], counts, np.ones(rights, np.intp), [0]])
    heads = np.concatenate([1 + np.arange(lefts), 1 + lefts + right, np.full(rights, sink)])
    network = csr_array(
        (np.ones(len(heads), np.int32), heads.astype(np.int32), edges.cumsum().astype(np.int32)),
        shape=(sink + 1, sink + 1),
    )  # scipy's flow takes no other integers
    flow = maximum_flow(network, 0, sink).flow.tocoo()
    used = (flow.data > 0) & (flow.row > 0) & (flow.row <= lefts)
    rows, columns = flow.row[used].astype(np.intp), flow.col[used].astype(np.intp)
    return rows - 1, columns - 1 - lefts


def boundary_counts(
    found: ArrayLike,
    truths: Sequence[ArrayLike],
    tolerance: float = TOLERANCE,
    *,
    thin: bool = True,
) -> BoundaryCounts:
    """Match a contour with those of several annotators and count.

    Parameters
    ----------
    found : array_like
        (Y, X) bool.
    truths : sequence of array_like
        (Y, X) bool, one per annotator.
    tolerance : float
        As in :func:`match`.
    thin : bool
        Whether `found` is thinned first.

    Returns
    -------
    BoundaryCounts
        A found pixel is right if it matches any annotator; each annotator's pixels count towards
        recall [1]_.
    """
    contour = thinned(found) if thin else np.asarray(found, bool)
    confirmed = np.zeros(contour.shape, bool)
    matched = total = 0
    for truth in truths:
        ours, theirs = match(contour, truth, tolerance)
        confirmed |= ours
        matched += int(theirs.sum())
        total += int(np.count_nonzero(truth))
    return BoundaryCounts(int(confirmed.sum()), int(contour.sum()), matched, total)
