"""Where a network hesitates most, and nobody has painted: there, a stroke teaches most.

Every border between two kinds is a little doubtful. Means over blocks of pixels let whole places
win that the network cannot make out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cas.engine.blocks import block_means
from napari_cas.metrics.uncertainty import normalised_entropy
from napari_cas.protocol import Doubt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cas.protocol import Box

BLOCK = 32
"""Side of a place in pixels."""

_STEP = 4  # one pixel of so many says enough of a place, in a sixteenth of the time

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
    mean = block_means(normalised_entropy(probabilities[:, ::_STEP, ::_STEP]), BLOCK // _STEP)
    # A sliver at the border of the image is no place; all of a small image is one.
    least = min(BLOCK, box.shape[0]) * min(BLOCK, box.shape[1])
    mean[np.outer(heights, widths) * 2 < least] = -1
    mean[np.logical_or.reduceat(np.logical_or.reduceat(painted, rows, 0), columns, 1)] = -1
    found: list[Doubt] = []
    while len(found) < MOST and mean.max() >= 0:
        row, column = (int(i) for i in np.unravel_index(int(mean.argmax()), mean.shape))
        y = box.y0 + int(rows[row] + heights[row] // 2)
        x = box.x0 + int(columns[column] + widths[column] // 2)
        found.append(Doubt(round(float(mean[row, column]), 4), y, x))
        mean[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = -1
    return tuple(found)
