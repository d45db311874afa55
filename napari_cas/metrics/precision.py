"""How well a score ranks: average precision, as PASCAL VOC measures it.

References
----------
.. [1] Everingham et al., "The PASCAL Visual Object Classes Challenge: a retrospective", IJCV 111
   (2015): since 2010 the area under the whole precision-recall curve, precision made monotonic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cas.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["average_precision"]


def average_precision(truth: ArrayLike, scores: ArrayLike, *, monotonic: bool = True) -> float:
    """Return the area under the precision-recall curve, 0 to 1.

    Equal scores are taken together: their order says nothing.

    Parameters
    ----------
    truth : array_like
        Booleans, any shape: what should rank high.
    scores : array_like
        Finite numbers of the same shape, any range.
    monotonic : bool
        True: at each recall, the best precision at this or a higher recall, as VOC has it since
        2010 [1]_. False: the precision itself, as scikit-learn has it; never more than the former.

    Returns
    -------
    float
        NaN where nothing is true: there is no recall.

    Raises
    ------
    InputError
        If shapes differ, or a score is not finite.
    """
    wanted, ranked = np.asarray(truth, np.bool_).ravel(), np.asarray(scores).ravel()
    if wanted.shape != ranked.shape or np.shape(truth) != np.shape(scores):
        raise InputError(
            "Truth and scores do not fit", expected=str(np.shape(truth)), got=str(np.shape(scores))
        )
    if not np.isfinite(ranked).all():
        raise InputError("Scores cannot be ranked", expected="finite numbers", got="NaN or Inf")
    if not wanted.any():
        return float("nan")
    order = np.argsort(ranked)[::-1]  # not of -ranked: unsigned integers would wrap
    ranked, right = ranked[order], np.cumsum(wanted[order], dtype=np.float64)
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    recall, precision = right[last] / right[-1], right[last] / (last + 1)
    if monotonic:
        precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * precision).sum())
