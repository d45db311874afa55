"""Means over blocks of pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray


def block_means(values: NDArray[np.floating], side: int) -> NDArray[Any]:
    """Return means over squares of `side` pixels, over what is left of them at the far borders.

    Parameters
    ----------
    values : ndarray
        (..., h, w).
    side : int
        In pixels.

    Returns
    -------
    ndarray
        (..., ⌈h / side⌉, ⌈w / side⌉).
    """
    rows, columns = (np.arange(0, n, side) for n in values.shape[-2:])
    sums = np.add.reduceat(np.add.reduceat(values, rows, axis=-2), columns, axis=-1)
    heights = np.diff(rows, append=values.shape[-2])
    widths = np.diff(columns, append=values.shape[-1])
    return np.asarray(sums / (heights[:, None] * widths))
