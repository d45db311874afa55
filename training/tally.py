"""Scores of partitions at a range of scales against all annotators, added up over images."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_cas.metrics.boundaries import BoundaryCounts, boundary_counts, boundary_of
from napari_cas.metrics.regions import Overlap, overlap
from napari_cas.metrics.scales import boundary_scales, covering_scales, mean_scales

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from training.data.bsds import Annotated

    Labels = NDArray[np.intp]

MANY = 8
"""Of more scales than this, contours are matched at every second: that takes most of the time."""


class Fixed(NamedTuple):
    """The scales that were best on other images, for either of two measures."""

    covering: int
    contour: int


class Tally:
    """What a method's partitions got right, image by image."""

    def __init__(self) -> None:
        self.rows: list[NDArray[np.float64]] = []
        self.pixels: list[float] = []
        self.contours: list[list[BoundaryCounts]] = []

    def add(self, found: Sequence[Labels], truth: Annotated) -> None:
        """Score one image's partitions (Y, X), from fine to coarse, against all annotations."""
        self.rows.append(_region_scores(found, truth))
        self.pixels.append(float(found[0].size * len(truth.segmentations)))
        self.contours.append([
            boundary_counts(boundary_of(found[scale]), truth.boundaries)
            for scale in contour_scales(len(found))
        ])  # fmt: skip

    def scores(self, fixed: Fixed | None = None) -> dict[str, float]:
        """Return the scores of all images added.

        Parameters
        ----------
        fixed : Fixed, optional
            Scales at which covering and contours are scored once more.

        Returns
        -------
        dict
            ``covering``, ``rand``, ``variation``, ``contour`` at ODS and, as ``…_ois``, at OIS;
            ``covering_scale`` and ``contour_scale``, the best; with `fixed`, ``covering_fixed``
            and ``contour_fixed``.
        """
        covered, rand, variation = np.stack(self.rows).transpose(2, 0, 1)
        cover, rands = covering_scales(covered, self.pixels), mean_scales(rand)
        variations = mean_scales(variation, lower_is_better=True)
        contour, scales = boundary_scales(self.contours), contour_scales(covered.shape[1])
        scores = {
            "contour": contour.ods, "contour_ois": contour.ois,
            "contour_scale": scales[contour.threshold],
            "covering": cover.ods, "covering_ois": cover.ois, "covering_scale": cover.threshold,
            "rand": rands.ods, "rand_ois": rands.ois,
            "variation": variations.ods, "variation_ois": variations.ois,
        }  # fmt: skip
        if fixed is not None:
            then = scales.index(fixed.contour)
            scores["covering_fixed"] = float(covered[:, fixed.covering].sum() / sum(self.pixels))
            scores["contour_fixed"] = sum((row[then] for row in self.contours), BoundaryCounts()).f
        return scores


def tallies(
    readings: Iterable[Sequence[Sequence[Labels]]], truths: Iterable[Annotated]
) -> list[Tally]:
    """Return a tally for each way of reading images, over all of them.

    Parameters
    ----------
    readings : iterable
        For each image and each reading, the (Y, X) partitions at each scale, from fine to coarse.
    truths : iterable of Annotated
        The images, in the same order.
    """
    found: list[Tally] = []
    for read, truth in zip(readings, truths, strict=True):
        found = found or [Tally() for _ in read]
        for tally, partitions in zip(found, read, strict=True):
            tally.add(partitions, truth)
    return found


def contour_scales(count: int) -> range:
    """Return at which of so many scales contours are matched, the coarsest among them.

    The finest three of many are left out as well: two of three pixels found there are wrong.
    """
    return range(3 + count % 2, count, 2) if count > MANY else range(count)


def _region_scores(found: Sequence[Labels], truth: Annotated) -> NDArray[np.float64]:
    """Return the scores (T, 3) of partitions (Y, X) at T scales.

    They are the covered pixels of all annotators, and the means over them of Rand index and
    variation of information.
    """
    fine = [overlap(one, found[0], ignore=None) for one in truth.segmentations]
    overlaps = [fine, *(_coarser(fine, found[0], labels, truth) for labels in found[1:])]
    return np.array([
        (
            sum(o.covering_counts()[0] for o in row),
            np.mean([o.rand_index() for o in row]),
            np.mean([o.variation_of_information() for o in row]),
        )
        for row in overlaps
    ])  # fmt: skip


def _coarser(
    fine: Sequence[Overlap], parts: Labels, labels: Labels, truth: Annotated
) -> list[Overlap]:
    """Return the overlaps of labels (Y, X) with each annotation.

    Labels that only join parts (Y, X) take theirs added up, in a tenth of the time.
    """
    one_each = np.full(int(parts.max()) + 1, -1, labels.dtype)
    one_each[parts] = labels
    if not np.array_equal(one_each[parts], labels):
        return [overlap(one, labels, ignore=None) for one in truth.segmentations]
    present = np.bincount(parts.ravel()) > 0
    joined = np.unique(one_each[present], return_inverse=True)[1]
    return [_added(one, joined) for one in fine]


def _added(fine: Overlap, joined: NDArray[np.intp]) -> Overlap:
    """Return the overlaps of what parts are joined to (n,), by their numbers, from the parts'."""
    count = int(joined.max()) + 1
    keys, which = np.unique(fine.truth * count + joined[fine.prediction], return_inverse=True)
    shared = np.zeros(len(keys), np.int64)
    np.add.at(shared, which, fine.shared)
    return Overlap(*np.divmod(keys, count), shared, (fine.shape[0], count))
