"""How sure a network is of a pixel, whatever it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def normalised_entropy(probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the entropy of class probabilities in units of that of equal ones.

    ``-Σ p log p / log M`` [1]_: 0 where one of M classes has all the probability, 1 where all have
    the same.

    Parameters
    ----------
    probabilities : ndarray
        (M, ...), in 0–1. Where all are 0, nothing is known, and the result is 0.

    Returns
    -------
    ndarray
        (...), float32, in 0–1.

    References
    ----------
    .. [1] Shannon, "A mathematical theory of communication", 1948.
    """
    p = np.asarray(probabilities, dtype=np.float32)
    terms = np.zeros_like(p)
    np.log(p, where=p > 0, out=terms)
    terms *= p
    entropy: NDArray[np.float32] = terms.sum(axis=0) / np.float32(-np.log(max(p.shape[0], 2)))
    return entropy.clip(0, 1)
