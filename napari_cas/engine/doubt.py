"""Where a network hesitates most, and nobody has painted: there, a stroke teaches most.

Every border between two kinds is a little doubtful. Means over blocks of pixels let whole places
win that the network cannot make out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cas.metrics.uncertainty import normalised_entropy
from napari_cas.protocol import Doubt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cas.protocol import Box

BLOCK = 32
"""Side of a place in pixels."""

MOST = 4
"""So many places of a tile are noted."""


def most_doubtful(
    probabilities: NDArray[np.floating], painted: NDArray[np.bool_], box: Box
) -> tuple[Doubt, ...]:
    """Return the unpainted places of a tile where the network hesitates most.

    Parameters
    ----------
    probabilities : ndarray
        (M, h, w), 0 where there are no data.
    painted : ndarray
        (h, w) bool.
    box : Box
        The tile on its plane, of h × w pixels.

    Returns
    -------
    tuple of Doubt
        At most `MOST`, the most doubtful first, no two side by side; fewer where paint is.
    """
    rows, columns = (np.arange(0, n, BLOCK) for n in box.shape)
    heights, widths = np.diff(rows, append=box.shape[0]), np.diff(columns, append=box.shape[1])
    areas = np.outer(heights, widths).astype(np.float32)
    mean = _sums(normalised_entropy(probabilities), rows, columns) / areas
    # A sliver at the border of the image is no place; all of a small image is one.
    mean[areas * 2 < min(BLOCK, box.shape[0]) * min(BLOCK, box.shape[1])] = -1
    mean[_sums(painted.astype(np.float32), rows, columns) > 0] = -1
    found: list[Doubt] = []
    while len(found) < MOST and mean.max() >= 0:
        row, column = (int(i) for i in np.unravel_index(int(mean.argmax()), mean.shape))
        y = box.y0 + int(rows[row] + heights[row] // 2)
        x = box.x0 + int(columns[column] + widths[column] // 2)
        found.append(Doubt(round(float(mean[row, column]), 4), y, x))
        mean[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = -1
    return tuple(found)


def _sums(
    values: NDArray[np.float32], rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> NDArray[np.float32]:
    return np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1)
