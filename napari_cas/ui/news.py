"""Whether a prediction that was made anew shows anything new.

Once the paint is learnt, rounds mostly repeat themselves, and redrawing a canvas for the same
labels is what napari's thread spends most of a round on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cas.protocol import Box, Plane, Tile
    from napari_cas.store import ImageEntry


class News:
    """Remembers what was drawn of the part of a plane that a layer holds."""

    def __init__(self) -> None:
        self._where: tuple[Plane, Box] | None = None
        self._drawn: NDArray[np.uint8] = np.zeros((0, 0), np.uint8)

    def forget(self) -> None:
        """Take everything for new: something else is shown."""
        self._where = None

    def found(self, entry: ImageEntry, tile: Tile, shown: Box) -> bool:
        """Tell whether a tile differs from when this was last asked.

        Parameters
        ----------
        entry : ImageEntry
            The image shown.
        tile : Tile
            What was predicted anew, on the plane shown.
        shown : Box
            What the layer holds of the plane.
        """
        if not tile.box.touches(shown):
            return False
        if self._where != (tile.plane, shown):
            self._where = (tile.plane, shown)
            self._drawn = np.zeros(shown.shape, np.uint8)  # 0 is not known, label k is k + 1
        box = tile.box.intersection(shown)
        before = self._drawn[box.inside(shown).slices]
        now = np.asarray(entry.prediction[(*tile.plane, *box.slices)]) + np.uint8(1)
        if np.array_equal(before, now):
            return False
        before[...] = now
        return True
