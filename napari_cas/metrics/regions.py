"""How well two partitions of the same pixels agree, whatever their regions are called.

All scores come from how many pixels each pair of regions shares. None of them depends on the names
of the regions.

References
----------
Rand, J. Am. Stat. Assoc. 66 (1971): Rand index.
Hubert & Arabie, J. Classification 2 (1985): adjusted Rand index.
Unnikrishnan et al., TPAMI 29 (2007): probabilistic Rand index.
Meila, J. Multivariate Analysis 98 (2007): variation of information.
Arbelaez et al., TPAMI 33 (2011): segmentation covering, and all of these on BSDS500.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_cas.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Table: TypeAlias = NDArray[np.int64]

__all__ = [
    "Overlap",
    "adjusted_rand_index",
    "contingency",
    "covering",
    "covering_counts",
    "overlap",
    "probabilistic_rand_index",
    "rand_index",
    "variation_of_information",
]


_FEW = 1 << 16
"""Pairs of regions for which a table is always small enough."""


@dataclass(frozen=True)
class Overlap:
    """Pixels shared by pairs of regions, and the scores that follow.

    Only pairs that share a pixel are held: of instance maps with many objects they are few.

    Attributes
    ----------
    truth, prediction : ndarray
        (n,) int64: the regions of each pair that shares pixels, numbered from 0 in the order of
        their labels; pairs are sorted by the truth, then by the prediction.
    shared : ndarray
        (n,) int64, pixels of each pair, at least 1.
    shape : tuple of int
        Regions K of the truth and L of the prediction.
    """

    truth: Table
    prediction: Table
    shared: Table
    shape: tuple[int, int]

    @property
    def table(self) -> Table:
        """(K, L) int64: pixels of every pair, those that share none included."""
        table = np.zeros(self.shape, np.int64)
        table[self.truth, self.prediction] = self.shared
        return table

    @property
    def pixels(self) -> int:
        """Number of pixels scored."""
        return int(self.shared.sum())

    @property
    def sizes(self) -> tuple[Table, Table]:
        """Pixels of each region of the truth (K,) and of the prediction (L,)."""
        found = []
        for region, number in zip((self.truth, self.prediction), self.shape, strict=True):
            size = np.zeros(number, np.int64)
            np.add.at(size, region, self.shared)  # not by weights of `bincount`: they are floats
            found.append(size)
        return found[0], found[1]

    def pairs(self) -> tuple[float, float, float, float]:
        """Return pixel pairs: together in both, in the truth, in the prediction, and all."""

        def choose2(counts: Table) -> float:
            n = counts.astype(np.float64)
            return float((n * (n - 1)).sum() / 2)

        truth, prediction = self.sizes
        n = float(self.pixels)
        return choose2(self.shared), choose2(truth), choose2(prediction), n * (n - 1) / 2

    def rand_index(self) -> float:
        """Fraction of pixel pairs that both partitions join or both separate, 0 to 1."""
        both, truth, prediction, total = self.pairs()
        return 1.0 if total == 0 else 1.0 - (truth + prediction - 2 * both) / total

    def adjusted_rand_index(self) -> float:
        """Rand index corrected for chance: 1 for equal partitions, 0 on average for random ones."""
        both, truth, prediction, total = self.pairs()
        if total == 0:
            return 1.0
        expected = truth * prediction / total
        largest = (truth + prediction) / 2
        # Equal only if both are one region, or both are single pixels: the partitions are the same.
        return 1.0 if largest == expected else (both - expected) / (largest - expected)

    def variation_of_information(self) -> float:
        """H(truth | prediction) + H(prediction | truth) in bits; 0 for equal partitions."""
        truth, prediction = self.sizes
        given = np.log2(self.shared / truth[self.truth])
        given += np.log2(self.shared / prediction[self.prediction])
        return float(max(0.0, -(self.shared / max(self.pixels, 1) * given).sum()))

    def iou(self) -> NDArray[np.float64]:
        """Return the intersection over union (n,) of the pairs that share pixels."""
        truth, prediction = self.sizes
        union = truth[self.truth] + prediction[self.prediction] - self.shared
        return np.asarray(self.shared / union, dtype=np.float64)

    def covering_counts(self) -> tuple[float, float]:
        """Return pixels covered (region size times its best IoU, summed) and all pixels."""
        best = np.zeros(self.shape[0])
        np.maximum.at(best, self.truth, self.iou())
        return float((self.sizes[0] * best).sum()), float(self.pixels)


def contingency(truth: ArrayLike, prediction: ArrayLike, *, ignore: int | None = 0) -> Table:
    """Count the pixels that each region of the truth shares with each of the prediction.

    Parameters
    ----------
    truth, prediction : array_like
        Integer labels of equal shape, any number of dimensions.
    ignore : int or None
        Pixels with this value in the truth are not scored; None scores all.

    Returns
    -------
    ndarray
        (K, L) int64, regions in the order of their labels; empty if nothing is scored. Of maps with
        many regions, take :func:`overlap`, which holds only pairs that share pixels.

    Raises
    ------
    InputError
        If shapes differ or labels are not integers.
    """
    return overlap(truth, prediction, ignore=ignore).table


def overlap(truth: ArrayLike, prediction: ArrayLike, *, ignore: int | None = 0) -> Overlap:
    """Return the overlaps of all regions; arguments and errors as in :func:`contingency`."""
    a, b = as_labels(truth, "truth"), as_labels(prediction, "prediction")
    if a.shape != b.shape:
        raise InputError("Truth and prediction do not fit", expected=str(a.shape), got=str(b.shape))
    if ignore is None:
        a, b = a.ravel(), b.ravel()
    else:
        scored = a != ignore
        a, b = a[scored], b[scored]
    rows, columns = _compact(a), _compact(b)
    shape = (int(rows.max(initial=-1)) + 1, int(columns.max(initial=-1)) + 1)
    keys, shared = _counted(rows * shape[1] + columns, shape[0] * shape[1])
    return Overlap(*np.divmod(keys, max(shape[1], 1)), shared, shape)


def rand_index(truth: ArrayLike, prediction: ArrayLike, *, ignore: int | None = 0) -> float:
    """Return the Rand index, 0 to 1; arguments as in :func:`contingency`."""
    return overlap(truth, prediction, ignore=ignore).rand_index()


def adjusted_rand_index(
    truth: ArrayLike, prediction: ArrayLike, *, ignore: int | None = 0
) -> float:
    """Return the adjusted Rand index, −0.5 to 1; arguments as in :func:`contingency`."""
    return overlap(truth, prediction, ignore=ignore).adjusted_rand_index()


def probabilistic_rand_index(
    truths: Sequence[ArrayLike], prediction: ArrayLike, *, ignore: int | None = None
) -> float:
    """Return the Rand index averaged over annotators (Unnikrishnan et al. 2007), 0 to 1.

    Parameters
    ----------
    truths : sequence of array_like
        One partition per annotator.
    prediction : array_like
        The partition to score.
    ignore : int or None
        As in :func:`contingency`.
    """
    return float(np.mean([rand_index(t, prediction, ignore=ignore) for t in _several(truths)]))


def variation_of_information(
    truths: ArrayLike | Sequence[ArrayLike], prediction: ArrayLike, *, ignore: int | None = 0
) -> float:
    """Return the variation of information in bits, averaged over annotators (lower is better).

    Parameters
    ----------
    truths : array_like or sequence of array_like
        One partition, or a list of them.
    prediction : array_like
        The partition to score.
    ignore : int or None
        As in :func:`contingency`.
    """
    found = [overlap(t, prediction, ignore=ignore) for t in _several(truths)]
    return float(np.mean([o.variation_of_information() for o in found]))


def covering_counts(
    truths: ArrayLike | Sequence[ArrayLike], prediction: ArrayLike, *, ignore: int | None = 0
) -> tuple[float, float]:
    """Return covered and all pixels, summed over annotators, so that images can be pooled."""
    found = [overlap(t, prediction, ignore=ignore).covering_counts() for t in _several(truths)]
    return sum(c for c, _ in found), sum(n for _, n in found)


def covering(
    truths: ArrayLike | Sequence[ArrayLike], prediction: ArrayLike, *, ignore: int | None = 0
) -> float:
    """Return the covering of the truth by the prediction, 0 to 1 (Arbelaez et al. 2011, Eq. 8).

    C(S' → S) = 1/N Σ_{R ∈ S} |R| max_{R' ∈ S'} |R ∩ R'| / |R ∪ R'|, the sum running over the
    regions of all annotators as in the BSDS500 benchmark.

    Parameters
    ----------
    truths : array_like or sequence of array_like
        S: one partition, or a list of them.
    prediction : array_like
        S'.
    ignore : int or None
        As in :func:`contingency`; ignored pixels count in no region.
    """
    covered, total = covering_counts(truths, prediction, ignore=ignore)
    return covered / total if total else 1.0


def as_labels(values: ArrayLike, what: str) -> NDArray[Any]:
    """Return labels as an integer array, booleans as 0 and 1.

    Raises
    ------
    InputError
        If they are not integers.
    """
    array = np.asarray(values)
    if array.dtype == bool:
        return array.astype(np.uint8)
    if not np.issubdtype(array.dtype, np.integer):
        raise InputError(
            f"Labels of the {what} of the wrong type", expected="integers", got=str(array.dtype)
        )
    return array


def _compact(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Return labels renumbered 0..n − 1 in their order."""
    if not labels.size:
        return np.zeros(0, np.int64)
    low, high = int(labels.min()), int(labels.max())
    if high - low < 1 << 20:  # a look-up table is some 20 times faster than sorting
        unsigned = np.issubdtype(labels.dtype, np.unsignedinteger)  # may pass what int64 holds
        shifted = (labels if unsigned else labels.astype(np.int64)) - labels.dtype.type(low)
        shifted = shifted.astype(np.int64)
        number = np.cumsum(np.bincount(shifted, minlength=high - low + 1) > 0) - 1
        return np.asarray(number[shifted], dtype=np.int64)
    return np.unique(labels, return_inverse=True)[1].astype(np.int64).ravel()


def _counted(keys: Table, end: int) -> tuple[Table, Table]:
    """Return the keys present in 0..end − 1, sorted, and how often each occurs."""
    if end > 4 * keys.size + _FEW:  # a table would outgrow the pixels
        found, count = np.unique(keys, return_counts=True)
        return found, count.astype(np.int64)
    table = np.bincount(keys, minlength=end)
    found = np.flatnonzero(table)
    return found.astype(np.int64), table[found].astype(np.int64)


def _several(truths: ArrayLike | Sequence[ArrayLike]) -> list[Any]:
    """Return a list of partitions from one or many: a list or tuple of arrays is many."""
    if isinstance(truths, (list, tuple)) and truths and isinstance(truths[0], np.ndarray):
        return list(truths)
    return [truths]
